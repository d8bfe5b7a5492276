// SPDX-License-Identifier: MIT

#include <pluria/kernel/tile_rows.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

constexpr std::size_t members = 3;

// Values of 16 rows of 128, those of one bit for members.
using values_of_rows = std::array<std::array<std::uint32_t, 128>, 16>;

values_of_rows made_values(std::uint32_t below, std::uint32_t seed) {
  values_of_rows values{};
  for (auto& row : values) {
    for (std::uint32_t& value : row) {
      value = support::mixed(++seed) % below;
    }
  }
  return values;
}

support::tile_values tile_of(const values_of_rows& values, std::size_t i) {
  support::tile_values tile{};
  for (std::size_t row = 0; row < 16; ++row) {
    std::copy_n(values[row].begin() + static_cast<std::ptrdiff_t>(32 * i), 32, tile[row].begin());
  }
  return tile;
}

// Whether rows become the tiles of the description, and tiles the rows.
template <int Bits, class Arch>
bool is_described() {
  const values_of_rows stored = made_values(1U << Bits, 1000);
  std::vector<values_of_rows> ups;
  for (std::uint32_t m = 0; m < members; ++m) {
    ups.push_back(made_values(2, 10000 * (m + 1)));
  }
  // Rows apart from each other, as in the middle of a tensor.
  constexpr std::size_t row_words = 4 * Bits + 4 * members + 5;
  std::vector<std::uint32_t> rows(16 * row_words, 0xdeadbeefU);
  for (std::size_t row = 0; row < 16; ++row) {
    auto out = rows.begin() + static_cast<std::ptrdiff_t>(row * row_words);
    const std::vector<std::uint32_t> block = support::naive_block(Bits, stored[row]);
    out = std::copy(block.begin(), block.end(), out);
    for (const values_of_rows& of_member : ups) {
      const auto plane = support::naive_plane(of_member[row]);
      out = std::copy(plane.begin(), plane.end(), out);
    }
  }
  std::vector<std::uint32_t> expected;
  for (std::size_t i = 0; i < 4; ++i) {
    const std::vector<std::uint32_t> floors = support::naive_tile(Bits, tile_of(stored, i));
    expected.insert(expected.end(), floors.begin(), floors.end());
    std::vector<support::tile_values> bits;
    for (const values_of_rows& of_member : ups) {
      bits.push_back(tile_of(of_member, i));
    }
    const std::vector<std::uint32_t> planes = support::naive_tile_planes(bits);
    expected.insert(expected.end(), planes.begin(), planes.end());
  }
  alignas(64) std::array<std::uint32_t, 4 * 16 * (Bits + members)> tiles;
  tiles.fill(0xdeadbeefU);
  REQUIRE(tiles.size() == expected.size());
  pluria::detail::tile_block<Bits, Arch>(rows.data(), row_words, members, tiles.data());
  if (!std::equal(tiles.begin(), tiles.end(), expected.begin())) {
    return false;
  }

  constexpr std::size_t floor_words = 48;
  constexpr std::size_t plane_words = 4 * members + 3;
  alignas(64) std::array<std::uint32_t, 16 * floor_words> floors{};
  std::vector<std::uint32_t> planes(16 * plane_words);
  pluria::detail::rows_of_tiles<Bits, Arch>(tiles.data(), members,
                                            {floors.data(), floor_words, planes.data(), plane_words});
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t e = 0; e < 128; ++e) {
      const std::size_t place = support::naive_place(e);
      const std::uint32_t floor = floors[row * floor_words + place / 4] >> (8 * (place % 4)) & 0xffU;
      wrong += floor == stored[row][e] ? 0U : 1U;
    }
    for (std::size_t m = 0; m < members; ++m) {
      const auto plane = support::naive_plane(ups[m][row]);
      wrong += std::equal(plane.begin(), plane.end(), planes.data() + row * plane_words + 4 * m) ? 0U : 1U;
    }
  }
  return wrong == 0;
}

template <int Bits>
using width = std::integral_constant<int, Bits>;
using all_widths = std::tuple<width<1>, width<2>, width<3>, width<4>, width<5>, width<6>, width<7>, width<8>>;

TEMPLATE_LIST_TEST_CASE("16 rows of a block become four tiles, and rows again", "[kernel]", all_widths) {
  CHECK(is_described<TestType::value, xsimd::default_arch>());
}

TEST_CASE("tiles are the same on every instruction set", "[kernel]") {
  CHECK(support::for_each_architecture([](auto arch) {
          CAPTURE(decltype(arch)::name());
          CHECK(is_described<4, decltype(arch)>());
          CHECK(is_described<7, decltype(arch)>());
        }) >= 1);
}

}  // namespace
