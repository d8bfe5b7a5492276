// SPDX-License-Identifier: MIT
#pragma once
// One temperature T > 0 on the logarithm of a predictive distribution, p^(1/T) renormalized, fitted by NLL (Guo,
// Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 4.2). For a single model
// that is the usual division of the logits; for an ensemble it acts on the mean distribution. With b = 1/T, l = log p:
//
//   NLL(b) = mean_i [ log sum_c e^(b l_ic) - b l_iy ],   NLL' = mean_i [ E_b l_i - l_iy ],   NLL'' = mean_i Var_b l_i
//
// which is convex, so the root of NLL' is found by Newton's method on log b within a bracket.

#include <pluria/metrics/table.hpp>

#include <cmath>
#include <limits>
#include <vector>

namespace pluria {

inline constexpr double smallest_temperature = 0.01;
inline constexpr double largest_temperature = 100.0;

namespace detail {

struct slope_and_curvature {
  double slope = 0.0;      // NLL' with respect to beta
  double curvature = 0.0;  // NLL''
};

// Log-probabilities are taken relative to the row's largest: exponents cannot overflow, and uniform rows give
// exactly 0.
inline slope_and_curvature nll_derivatives(const log_probability_table& table, std::span<const std::int32_t> labels,
                                           double beta) noexcept {
  slope_and_curvature result;
  for (std::size_t i = 0; i < table.rows(); ++i) {
    const std::span<const double> row = table.row(i);
    const double largest = row[most_probable(row)];
    double weights = 0.0;
    double first = 0.0;
    double second = 0.0;
    for (const double value : row) {
      const double distance = value - largest;
      if (distance > -std::numeric_limits<double>::infinity()) {
        const double weight = std::exp(beta * distance);
        weights += weight;
        first += weight * distance;
        second += weight * distance * distance;
      }
    }
    const double expected = first / weights;
    result.slope += expected - (row[static_cast<std::size_t>(labels[i])] - largest);
    result.curvature += second / weights - expected * expected;
  }
  const auto count = static_cast<double>(table.rows());
  return {result.slope / count, result.curvature / count};
}

}  // namespace detail

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
    if (table.row(i)[static_cast<std::size_t>(labels[i])] == -std::numeric_limits<double>::infinity()) {
      throw bad_input(mismatch_message("probability of the label of example " + std::to_string(i),
                                       "more than 0, for a temperature to be fitted", "0"));
    }
  }
  const detail::slope_and_curvature sharpest = detail::nll_derivatives(table, labels, 1.0 / smallest_temperature);
  const detail::slope_and_curvature flattest = detail::nll_derivatives(table, labels, 1.0 / largest_temperature);
  if (sharpest.slope == 0.0 && flattest.slope == 0.0) {
    // NLL' is increasing, so it vanishes in between too.
    return 1.0;
  }
  if (sharpest.slope <= 0.0) {
    return smallest_temperature;
  }
  if (flattest.slope >= 0.0) {
    return largest_temperature;
  }
  double low = -std::log(largest_temperature);
  double high = -std::log(smallest_temperature);
  double log_beta = 0.0;
  // Every step at least halves the bracket or is a Newton step that shrinks: 60 halvings alone reach 1e-17.
  constexpr int most_steps = 200;
  constexpr double tolerance = 1e-12;
  double last_step = high - low;
  for (int i = 0; i < most_steps && high - low > tolerance; ++i) {
    const double beta = std::exp(log_beta);
    const auto [slope, curvature] = detail::nll_derivatives(table, labels, beta);
    (slope < 0.0 ? low : high) = log_beta;
    if (slope == 0.0) {
      break;
    }
    double next = log_beta - slope / (beta * curvature);
    // A step that leaves the bracket, or does not halve the last one, is replaced by a bisection.
    if (!(next > low && next < high) || std::abs(next - log_beta) > 0.5 * last_step) {
      next = 0.5 * (low + high);
    }
    last_step = std::abs(next - log_beta);
    log_beta = next;
    if (last_step < tolerance) {
      break;
    }
  }
  return std::exp(-log_beta);
}

/// The log-probabilities of p^(1/T) renormalized, nats, [N, C] row-major; probabilities of zero stay zero. Throws as
/// `check_table`, bad_input for a row without any probability, precondition_error unless T is positive and finite.
inline std::vector<double> apply_temperature(const log_probability_table& table, double temperature) {
  check_table(table);
  require(temperature > 0.0 && temperature <= std::numeric_limits<double>::max(),
          "a temperature must be positive and finite");
  std::vector<double> result(table.values.size());
  for (std::size_t i = 0; i < table.rows(); ++i) {
    const std::span<const double> row = table.row(i);
    const double largest = row[most_probable(row)];
    if (largest == -std::numeric_limits<double>::infinity()) {
      throw bad_input(mismatch_message("example " + std::to_string(i), "a class of positive probability", "none"));
    }
    double sum = 0.0;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const double scaled = (row[c] - largest) / temperature;
      result[i * row.size() + c] = scaled;
      sum += std::exp(scaled);
    }
    const double log_sum = std::log(sum);
    for (std::size_t c = 0; c < row.size(); ++c) {
      result[i * row.size() + c] -= log_sum;
    }
  }
  return result;
}

}  // namespace pluria
