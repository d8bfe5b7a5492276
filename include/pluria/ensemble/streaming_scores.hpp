// SPDX-License-Identifier: MIT
#pragma once
// Scores of ensembles whose predictions do not fit into memory: example after example, all members of one together. The
// distributions of the first 1, 2, ..., S members are scored while they are there; what stays is a few numbers per
// example and S, so that the curve over S with all its paired differences comes from one pass. The figures are, bit for
// bit, those of `scores`, which goes member after member and keeps the tables.

#include <pluria/core/error.hpp>
#include <pluria/ensemble/predictive.hpp>
#include <pluria/metrics/calibration.hpp>
#include <pluria/metrics/diversity.hpp>
#include <pluria/metrics/proper_score.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pluria {

/// What the scores of a predictive distribution are made of, per example: 32 bytes each.
struct example_scores {
  std::vector<double> nll;    ///< nats; +inf where the label has probability zero
  std::vector<double> brier;  ///< in 0..2
  std::vector<judged_confidence> judgements;

  example_scores() = default;
  explicit example_scores(std::size_t examples) : nll(examples), brier(examples), judgements(examples) {}

  /// Scores one example's log-probabilities [C]; `label` is below C. The log score is given: it may have been floored.
  void set(std::size_t example, std::span<const double> log_probabilities, std::size_t label,
           double label_log_probability) noexcept {
    nll[example] = 0.0 - label_log_probability;  // not -x: the NLL of certainty is +0
    brier[example] = brier_score(log_probabilities, label);
    judgements[example] = judge(log_probabilities, label);
  }

  /// The fraction of examples whose most probable class is not the label. Throws precondition_error for no examples.
  double err() const {
    require(!judgements.empty(), "example_scores: no examples");
    std::size_t errors = 0;
    for (const judged_confidence& judged : judgements) {
      errors += judged.correct ? 0U : 1U;
    }
    return static_cast<double>(errors) / static_cast<double>(judgements.size());
  }
};

/// The means of the first 1, 2, ... of one example's member distributions.
class running_mean {
 public:
  /// For distributions over `classes` classes. Throws precondition_error for none.
  explicit running_mean(std::size_t classes) : log_sums_(classes), mean_(classes) {
    require(classes > 0, "a predictive distribution needs at least one class");
    clear();
  }

  /// Begins another example.
  void clear() noexcept {
    std::fill(log_sums_.begin(), log_sums_.end(), -std::numeric_limits<double>::infinity());
    members_ = 0;
  }

  /// Adds the next member's log-probabilities, [C], and gives back those of the mean so far, [C], valid until the next
  /// call. Throws precondition_error for another number of classes.
  std::span<const double> add(std::span<const double> member) {
    require(member.size() == log_sums_.size(), "log-probabilities must have one column per class");
    lanes::log_add(log_sums_, member);
    ++members_;
    const double log_members = std::log(static_cast<double>(members_));
    for (std::size_t c = 0; c < mean_.size(); ++c) {
      mean_[c] = log_sums_[c] - log_members;
    }
    return mean_;
  }

  std::size_t members() const noexcept { return members_; }
  std::size_t classes() const noexcept { return mean_.size(); }

 private:
  std::vector<double> log_sums_;
  std::vector<double> mean_;
  std::size_t members_ = 0;
};

/// Scores of the ensembles of the first 1, 2, ..., S members, added example by example: 41 bytes per example and
/// member, whatever the number of classes.
class streaming_scores {
 public:
  /// What `label_floor` is where the probability of a label is not floored: its NLL may be +inf.
  static constexpr double no_floor = -std::numeric_limits<double>::infinity();

  /// For N labels and S members. `label_floor`, a log-probability, is the least that any member's log-probability of
  /// the label counts as in NLL and ambiguity; the other scores never change by it. Throws bad_input for no labels or
  /// a negative one, precondition_error for no members.
  streaming_scores(std::span<const std::int32_t> labels, std::size_t members, double label_floor = no_floor)
      : labels_(labels.begin(), labels.end()), members_(members), label_floor_(label_floor) {
    require(members > 0, "an ensemble without members predicts nothing");
    if (labels.empty()) {
      throw bad_input(mismatch_message("labels", "at least one", "none"));
    }
    check_labels(labels, std::numeric_limits<std::int32_t>::max());
    ensembles_.assign(members, example_scores(labels.size()));
    member_log_probabilities_.resize(labels.size() * members);
    member_errors_.resize(labels.size() * members);
  }

