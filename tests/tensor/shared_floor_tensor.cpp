// SPDX-License-Identifier: MIT

#include <pluria/number/symmetric_int.hpp>
#include <pluria/tensor/shared_floor_tensor.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using pluria::granule_map;
using pluria::shared_floor_tensor;
using pluria::symmetric_int;
using support::made_grid;

using all_bits = std::tuple<symmetric_int<2>, symmetric_int<3>, symmetric_int<4>, symmetric_int<5>, symmetric_int<6>,
                            symmetric_int<7>, symmetric_int<8>>;

// The floor of a weight, below the last code, and whether member `member` goes up.
template <class Int>
std::int32_t floor_at(std::size_t row, std::size_t column, std::uint32_t seed = 0) {
  constexpr std::uint32_t floors = Int::max_code - Int::min_code;
  return static_cast<std::int32_t>(support::mixed(static_cast<std::uint32_t>(1000 * row + column) + 1 + seed) %
                                   floors) +
         Int::min_code;
}
std::uint32_t up_at(std::size_t member, std::size_t row, std::size_t column) {
  return support::mixed(static_cast<std::uint32_t>(100000 * (member + 1) + 1000 * row + column)) >> 7 & 1U;
}

// Members first, first + 1, ..., word by word out of the layout's description; zeros behind the last row
// and column.
template <class Int>
shared_floor_tensor<Int> filled(const support::shared_grid<Int>& grid, std::size_t members, std::size_t first = 0,
                                std::uint32_t seed = 0) {
  shared_floor_tensor<Int> form(grid, members);
  std::uint32_t* out = form.data();
  for (std::size_t first_row = 0; first_row < form.rows(); first_row += 16) {
    for (std::size_t begin = 0; begin < (form.columns() + 127) / 128 * 128; begin += 32) {
      const auto for_each = [&](auto&& work) {
        for (std::size_t r = 0; r < 16 && first_row + r < form.rows(); ++r) {
          for (std::size_t c = 0; c < 32 && begin + c < form.columns(); ++c) {
            work(r, c);
          }
        }
      };
      support::tile_values stored{};
      for_each([&](std::size_t r, std::size_t c) {
        stored[r][c] = static_cast<std::uint32_t>(floor_at<Int>(first_row + r, begin + c, seed) - Int::min_code);
      });
      const std::vector<std::uint32_t> floors = support::naive_tile(Int::bits, stored);
      out = std::copy(floors.begin(), floors.end(), out);
      std::vector<support::tile_values> ups(members);
      for (std::size_t member = 0; member < members; ++member) {
        for_each(
            [&](std::size_t r, std::size_t c) { ups[member][r][c] = up_at(first + member, first_row + r, begin + c); });
      }
      const std::vector<std::uint32_t> planes = support::naive_tile_planes(ups);
      out = std::copy(planes.begin(), planes.end(), out);
    }
  }
  return form;
}

