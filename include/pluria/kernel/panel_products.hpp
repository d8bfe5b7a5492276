// SPDX-License-Identifier: MIT
#pragma once
// The products of panels of rows (panel_reader.hpp) with the two kinds of activations: int8 with one granule a row,
// int8 with several, float32.

#include <pluria/core/bytes.hpp>
#include <pluria/core/dot_sums.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/sums.hpp>
#include <pluria/kernel/block_scales.hpp>
#include <pluria/kernel/block_values.hpp>
#include <pluria/kernel/inputs.hpp>
#include <pluria/kernel/panel_reader.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/tensor/packing.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria::detail {

// Adds the first `rows` results of a panel.
PLURIA_INLINE void add_rows(const std::array<float, panel_rows>& results, std::size_t rows, float* out) {
  for (std::size_t r = 0; r < rows; ++r) {
    out[r] += results[r];
  }
}

// Rows first .. last - 1 of the products with int8 inputs, where a row has one granule: sums in integers.
template <bool Single, class View, class Arch>
[[gnu::noinline]] void add_int8_rows(const View& view, std::size_t first, std::size_t last, const int8_inputs& x,
                                     const token_map& map, const output_rows& y) {
  using number = typename View::number;
  using ints = lanes::ints<Arch>;
  using unpacked = unpacked_block<Arch>;
  constexpr std::size_t width = unpacked::width;
  const std::size_t members = view.members();
  const block_scales<number> scales(view.grid());
  constexpr std::size_t rows_at_once = rows_in_registers<Arch>;
  for_each_panel<std::int32_t, Arch, rows_at_once>(
      view, first, last, map, y,
      [&](std::size_t, std::size_t index, const auto& block, std::int32_t* sums) PLURIA_INLINE_LAMBDA {
        const std::uint32_t* const values_of_block = x.at(index, 0);
        for_each_product<Single, View, Arch, rows_at_once>(
            block, members, map,
            [&](std::size_t input, std::size_t product, const auto& codes_of) PLURIA_INLINE_LAMBDA {
              const auto values = load_bytes<Arch>(values_of_block + input * (block_size / 4));
              lanes::unrolled<rows_at_once>([&](auto r) PLURIA_INLINE_LAMBDA {
                const auto& codes = codes_of(r);
                std::int32_t* const sum = sums + product * sums_of_panel<View> + 16 * r;
                lanes::unrolled<unpacked::slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
                  ints total = ints::load_aligned(sum + width * slice);
                  lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
                    total = lanes::plus_dot<number::bits>(total, codes[half][slice], values[half][slice]);
                  });
                  total.store_aligned(sum + width * slice);
                });
              });
            });
      },
      [&](std::size_t row, std::size_t rows) PLURIA_INLINE_LAMBDA {
        std::array<float, panel_rows> row_scales{};
        for (std::size_t r = 0; r < rows; ++r) {
          row_scales[r] = scales.of_row(row + r);
        }
        // All rows of a panel whether they are there or not: compilers turn the loop into batches.
        return [&x, row_scales, rows](std::size_t input, const std::int32_t* sums, std::size_t stride, float* out)
                   PLURIA_INLINE_LAMBDA {
                     const std::array<std::int32_t, panel_rows> totals = lanes::sums_of_16(sums, stride);
                     const std::int32_t offset = number::min_code * x.sum(input);
                     const float scale = x.scale(input);
                     std::array<float, panel_rows> results;
                     for (std::size_t r = 0; r < panel_rows; ++r) {
                       results[r] = scale * row_scales[r] * static_cast<float>(totals[r] + offset);
                     }
                     add_rows(results, rows, out);
                   };
      });
}

