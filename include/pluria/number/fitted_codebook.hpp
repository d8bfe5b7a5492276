// SPDX-License-Identifier: MIT
#pragma once
// Codebooks that are fitted to the weights: 2^b points, stored in the granule, of least squared error under a rounding.
//
//   k_means         of rounding to nearest: Lloyd's iteration in one dimension (Lloyd, "Least Squares Quantization in
//                   PCM", 1982; for weights with their importance Kim et al., "SqueezeLLM", ICML 2024)
//   least_variance  of Bernoulli rounding, whose error at w between points a <= w <= b is (w - a)(b - w) in the mean
//
// The outermost points of k_means lie inside the weights: it saturates. Those of least_variance are the extreme
// weights.

#include <pluria/core/error.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/concept.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pluria {

/// The different ones among some weights, ascending, and sums over the first of them, in double: 28 bytes a weight.
//
// No product is added to anything that it could be fused with: the sums, and what is fitted by them, are the same bits
// for every compiler. (The product of two floats is exact in double.)
class sorted_weights {
 public:
  /// Each weight counts `importance` times, which is not negative; once where there is none. Throws precondition_error
  /// when there are neither as many as weights nor none.
  explicit sorted_weights(std::span<const float> weights, std::span<const float> importance = {}) {
    require(importance.empty() || importance.size() == weights.size(), "codebook: one importance for every weight");
    std::vector<std::pair<float, float>> sorted(weights.size());
    for (std::size_t i = 0; i < weights.size(); ++i) {
      sorted[i] = {weights[i] + 0.0F, importance.empty() ? 1.0F : importance[i]};  // -0 becomes 0
    }
    std::sort(sorted.begin(), sorted.end());
    double mass = 0.0;
    std::vector<double> own;  // importance * weight of each
    for (const auto& [weight, times] : sorted) {
      if (values_.empty() || values_.back() != weight) {
        values_.push_back(weight);
        masses_.push_back(mass);
        own.push_back(0.0);
      }
      mass += static_cast<double>(times);
      own.back() += static_cast<double>(times) * static_cast<double>(weight);
    }
    masses_.push_back(mass);
    // From the middle outwards, so that an outlier on either side swallows no sums but those that it is in.
    const std::size_t middle = own.size() / 2;
    moments_.assign(own.size() + 1, 0.0);
    for (std::size_t i = middle; i < own.size(); ++i) {
      moments_[i + 1] = moments_[i] + own[i];
    }
    for (std::size_t i = middle; i > 0; --i) {
      moments_[i - 1] = moments_[i] - own[i - 1];
    }
  }

  std::size_t size() const noexcept { return values_.size(); }
  float operator[](std::size_t index) const noexcept { return values_[index]; }

  /// How many of them are at most `bound`.
  std::size_t count_to(double bound) const noexcept {
    const auto above = std::upper_bound(values_.begin(), values_.end(), bound,
                                        [](double b, float value) { return b < static_cast<double>(value); });
    return static_cast<std::size_t>(above - values_.begin());
  }

  /// The importance of first, ..., last - 1, and their mean where that is not zero.
  double mass(std::size_t first, std::size_t last) const noexcept { return masses_[last] - masses_[first]; }
  double mean(std::size_t first, std::size_t last) const noexcept {
    return (moments_[last] - moments_[first]) / mass(first, last);
  }

  /// The first of first, ..., last - 1 up to which, itself included, `target` of importance lies; the last one if none.
  std::size_t reaching(std::size_t first, std::size_t last, double target) const noexcept {
    const auto begin = masses_.begin() + static_cast<std::ptrdiff_t>(first) + 1;
    const auto end = masses_.begin() + static_cast<std::ptrdiff_t>(last);
    const double before = masses_[first];
    const auto found = std::partition_point(begin, end, [&](double mass_to) { return mass_to - before < target; });
    return static_cast<std::size_t>(found - masses_.begin()) - 1;
  }

 private:
  std::vector<float> values_;
  std::vector<double> masses_;   // of all before, and one more
  std::vector<double> moments_;  // sums of importance * weight, from the middle on, and one more
};

/// Least squared error of rounding to nearest.
struct k_means {
  static constexpr const char* name = "k-means";
  static constexpr bool saturates = true;

