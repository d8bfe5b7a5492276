// SPDX-License-Identifier: MIT
#pragma once
// How many weights lie beyond their grid. All members have the outermost value in their place, so their mean is not the
// weight: Bernoulli rounding is biased for these weights, and for no others.

#include <pluria/core/error.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/rows.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace pluria {

/// How many weights of a tensor lie beyond the outermost values of their granules, by more than the 2^-17 of a step
/// that a position does not resolve: within it lie weights whose scale was rounded, such as the largest of a
/// symmetric_int. The same for any number of `threads` (0: all). Throws bad_input for tensors that are not F32, F16 or
/// BF16, precondition_error where the grid is not of the tensor's size.
template <number_system N>
std::size_t saturated_weights(const tensor& weights, const tensor_grid<N>& grid, int threads = 1) {
  require(grid.map.rows() == weights.rows() && grid.map.columns() == weights.columns(),
          "saturated_weights: the grid must have the tensor's rows and columns");
  std::vector<std::size_t> in_row(weights.rows());
  for_each_row(weights, threads, [&](std::size_t row, std::span<const float> values) {
    for (std::size_t column = 0; column < values.size();) {
      const std::size_t end = grid.map.run_end(column);
      const typename N::granule& granule = grid.at(row, column);
      // The outermost value of a side, and the tolerance further; values fall with the code where scales are negative.
      const auto limit = [&](std::int32_t outermost, std::int32_t neighbour) {
        const double value = N::decode(outermost, granule);
        return value + (value - static_cast<double>(N::decode(neighbour, granule))) * 0x1p-17;
      };
      const auto ends = std::minmax({limit(N::min_code, N::min_code + 1), limit(N::max_code, N::max_code - 1)});
      in_row[row] += static_cast<std::size_t>(std::count_if(
          values.begin() + static_cast<std::ptrdiff_t>(column), values.begin() + static_cast<std::ptrdiff_t>(end),
          [&](double weight) { return weight < ends.first || weight > ends.second; }));
      column = end;
    }
  });
  return std::accumulate(in_row.begin(), in_row.end(), std::size_t{0});
}

}  // namespace pluria