// The same where granules are smaller than rows: sums of a block in integers, of blocks in floats. `Paired` where both
// halves of a block have the same granules: then they are summed together in integers.
template <bool Single, bool Paired, class View, class Arch>
[[gnu::noinline]] void add_grouped_int8_rows(const View& view, std::size_t first, std::size_t last,
                                             const int8_inputs& x, const token_map& map, const output_rows& y) {
  using number = typename View::number;
  using ints = lanes::ints<Arch>;
  using floats = lanes::floats<Arch>;
  using unpacked = unpacked_block<Arch>;
  constexpr std::size_t width = unpacked::width;
  constexpr std::size_t sums_at_once = Paired ? 1 : 2;
  const std::size_t members = view.members();
  const block_scales<number> scales_of(view.grid());
  constexpr std::size_t rows_at_once = rows_in_registers<Arch>;
  for_each_panel<float, Arch, rows_at_once>(
      view, first, last, map, y,
      [&](std::size_t row, std::size_t index, const auto& block, float* sums) PLURIA_INLINE_LAMBDA {
        std::array<std::array<floats, 2>, rows_at_once> scales;
        lanes::unrolled<rows_at_once>([&](auto r) PLURIA_INLINE_LAMBDA {
          scales[r] = scales_of.template by_words<Arch>(std::min(row + r, last - 1), index);
          scales_of.request(row + r + panel_rows, index);
        });
        const std::uint32_t* const values_of_block = x.at(index, 0);
        const std::int32_t* const offsets_of_block = x.offsets(index, 0);
        for_each_product<Single, View, Arch, rows_at_once>(
            block, members, map,
            [&](std::size_t input, std::size_t product, const auto& codes_of) PLURIA_INLINE_LAMBDA {
              const auto values = load_bytes<Arch>(values_of_block + input * (block_size / 4));
              const std::int32_t* const offsets = offsets_of_block + input * (16 * sums_at_once);
              std::array<std::array<ints, unpacked::slices>, sums_at_once> none;
              lanes::unrolled<sums_at_once>([&](auto half) PLURIA_INLINE_LAMBDA {
                lanes::unrolled<unpacked::slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
                  none[half][slice] = ints::load_aligned(offsets + 16 * half + width * slice);
                });
              });
              lanes::unrolled<rows_at_once>([&](auto r) PLURIA_INLINE_LAMBDA {
                const auto& codes = codes_of(r);
                float* const sum = sums + product * sums_of_panel<View> + 16 * r;
                lanes::unrolled<unpacked::slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
                  floats total = floats::load_aligned(sum + width * slice);
                  ints of_block = none[0][slice];
                  lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
                    if constexpr (!Paired) {
                      of_block = none[half][slice];
                    }
                    of_block = lanes::plus_dot<number::bits>(of_block, codes[half][slice], values[half][slice]);
                    if constexpr (!Paired || half == 1) {
                      total = lanes::multiply_add<Arch>(xsimd::to_float(of_block), scales[r][half], total);
                    }
                  });
                  total.store_aligned(sum + width * slice);
                });
              });
            });
      },
      [&](std::size_t, std::size_t rows) PLURIA_INLINE_LAMBDA {
        return [&x, rows](std::size_t input, const float* sums, std::size_t stride, float* out) PLURIA_INLINE_LAMBDA {
          const float scale = x.scale(input);
          std::array<float, panel_rows> results = lanes::sums_of_16(sums, stride);
          for (float& result : results) {
            result *= scale;
          }
          add_rows(results, rows, out);
        };
      });
}

// Rows first .. last - 1 of the products with float inputs.
template <class View, class Arch>
[[gnu::noinline]] void add_float_rows(const View& view, std::size_t first, std::size_t last, const float_inputs& x,
                                      const token_map& map, const output_rows& y) {
  using number = typename View::number;
  using floats = lanes::floats<Arch>;
  using unpacked = unpacked_block<Arch>;
  constexpr std::size_t width = unpacked::width;
  constexpr std::size_t slices = unpacked::slices;
  constexpr std::size_t batches = 64 / width;  // of a half
  const std::size_t members = view.members();
  block_values<number, Arch> values_of(view.grid());
  for_each_panel<float, Arch, 1>(
      view, first, last, map, y,
      [&](std::size_t row, std::size_t index, const auto& block, float* sums) PLURIA_INLINE_LAMBDA {
        alignas(64) std::array<std::uint8_t, block_size> codes;
        store_bytes<Arch>(block[0].floors, codes.data());
        const auto weights = values_of.template of_block<View::has_planes>(row, index, codes.data());
        std::array<std::array<floats, batches>, 2> low;
        std::array<std::array<floats, batches>, 2> high;
        lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
          lanes::unrolled<batches>([&](auto batch) PLURIA_INLINE_LAMBDA {
            low[half][batch] = weights.template at<0>(half, batch);
            if constexpr (View::has_planes) {
              high[half][batch] = weights.template at<1>(half, batch);
            }
          });
        });
        const float* const values_of_block = x.at(index, 0);
        for (std::size_t m = 0; m < members; ++m) {
          for (std::size_t t = 0; t < map.tokens; ++t) {
            const float* values = values_of_block + map.input(m, t) * block_size;
            float* sum = sums + (m * map.tokens + t) * sums_of_panel<View>;
            lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
              std::array<floats, 2> totals{floats::load_aligned(sum + width * slice), floats(0.0F)};
              lanes::unrolled<4>([&](auto a) PLURIA_INLINE_LAMBDA {
                lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
                  constexpr std::size_t batch = slices * a + slice;
                  constexpr std::size_t place = 64 * half + width * batch;
                  floats weight = low[half][batch];
                  if constexpr (View::has_planes) {
                    weight = lanes::choose(block[0].planes + 16 * m, place, high[half][batch], weight);
                  }
                  totals[half] = lanes::multiply_add<Arch>(weight, floats::load_aligned(values + place), totals[half]);
                });
              });
              (totals[0] + totals[1]).store_aligned(sum + width * slice);
            });
          }
        }
      },
      [&](std::size_t, std::size_t rows) PLURIA_INLINE_LAMBDA {
        return [rows](std::size_t, const float* sums, std::size_t stride, float* out)
                   PLURIA_INLINE_LAMBDA { add_rows(lanes::sums_of_16(sums, stride), rows, out); };
      });
}

}  // namespace pluria::detail
