// SPDX-License-Identifier: MIT
#pragma once
// The product of one token with a matrix in bfloat16 that is decoded as it is read: what a model in the format it came
// in takes, on the same kind of kernel as the members of an ensemble.

#include <pluria/core/lanes.hpp>
#include <pluria/core/parallel.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <xsimd/xsimd.hpp>

namespace bench {

using namespace pluria;

// Calls run(first, last) for the rows of each thread.
template <class Run>
void for_rows(std::size_t rows, int threads, Run&& run) {
  const auto parts = static_cast<std::size_t>(threads);
  parallel_for<division::dealt>(parts, threads,
                                [&](std::size_t part) { run(rows * part / parts, rows * (part + 1) / parts); });
}

/// Even and odd inputs of every two batches apart, as add_bfloat16_rows takes them.
inline void sort_inputs(std::span<const float> x, std::span<float> sorted) {
  constexpr std::size_t width = xsimd::batch<float>::size;
  for (std::size_t column = 0; column < x.size(); ++column) {
    const std::size_t in_pair = column % (2 * width);
    sorted[column - in_pair + in_pair % 2 * width + in_pair / 2] = x[column];
  }
}

/// y += products of rows first .. last - 1, a multiple of 8 of them, of columns a multiple of 32. A panel of rows goes
/// through the columns together, so that an input is loaded once for all of them; a word holds two neighbours, which
/// are floats after a shift and a mask, and meets inputs sorted into even and odd ones. The same columns of the next
/// panel are asked for ahead.
inline void add_bfloat16_rows(const std::uint16_t* weights, std::size_t first, std::size_t last, std::size_t columns,
                              const float* sorted_inputs, float* y) {
  using floats = xsimd::batch<float>;
  using words = xsimd::batch<std::uint32_t>;
  constexpr std::size_t width = floats::size;
  constexpr std::size_t rows = width == 16 ? 8 : 4;  // two sums each in half of the registers
  for (std::size_t row = first; row < last; row += rows) {
    std::array<std::array<floats, 2>, rows> sums;
    for (auto& of_row : sums) {
      of_row = {floats(0.0F), floats(0.0F)};
    }
    const std::uint16_t* const panel = weights + row * columns;
    for (std::size_t column = 0; column < columns; column += 2 * width) {
      const floats even = floats::load_aligned(sorted_inputs + column);
      const floats odd = floats::load_aligned(sorted_inputs + column + width);
      lanes::unrolled<rows>([&](auto r) {
        const std::uint16_t* const place = panel + r * columns + column;
        lanes::request_line(place + rows * columns);
        const words both = words::load_aligned(reinterpret_cast<const std::uint32_t*>(place));
        sums[r][0] = xsimd::fma(lanes::as<float>(both << 16), even, sums[r][0]);
        sums[r][1] = xsimd::fma(lanes::as<float>(both & words(0xffff0000U)), odd, sums[r][1]);
      });
    }
    for (std::size_t r = 0; r < rows; ++r) {
      alignas(64) std::array<float, width> parts;
      (sums[r][0] + sums[r][1]).store_aligned(parts.data());
      y[row + r] += std::accumulate(parts.begin(), parts.end(), 0.0F);
    }
  }
}

}  // namespace bench
