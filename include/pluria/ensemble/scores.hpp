// SPDX-License-Identifier: MIT
#pragma once
// An ensemble's predictive distribution and the labels it is scored against: everything from one pass over the members,
// without keeping their predictions. After each member the scores are those of the ensemble so far, so the curve over S
// is read off while adding.
//
//   scores ensemble{labels};
//   for (k = 0, 1, ...) { ensemble.add(logits of member k); ensemble.nll(); ... }

#include <pluria/ensemble/predictive.hpp>
#include <pluria/metrics/calibration.hpp>
#include <pluria/metrics/diversity.hpp>
#include <pluria/metrics/proper_score.hpp>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace pluria {

/// A `predictive` with one label per example. Keeps, besides it, every member's log-probability of the label and
/// whether the member erred: 9 bytes per example and member.
///
/// Scores throw precondition_error before the first member, and while some examples have more members than others.
class scores {
 public:
  /// The number of classes is taken from the first member, which must be added whole. Throws bad_input for no labels.
  explicit scores(std::span<const std::int32_t> labels)
      : labels_(labels.begin(), labels.end()), member_log_probabilities_(labels.size()), member_errors_(labels.size()) {
    if (labels.empty()) {
      throw bad_input(mismatch_message("labels", "at least one", "none"));
    }
  }

  /// For members that are added in batches of rows, or by several threads. Throws bad_input, naming the index, for a
  /// label outside 0..classes-1.
  scores(std::span<const std::int32_t> labels, std::size_t classes) : scores(labels) {
    check_labels(labels, classes);
    prediction_.emplace(labels.size(), classes);
  }

  /// Adds one member's logits, [rows, C] row-major, for examples first_example, first_example + 1, ...; different rows
  /// may be added by different threads at the same time. Throws as predictive::add, and precondition_error when the
  /// number of classes is not known yet.
  void add(std::size_t first_example, std::span<const float> logits) {
    require(prediction_.has_value(), "scores: give the number of classes to add a member in batches");
    add_to(*prediction_, first_example, logits);
  }

  /// Adds one member's logits for all examples, [N, C] row-major. Throws as predictive::add; for the first member also
  /// bad_input for a label outside 0..C-1.
  void add(std::span<const float> logits) {
    if (!prediction_) {
      require(!logits.empty() && logits.size() % labels_.size() == 0, "logits must have one row per label");
      const std::size_t classes = logits.size() / labels_.size();
      check_labels(labels_, classes);
      predictive first(labels_.size(), classes);
      add_to(first, 0, logits);
      prediction_ = std::move(first);
      return;
    }
    require(logits.size() == labels_.size() * prediction_->classes(),
            "logits of a whole member must have one row per label, one column per class");
    add_to(*prediction_, 0, logits);
  }

  template <logit_matrix Matrix>
  void add(std::size_t first_example, const Matrix& logits) {
    require(prediction_.has_value() && static_cast<std::size_t>(logits.cols()) == prediction_->classes(),
            "logits must have one column per class");
    add(first_example, detail::row_major_entries(logits));
  }

  template <logit_matrix Matrix>
  void add(const Matrix& logits) {
    require(static_cast<std::size_t>(logits.rows()) == labels_.size(), "logits must have one row per label");
    require(!prediction_ || static_cast<std::size_t>(logits.cols()) == prediction_->classes(),
            "logits must have one column per class");
    add(detail::row_major_entries(logits));
  }

  std::size_t examples() const noexcept { return labels_.size(); }
  std::span<const std::int32_t> labels() const noexcept { return labels_; }

  /// S, the number of members added, 0 before the first. Throws precondition_error while examples differ.
  std::size_t members() const { return prediction_ ? prediction_->members() : 0; }

  /// The predictive distribution. Throws precondition_error while the number of classes is not known.
  const predictive& prediction() const {
    require(prediction_.has_value(), "scores: no member was added yet");
    return *prediction_;
  }

  /// The ensemble's log-probability of each example's label, nats, [N].
  std::vector<double> label_log_probabilities() const { return prediction().log_probabilities_of(labels_); }

  /// The ensemble's NLL of each example, nats, [N]; `first_infinite` names a label of probability zero.
  std::vector<double> nll_per_example() const {
    std::vector<double> result = label_log_probabilities();
    for (double& value : result) {
      value = 0.0 - value;
    }
    return result;
  }

  /// 1 where the ensemble errs, else 0, [N].
  std::vector<double> err_per_example() const {
    return per_example<double>([](const auto& table, auto labels) { return pluria::err_per_example(table, labels); });
  }

  /// The ensemble's Brier score of each example, in 0..2, [N].
  std::vector<double> brier_per_example() const {
    return per_example<double>([](const auto& table, auto labels) { return pluria::brier_per_example(table, labels); });
  }

  /// The ensemble's confidences, and whether they were right, [N]: what reliability diagrams are drawn from.
  std::vector<judged_confidence> judged_confidences() const {
    return per_example<judged_confidence>(
        [](const auto& table, auto labels) { return pluria::judged_confidences(table, labels); });
  }

