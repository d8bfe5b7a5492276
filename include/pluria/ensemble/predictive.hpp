// SPDX-License-Identifier: MIT
#pragma once
// The predictive distribution of an ensemble: the mean of its members' distributions (probabilities, not logits),
//
//   log p(c) = log sum_k exp(log p_k(c)) - log S,     log p_k = logits - logsumexp(logits),
//
// streamed: member after member is folded into running sums per example, in double, and none is kept. The sum over
// members is itself a logarithm, because float logits reach probabilities (e^-800) that no double holds.

#include <pluria/core/error.hpp>
#include <pluria/core/exponentials.hpp>
#include <pluria/metrics/diversity.hpp>
#include <pluria/metrics/table.hpp>
#include <pluria/metrics/uncertainty.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace pluria {

/// A float matrix of logits, one example per row: anything with data(), rows() and cols(), such as an Eigen matrix.
/// Law: the entries lie row after row without gaps. Eigen's own flags and strides are checked; other types are trusted.
template <class Matrix>
concept logit_matrix = requires(const Matrix& matrix) {
  { matrix.data() } -> std::convertible_to<const float*>;
  static_cast<std::size_t>(matrix.rows());
  static_cast<std::size_t>(matrix.cols());
};

/// Throws bad_input unless one row of logits gives a distribution: finite numbers or -inf, at least one of them finite.
/// `example()` is what messages call the row: "member 2, example 7".
template <std::floating_point Logit, std::invocable Name>
void check_logit_row(std::span<const Logit> row, const Name& example) {
  bool any_finite = false;
  for (std::size_t c = 0; c < row.size(); ++c) {
    if (!(row[c] <= std::numeric_limits<Logit>::max())) [[unlikely]] {
      throw bad_input(mismatch_message("logit of " + example() + ", class " + std::to_string(c),
                                       "a finite number or -inf", std::to_string(row[c])));
    }
    any_finite = any_finite || row[c] >= std::numeric_limits<Logit>::lowest();
  }
  if (!any_finite) [[unlikely]] {
    throw bad_input(mismatch_message("logits of " + example(), "at least one finite number", "-inf in every class"));
  }
}

/// The log-probabilities of finite or -inf logits, at least one of them finite and none NaN. Returns log sum_c e^logit.
template <std::floating_point Logit>
double log_softmax(std::span<const Logit> logits, std::span<double> log_probabilities) noexcept {
  const double largest = lanes::largest(logits);
  for (std::size_t c = 0; c < logits.size(); ++c) {
    log_probabilities[c] = logits[c] - largest;
  }
  const double log_sum = std::log(
      lanes::sums<1>(log_probabilities, [](const auto& value) { return std::array{lanes::exponential(value)}; })[0]);
  for (double& value : log_probabilities) {
    value -= log_sum;
  }
  return largest + log_sum;
}

namespace detail {

/// The entries of a matrix whose rows follow each other.
template <logit_matrix Matrix>
std::span<const float> row_major_entries(const Matrix& logits) {
  if constexpr (requires { Matrix::IsRowMajor; }) {
    static_assert(Matrix::IsRowMajor, "logits must be row-major: Eigen::Matrix<float, Dynamic, Dynamic, RowMajor>");
  }
  if constexpr (requires { logits.outerStride() + logits.innerStride(); }) {
    require(logits.innerStride() == 1 && (logits.rows() <= 1 || logits.outerStride() == logits.cols()),
            "the rows of a matrix of logits must follow each other without gaps");
  }
  return {logits.data(), static_cast<std::size_t>(logits.rows()) * static_cast<std::size_t>(logits.cols())};
}

}  // namespace detail

/// The streaming mean of members' predictive distributions over N examples and C classes, without labels: 10 bytes per
/// example and class, whatever the number of members.
///
/// Members are added in the order of k. The rows of one member may come in batches, in any order; rows do not depend on
/// each other, so threads may add different rows at the same time, and the result is the same bits for any number of
/// them (on one ISA: core/exponentials.hpp).
class predictive {
 public:
  /// No members yet. Throws precondition_error unless there is at least one example and one class.
  predictive(std::size_t examples, std::size_t classes) : examples_(examples), classes_(classes) {
    require(examples > 0, "a predictive distribution needs at least one example");
    require(classes > 0, "a predictive distribution needs at least one class");
    log_sums_.assign(examples * classes, -std::numeric_limits<double>::infinity());
    entropy_sums_.assign(examples, 0.0);
    votes_.assign(examples * classes, 0);
    member_counts_.assign(examples, 0);
  }

  std::size_t examples() const noexcept { return examples_; }
  std::size_t classes() const noexcept { return classes_; }

  /// Adds one member's logits, [rows, C] row-major, for examples first_example, first_example + 1, ... A logit of -inf
  /// is a probability of zero. Throws bad_input, naming example and class, for NaN, +inf, or a row without a finite
  /// logit; precondition_error when the rows are not whole, reach beyond the last example, or already have 65535
  /// members. When it throws, nothing was added.
  void add(std::size_t first_example, std::span<const float> logits) {
    add(first_example, logits, [](std::size_t, std::span<const double>, std::size_t) {});
  }

  /// The same, and calls observe(example, the member's log-probabilities [C], the class it votes for) for every row.
  template <std::invocable<std::size_t, std::span<const double>, std::size_t> Observe>
  void add(std::size_t first_example, std::span<const float> logits, Observe&& observe) {
    check_logits(first_example, logits);
    std::vector<double> member(classes_);
    for (std::size_t row = 0; row < logits.size() / classes_; ++row) {
      const std::size_t example = first_example + row;
      log_softmax(logits.subspan(row * classes_, classes_), member);
      lanes::log_add(std::span(log_sums_).subspan(example * classes_, classes_), member);
      entropy_sums_[example] += entropy(member);
      const std::size_t vote = most_probable(std::span<const double>(member));
      ++votes_[example * classes_ + vote];
      ++member_counts_[example];
      observe(example, std::span<const double>(member), vote);
    }
  }