  /// One iteration: every point moves to the mean of the weights that it is nearest to, the lower one of two; a point
  /// without weights stays. Whether any has moved.
  static bool improve(const sorted_weights& weights, std::span<double> points) {
    bool has_moved = false;
    std::size_t first = 0;
    for (std::size_t i = 0; i < points.size(); ++i) {
      const bool is_last = i + 1 == points.size();
      const std::size_t end = is_last ? weights.size() : weights.count_to(0.5 * (points[i] + points[i + 1]));
      if (weights.mass(first, end) > 0.0) {
        const double mean = weights.mean(first, end);
        has_moved = has_moved || mean != points[i];
        points[i] = mean;
      }
      first = end;
    }
    return has_moved;
  }
};

/// Least expected squared error of Bernoulli rounding, which has no bias here: its variance.
struct least_variance {
  static constexpr const char* name = "fitted";
  static constexpr bool saturates = false;

  /// One sweep: every inner point moves to where the error is least, given its neighbours. Whether any has moved.
  //
  // Between its neighbours l and r a point t adds the error
  //
  //   F(t) = sum over l < w <= t of (w - l)(t - w)  +  sum over t < w <= r of (w - t)(r - w)
  //   F'(t) = sum over l < w <= t of (w - l)  -  sum over t < w <= r of (r - w)
  //
  // A weight that t passes changes sides and adds r - l to F', so F is convex, made of straight pieces that meet at
  // weights: the least lies at a weight. With n the number of weights in (l, t], F' = n (r - l) - sum over l < w <= r
  // of (r - w), and t is the first weight for which
  //
  //   n >= sum over l < w <= r of (r - w) / (r - l)
  //
  // as many as would go down in the mean if there were no point between. No search over t, one over masses.
  static bool improve(const sorted_weights& weights, std::span<double> points) {
    bool has_moved = false;
    for (std::size_t i = 1; i + 1 < points.size(); ++i) {
      const double below = points[i - 1];
      const double above = points[i + 1];
      const std::size_t first = weights.count_to(below);
      const std::size_t end = weights.count_to(above);
      if (!(weights.mass(first, end) > 0.0)) {
        continue;
      }
      const double down = weights.mass(first, end) * (above - weights.mean(first, end)) / (above - below);
      const double best = static_cast<double>(weights[weights.reaching(first, end, down)]);
      has_moved = has_moved || best != points[i];
      points[i] = best;
    }
    return has_moved;
  }
};

/// How a codebook is fitted: improve(weights, ascending points) makes one iteration that does not raise its error. They
/// end where no point moves, which need not be the least error of all: with 40 weights and more for 4 points up to 1.23
/// times of it, with fewer weights a point farther (tests/number/fitted_codebook.cpp).
template <class Criterion>
concept codebook_criterion = requires(const sorted_weights& weights, std::span<double> points) {
  { Criterion::name } -> std::convertible_to<std::string>;
  { Criterion::saturates } -> std::convertible_to<bool>;
  { Criterion::improve(weights, points) } -> std::same_as<bool>;
};

template <int Bits, codebook_criterion Criterion>
struct fitted_codebook {
  static_assert(Bits >= 2 && Bits <= 8, "fitted_codebook takes 2 to 8 bits");

  static constexpr int bits = Bits;
  static constexpr std::size_t size = std::size_t{1} << Bits;
  static constexpr std::int32_t min_code = 0;
  static constexpr std::int32_t max_code = static_cast<std::int32_t>(size) - 1;
  static constexpr bool saturates = Criterion::saturates;

  /// The values of all codes; with them, not stored and not counted, what positions are computed with.
  class granule {
   public:
    /// The codes themselves.
    granule() noexcept {
      std::array<float, size> codes;
      for (std::size_t code = 0; code < size; ++code) {
        codes[code] = static_cast<float>(code);
      }
      *this = granule(codes);
    }

    /// Ascending values, at least 2^-110 apart.
    explicit granule(const std::array<float, size>& ascending) noexcept {
      std::array<float, 2 * size> points{};
      for (std::size_t i = 0; i < size; ++i) {
        points[i] = ascending[i];
        points[size + i] = i + 1 < size ? 65536.0F / (ascending[i + 1] - ascending[i]) : 0.0F;
      }
      table_ = point_table<size>(points);
    }

    std::span<const float, size> values() const noexcept { return std::span(table_.points).template first<size>(); }
    const point_table<size>& table() const noexcept { return table_; }

    friend bool operator==(const granule&, const granule&) = default;

