// SPDX-License-Identifier: MIT
#pragma once
// How far the grid of a granule reaches: to its weight of largest magnitude (absmax), or less far, so that steps are
// finer and the weights beyond are clipped. Every number system is fitted by its own fit, to the weights clamped to the
// reach. A clipped weight has the outermost value in every member: Bernoulli rounding (BSR) is biased for it, and for
// no other. saturation.hpp counts them.
//
// Least squares (range setting in Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 3.1). A
// weight at the distances a and b from its neighbours, a + b = step, is off by a squared error of
//
//   min(a, b)^2   when it is rounded to nearest (RTN); step^2 / 12 on average over a cell
//   a b           expected of BSR, which goes up with probability a / step; step^2 / 6 on average
//
// and a clipped weight by its distance from the outermost value, squared, either way. Shorter reach means finer steps,
// and more clipping: RTN's best reach minimizes clipping + noise, BSR's clipping + 2 noise, where noise grows with the
// reach. So BSR's best reach is the shorter, and each rounding has its own.

#include <pluria/core/error.hpp>
#include <pluria/core/magnitude.hpp>
#include <pluria/number/concept.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pluria {

/// N::fit, relative to the scale that the tensor shares where the system has one.
template <number_system N>
struct granule_fit {
  float tensor_scale = 0.0F;  ///< of a two_level_system

  typename N::granule operator()(std::span<const float> weights) const {
    if constexpr (two_level_system<N>) {
      return N::fit(weights, tensor_scale);
    } else {
      return N::fit(weights);
    }
  }
};

/// How the granule of some (finite) weights is chosen. Law: scale.fit(weights, fit) is fit(the weights clamped to some
/// magnitude), and fit(weights) where S does not clip.
template <class S, class N>
concept scale_method = number_system<N> && std::copyable<S> &&
    requires(const S& scale, std::span<const float> weights, const granule_fit<N>& fit) {
  { S::clips } -> std::convertible_to<bool>;
  { scale.name() } -> std::convertible_to<std::string>;
  { scale.fit(weights, fit) } -> std::same_as<typename N::granule>;
};

/// The number system's own fit: no weight is clipped unless the system itself saturates.
struct absmax {
  static constexpr bool clips = false;
  static std::string name() { return "absmax"; }

  template <number_system N>
  typename N::granule fit(std::span<const float> weights, const granule_fit<N>& fit) const {
    return fit(weights);
  }
};

namespace detail {

inline void clamp_magnitudes(std::span<const float> weights, float reach, std::vector<float>& clamped) {
  clamped.resize(weights.size());
  std::transform(weights.begin(), weights.end(), clamped.begin(),
                 [reach](float weight) { return std::clamp(weight, -reach, reach); });
}

}  // namespace detail

/// Reaches to the ceil(percent n / 100)-th smallest of the n magnitudes, so that at most 100 - percent of a hundred
/// weights are clipped. Nothing is interpolated: the reach is the magnitude of a weight.
class percentile {
 public:
  static constexpr bool clips = true;

  /// Throws precondition_error unless 0 < percent <= 100.
  explicit constexpr percentile(double percent) : percent_(percent) {
    require(percent > 0.0 && percent <= 100.0, "percentile: above 0, and at most 100");
  }
  constexpr double percent() const noexcept { return percent_; }

  /// "percentile:99.9"
  std::string name() const {
    std::array<char, 32> digits;
    const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), percent_);
    return "percentile:" + std::string(digits.data(), written.ptr);
  }

  template <number_system N>
  typename N::granule fit(std::span<const float> weights, const granule_fit<N>& fit) const {
    if (weights.empty()) {
      return fit(weights);
    }
    std::vector<float> values(weights.size());
    std::transform(weights.begin(), weights.end(), values.begin(), [](float weight) { return std::abs(weight); });
    const auto count = static_cast<double>(values.size());
    const auto rank = static_cast<std::ptrdiff_t>(std::clamp(std::ceil(percent_ * count / 100.0), 1.0, count));
    const auto place = values.begin() + (rank - 1);
    std::nth_element(values.begin(), place, values.end());
    const float reach = *place;
    detail::clamp_magnitudes(weights, reach, values);
    return fit(values);
  }

 private:
  double percent_;
};