  double nll() const { return mean(nll_per_example()); }
  double err() const { return mean(err_per_example()); }
  double brier() const { return mean(brier_per_example()); }
  double ece(std::size_t bins = default_calibration_bins) const { return pluria::ece(judged_confidences(), bins); }
  double ece_standard_error(const ece_bootstrap& options = {}) const {
    return pluria::ece_standard_error(judged_confidences(), options);
  }
  /// Mean confidence - accuracy: positive where the ensemble is overconfident.
  double confidence_gap() const { return pluria::confidence_gap(judged_confidences()); }

  /// The members' log-probabilities of one example's label in the order of k, nats, [S]; valid until the next member.
  std::span<const double> member_label_log_probabilities(std::size_t example) const {
    require(example < examples(), "an example beyond the last one");
    return member_log_probabilities_[example];
  }

  /// Member k's own NLL, nats. Throws precondition_error unless k < S.
  double member_nll(std::size_t k) const {
    require(k < members(), "a member beyond the last one");
    double sum = 0.0;
    for (const std::vector<double>& values : member_log_probabilities_) {
      sum -= values[k];
    }
    return sum / static_cast<double>(examples());
  }

  /// Member k's own error rate. Throws precondition_error unless k < S.
  double member_err(std::size_t k) const {
    require(k < members(), "a member beyond the last one");
    std::size_t errors = 0;
    for (const std::vector<std::uint8_t>& values : member_errors_) {
      errors += values[k];
    }
    return static_cast<double>(errors) / static_cast<double>(examples());
  }

  /// The mean over members of their NLL, nats.
  double mean_member_nll() const {
    return mean_over_members([this](std::size_t k) { return member_nll(k); });
  }

  /// The mean over members of their error rates.
  double mean_member_err() const {
    return mean_over_members([this](std::size_t k) { return member_err(k); });
  }

  /// The ambiguity of each example (metrics/diversity.hpp), nats, [N].
  std::vector<double> ambiguity_per_example() const {
    require(members() > 0, "scores: no member was added yet");
    std::vector<double> result(examples());
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = pluria::ambiguity(member_log_probabilities_[i]);
    }
    return result;
  }

  /// mean_member_nll() - nll(), nats: at least 0 up to rounding, 0 for one member.
  double ambiguity() const { return mean(ambiguity_per_example()); }

  /// The mean over examples of the fraction of pairs of members that vote differently.
  double disagreement() const {
    require(members() > 0, "scores: no member was added yet");
    return mean(prediction().disagreements());
  }

  /// This NLL - the other's with its paired standard error over examples: negative where this ensemble is better.
  /// Throws precondition_error unless both have the same labels.
  mean_and_error nll_difference(const scores& other) const {
    require(labels_ == other.labels_, "scores of different examples cannot be paired");
    return paired_difference(nll_per_example(), other.nll_per_example());
  }

  /// The same where examples belong together in groups; `group` names each example's.
  mean_and_error nll_difference(const scores& other, std::span<const std::int32_t> group) const {
    require(labels_ == other.labels_, "scores of different examples cannot be paired");
    return paired_difference(nll_per_example(), other.nll_per_example(), group);
  }

 private:
  void add_to(predictive& target, std::size_t first_example, std::span<const float> logits) {
    target.add(first_example, logits, [this](std::size_t example, std::span<const double> member, std::size_t vote) {
      const auto label = static_cast<std::size_t>(labels_[example]);
      member_log_probabilities_[example].push_back(member[label]);
      member_errors_[example].push_back(vote == label ? 0 : 1);
    });
  }

  // A function of tables, over blocks of rows: the ensemble's own sums are never copied as a whole.
  template <class Value, class PerExample>
  std::vector<Value> per_example(const PerExample& score) const {
    constexpr std::size_t block = 256;
    require(members() > 0, "scores: no member was added yet");
    std::vector<Value> result;
    result.reserve(examples());
    for (std::size_t first = 0; first < examples(); first += block) {
      const std::size_t count = std::min(block, examples() - first);
      const std::vector<double> values = prediction_->log_probabilities(first, count);
      const std::vector<Value> part =
          score(log_probability_table{values, prediction_->classes()}, labels().subspan(first, count));
      result.insert(result.end(), part.begin(), part.end());
    }
    return result;
  }

  template <class OfMember>
  double mean_over_members(const OfMember& of_member) const {
    std::vector<double> values(members());
    for (std::size_t k = 0; k < values.size(); ++k) {
      values[k] = of_member(k);
    }
    return mean(values);
  }

  std::vector<std::int32_t> labels_;
  std::optional<predictive> prediction_;
  // One small vector per example, so that threads which add different rows share nothing.
  std::vector<std::vector<double>> member_log_probabilities_;
  std::vector<std::vector<std::uint8_t>> member_errors_;
};

}  // namespace pluria
