// SPDX-License-Identifier: MIT

#include <pluria/number/symmetric_int.hpp>
#include <pluria/tensor/tensor_grid.hpp>
#include <support/catch.hpp>
#include <support/tensor_grids.hpp>

#include <cstddef>
#include <limits>
#include <vector>

namespace {

using pluria::granule_map;
using pluria::precondition_error;
using pluria::tensor_grid;
using int4 = pluria::symmetric_int<4>;

// What a map of groups must be, found by walking through the tensor: a new granule begins at every row, and after every
// `group` columns.
bool follows_the_walk(const granule_map& map, std::size_t rows, std::size_t columns, std::size_t group) {
  bool same = map.rows() == rows && map.columns() == columns && !map.is_whole();
  std::size_t granules = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    std::vector<std::size_t> starts;
    for (std::size_t column = 0, used = 0; column < columns; ++column, ++used) {
      if (column == 0 || used == group) {
        used = 0;
        ++granules;
        starts.push_back(column);
      }
      same = same && map.index(row, column) == granules - 1;
    }
    starts.push_back(columns);
    for (std::size_t run = 0; run + 1 < starts.size(); ++run) {
      for (std::size_t column = starts[run]; column < starts[run + 1]; ++column) {
        same = same && map.run_end(column) == starts[run + 1];
      }
    }
  }
  return same && map.size() == granules;
}

TEST_CASE("groups are numbered row by row, the last of a row may be shorter", "[tensor]") {
  for (const std::size_t rows : {0U, 1U, 3U}) {
    for (const std::size_t columns : {0U, 1U, 15U, 16U, 17U, 47U, 48U, 127U, 128U, 129U, 300U}) {
      for (const std::size_t group : {16U, 48U, 128U, 304U}) {
        CAPTURE(rows, columns, group);
        CHECK(follows_the_walk(granule_map::groups(rows, columns, group), rows, columns, group));
      }
    }
  }
}

TEST_CASE("a group that covers the row is the row, of any length", "[tensor]") {
  for (const std::size_t columns : {0U, 1U, 17U, 129U, 300U}) {
    CAPTURE(columns);
    CHECK(follows_the_walk(granule_map::groups(3, columns, columns), 3, columns, columns));
    CHECK(follows_the_walk(granule_map::groups(3, columns, columns + 1), 3, columns, columns + 1));
    const std::size_t endless = std::numeric_limits<std::size_t>::max();
    CHECK(follows_the_walk(granule_map::groups(3, columns, endless), 3, columns, endless));
  }
}

TEST_CASE("one granule may cover the whole tensor", "[tensor]") {
  for (const std::size_t columns : {0U, 1U, 129U}) {
    const granule_map map = granule_map::whole(3, columns);
    CHECK(map.is_whole());
    CHECK(map.size() == 1);
    CHECK(map.rows() == 3);
    CHECK(map.columns() == columns);
    for (std::size_t column = 0; column < columns; ++column) {
      CHECK(map.index(2, column) == 0);
      CHECK(map.run_end(column) == columns);
    }
  }
}

