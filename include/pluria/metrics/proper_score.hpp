// SPDX-License-Identifier: MIT
#pragma once
// Scores of predictive distributions against labels, per example and in the mean, and differences of scores on the same
// examples with their standard errors.
//
//   NLL    -log p(label), nats
//   Brier  sum over classes of (p(c) - [c = label])^2, in 0..2
//   ERR    [argmax p != label]
//
// NLL and Brier are proper: their expectation is least at the true distribution (Gneiting & Raftery, JASA 2007). Brier
// is the original score, summed over classes (Brier 1950); some libraries halve it or divide it by the classes.

#include <pluria/metrics/groups.hpp>
#include <pluria/metrics/table.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

namespace pluria {

/// The arithmetic mean; its rounding error is at most n * 2^-53 times the mean magnitude. Throws precondition_error
/// when there is nothing to average.
inline double mean(std::span<const double> values) {
  require(!values.empty(), "the mean of no values is undefined");
  double sum = 0.0;
  for (const double value : values) {
    sum += value;
  }
  return sum / static_cast<double>(values.size());
}

/// The index of the first value that is +inf: the example whose label had probability zero.
inline std::optional<std::size_t> first_infinite(std::span<const double> values) noexcept {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] == std::numeric_limits<double>::infinity()) {
      return i;
    }
  }
  return std::nullopt;
}

/// The negative log-likelihood of each example's label, nats, [N]; +inf where its probability is zero (`first_infinite`
/// names it). Throws as `check_examples`.
inline std::vector<double> nll_per_example(const log_probability_table& table, std::span<const std::int32_t> labels) {
  check_examples(table, labels);
  std::vector<double> result(table.rows());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = 0.0 - table.row(i)[static_cast<std::size_t>(labels[i])];  // not -x: the NLL of certainty is +0
  }
  return result;
}

/// 1 where the most probable class (the lowest among ties) is not the label, else 0, [N]. Throws as `check_examples`.
inline std::vector<double> err_per_example(const log_probability_table& table, std::span<const std::int32_t> labels) {
  check_examples(table, labels);
  std::vector<double> result(table.rows());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = most_probable(table.row(i)) == static_cast<std::size_t>(labels[i]) ? 0.0 : 1.0;
  }
  return result;
}

/// The Brier score of one example from its log-probabilities [C] and its label, which is below C; in 0..2.
inline double brier_score(std::span<const double> log_probabilities, std::size_t label) noexcept {
  double sum = 0.0;
  for (std::size_t c = 0; c < log_probabilities.size(); ++c) {
    const double distance = std::exp(log_probabilities[c]) - (c == label ? 1.0 : 0.0);
    sum += distance * distance;
  }
  return sum;
}

/// The Brier score of each example, in 0..2, [N]. Throws as `check_examples`.
inline std::vector<double> brier_per_example(const log_probability_table& table, std::span<const std::int32_t> labels) {
  check_examples(table, labels);
  std::vector<double> result(table.rows());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = brier_score(table.row(i), static_cast<std::size_t>(labels[i]));
  }
  return result;
}

/// The mean NLL over examples, nats; +inf when a label had probability zero. Throws as `check_examples`.
inline double nll(const log_probability_table& table, std::span<const std::int32_t> labels) {
  return mean(nll_per_example(table, labels));
}

/// The fraction of examples whose most probable class is not the label. Throws as `check_examples`.
inline double err(const log_probability_table& table, std::span<const std::int32_t> labels) {
  return mean(err_per_example(table, labels));
}

/// The mean Brier score over examples, in 0..2. Throws as `check_examples`.
inline double brier(const log_probability_table& table, std::span<const std::int32_t> labels) {
  return mean(brier_per_example(table, labels));
}

struct mean_and_error {
  double mean = 0.0;
  double standard_error = 0.0;
};

/// The mean over examples of a - b, two scores of the same examples, with its paired standard error
///
///     sqrt( sum_i (d_i - mean)^2 / (n - 1) / n ),   d_i = a_i - b_i,
///
/// for examples that are independent of each other. The error is NaN for fewer than two examples and where a score is
/// infinite; both are NaN where two infinite scores meet. Throws precondition_error for no examples or different
/// numbers.
inline mean_and_error paired_difference(std::span<const double> a, std::span<const double> b) {
  require(a.size() == b.size(), "paired_difference: both scores must cover the same examples");
  require(!a.empty(), "paired_difference: no examples");
  const auto count = static_cast<double>(a.size());
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += a[i] - b[i];
  }
  const double mean = sum / count;
  double squares = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double residual = a[i] - b[i] - mean;
    squares += residual * residual;
  }
  return {mean, std::sqrt(squares / (count - 1.0) / count)};
}

/// The same for examples that belong together in groups (tokens of a document), where only the groups are independent;
/// `group` names each example's, by any numbers. The mean still counts examples, so it is the ratio of group sums to
/// group sizes, and its linearized standard error over G groups is
///
///     sqrt( G / (G - 1) * sum_g e_g^2 ) / n,   e_g = sum over i in g of (d_i - mean)
///
/// (Cochran, Sampling Techniques, 3rd ed. 1977, chapter 9A, with cluster sizes as the auxiliary variable, no finite
/// population correction). With every example its own group this is the formula above. The error is NaN for one group.
inline mean_and_error paired_difference(std::span<const double> a, std::span<const double> b,
                                        std::span<const std::int32_t> group) {
  require(group.size() == a.size(), "paired_difference: one group number per example is needed");
  const double mean = paired_difference(a, b).mean;
  const numbered_groups groups(group);
  std::vector<double> residual(groups.count);
  for (std::size_t i = 0; i < a.size(); ++i) {
    residual[groups.of_example[i]] += a[i] - b[i] - mean;
  }
  double squares = 0.0;
  for (const double sum : residual) {
    squares += sum * sum;
  }
  if (residual.size() < 2) {
    return {mean, std::numeric_limits<double>::quiet_NaN()};  // its residuals cancel only up to rounding
  }
  const auto count = static_cast<double>(residual.size());
  return {mean, std::sqrt(squares * (count / (count - 1.0))) / static_cast<double>(a.size())};
}

}  // namespace pluria