   private:
    point_table<size> table_;
  };
  static constexpr int granule_bits = 32 * static_cast<int>(size);

  /// Weights of at most this magnitude fit: differences among them are finite.
  static constexpr float largest_weight = 0x1p126F;

  /// fit makes as many iterations, or fewer where one changes nothing.
  static constexpr int iterations = 256;

  static std::string name() { return Criterion::name + ("-" + std::to_string(Bits)); }

  /// The granule fitted to the (finite) weights, each of which counts as often as its `importance` says, once where
  /// there is none; the same bits on every machine. Where there are no more different weights than codes, every weight
  /// is a value, and the remaining values lie above them, as near as they may.
  static granule fit(std::span<const float> weights, std::span<const float> importance = {}) {
    const sorted_weights sorted(weights, importance);
    std::array<double, size> points;
    if (sorted.size() <= size) {
      for (std::size_t i = 0; i < size; ++i) {
        points[i] = sorted.size() == 0 ? 0.0 : static_cast<double>(sorted[std::min(i, sorted.size() - 1)]);
      }
    } else {
      points = start(sorted);
      for (int i = 0; i < iterations && Criterion::improve(sorted, points); ++i) {
      }
    }
    std::array<float, size> values;
    for (std::size_t i = 0; i < size; ++i) {
      values[i] = static_cast<float>(points[i]);
      if (i > 0) {
        // Points may coincide: the smallest step is a float's neighbour, and 2^-110, below which 65536 / step would be
        // infinite.
        const float least =
            std::max(values[i - 1] + 0x1p-110F, std::nextafter(values[i - 1], std::numeric_limits<float>::max()));
        values[i] = std::max(values[i], least);
      }
    }
    return granule(values);
  }

  /// Where iterations begin: different weights, the extremes among them, about as dense as the cube root of the
  /// weights' density, which is best for many points under either criterion (Panter & Dite, 1951).
  //
  // Between weights a distance d apart the density is 1 / d, and its cube root times d is d^(2/3); d^(5/8) takes square
  // roots only, which are the same on every machine.
  static std::array<double, size> start(const sorted_weights& weights) {
    const std::size_t pieces = std::min(weights.size() - 1, 16 * size);
    const auto edge = [&](std::size_t piece) {
      return static_cast<double>(weights[piece * (weights.size() - 1) / pieces]);
    };
    std::vector<double> share{0.0};
    for (std::size_t piece = 0; piece < pieces; ++piece) {
      const double distance = edge(piece + 1) - edge(piece);
      share.push_back(share.back() + std::sqrt(distance * std::sqrt(std::sqrt(distance))));
    }
    std::array<double, size> points;
    for (std::size_t i = 0, piece = 0; i < size; ++i, ++piece) {
      const double target = share.back() * static_cast<double>(i) / static_cast<double>(size - 1);
      while (share[piece] < target && piece < pieces - (size - 1 - i)) {
        ++piece;
      }
      points[i] = edge(piece);
    }
    points.back() = edge(pieces);  // shares too small to count may end before it
    return points;
  }

  /// The position of a float, or of every lane of a batch; weights beyond the outermost values are clamped to them.
  template <class Float>
  PLURIA_INLINE static auto position(const Float& weight, const granule& granule) noexcept {
    const point_table<size>& table = granule.table();
    return position_among<size>(lanes::clamp(weight, table.points.front(), table.points[size - 1]), table, min_code);
  }

  static float decode(std::int32_t code, const granule& granule) noexcept {
    return granule.table().points[static_cast<std::size_t>(code)];
  }
};

template <int Bits>
using k_means_codebook = fitted_codebook<Bits, k_means>;
template <int Bits>
using least_variance_codebook = fitted_codebook<Bits, least_variance>;

static_assert(number_system<k_means_codebook<2>> && number_system<k_means_codebook<3>> &&
              number_system<k_means_codebook<4>> && number_system<k_means_codebook<8>>);
static_assert(number_system<least_variance_codebook<2>> && number_system<least_variance_codebook<3>> &&
              number_system<least_variance_codebook<4>> && number_system<least_variance_codebook<8>>);
static_assert(saturating_system<k_means_codebook<4>> && !saturating_system<least_variance_codebook<4>>);
static_assert(bounded_system<k_means_codebook<4>> && !factored_system<k_means_codebook<4>>);

}  // namespace pluria
