// SPDX-License-Identifier: MIT
#pragma once
// A quantizer puts the weights of a tensor on a grid: a number system, and how large its granules are. The scale is the
// number system's own fit, absmax for symmetric_int.

#include <pluria/core/error.hpp>
#include <pluria/core/magnitude.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pluria {

/// Throws bad_input, naming tensor and index, at the first weight that is NaN or infinite; `first` is the index of
/// values[0] in the tensor.
inline void check_finite(const tensor& weights, std::span<const float> values, std::size_t first) {
  if (std::isfinite(largest_magnitude(values))) [[likely]] {
    return;
  }
  const auto found = std::find_if_not(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
  const auto index = first + static_cast<std::size_t>(found - values.begin());
  throw bad_input(mismatch_message(weights.where() + ", index " + std::to_string(index), "a finite weight",
                                   std::to_string(*found)));
}

/// Throws bad_input, naming tensor and index, at the first (finite) weight beyond the reach of the number system.
template <bounded_system N>
void check_reach(const tensor& weights, std::span<const float> values, std::size_t first) {
  if (largest_magnitude(values) <= N::largest_weight) [[likely]] {
    return;
  }
  const auto found =
      std::find_if(values.begin(), values.end(), [](float value) { return std::abs(value) > N::largest_weight; });
  const auto index = first + static_cast<std::size_t>(found - values.begin());
  throw bad_input(mismatch_message(weights.where() + ", index " + std::to_string(index),
                                   "a magnitude of at most " + std::to_string(N::largest_weight) + " for " + N::name(),
                                   std::to_string(*found)));
}

template <number_system N, granularity G = per_channel>
struct quantizer {
  using number = N;
  G granularity{};

  /// The grid of a tensor of F32, F16 or BF16 weights, the same for any number of `threads` (0: all). Throws bad_input,
  /// naming tensor and index, for other types and for weights that are NaN, infinite or beyond the number system's
  /// reach. Needs memory for the floats of one row a thread, or of the tensor where that is the granule.
  tensor_grid<N> fit(const tensor& weights, int threads = 1) const {
    granule_map map = granularity.map(weights.rows(), weights.columns());
    std::vector<typename N::granule> granules(map.size());
    if (map.is_whole()) {
      const std::vector<float> values = weights.to_floats();
      check(weights, values, 0);
      granules.front() = N::fit(values);
      return {std::move(map), std::move(granules)};
    }
    const std::size_t columns = weights.columns();
    const std::size_t rows_at_once = 1 + (std::size_t{1} << 16) / (columns + 1);
    parallel_for((weights.rows() + rows_at_once - 1) / rows_at_once, threads, [&](std::size_t part) {
      std::vector<float> values(columns);
      for (std::size_t row = part * rows_at_once; row < std::min(weights.rows(), (part + 1) * rows_at_once); ++row) {
        weights.read(row * columns, values);
        check(weights, values, row * columns);
        for (std::size_t column = 0; column < columns;) {
          const std::size_t end = map.run_end(column);
          granules[map.index(row, column)] = N::fit(std::span<const float>(values).subspan(column, end - column));
          column = end;
        }
      }
    });
    return {std::move(map), std::move(granules)};
  }

 private:
  static void check(const tensor& weights, std::span<const float> values, std::size_t first) {
    check_finite(weights, values, first);
    if constexpr (bounded_system<N>) {
      check_reach<N>(weights, values, first);
    }
  }
};

}  // namespace pluria
