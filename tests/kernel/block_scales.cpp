// SPDX-License-Identifier: MIT

#include <pluria/core/aligned_vector.hpp>
#include <pluria/kernel/block_scales.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/naive_packing.hpp>
#include <support/tensor_grids.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace {

using pluria::granule_map;
using int4 = pluria::symmetric_int<4>;

// How many elements of a tensor get another scale than the grid's, by places and by words.
template <class Number, class Arch>
std::size_t wrong_scales(const granule_map& map) {
  using floats = xsimd::batch<float, Arch>;
  const auto shared = support::made_grid<Number>(map);  // a scale of its own for every granule
  const pluria::tensor_grid<Number>& grid = *shared;
  const pluria::detail::block_scales<Number> scales(grid);
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < map.rows(); ++row) {
    for (std::size_t index = 0; index < pluria::blocks_per_row(map.columns()); ++index) {
      const auto places = scales.template by_places<Arch>(row, index);
      const auto words = scales.template by_words<Arch>(row, index);
      for (std::size_t e = 0; e < 128 && 128 * index + e < map.columns(); ++e) {
        const float expected = grid.at(row, 128 * index + e).scale;
        const std::size_t place = support::naive_place(e);
        alignas(64) std::array<float, floats::size> lanes;
        places[place / 64][place % 16 / floats::size].store_aligned(lanes.data());
        wrong += lanes[place % floats::size] == expected ? 0U : 1U;
        words[place / 64].store_aligned(lanes.data());
        wrong += lanes[place / 4 % floats::size] == expected ? 0U : 1U;
      }
    }
  }
  return wrong;
}

// How many elements of 16 rows from `first` on get another scale than the grid's, by tiles; one more where scales are
// gathered though they lie so, or the other way.
template <class Number, pluria::detail::granule_width Width>
std::size_t wrong_in_tiles(const granule_map& map, std::size_t first, bool lie_so) {
  const auto shared = support::made_grid<Number>(map);
  const pluria::detail::block_scales<Number> scales(*shared);
  constexpr std::size_t width = Width == pluria::detail::granule_width::run ? 16 : 32;
  pluria::aligned_vector<typename pluria::detail::block_scales<Number>::tile_scale> space;
  const auto* const found = scales.template of_tiles<Width>(first, space);
  std::size_t wrong = space.empty() == lie_so ? 0U : 1U;
  for (std::size_t row = 0; row < 16 && first + row < map.rows(); ++row) {
    for (std::size_t column = 0; column < map.columns(); ++column) {
      wrong += found[column / width * 16 + row] == shared->at(first + row, column).scale ? 0U : 1U;
    }
  }
  return wrong;
}

TEST_CASE("every row of a tile meets the scales of its groups, or runs", "[kernel]") {
  using pluria::detail::granule_width;
  using half4 = pluria::half_symmetric_int<4>;
  for (const std::size_t columns : {1U, 128U, 300U, 512U, 1100U}) {
    for (const std::size_t first : {0U, 16U, 32U}) {
      CAPTURE(columns, first);
      for (const std::size_t group : {16U, 32U, 48U, 64U}) {
        const granule_map map = granule_map::groups(37, columns, std::min<std::size_t>(group, columns));
        for (const granule_map& placed : {map, map.in_tiles()}) {
          const auto lie_so = [&](std::size_t width) {
            return placed.is_in_tiles() && group == width && (columns + width - 1) / width % (128 / width) == 0;
          };
          if (group % 32 == 0) {
            CHECK(wrong_in_tiles<int4, granule_width::group>(placed, first, lie_so(32)) == 0);
            CHECK(wrong_in_tiles<half4, granule_width::group>(placed, first, lie_so(32)) == 0);
          }
          CHECK(wrong_in_tiles<int4, granule_width::run>(placed, first, lie_so(16)) == 0);
          CHECK(wrong_in_tiles<half4, granule_width::run>(placed, first, lie_so(16)) == 0);
        }
      }
    }
  }
}

TEST_CASE("every element meets the scale of its granule, as a place and in its word", "[kernel]") {
  CHECK(support::for_each_architecture([](auto arch) {
          using arch_type = decltype(arch);
          for (const std::size_t rows : {1U, 3U, 19U}) {
            for (const std::size_t columns : {1U, 20U, 128U, 256U, 300U, 512U}) {
              for (const granule_map& map : support::all_maps(rows, columns)) {
                CAPTURE(arch_type::name(), rows, columns, map.size());
                CHECK(wrong_scales<int4, arch_type>(map) == 0);
                CHECK(wrong_scales<pluria::half_symmetric_int<4>, arch_type>(map) == 0);
                CHECK(wrong_scales<int4, arch_type>(map.in_tiles()) == 0);
                CHECK(wrong_scales<pluria::half_symmetric_int<4>, arch_type>(map.in_tiles()) == 0);
              }
            }
          }
        }) > 0);
}

TEST_CASE("rows have one granule unless groups divide them", "[kernel]") {
  using pluria::detail::has_row_granules;
  CHECK(has_row_granules(granule_map::whole(3, 300)));
  CHECK(has_row_granules(granule_map::groups(3, 300, 300)));
  CHECK(has_row_granules(granule_map::groups(3, 300, 512)));
  CHECK_FALSE(has_row_granules(granule_map::groups(3, 300, 32)));
  CHECK_FALSE(has_row_granules(granule_map::groups(1, 300, 288)));
  CHECK(has_row_granules(granule_map::groups(3, 0, 32)));
}

TEST_CASE("halves of a block have the same scales where granules are multiples of 32", "[kernel]") {
  using pluria::detail::has_paired_granules;
  for (const std::size_t columns : {20U, 128U, 300U, 512U}) {
    for (const granule_map& map : support::all_maps(3, columns)) {
      const auto grid = support::made_grid<int4>(map);
      const pluria::detail::block_scales<int4> scales(*grid);
      std::size_t different = 0;
      for (std::size_t index = 0; index < pluria::blocks_per_row(columns); ++index) {
        const auto words = scales.by_words<xsimd::default_arch>(1, index);
        different += xsimd::all(words[0] == words[1]) ? 0U : 1U;
      }
      CAPTURE(columns, map.size());
      CHECK(has_paired_granules(map) == (different == 0));
    }
  }
  CHECK(has_paired_granules(granule_map::groups(3, 300, 96)));
  CHECK_FALSE(has_paired_granules(granule_map::groups(3, 300, 48)));
}

}  // namespace
