// SPDX-License-Identifier: MIT
#pragma once
// One temperature T > 0 on the logarithm of a predictive distribution, p^(1/T) renormalized, fitted by NLL (Guo,
// Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 4.2). For a single model
// that is the usual division of the logits; for an ensemble it acts on the mean distribution. With b = 1/T, l = log p:
//
//   NLL(b) = mean_i [ log sum_c e^(b l_ic) - b l_iy ],   NLL' = mean_i [ E_b l_i - l_iy ],   NLL'' = mean_i Var_b l_i
//
// which is convex, so the root of NLL' is found by Newton's method on log b within a bracket.

#include <pluria/core/exponentials.hpp>
#include <pluria/metrics/table.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace pluria {

inline constexpr double smallest_temperature = 0.01;
inline constexpr double largest_temperature = 100.0;

/// The derivatives of an NLL by beta.
struct slope_and_curvature {
  double slope = 0.0;
  double curvature = 0.0;

  slope_and_curvature& operator+=(const slope_and_curvature& other) noexcept {
    slope += other.slope;
    curvature += other.curvature;
    return *this;
  }
};

/// What one example's log-probabilities [C] and label, a class of positive probability, add to both.
//
// Log-probabilities are taken relative to the row's largest: exponents cannot overflow, and uniform rows give exactly
// 0.
inline slope_and_curvature nll_derivatives(std::span<const double> row, std::size_t label, double beta) noexcept {
  const double largest = lanes::largest(row);
  const auto [weights, first, second] = lanes::sums<3>(row, [=](const auto& value) {
    const auto distance = value - largest;
    const auto weight = lanes::exponential(beta * distance);
    return std::array{weight, weight * distance, weight * distance * distance};
  });
  const double expected = first / weights;
  return {expected - (row[label] - largest), second / weights - expected * expected};
}

/// Throws bad_input, naming the example, when its label has probability zero: its NLL is +inf for every T.
inline void check_label_probability(std::span<const double> row, std::size_t label, std::size_t example) {
  if (row[label] == -std::numeric_limits<double>::infinity()) {
    throw bad_input(mismatch_message("probability of the label of example " + std::to_string(example),
                                     "more than 0, for a temperature to be fitted", "0"));
  }
}

/// The search for the temperature of the least NLL, apart from where the derivatives come from: each pass may be one
/// over files.
///
///   while (!search.done()) { search.add(the derivatives of the NLL by beta, at every beta of search.betas()); }
///
/// The first pass looks at both bounds, too: a bound is the result, exactly, where the optimum lies at or beyond it,
/// and 1 where both slopes are 0, so that no temperature makes a difference.
class temperature_search {
 public:
  /// Ends after a step that changes T by a relative `tolerance` or less; Newton's steps about square the error, so that
  /// the last one leaves far less. Throws precondition_error unless it is positive.
  explicit temperature_search(double tolerance = 1e-12) : tolerance_(tolerance) {
    require(tolerance > 0.0, "temperature_search: the tolerance must be positive");
  }

  bool done() const noexcept { return betas_.empty(); }

  /// Where the derivatives are wanted next, as 1 / T: one or three places; none when done.
  std::span<const double> betas() const noexcept { return betas_; }

  /// Takes the derivatives of the NLL, or one positive multiple of them all, at betas(). Throws precondition_error when
  /// their number is another.
  void add(std::span<const slope_and_curvature> at_betas) {
    require(!done() && at_betas.size() == betas_.size(), "temperature_search: one result for every beta");
    ++passes_;
    if (passes_ == 1 && ends_at_bound(at_betas[0].slope, at_betas[1].slope)) {
      betas_.clear();
      return;
    }
    step(at_betas.back());
  }

  /// The temperature found, or the best so far.
  double temperature() const noexcept { return temperature_; }

 private:
  // Every step at least halves the bracket or is a Newton step that shrinks: 60 halvings alone reach 1e-17.
  static constexpr int most_passes = 200;

  bool ends_at_bound(double sharpest_slope, double flattest_slope) noexcept {
    if (sharpest_slope == 0.0 && flattest_slope == 0.0) {
      return true;  // NLL' is increasing, so it vanishes in between too
    }
    if (sharpest_slope <= 0.0) {
      temperature_ = smallest_temperature;
      return true;
    }
    if (flattest_slope >= 0.0) {
      temperature_ = largest_temperature;
      return true;
    }
    return false;
  }

