// SPDX-License-Identifier: MIT
// What matvec.cpp and matmul.cpp do not see of the loops: parts of the rows, parts of the tokens. The products
// themselves are compared with naive ones there.

#include <pluria/kernel/member_blocks.hpp>
#include <pluria/kernel/panel_products.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace {

using namespace pluria::detail;
using arch = xsimd::default_arch;
using int5 = pluria::symmetric_int<5>;
constexpr std::size_t rows = 21;
constexpr std::size_t columns = 300;
constexpr std::size_t tokens = 3;
constexpr std::size_t members = 4;

// Adds the products of rows first .. last - 1 of tokens begin .. end - 1, in the three ways.
std::vector<std::vector<float>> products(std::size_t first, std::size_t last, std::size_t begin, std::size_t end) {
  const auto weights = support::make_tensor(pluria::dtype::f32, "a.weight", {rows, columns},
                                            support::integer_weights(rows * columns, 1.0F, 5));
  const pluria::bernoulli rounding{.seed = 3};
  const auto values = support::integer_weights(members * tokens * columns, 2.0F, 77);
  const pluria::input_rows inputs{values.data(), members * tokens, columns, columns};
  const auto grids = {support::fitted_grid<int5>(weights), support::fitted_grid<int5>(weights, pluria::per_group(32)),
                      support::fitted_grid<int5>(weights, pluria::per_group(48))};
  std::vector<std::vector<float>> all;
  for (const auto& grid : grids) {
    const pluria::fixed_point_members<int5> drawn(pluria::sample_fixed_point<int5>(weights, grid), "a.weight", rounding,
                                                  0, members);
    for_each_view<arch>(drawn, [&](const auto& view, std::size_t) {
      using view_type = std::decay_t<decltype(view)>;
      const token_map map{end - begin, tokens, begin};
      const bool grouped = !has_row_granules(grid->map);
      const bool paired = has_paired_granules(grid->map);
      const auto kind = paired ? input_offsets::of_pairs : input_offsets::of_fours;
      const auto ints =
          int8_inputs::made<arch>(inputs, input_order::by_block, int5::min_code, grouped ? kind : input_offsets::none);
      const auto add_int8 = [&](auto single, const output_rows& y) {
        constexpr bool is_single = decltype(single)::value;
        if (!grouped) {
          add_int8_rows<is_single, view_type, arch>(view, first, last, ints, map, y);
        } else if (paired) {
          add_grouped_int8_rows<is_single, true, view_type, arch>(view, first, last, ints, map, y);
        } else {
          add_grouped_int8_rows<is_single, false, view_type, arch>(view, first, last, ints, map, y);
        }
      };
      const auto add = [&](auto&& add_rows) {
        std::vector<float> y(members * tokens * rows, 0.0F);
        add_rows(output_rows{y.data() + begin * rows, rows, tokens});
        all.push_back(y);
      };
      add([&](const output_rows& y) { add_int8(std::false_type{}, y); });
      add([&](const output_rows& y) {
        add_float_rows<view_type, arch>(view, first, last, float_inputs(inputs, input_order::by_block), map, y);
      });
      if (end - begin == 1) {
        add([&](const output_rows& y) { add_int8(std::true_type{}, y); });
      }
    });
  }
  return all;
}

TEST_CASE("parts of the rows are those of the whole, bit for bit, and touch no others", "[kernel]") {
  const auto whole = products(0, rows, 0, tokens);
  for (const auto& [first, last] : {std::pair<std::size_t, std::size_t>{0, 8}, {8, 11}, {20, 21}}) {
    const auto part = products(first, last, 0, tokens);
    for (std::size_t way = 0; way < whole.size(); ++way) {
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < whole[way].size(); ++i) {
        const bool inside = i % rows >= first && i % rows < last;
        wrong += part[way][i] == (inside ? whole[way][i] : 0.0F) ? 0U : 1U;
      }
      CAPTURE(first, last, way);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("parts of the tokens are those of the whole, bit for bit, one alone too", "[kernel]") {
  const auto whole = products(0, rows, 0, tokens);
  for (const auto& [begin, end] : {std::pair<std::size_t, std::size_t>{0, 2}, {2, 3}}) {
    const auto part = products(0, rows, begin, end);
    const bool is_single = end - begin == 1;
    REQUIRE(part.size() == (is_single ? 9U : 6U));
    for (std::size_t way = 0; way < part.size(); ++way) {
      // int8, float and, of a single token, int8 again; for each grid.
      const std::size_t in_whole = is_single ? way / 3 * 2 + way % 3 % 2 : way;
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < part[way].size(); ++i) {
        const std::size_t token = i / rows % tokens;
        wrong += part[way][i] == (token >= begin && token < end ? whole[in_whole][i] : 0.0F) ? 0U : 1U;
      }
      CAPTURE(begin, end, way);
      CHECK(wrong == 0);
    }
  }
}

}  // namespace