TEST_CASE("in tiles granules of 16 rows lie side by side, group after group, padded to 16 rows", "[tensor]") {
  const granule_map map = granule_map::groups(19, 80, 32).in_tiles();
  CHECK(map.is_in_tiles());
  CHECK(map.per_row() == 3);
  CHECK(map.size() == 2 * 3 * 16);
  CHECK(map.run_end(32) == 64);
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < 19; ++row) {
    for (std::size_t column = 0; column < 80; ++column) {
      const std::size_t expected = row / 16 * 48 + column / 32 * 16 + row % 16;
      wrong += map.index(row, column) == expected ? 0U : 1U;
      wrong += map.row_begin(row) + map.index(0, column) == expected ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
  CHECK(map.in_tiles() == map);
  CHECK_FALSE(map == granule_map::groups(19, 80, 32));
  for (const granule_map& same : {granule_map::whole(19, 80), granule_map::groups(19, 80, 80)}) {
    CHECK(same.in_tiles() == same);
    CHECK_FALSE(same.in_tiles().is_in_tiles());
  }
}

TEST_CASE("a grid in tiles has every weight's granule, and so has a part of it", "[tensor]") {
  for (const granule_map& map : support::all_maps(37, 300)) {
    const auto grid = support::made_grid<int4>(map);
    const tensor_grid<int4> tiles = grid->in_tiles();
    CHECK(tiles.map == map.in_tiles());
    CHECK(tiles.in_tiles() == tiles);
    std::size_t wrong = 0;
    for (std::size_t row = 0; row < 37; ++row) {
      for (std::size_t column = 0; column < 300; ++column) {
        wrong += tiles.at(row, column) == grid->at(row, column) ? 0U : 1U;
      }
    }
    CAPTURE(map.size());
    CHECK(wrong == 0);
    CHECK(tiles.part(3, 30) == grid->part(3, 30));
    CHECK(tiles.part(0, 37) == *grid);
  }
}

TEST_CASE("a group that no batch of lanes fits into is refused", "[tensor]") {
  for (const std::size_t group : {0U, 1U, 8U, 15U, 17U, 40U, 127U}) {
    CHECK_THROWS_AS(granule_map::groups(2, 300, group), precondition_error);
  }
  CHECK_NOTHROW(granule_map::groups(2, 300, 16));
}

TEST_CASE("a grid has as many granules as its map, and finds a weight's", "[tensor]") {
  const granule_map map = granule_map::groups(2, 40, 16);
  const pluria::tensor_grid<int4> grid(map, {{1.0F}, {2.0F}, {3.0F}, {4.0F}, {5.0F}, {6.0F}});
  CHECK(grid.at(0, 0).scale == 1.0F);
  CHECK(grid.at(0, 15).scale == 1.0F);
  CHECK(grid.at(0, 16).scale == 2.0F);
  CHECK(grid.at(0, 39).scale == 3.0F);
  CHECK(grid.at(1, 0).scale == 4.0F);
  CHECK(grid.at(1, 32).scale == 6.0F);
  CHECK_THROWS_AS(pluria::tensor_grid<int4>(map, std::vector<int4::granule>(5)), precondition_error);
  CHECK_THROWS_AS(pluria::tensor_grid<int4>(map, std::vector<int4::granule>(7)), precondition_error);
}

TEST_CASE("a part of a grid has the granules of its rows", "[tensor]") {
  const auto grid_with = [](const granule_map& map) {
    std::vector<int4::granule> granules(map.size());
    for (std::size_t i = 0; i < granules.size(); ++i) {
      granules[i].scale = static_cast<float>(i + 1);
    }
    return tensor_grid<int4>(map, granules);
  };
  for (const granule_map& map : {granule_map::whole(7, 100), granule_map::groups(7, 100, 100),
                                 granule_map::groups(7, 100, 48), granule_map::groups(7, 0, 16)}) {
    const auto grid = grid_with(map);
    const auto part = grid.part(2, 4);
    CHECK(part.map.rows() == 4);
    CHECK(part.map.columns() == map.columns());
    for (std::size_t row = 0; row < 4; ++row) {
      for (std::size_t column = 0; column < map.columns(); ++column) {
        CHECK(part.at(row, column) == grid.at(row + 2, column));
        CHECK(part.map.run_end(column) == grid.map.run_end(column));
      }
    }
    CHECK(grid.part(0, 7) == grid);
    CHECK(grid.part(7, 0).map.rows() == 0);
    CHECK_THROWS_AS(grid.part(4, 4), pluria::precondition_error);
    CHECK_THROWS_AS(grid.part(8, 0), pluria::precondition_error);
  }
}

TEST_CASE("grids are equal when maps and granules are", "[tensor]") {
  const pluria::tensor_grid<int4> grid(granule_map::groups(2, 16, 16), {{1.0F}, {2.0F}});
  CHECK(grid == pluria::tensor_grid<int4>(granule_map::groups(2, 16, 16), {{1.0F}, {2.0F}}));
  CHECK_FALSE(grid == pluria::tensor_grid<int4>(granule_map::groups(2, 16, 16), {{1.0F}, {3.0F}}));
  CHECK_FALSE(grid == pluria::tensor_grid<int4>(granule_map::groups(1, 32, 16), {{1.0F}, {2.0F}}));
}

}  // namespace
