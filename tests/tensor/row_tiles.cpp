// SPDX-License-Identifier: MIT

#include <pluria/tensor/row_tiles.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using pluria::row_tile;
using pluria::tile_codes;

template <int Bits>
using width = std::integral_constant<int, Bits>;
using all_widths = std::tuple<width<1>, width<2>, width<3>, width<4>, width<5>, width<6>, width<7>, width<8>>;

support::tile_values made_values(std::uint32_t below, std::uint32_t seed = 0) {
  support::tile_values values{};
  for (auto& row : values) {
    for (std::uint32_t& value : row) {
      value = support::mixed(++seed) % below;
    }
  }
  return values;
}

TEMPLATE_LIST_TEST_CASE("a tile holds the codes of 16 rows and 32 columns, b bits each", "[tensor]", all_widths) {
  constexpr int bits = TestType::value;
  using codes = tile_codes<bits>;
  static_assert(codes::words == 16 * bits && 4 * codes::fields + codes::planes == bits);
  const support::tile_values values = made_values(1U << bits);
  const std::vector<std::uint32_t> tile = support::naive_tile(bits, values);
  REQUIRE(tile.size() == codes::words);
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < row_tile::rows; ++row) {
    for (std::size_t column = 0; column < row_tile::columns; ++column) {
      wrong += codes::at(tile.data(), row, column) == values[row][column] ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a plane has a bit for each element, four neighbours of a row in the bytes of a word", "[tensor]") {
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 32; ++column) {
      support::tile_values one{};
      one[row][column] = 1;
      const std::vector<std::uint32_t> plane = support::naive_tile_plane(one);
      std::size_t set = 0;
      for (std::size_t r = 0; r < 16; ++r) {
        for (std::size_t c = 0; c < 32; ++c) {
          set += row_tile::bit(plane.data(), r, c);
        }
      }
      CHECK(set == 1);
      CHECK(row_tile::bit(plane.data(), row, column) == 1);
    }
  }
}

TEST_CASE("members are planes by twos, and of an odd number the last has its own", "[tensor]") {
  for (const std::size_t members : {1U, 2U, 3U, 6U, 7U}) {
    CAPTURE(members);
    std::vector<support::tile_values> bits;
    for (std::size_t m = 0; m < members; ++m) {
      bits.push_back(made_values(2, static_cast<std::uint32_t>(1000 * m)));
    }
    const std::vector<std::uint32_t> planes = support::naive_tile_planes(bits);
    std::vector<std::uint32_t> again(planes.size());
    std::size_t wrong = 0;
    for (std::size_t m = 0; m < members; ++m) {
      for (std::size_t row = 0; row < 16; ++row) {
        for (std::size_t column = 0; column < 32; ++column) {
          wrong += row_tile::bit(planes.data(), members, m, row, column) == bits[m][row][column] ? 0U : 1U;
        }
      }
      const row_tile::plane alone = row_tile::plane_of(planes.data(), members, m);
      const std::vector<std::uint32_t> expected = support::naive_tile_plane(bits[m]);
      CHECK(std::equal(alone.begin(), alone.end(), expected.begin(), expected.end()));
      CHECK(row_tile::is_alone(members, m) == (members % 2 == 1 && m + 1 == members));
      if (row_tile::is_alone(members, m)) {
        std::copy(alone.begin(), alone.end(), again.begin() + static_cast<std::ptrdiff_t>(16 * m));
      } else if (m % 2 == 1) {
        row_tile::store_pair(row_tile::plane_of(planes.data(), members, m - 1), alone, &again[16 * (m - 1)]);
      }
    }
    CHECK(wrong == 0);
    CHECK(again == planes);
  }
}

}  // namespace
