// SPDX-License-Identifier: MIT

#include <pluria/kernel/unpack.hpp>
#include <support/architectures.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using namespace support;

template <int Bits>
struct with_bits : std::integral_constant<int, Bits> {};
using all_bits = std::tuple<with_bits<1>, with_bits<2>, with_bits<3>, with_bits<4>, with_bits<5>, with_bits<6>,
                            with_bits<7>, with_bits<8>>;

using values = std::array<std::uint32_t, 128>;

// How many bytes of an unpacked block are not those of the definition, moved to where kernels meet them.
template <int Bits, class Arch>
std::size_t wrong_bytes(const values& stored) {
  using unpacked = pluria::detail::unpacked_block<Arch>;
  // The block lies at a multiple of 4 only, between words that are all ones.
  std::vector<std::uint32_t> room(4 * Bits + 2, 0xffffffffU);
  const std::vector<std::uint32_t> packed = naive_block(Bits, stored);
  std::copy(packed.begin(), packed.end(), room.begin() + 1);
  const auto bytes = pluria::detail::unpack<Bits, Arch>(room.data() + 1);
  values found{};
  pluria::packed_block<Bits>::unpack(std::span<const std::uint32_t, 4 * Bits>(room.data() + 1, 4 * Bits), found);
  std::size_t wrong = 0;
  for (std::size_t e = 0; e < 128; ++e) {
    const std::size_t place = naive_place(e);
    const std::size_t word = place % 64 / 4;
    const auto words = lanes_of(bytes[place / 64][word / unpacked::width]);
    const std::uint32_t byte = words[word % unpacked::width] >> 8 * (place % 4) & 0xffU;
    wrong += byte == stored[e] && found[e] == stored[e] ? 0U : 1U;
  }
  return wrong;
}

TEMPLATE_LIST_TEST_CASE("a block becomes bytes in the order in which kernels meet its elements", "[kernel]", all_bits) {
  constexpr int bits = TestType::value;
  constexpr std::uint32_t last = (1U << bits) - 1;
  CHECK(for_each_architecture([](auto arch) {
          using Arch = decltype(arch);
          std::size_t wrong = 0;
          // One value among zeros and among ones, at every place.
          for (std::size_t e = 0; e < 128; ++e) {
            for (const std::uint32_t others : {0U, last}) {
              values stored{};
              stored.fill(others);
              stored[e] = last - others;
              wrong += wrong_bytes<bits, Arch>(stored);
            }
          }
          for (std::uint32_t seed = 0; seed < 50; ++seed) {
            values stored{};
            for (std::uint32_t e = 0; e < 128; ++e) {
              stored[e] = mixed(128 * seed + e + 1) & last;
            }
            wrong += wrong_bytes<bits, Arch>(stored);
          }
          CAPTURE(Arch::name());
          CHECK(wrong == 0);
        }) >= 1);
}

}  // namespace
