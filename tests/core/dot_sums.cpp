// SPDX-License-Identifier: MIT

#include <pluria/core/dot_sums.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

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
