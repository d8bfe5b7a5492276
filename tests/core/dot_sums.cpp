// SPDX-License-Identifier: MIT

#include <pluria/core/dot_sums.hpp>
#include <support/architectures.hpp>
#include <support/batches.hpp>
#include <support/byte_batches.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace support;
namespace sums = pluria::lanes;

// Whether the sum of 8 products, in `Chains` chains, is that of plain integers; `code_of` and `value_of` a byte.
template <int Bits, std::size_t Chains, class Arch, class CodeOf, class ValueOf>
bool is_plain_sum(std::int32_t first, CodeOf&& code_of, ValueOf&& value_of) {
  using words = sums::words<Arch>;
  constexpr std::size_t bytes = 4 * words::size;
  std::vector<std::int32_t> expected(words::size, first);
  sums::dot_sum<Bits, Arch, Chains> sum{sums::ints<Arch>(first)};
  sums::unrolled<sums::dot_sum<Bits, Arch, Chains>::most_products>([&](auto number) {
    alignas(64) std::uint8_t codes[bytes];
    alignas(64) std::int8_t values[bytes];
    for (std::size_t byte = 0; byte < bytes; ++byte) {
      codes[byte] = code_of(bytes * number + byte);
      values[byte] = value_of(bytes * number + byte);
      expected[byte / 4] += codes[byte] * values[byte];
    }
    sum.template add<number>(words::load_aligned(reinterpret_cast<const std::uint32_t*>(codes)),
                             words::load_aligned(reinterpret_cast<const std::uint32_t*>(values)));
  });
  std::vector<std::int32_t> found(words::size);
  sum.total().store_unaligned(found.data());
  return found == expected;
}

template <int Bits, std::size_t Chains, class Arch>
void check_sums() {
  constexpr std::uint32_t codes = 1U << Bits;
  for (const std::int8_t largest : {std::int8_t{127}, std::int8_t{-127}}) {
    CHECK(is_plain_sum<Bits, Chains, Arch>(
        1000000, [](std::size_t) { return static_cast<std::uint8_t>(codes - 1); },
        [&](std::size_t) { return largest; }));
  }
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const auto mixed = [&](std::size_t i) { return support::mixed(1000 * seed + static_cast<std::uint32_t>(i)); };
    CHECK(is_plain_sum<Bits, Chains, Arch>(
        static_cast<std::int32_t>(seed) - 10,
        [&](std::size_t i) { return static_cast<std::uint8_t>(mixed(i) % codes); },
        [&](std::size_t i) { return static_cast<std::int8_t>(static_cast<int>(mixed(i) >> 8 & 255U) % 255 - 127); }));
  }
}

// Codes of `Bits` bits and values from -127 to 127, out of bytes of any kind.
template <int Bits>
std::array<std::uint8_t, 64> codes_in(std::array<std::uint8_t, 64> made) {
  for (std::uint8_t& byte : made) {
    byte = static_cast<std::uint8_t>(byte & ((1U << Bits) - 1));
  }
  return made;
}
std::array<std::uint8_t, 64> values_in(std::array<std::uint8_t, 64> made) {
  std::replace(made.begin(), made.end(), std::uint8_t{0x80}, std::uint8_t{0x81});
  return made;
}

TEST_CASE("four products to a word are added in 32 bits, and no intermediate overflows", "[core]") {
  expect_none([](auto arch) {
    using Arch = decltype(arch);
    using ints = sums::ints<Arch>;
    constexpr std::size_t size = ints::size;
    std::size_t wrong = 0;
    const auto check_bits = [&]<int Bits>(std::integral_constant<int, Bits>) {
      const auto check = [&](const std::array<std::uint8_t, 64>& codes, const std::array<std::uint8_t, 64>& values,
                             std::int32_t sum) {
        const auto a = loaded<Arch>(codes);
        const auto b = loaded<Arch>(values);
        const auto found = lanes_of(sums::plus_dot<Bits>(ints(sum), a, b));
        const auto twin = lanes_of(sums::plus_dot_one_by_one<Bits>(ints(sum), a, b));
        for (std::size_t lane = 0; lane < size; ++lane) {
          std::int32_t expected = sum;
          for (std::size_t byte = 4 * lane; byte < 4 * lane + 4; ++byte) {
            expected += codes[byte] * (values[byte] < 128 ? values[byte] : values[byte] - 256);
          }
          wrong += found[lane] == expected && twin[lane] == expected ? 0U : 1U;
        }
      };
      constexpr std::uint8_t last = (1U << Bits) - 1;
      for (std::uint32_t signs = 0; signs < 16; ++signs) {
        // All codes the largest, all values 127 or -127: every sum of two and of four products at its largest.
        std::array<std::uint8_t, 64> codes{};
        std::array<std::uint8_t, 64> values{};
        codes.fill(last);
        for (std::size_t i = 0; i < values.size(); ++i) {
          values[i] = (signs >> i % 4 & 1U) != 0 ? std::uint8_t{0x81} : std::uint8_t{127};
        }
        for (const std::int32_t sum : {0, 2147483647 - 4 * 255 * 127, -2147483647 + 4 * 255 * 127}) {
          check(codes, values, sum);
        }
      }
      for (std::uint32_t seed = 0; seed < 200; ++seed) {
        check(codes_in<Bits>(made_bytes(seed)), values_in(made_bytes(seed + 500)),
              static_cast<std::int32_t>(mixed(seed)) / 2);
      }
    };
    [&]<int... Bits>(std::integer_sequence<int, Bits...>) {
      (check_bits(std::integral_constant<int, Bits + 1>{}), ...);
    }
    (std::make_integer_sequence<int, 8>{});
    return wrong;
  });
}

TEST_CASE("eight products of bytes are summed without a loss, the largest ones, too", "[core]") {
  CHECK(support::for_each_architecture([](auto arch) {
          using Arch = decltype(arch);
          CAPTURE(Arch::name());
          check_sums<1, 1, Arch>();
          check_sums<4, 1, Arch>();
          check_sums<4, 2, Arch>();
          check_sums<5, 1, Arch>();
          check_sums<8, 2, Arch>();
        }) >= 1);
}

}  // namespace