/// The squared error of a weight at these distances from its two neighbours, or twice from the only one.
struct nearest_error {
  static constexpr const char* name = "nearest";
  // Of the squares, not of the distances: that g++ makes a branch, and the loop takes 6 times as long.
  static double squared(double below, double above) noexcept { return std::min(below * below, above * above); }
};
struct bernoulli_error {
  static constexpr const char* name = "bernoulli";
  static double squared(double below, double above) noexcept { return below * above; }
};

/// The reach of least squared error among the 61 of i/64 of the largest magnitude, i = 64, 63, ..., 4; of equal errors
/// the longest.
//
// All are tried: the error has many local minima, as weights pass from one cell to the next and stored scales jump, so
// that a golden section may end in any. Up to 4 bits, the best of them is within 4 % of the least error of all reaches,
// also in groups of 32; (15/16)^i, i = 0..43, is within 12 %. With 8 bits, groups of 32 have up to 1.6 times the least:
// there a weight's place within its tiny cell is luck.
template <class Error>
struct least_squares {
  static constexpr bool clips = true;
  static std::string name() { return std::string("mse:") + Error::name; }

  template <number_system N>
  typename N::granule fit(std::span<const float> weights, const granule_fit<N>& fit) const {
    const float largest = largest_magnitude(weights);
    typename N::granule best = fit(weights);
    typename N::granule last = best;
    double least = squared_error<N>(weights, best);
    std::vector<float> clamped;
    for (int i = 63; i >= 4; --i) {
      detail::clamp_magnitudes(weights, largest * (static_cast<float>(i) / 64.0F), clamped);
      const typename N::granule next = fit(clamped);
      if (next == last) {  // stored scales have few bits
        continue;
      }
      last = next;
      const double error = squared_error<N>(weights, next);
      if (error < least) {
        least = error;
        best = next;
      }
    }
    return best;
  }

  /// The sum of the weights' squared errors on a granule.
  //
  // Every machine gets the same bits, and so the same granule. Distances are floats, so that their products are exact
  // in double, and fusing product and sum changes nothing. Values are stored before distances are taken: in one
  // expression, clang with -ffp-contract=fast fuses the product of decode and the difference, through a conversion.
  template <number_system N>
  static double squared_error(std::span<const float> weights, const typename N::granule& granule) noexcept {
    constexpr std::size_t at_once = 64;
    std::array<float, at_once> below;
    std::array<float, at_once> above;
    std::array<double, at_once> errors;
    double sum = 0.0;
    while (!weights.empty()) {
      const auto part = weights.first(std::min(weights.size(), at_once));
      for (std::size_t i = 0; i < part.size(); ++i) {
        // A weight on its grid, or beyond it, never moves: its only neighbour is both.
        const std::int32_t position = N::position(part[i], granule);
        below[i] = N::decode(position >> 16, granule);
        above[i] = N::decode((position + 0xffff) >> 16, granule);
      }
      for (std::size_t i = 0; i < part.size(); ++i) {
        errors[i] = Error::squared(distance(below[i], part[i]), distance(above[i], part[i]));
      }
      for (std::size_t i = 0; i < part.size(); ++i) {
        sum += errors[i];
      }
      weights = weights.subspan(part.size());
    }
    return sum;
  }

 private:
  static double distance(float value, float weight) noexcept {
    return static_cast<double>(static_cast<float>(std::abs(static_cast<double>(value) - static_cast<double>(weight))));
  }
};

/// The least squared error of rounding to nearest.
using mse_nearest = least_squares<nearest_error>;
/// The least expected squared error of a member of Bernoulli rounding.
using mse_bernoulli = least_squares<bernoulli_error>;

}  // namespace pluria
