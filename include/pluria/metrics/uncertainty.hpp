// SPDX-License-Identifier: MIT
#pragma once
// Entropies of predictive distributions, and their split by an ensemble (Depeweg et al., ICML 2018):
//
//   entropy of the mean = mean entropy of the members + mutual information of member and class.
//
// Where the members are roundings of one checkpoint, the mutual information measures the model's sensitivity to
// rounding. Its width comes from the number format (fewer bits, larger values), not from what the model has not seen;
// it is not epistemic uncertainty until it has been compared with plain entropy on the task.

#include <pluria/core/exponentials.hpp>
#include <pluria/metrics/table.hpp>

#include <array>
#include <vector>

namespace pluria {

/// The entropy of one distribution given by its log-probabilities, nats, in 0..log C; 0 * log 0 is 0.
inline double entropy(std::span<const double> log_probabilities) noexcept {
  // Not the sum's negative: a certain distribution would have an entropy of -0.
  return 0.0 - lanes::sums<1>(log_probabilities,
                              [](const auto& value) { return std::array{lanes::exponential(value) * value}; })[0];
}

/// The entropy of every example's distribution, nats, [N]. Throws as `check_table`.
inline std::vector<double> entropies(const log_probability_table& table) {
  check_table(table);
  std::vector<double> result(table.rows());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = entropy(table.row(i));
  }
  return result;
}

/// Entropy of the mean - mean entropy of the members, per example, nats, [N]; at least 0 up to rounding, at most log S.
/// Throws precondition_error when the two cover different numbers of examples.
inline std::vector<double> mutual_information(std::span<const double> entropy_of_mean,
                                              std::span<const double> mean_member_entropy) {
  require(entropy_of_mean.size() == mean_member_entropy.size(),
          "mutual_information: both entropies must cover the same examples");
  std::vector<double> result(entropy_of_mean.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = entropy_of_mean[i] - mean_member_entropy[i];
  }
  return result;
}

}  // namespace pluria