  /// Adds one member's logits for all examples, [N, C]. Throws as above.
  void add(std::span<const float> logits) {
    require(logits.size() == log_sums_.size(),
            "logits of a whole member must have one row per example, one column per class");
    add(0, logits);
  }

  template <logit_matrix Matrix>
  void add(std::size_t first_example, const Matrix& logits) {
    require(static_cast<std::size_t>(logits.cols()) == classes_, "logits must have one column per class");
    add(first_example, detail::row_major_entries(logits));
  }

  template <logit_matrix Matrix>
  void add(const Matrix& logits) {
    require(static_cast<std::size_t>(logits.rows()) == examples_,
            "logits of a whole member must have one row per example");
    add(0, logits);
  }

  /// S, the number of members added. Throws precondition_error while some examples have more members than others.
  std::size_t members() const { return members_of(0, examples_); }

  /// The log-probabilities of the mean for examples first_example..first_example + count - 1, nats, [count, C]
  /// row-major. Throws precondition_error when these have no members, or different numbers of them.
  std::vector<double> log_probabilities(std::size_t first_example, std::size_t count) const {
    require(first_example <= examples_ && count <= examples_ - first_example, "examples beyond the last one");
    const double log_members = log_members_of(first_example, count);
    const auto first = log_sums_.begin() + static_cast<std::ptrdiff_t>(first_example * classes_);
    std::vector<double> result(first, first + static_cast<std::ptrdiff_t>(count * classes_));
    for (double& value : result) {
      value -= log_members;
    }
    return result;
  }

  /// The same for all examples, [N, C].
  std::vector<double> log_probabilities() const { return log_probabilities(0, examples_); }

  /// The log-probability of one class of every example, nats, [N]; `chosen` has one entry per example, all below C.
  std::vector<double> log_probabilities_of(std::span<const std::int32_t> chosen) const {
    require(chosen.size() == examples_, "one class per example is needed");
    const double log_members = log_members_of(0, examples_);
    std::vector<double> result(examples_);
    for (std::size_t i = 0; i < examples_; ++i) {
      require(chosen[i] >= 0 && static_cast<std::size_t>(chosen[i]) < classes_, "a class beyond the last one");
      result[i] = log_sums_[i * classes_ + static_cast<std::size_t>(chosen[i])] - log_members;
    }
    return result;
  }

  /// The entropy of every example's mean distribution, nats, [N]. Throws as `members`, or for no members.
  std::vector<double> entropies() const {
    const double log_members = log_members_of(0, examples_);
    std::vector<double> row(classes_);
    std::vector<double> result(examples_);
    for (std::size_t i = 0; i < examples_; ++i) {
      for (std::size_t c = 0; c < classes_; ++c) {
        row[c] = log_sums_[i * classes_ + c] - log_members;
      }
      result[i] = entropy(row);
    }
    return result;
  }

  /// The mean over members of their entropies, nats, [N]. Throws as `entropies`.
  std::vector<double> mean_member_entropies() const {
    const auto count = static_cast<double>(members());
    require(count > 0.0, "an ensemble without members predicts nothing");
    std::vector<double> result = entropy_sums_;
    for (double& value : result) {
      value /= count;
    }
    return result;
  }

  /// Entropy of the mean - mean entropy: the sensitivity to rounding (metrics/uncertainty.hpp), nats, [N].
  std::vector<double> mutual_information() const {
    return pluria::mutual_information(entropies(), mean_member_entropies());
  }

  /// How many members vote for each class (the lowest among ties), [N, C] row-major.
  std::span<const std::uint16_t> votes() const noexcept { return votes_; }

  /// The fraction of pairs of members that vote differently, [N].
  std::vector<double> disagreements() const { return pluria::disagreements(votes_, classes_); }

  friend bool operator==(const predictive&, const predictive&) = default;

 private:
  std::size_t members_of(std::size_t first_example, std::size_t count) const {
    const std::span<const std::uint16_t> counts = std::span(member_counts_).subspan(first_example, count);
    require(std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>{}) == counts.end(),
            "some examples have more members than others: finish adding the member");
    return counts.empty() ? 0 : counts.front();
  }

  double log_members_of(std::size_t first_example, std::size_t count) const {
    const std::size_t members = members_of(first_example, count);
    require(members > 0 || count == 0, "an ensemble without members predicts nothing");
    return std::log(static_cast<double>(members));
  }

  // Everything that can be wrong is found before anything is changed.
  void check_logits(std::size_t first_example, std::span<const float> logits) const {
    require(logits.size() % classes_ == 0, "logits must have whole rows of one column per class");
    const std::size_t rows = logits.size() / classes_;
    require(first_example <= examples_ && rows <= examples_ - first_example, "logits reach beyond the last example");
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t example = first_example + row;
      require(member_counts_[example] < std::numeric_limits<std::uint16_t>::max(),
              "at most 65535 members can be added");
      check_logit_row(logits.subspan(row * classes_, classes_), [&] {
        return "member " + std::to_string(member_counts_[example]) + ", example " + std::to_string(example);
      });
    }
  }

  std::size_t examples_ = 0;
  std::size_t classes_ = 0;
  std::vector<double> log_sums_;              // [N, C]: log of the sum over members of their probabilities
  std::vector<double> entropy_sums_;          // [N]
  std::vector<std::uint16_t> votes_;          // [N, C]
  std::vector<std::uint16_t> member_counts_;  // [N]: per example, so that rows can be added on their own
};

}  // namespace pluria