TEMPLATE_LIST_TEST_CASE("a member's code is the floor that all share, plus its own bit", "[tensor]", all_bits) {
  for (const auto& [rows, columns] :
       {std::pair<std::size_t, std::size_t>{1, 1}, {3, 127}, {2, 128}, {3, 129}, {2, 300}}) {
    for (const granule_map& map : support::all_maps(rows, columns)) {
      for (const std::size_t members : {1U, 3U, 64U}) {
        const auto form = filled<TestType>(made_grid<TestType>(map), members);
        std::size_t wrong = 0;
        for (std::size_t member = 0; member < members; ++member) {
          for (std::size_t row = 0; row < rows; ++row) {
            for (std::size_t column = 0; column < columns; ++column) {
              const auto up = static_cast<std::int32_t>(up_at(member, row, column));
              wrong += form.code(member, row, column) == floor_at<TestType>(row, column) + up ? 0U : 1U;
            }
          }
        }
        CAPTURE(rows, columns, map.size(), members);
        CHECK(wrong == 0);
        CHECK(form.members() == members);
        CHECK(form.rows() == rows);
        CHECK(form.columns() == columns);
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("floors and planes lie tile after tile, 64 (b + S) bytes each", "[tensor]", all_bits) {
  constexpr std::size_t floor_words = 16 * TestType::bits;
  const auto grid = made_grid<TestType>(granule_map::groups(19, 129, 129));
  auto form = filled<TestType>(grid, 10);
  CHECK(form.tile_words() == floor_words + 160);
  CHECK(form.blocks_in_row() == 2);
  CHECK(form.tiles_in_panel() == 8);
  CHECK(form.panels() == 2);
  REQUIRE(form.words().size() == 16 * form.tile_words());
  CHECK(form.words().data() == form.data());
  CHECK(reinterpret_cast<std::uintptr_t>(form.data()) % 64 == 0);
  for (std::size_t panel = 0; panel < 2; ++panel) {
    for (std::size_t index = 0; index < 8; ++index) {
      CHECK(form.tile(panel, index).data() == form.words().data() + (8 * panel + index) * form.tile_words());
      CHECK(form.tile(panel, index).size() == form.tile_words());
    }
  }
  CHECK(form.code_bits() == 32 * 256 * (TestType::bits + 10));
  CHECK(form.granule_bits() == 19 * 32);
  CHECK(&form.grid() == grid.get());
  CHECK(form.shared_grid() == grid);
}

TEST_CASE("granules lie in tiles, copied where they lay row by row", "[tensor]") {
  using int4 = symmetric_int<4>;
  const auto grid = made_grid<int4>(granule_map::groups(19, 300, 32));
  const shared_floor_tensor<int4> form(grid, 2);
  CHECK(form.grid() == grid->in_tiles());
  CHECK(form.granule_bits() == 32 * 10 * 32);
  CHECK(shared_floor_tensor<int4>(form.shared_grid(), 3).shared_grid() == form.shared_grid());
  for (std::size_t row = 0; row < 19; ++row) {
    CHECK(form.grid().at(row, 299) == grid->at(row, 299));
  }
}

TEST_CASE("ten INT-4 members take 896 bytes for 16 rows of 32 columns", "[tensor]") {
  const shared_floor_tensor<symmetric_int<4>> form(made_grid<symmetric_int<4>>(granule_map::whole(16, 128)), 10);
  CHECK(form.code_bits() == 4 * 8 * 896);
}

TEMPLATE_LIST_TEST_CASE("members that are appended are those that were made at once, word for word", "[tensor]",
                        all_bits) {
  for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{1, 1}, {3, 129}, {0, 300}, {3, 0}}) {
    const auto grid = made_grid<TestType>(granule_map::groups(rows, columns, 48 > columns ? columns : 48));
    // The same grid once more, at another place.
    const auto copy = made_grid<TestType>(grid->map);
    for (const auto& [first, second] : {std::pair<std::size_t, std::size_t>{1, 1}, {1, 63}, {63, 1}, {7, 3}, {2, 3}}) {
      const auto joined =
          shared_floor_tensor<TestType>::joined(filled<TestType>(grid, first), filled<TestType>(copy, second, first));
      const auto at_once = filled<TestType>(grid, first + second);
      CAPTURE(rows, columns, first, second);
      CHECK(joined == at_once);
      CHECK(std::equal(joined.words().begin(), joined.words().end(), at_once.words().begin(), at_once.words().end()));
      CHECK(joined.members() == first + second);
    }
  }
}

TEST_CASE("members of other grids or floors, and more than 64, are not joined", "[tensor]") {
  using int4 = symmetric_int<4>;
  using form = shared_floor_tensor<int4>;
  const auto grid = made_grid<int4>(granule_map::groups(3, 129, 32));
  const auto of = [](const form& first, const form& second) {
    return support::message_of<pluria::precondition_error>([&] { static_cast<void>(form::joined(first, second)); });
  };
  const form ten = filled<int4>(grid, 10);
  CHECK(of(ten, filled<int4>(grid, 54, 10)) == "no error");
  CHECK(of(ten, filled<int4>(grid, 55, 10)) == "shared_floor_tensor: 64 members at most");
  CHECK(of(filled<int4>(grid, 64), filled<int4>(grid, 64)) == "shared_floor_tensor: 64 members at most");
  const std::string other_grid = "shared_floor_tensor: members share a grid";
  CHECK(of(ten, filled<int4>(made_grid<int4>(granule_map::groups(3, 129, 48)), 10)) == other_grid);
  CHECK(of(ten, filled<int4>(made_grid<int4>(granule_map::groups(3, 128, 32)), 10)) == other_grid);
  auto scales = grid->granules;
  scales.back().scale *= 2;
  CHECK(of(ten, filled<int4>(std::make_shared<const pluria::tensor_grid<int4>>(grid->map, scales), 10)) == other_grid);
  const std::string other_floors = "shared_floor_tensor: members of one tensor share their floors";
  CHECK(of(ten, filled<int4>(grid, 10, 10, 1)) == other_floors);
  // One bit of the last word of floors.
  form changed = filled<int4>(grid, 2, 10);
  changed.data()[changed.words().size() - changed.tile_words() + form::floors::words - 1] ^= 0x80000000U;
  CHECK(of(ten, changed) == other_floors);
  // A plane may differ: that is what members do.
  form raised = filled<int4>(grid, 2, 10);
  raised.data()[raised.words().size() - 1] ^= 0x80000000U;
  CHECK(of(ten, raised) == "no error");
}

TEST_CASE("a shared floor is made for 1 to 64 members of a grid", "[tensor]") {
  using int4 = symmetric_int<4>;
  using form = shared_floor_tensor<int4>;
  const auto grid = made_grid<int4>(granule_map::whole(2, 130));
  CHECK_NOTHROW(form(grid, 1));
  CHECK_NOTHROW(form(grid, 64));
  for (const std::size_t members : {std::size_t{0}, std::size_t{65}, ~std::size_t{0}}) {
    CHECK(support::message_of<pluria::precondition_error>([&] { form(grid, members); }) ==
          "shared_floor_tensor: 1 to 64 members");
  }
  CHECK(support::message_of<pluria::precondition_error>([] { form(nullptr, 1); }) ==
        "shared_floor_tensor: a grid is needed");
}

TEST_CASE("shared floors without elements take no words", "[tensor]") {
  using int4 = symmetric_int<4>;
  for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{0, 0}, {0, 300}, {3, 0}}) {
    for (const granule_map& map : support::all_maps(rows, columns)) {
      const shared_floor_tensor<int4> form(made_grid<int4>(map), 10);
      CHECK(form.rows() == rows);
      CHECK(form.columns() == columns);
      CHECK(form.words().empty());
      CHECK(form.code_bits() == 0);
      CHECK(form.granule_bits() == (map.is_whole() ? 32 : 0));
    }
  }
}

TEST_CASE("shared floors are equal when members, words and grids are", "[tensor]") {
  using int4 = symmetric_int<4>;
  const auto map = granule_map::groups(2, 32, 32);
  const auto form = filled<int4>(made_grid<int4>(map), 4);
  CHECK(form == filled<int4>(made_grid<int4>(map), 4));
  CHECK_FALSE(form == filled<int4>(made_grid<int4>(map), 3));
  CHECK_FALSE(form == filled<int4>(made_grid<int4>(map), 4, 1));
  CHECK_FALSE(form == filled<int4>(made_grid<int4>(map), 4, 0, 1));
  CHECK_FALSE(form == filled<int4>(made_grid<int4>(granule_map::groups(2, 32, 16)), 4));
}

}  // namespace