  void step(slope_and_curvature at_beta) {
    (at_beta.slope < 0.0 ? low_ : high_) = log_beta_;
    if (at_beta.slope == 0.0) {
      betas_.clear();
      return;
    }
    double next = log_beta_ - at_beta.slope / (std::exp(log_beta_) * at_beta.curvature);
    // A step that leaves the bracket, or does not halve the last one, is replaced by a bisection.
    if (!(next > low_ && next < high_) || std::abs(next - log_beta_) > 0.5 * last_step_) {
      next = 0.5 * (low_ + high_);
    }
    last_step_ = std::abs(next - log_beta_);
    log_beta_ = next;
    temperature_ = std::exp(-log_beta_);
    if (last_step_ < tolerance_ || high_ - low_ <= tolerance_ || passes_ == most_passes) {
      betas_.clear();
    } else {
      betas_.assign(1, std::exp(log_beta_));
    }
  }

  double tolerance_;
  double low_ = -std::log(largest_temperature);  // of log beta
  double high_ = -std::log(smallest_temperature);
  double log_beta_ = 0.0;
  double last_step_ = high_ - low_;
  double temperature_ = 1.0;
  int passes_ = 0;
  std::vector<double> betas_{1.0 / smallest_temperature, 1.0 / largest_temperature, 1.0};
};

/// The temperature of the least NLL, in smallest_temperature..largest_temperature, to a relative 1e-10 where the
/// optimum is that well determined.
///
/// A bound is returned, exactly, where the optimum lies at or beyond it: smallest_temperature where every example is
/// right (sharpening never stops paying), largest_temperature where the labels are no likelier than chance. Where T
/// makes no difference (every row uniform over its support) the result is 1. Classes of probability zero keep it.
/// Throws as `check_examples`, and bad_input, naming the example, for a label of probability zero: its NLL is +inf for
/// every T.
inline double fit_temperature(const log_probability_table& table, std::span<const std::int32_t> labels) {
  check_examples(table, labels);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    check_label_probability(table.row(i), static_cast<std::size_t>(labels[i]), i);
  }
  temperature_search search;
  while (!search.done()) {
    std::vector<slope_and_curvature> sums(search.betas().size());
    for (std::size_t i = 0; i < table.rows(); ++i) {
      const auto label = static_cast<std::size_t>(labels[i]);
      for (std::size_t j = 0; j < sums.size(); ++j) {
        sums[j] += nll_derivatives(table.row(i), label, search.betas()[j]);
      }
    }
    search.add(sums);
  }
  return search.temperature();
}

/// Writes the log-probabilities of one example's p^(1/T) renormalized, nats, [C]. Needs a class of positive
/// probability, and no NaN. Throws precondition_error unless T is positive and finite and both rows have the same
/// length.
inline void apply_temperature(std::span<const double> row, double temperature, std::span<double> result) {
  require(temperature > 0.0 && temperature <= std::numeric_limits<double>::max(),
          "a temperature must be positive and finite");
  require(row.size() == result.size(), "apply_temperature: rows of the same length");
  const double largest = lanes::largest(row);
  for (std::size_t c = 0; c < row.size(); ++c) {
    result[c] = (row[c] - largest) / temperature;
  }
  const double log_sum =
      std::log(lanes::sums<1>(result, [](const auto& value) { return std::array{lanes::exponential(value)}; })[0]);
  for (double& value : result) {
    value -= log_sum;
  }
}

/// The same for every example, [N, C] row-major; probabilities of zero stay zero. Throws as `check_table`, bad_input
/// for a row without any probability, precondition_error unless T is positive and finite.
inline std::vector<double> apply_temperature(const log_probability_table& table, double temperature) {
  check_table(table);
  require(temperature > 0.0 && temperature <= std::numeric_limits<double>::max(),
          "a temperature must be positive and finite");
  std::vector<double> result(table.values.size());
  for (std::size_t i = 0; i < table.rows(); ++i) {
    const std::span<const double> row = table.row(i);
    if (row[most_probable(row)] == -std::numeric_limits<double>::infinity()) {
      throw bad_input(mismatch_message("example " + std::to_string(i), "a class of positive probability", "none"));
    }
    apply_temperature(row, temperature, std::span(result).subspan(i * table.classes, table.classes));
  }
  return result;
}

}  // namespace pluria