  std::size_t examples() const noexcept { return labels_.size(); }
  std::size_t members() const noexcept { return members_; }
  std::span<const std::int32_t> labels() const noexcept { return labels_; }

  /// Scores one example. read(k) gives member k's log-probabilities, [C], called in the order of k, each used before
  /// the next call; observe(count, log-probabilities of the mean of the first `count` members [C]) is called for every
  /// count. Different examples may be added by different threads at the same time, each with a `mean` of its own.
  /// Throws bad_input, naming the example, when its label is not below C.
  template <class Read, class Observe>
  void add(std::size_t example, running_mean& mean, Read&& read, Observe&& observe) {
    require(example < examples(), "an example beyond the last one");
    const auto label = static_cast<std::size_t>(labels_[example]);
    if (label >= mean.classes()) {
      throw bad_input(mismatch_message("label " + std::to_string(example), "0.." + std::to_string(mean.classes() - 1),
                                       std::to_string(label)));
    }
    mean.clear();
    double label_log_sum = -std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < members_; ++k) {
      const std::span<const double> member = read(k);
      const double of_label = std::max(member[label], label_floor_);
      member_log_probabilities_[example * members_ + k] = of_label;
      member_errors_[example * members_ + k] = most_probable(member) == label ? 0 : 1;
      const std::span<const double> log_probabilities = mean.add(member);
      // The mean of the floored members: with it mean member NLL - NLL stays the ambiguity, which is never negative.
      label_log_sum = lanes::log_add(label_log_sum, of_label);
      ensembles_[k].set(example, log_probabilities, label, label_log_sum - std::log(static_cast<double>(k + 1)));
      observe(k + 1, log_probabilities);
    }
  }

  /// The same without an observer.
  template <class Read>
  void add(std::size_t example, running_mean& mean, Read&& read) {
    add(example, mean, std::forward<Read>(read), [](std::size_t, std::span<const double>) {});
  }

  /// The scores of the ensemble of the first `count` members. Throws precondition_error unless count is in 1..S.
  const example_scores& ensemble(std::size_t count) const {
    require(count >= 1 && count <= members_, "the first 1..S members make an ensemble");
    return ensembles_[count - 1];
  }

  /// Member k's NLL of every example, nats, [N]; `first_infinite` names a label of probability zero.
  std::vector<double> member_nll_per_example(std::size_t k) const {
    require(k < members_, "a member beyond the last one");
    std::vector<double> result(examples());
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = 0.0 - member_log_probabilities_[i * members_ + k];
    }
    return result;
  }

  /// Member k's own NLL, nats.
  double member_nll(std::size_t k) const { return mean(member_nll_per_example(k)); }

  /// Member k's own error rate. Throws precondition_error unless k < S.
  double member_err(std::size_t k) const {
    require(k < members_, "a member beyond the last one");
    std::size_t errors = 0;
    for (std::size_t i = 0; i < examples(); ++i) {
      errors += member_errors_[i * members_ + k];
    }
    return static_cast<double>(errors) / static_cast<double>(examples());
  }

  /// The mean over the first `count` members of their NLL, nats.
  double mean_member_nll(std::size_t count) const {
    return mean_over(count, [this](std::size_t k) { return member_nll(k); });
  }

  /// The mean over the first `count` members of their error rates.
  double mean_member_err(std::size_t count) const {
    return mean_over(count, [this](std::size_t k) { return member_err(k); });
  }

  /// mean_member_nll(count) - the NLL of their ensemble, nats: at least 0 up to rounding.
  double ambiguity(std::size_t count) const {
    require(count >= 1 && count <= members_, "the first 1..S members make an ensemble");
    std::vector<double> result(examples());
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = pluria::ambiguity(std::span(member_log_probabilities_).subspan(i * members_, count));
    }
    return mean(result);
  }

 private:
  template <class OfMember>
  double mean_over(std::size_t count, const OfMember& of_member) const {
    require(count >= 1 && count <= members_, "the first 1..S members make an ensemble");
    std::vector<double> values(count);
    for (std::size_t k = 0; k < count; ++k) {
      values[k] = of_member(k);
    }
    return mean(values);
  }

  std::vector<std::int32_t> labels_;
  std::size_t members_;
  double label_floor_;
  std::vector<example_scores> ensembles_;         // [S], of the first 1, 2, ..., S members
  std::vector<double> member_log_probabilities_;  // [N, S], of the label
  std::vector<std::uint8_t> member_errors_;       // [N, S]: bytes, so that threads at neighbours share nothing
};

}  // namespace pluria
