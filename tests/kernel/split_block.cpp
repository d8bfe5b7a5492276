// SPDX-License-Identifier: MIT

#include <pluria/kernel/split_block.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace {

using namespace support;
using arch = xsimd::default_arch;

template <int Bits>
using split_of = pluria::detail::split_block<Bits, arch>;

// Positions of codes in -qmax..qmax, every code met, with fractions that include the ends; none above the last code.
template <int Bits>
std::array<std::int32_t, 128> made_positions(std::uint32_t seed) {
  constexpr std::int32_t last = (1 << (Bits - 1)) - 1;
  std::array<std::int32_t, 128> positions{};
  for (std::uint32_t e = 0; e < 128; ++e) {
    const std::uint32_t random = mixed(1000 * seed + e + 1);
    const auto floor = static_cast<std::int32_t>(random % (2 * last + 1)) - last;
    const std::uint32_t fractions[] = {0U, 1U, 0x7fffU, 0x8000U, 0xffffU, random >> 16, random >> 16, random >> 16};
    positions[e] = floor == last ? 65536 * last : 65536 * floor + static_cast<std::int32_t>(fractions[e % 8]);
  }
  return positions;
}

template <int Bits>
split_of<Bits> split(const std::array<std::int32_t, 128>& positions) {
  return split_of<Bits>([&](std::size_t e) { return ints::load_unaligned(&positions[e]); }, -((1 << (Bits - 1)) - 1));
}

// 65535 - dither, one for each element, in the form in which members are packed.
template <int Bits>
typename split_of<Bits>::bounds bounds_of(const std::array<std::uint32_t, 128>& dithers) {
  using block = split_of<Bits>;
  typename block::bounds below;
  block::for_each_batch([&](auto slice, auto q) {
    std::array<std::uint16_t, 2 * lanes> halves{};
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const std::size_t e = 16 * q + lanes * slice + lane;
      halves[2 * lane] = static_cast<std::uint16_t>(65535 - dithers[e]);
      halves[2 * lane + 1] = static_cast<std::uint16_t>(65535 - dithers[e + 64]);
    }
    below[slice][q] = pluria::lanes::ordered(xsimd::batch<std::uint16_t>::load_unaligned(halves.data()));
  });
  return below;
}

// Packs dithers, one for each element, and compares with (position + dither) >> 16, packed bit by bit.
template <int Bits>
std::size_t wrong_words(const std::array<std::int32_t, 128>& positions, const std::array<std::uint32_t, 128>& dithers,
                        bool past_cache) {
  alignas(64) std::array<std::uint32_t, 4 * Bits> found{};
  split<Bits>(positions).pack(bounds_of<Bits>(dithers), found.data(), past_cache);
  pluria::lanes::fence_past_cache();

  std::array<std::uint32_t, 128> stored{};
  for (std::size_t e = 0; e < 128; ++e) {
    const std::int32_t code = (positions[e] + static_cast<std::int32_t>(dithers[e])) >> 16;
    stored[e] = static_cast<std::uint32_t>(code + (1 << (Bits - 1)) - 1);
  }
  const std::vector<std::uint32_t> expected = naive_block(Bits, stored);
  std::size_t wrong = 0;
  for (std::size_t word = 0; word < found.size(); ++word) {
    wrong += found[word] == expected[word] ? 0U : 1U;
  }
  return wrong;
}

// The plane of the same member, one bit at a time: set where (position + dither) >> 16 is above the floor.
template <int Bits>
bool has_its_plane(const std::array<std::int32_t, 128>& positions, const std::array<std::uint32_t, 128>& dithers) {
  std::array<std::uint32_t, 128> ups{};
  for (std::size_t e = 0; e < 128; ++e) {
    ups[e] = static_cast<std::uint32_t>(((positions[e] + static_cast<std::int32_t>(dithers[e])) >> 16) -
                                        (positions[e] >> 16));
  }
  // At a multiple of 4 bytes only, and nothing but four words.
  std::array<std::uint32_t, 6> found{};
  found.fill(0xdeadbeefU);
  split<Bits>(positions).pack_plane(bounds_of<Bits>(dithers), &found[1]);
  const auto plane = naive_plane(ups);
  return found == std::array<std::uint32_t, 6>{0xdeadbeefU, plane[0], plane[1], plane[2], plane[3], 0xdeadbeefU};
}

// Whether the upper F bits of the fractions are packed as codes of F bits.
template <int Bits, int F>
bool packs_fractions(const std::array<std::int32_t, 128>& positions) {
  std::array<std::uint32_t, 128> stored{};
  for (std::size_t e = 0; e < 128; ++e) {
    stored[e] = (static_cast<std::uint32_t>(positions[e]) & 0xffffU) >> (16 - F);
  }
  std::array<std::uint32_t, 4 * F + 2> found{};
  found.fill(0xdeadbeefU);
  split<Bits>(positions).template pack_fractions<F>(&found[1]);
  std::vector<std::uint32_t> expected = naive_block(F, stored);
  expected.insert(expected.begin(), 0xdeadbeefU);
  expected.push_back(0xdeadbeefU);
  return std::vector<std::uint32_t>(found.begin(), found.end()) == expected;
}

template <int Bits>
void check_width() {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    const auto positions = made_positions<Bits>(seed);
    std::array<std::uint32_t, 128> dithers{};
    for (std::uint32_t e = 0; e < 128; ++e) {
      // At the fraction's edge, where a comparison the wrong way or one off shows; and anywhere.
      const std::uint32_t edge = 65536 - (static_cast<std::uint32_t>(positions[e]) & 0xffffU);
      const std::uint32_t choices[] = {edge % 65536, edge - 1, 0U, 65535U, mixed(seed + 77 * e) >> 16};
      dithers[e] = choices[mixed(3 * seed + e) % 5];
    }
    CAPTURE(Bits, seed);
    CHECK(wrong_words<Bits>(positions, dithers, false) == 0);
    CHECK(wrong_words<Bits>(positions, dithers, true) == 0);
    CHECK(has_its_plane<Bits>(positions, dithers));
    pluria::lanes::unrolled<8>([&](auto f) {
      constexpr int fraction_bits = static_cast<int>(decltype(f)::value) + 1;
      CHECK(packs_fractions<Bits, fraction_bits>(positions));
    });
  }

  const auto positions = made_positions<Bits>(3);
  alignas(64) std::array<std::uint32_t, 4 * Bits> floors{};
  split<Bits>(positions).pack_floors(floors.data());
  std::array<std::uint32_t, 128> stored{};
  for (std::size_t e = 0; e < 128; ++e) {
    stored[e] = static_cast<std::uint32_t>((positions[e] >> 16) + (1 << (Bits - 1)) - 1);
  }
  const std::vector<std::uint32_t> expected = naive_block(Bits, stored);
  CHECK(std::vector<std::uint32_t>(floors.begin(), floors.end()) == expected);
}

TEST_CASE("a split block packs (position + dither) >> 16, its plane and its fractions, at every width", "[kernel]") {
  check_width<2>();
  check_width<3>();
  check_width<4>();
  check_width<5>();
  check_width<6>();
  check_width<7>();
  check_width<8>();
}

}  // namespace
