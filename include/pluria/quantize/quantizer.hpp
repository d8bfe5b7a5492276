// SPDX-License-Identifier: MIT
#pragma once
// A quantizer puts the weights of a tensor on a grid: a number system, how large its granules are, and how far they
// reach.

#include <pluria/core/error.hpp>
#include <pluria/core/magnitude.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/scale.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/rows.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
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

template <number_system N, granularity G = per_channel, scale_method<N> Scale = absmax>
struct quantizer {
  using number = N;
  /// Whether weights may lie beyond their grid, where rounding is biased (saturation.hpp).
  static constexpr bool may_saturate = saturating_system<N> || Scale::clips;

  G granularity{};
  Scale scale{};

  /// The grid of a tensor of F32, F16 or BF16 weights, the same for any number of `threads` (0: all). Throws bad_input,
  /// naming tensor and index, for other types and for weights that are NaN, infinite or beyond the number system's
  /// reach. Needs memory for the floats of one row a thread, or of the tensor where that is the granule.
  tensor_grid<N> fit(const tensor& weights, int threads = 1) const {
    granule_map map = granularity.map(weights.shape());
    std::vector<typename N::granule> granules(map.size());
    if (map.is_whole()) {
      const std::vector<float> values = weights.to_floats();
      check(weights, values, 0);
      granules.front() = scale.fit(std::span<const float>(values), relative_to(largest_magnitude(values)));
      return {std::move(map), std::move(granules)};
    }
    granule_fit<N> fit_granule;
    if constexpr (two_level_system<N>) {
      fit_granule = relative_to(checked_largest(weights, threads));
    }
    for_each_row(weights, threads, [&](std::size_t row, std::span<const float> values) {
      if constexpr (!two_level_system<N>) {
        check(weights, values, row * values.size());
      }
      for (std::size_t column = 0; column < values.size();) {
        const std::size_t end = map.run_end(column);
        granules[map.index(row, column)] = scale.fit(values.subspan(column, end - column), fit_granule);
        column = end;
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

  // How granules of a tensor with this largest magnitude are fitted.
  static granule_fit<N> relative_to([[maybe_unused]] float largest) {
    if constexpr (two_level_system<N>) {
      return {N::tensor_scale(largest)};
    } else {
      return {};
    }
  }

  // A pass of its own, which checks the weights.
  static float checked_largest(const tensor& weights, int threads) {
    std::vector<float> in_row(weights.rows());
    for_each_row(weights, threads, [&](std::size_t row, std::span<const float> values) {
      check(weights, values, row * values.size());
      in_row[row] = largest_magnitude(values);
    });
    return largest_magnitude(in_row);
  }
};

}  // namespace pluria
