// SPDX-License-Identifier: MIT
// What matvec.cpp and matmul.cpp do not see of the loops: parts of the rows, parts of the tokens, and any number of
// members. The products themselves are compared with naive ones there.

#include <pluria/kernel/member_blocks.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/kernel/tile_products.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace pluria::detail;
using int5 = pluria::symmetric_int<5>;
constexpr std::size_t rows = 37;
constexpr std::size_t columns = 300;

const pluria::bernoulli rounding{.seed = 3};

template <granule_width Width>
pluria::shared_floor_tensor<int5> made_members(std::size_t members) {
  const auto weights = support::make_tensor(pluria::dtype::f32, "a.weight", {rows, columns},
                                            support::integer_weights(rows * columns, 1.0F, 5));
  const auto grid = Width == granule_width::row     ? support::fitted_grid<int5>(weights)
                    : Width == granule_width::group ? support::fitted_grid<int5>(weights, pluria::per_group(32))
                                                    : support::fitted_grid<int5>(weights, pluria::per_group(48));
  return pluria::sample_shared_floor<int5>(weights, grid, rounding, 0, members);
}

// Adds the products of rows first .. last - 1 of tokens begin .. end - 1, of `tokens` for each member.
template <granule_width Width, bool Single = false, class Arch = xsimd::default_arch>
std::vector<float> products(std::size_t members, std::size_t tokens, std::size_t first, std::size_t last,
                            std::size_t begin, std::size_t end) {
  const auto weights = made_members<Width>(members);
  const auto values = support::integer_weights(members * tokens * columns, 2.0F, 77);
  const pluria::input_rows inputs{values.data(), members * tokens, columns, columns};
  constexpr input_offsets kind = Width == granule_width::row     ? input_offsets::none
                                 : Width == granule_width::group ? input_offsets::of_pairs
                                                                 : input_offsets::of_fours;
  const auto codes = int8_inputs::made<Arch>(inputs, input_order::by_tile, int5::min_code, kind);
  std::vector<float> y(members * tokens * rows, 0.0F);
  add_int8_tiles<Single, Width, tile_view<int5>, Arch>(tile_view<int5>(weights), first, last, codes,
                                                       token_map{end - begin, tokens, begin},
                                                       output_rows{y.data() + begin * rows, rows, tokens});
  return y;
}

template <granule_width Width>
using of_width = std::integral_constant<granule_width, Width>;
using all_widths =
    std::tuple<of_width<granule_width::row>, of_width<granule_width::group>, of_width<granule_width::run>>;

TEMPLATE_LIST_TEST_CASE("parts of the tiles and tokens are those of the whole, bit for bit, and touch no others",
                        "[kernel]", all_widths) {
  constexpr granule_width width = TestType::value;
  const auto whole = products<width>(4, 3, 0, rows, 0, 3);
  for (const auto& [first, last] : {std::pair<std::size_t, std::size_t>{0, 16}, {16, 37}, {32, 33}}) {
    for (const auto& [begin, end] : {std::pair<std::size_t, std::size_t>{0, 3}, {0, 2}, {2, 3}}) {
      const auto part = products<width>(4, 3, first, last, begin, end);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < whole.size(); ++i) {
        const std::size_t token = i / rows % 3;
        const bool inside = i % rows >= first && i % rows < last && token >= begin && token < end;
        wrong += part[i] == (inside ? whole[i] : 0.0F) ? 0U : 1U;
      }
      CAPTURE(first, last, begin, end);
      CHECK(wrong == 0);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("a token of each member alone is that of many, bit for bit, for any number of members",
                        "[kernel]", all_widths) {
  constexpr granule_width width = TestType::value;
  for (const std::size_t members : {1U, 2U, 3U, 7U, 8U, 11U, 15U, 16U, 23U}) {
    CAPTURE(members);
    CHECK(products<width, true>(members, 1, 0, rows, 0, 1) == products<width>(members, 1, 0, rows, 0, 1));
  }
  // The last of several tokens, alone: inputs are not the members' then.
  for (const std::size_t members : {1U, 3U}) {
    CHECK(products<width, true>(members, 3, 0, rows, 2, 3) == products<width>(members, 3, 0, rows, 2, 3));
  }
}

TEST_CASE("every instruction set has the same integers", "[kernel]") {
  const auto usual = products<granule_width::row, true>(11, 1, 0, rows, 0, 1);
  CHECK(support::for_each_architecture([&](auto arch) {
          CAPTURE(decltype(arch)::name());
          CHECK(products<granule_width::row, true, decltype(arch)>(11, 1, 0, rows, 0, 1) == usual);
          CHECK(products<granule_width::row, false, decltype(arch)>(11, 1, 0, rows, 0, 1) == usual);
        }) >= 1);
}

}  // namespace
