// SPDX-License-Identifier: MIT
#pragma once
// Goes through the weights of a tensor row by row on several threads, in the memory for one row of floats a thread.

#include <pluria/core/parallel.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace pluria {

/// work(row, weights of the row as floats) for every row of a tensor, on `threads` threads (0: all). Throws bad_input
/// where the weights are not F32, F16 or BF16, and what `work` throws: of several the exception of the first row.
template <class Work>
void for_each_row(const tensor& weights, int threads, Work&& work) {
  const std::size_t columns = weights.columns();
  const std::size_t rows_at_once = 1 + (std::size_t{1} << 16) / (columns + 1);
  parallel_for((weights.rows() + rows_at_once - 1) / rows_at_once, threads, [&](std::size_t part) {
    std::vector<float> values(columns);
    for (std::size_t row = part * rows_at_once; row < std::min(weights.rows(), (part + 1) * rows_at_once); ++row) {
      weights.read(row * columns, values);
      work(row, std::span<const float>(values));
    }
  });
}

}  // namespace pluria
