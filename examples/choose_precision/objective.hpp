// SPDX-License-Identifier: MIT
#pragma once
// What rounding by a rule costs, image by image, beside the checkpoint that is rounded:
//
//   nll        -log p(label) of the single model rounded to nearest
//   kl         KL(checkpoint's distribution || that of the single model rounded to nearest): no labels are asked
//   ensemble   -log p(label) of the ensemble of S members after one temperature, which is fitted on the first half of
//              the images; the second half is measured
//
// The first two are what HAWQ (Dong et al., ICCV 2019) estimates by Hessians, measured; the third knows that the noise
// of members may help.

#include <pluria/calibrate/temperature.hpp>
#include <pluria/core/error.hpp>
#include <pluria/ensemble/scores.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/metrics/proper_score.hpp>
#include <pluria/metrics/table.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../common/image_evaluation.hpp"
#include "../common/options.hpp"

namespace pluria::examples {

/// KL(p || q) = sum_c p(c) log(p(c) / q(c)) of one example, nats: at least 0 up to rounding, +inf where only q is zero.
inline double kl_divergence(std::span<const double> log_p, std::span<const double> log_q) noexcept {
  double sum = 0.0;
  for (std::size_t c = 0; c < log_p.size(); ++c) {
    if (log_p[c] > -std::numeric_limits<double>::infinity()) {
      sum += std::exp(log_p[c]) * (log_p[c] - log_q[c]);
    }
  }
  return sum;
}

/// The NLL of the examples from `first_measured` on after one temperature, which is fitted on those before.
inline std::vector<double> halved_calibrated_nll(const log_probability_table& table,
                                                 std::span<const std::int32_t> labels, std::size_t first_measured) {
  const std::size_t split = first_measured * table.classes;
  const double temperature = fit_temperature({table.values.first(split), table.classes}, labels.first(first_measured));
  const std::vector<double> tempered = apply_temperature({table.values.subspan(split), table.classes}, temperature);
  return nll_per_example({tempered, table.classes}, labels.subspan(first_measured));
}

/// An objective by its name, and the members that it takes.
class objective {
 public:
  enum class kind { nll, kl, ensemble };

  /// Throws bad_input naming the option.
  objective(const std::string& name, std::size_t members, const std::string& coupling, std::uint64_t seed)
      : kind_(name == "nll"  ? kind::nll
              : name == "kl" ? kind::kl
                             : kind::ensemble),
        members_(kind_ == kind::ensemble ? members : 1),
        rounding_(nearest{}) {
    if (name != "nll" && name != "kl" && name != "ensemble") {
      throw bad_input(mismatch_message("--objective", "nll, kl or ensemble", "\"" + name + "\""));
    }
    if (members == 0 || members > 65535) {
      throw bad_input(mismatch_message("--members", "1..65535", std::to_string(members)));
    }
    const bernoulli stochastic{.seed = seed, .coupling = parse_coupling(coupling)};
    if (kind_ == kind::ensemble) {
      rounding_ = stochastic;
    }
  }

  std::size_t members() const noexcept { return members_; }
  const any_rounding& rounding() const noexcept { return rounding_; }

  /// What is measured, for tables.
  std::string description() const {
    switch (kind_) {
      case kind::nll:
        return "NLL of the single model, rounded to nearest";
      case kind::kl:
        return "KL divergence of the single model, rounded to nearest, from the checkpoint";
      default:
        return "NLL of " + std::to_string(members_) + " members after one temperature";
    }
  }

  /// The losses of predictions, nats, of each measured example. `reference` is the checkpoint's table of them all.
  std::vector<double> losses(const scores& predicted, const log_probability_table& reference) const {
    if (kind_ == kind::nll) {
      return predicted.nll_per_example();
    }
    const std::vector<double> values = predicted.prediction().log_probabilities();
    const log_probability_table table{values, reference.classes};
    if (kind_ == kind::ensemble) {
      return halved_calibrated_nll(table, predicted.labels(), table.rows() / 2);
    }
    std::vector<double> result(table.rows());
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = kl_divergence(reference.row(i), table.row(i));
    }
    return result;
  }

 private:
  kind kind_;
  std::size_t members_;
  any_rounding rounding_;
};

/// Runs rounded models over the images, and keeps what they are compared with.
class loss_meter {
 public:
  loss_meter(checkpoint weights, objective wanted, const evaluator& over, int threads)
      : weights_(std::move(weights)), wanted_(std::move(wanted)), over_(&over), threads_(threads) {
    evaluator::both full = over.empty_scores();
    over.add(weights_, full);
    table_ = full.test.prediction().log_probabilities();
    classes_ = full.test.prediction().classes();
    full_losses_ = wanted_.losses(full.test, reference());
  }

  /// The checkpoint's own losses, nats, of each measured image.
  const std::vector<double>& full_precision() const noexcept { return full_losses_; }

  /// Those of the checkpoint rounded by a rule.
  std::vector<double> losses(const rule& decide) const {
    const rounded_members members(weights_, decide, wanted_.rounding(), threads_);
    evaluator::both rounded = over_->empty_scores();
    for (std::size_t k = 0; k < wanted_.members(); ++k) {
      over_->add(members[k], rounded);
    }
    return wanted_.losses(rounded.test, reference());
  }

 private:
  log_probability_table reference() const { return {table_, classes_}; }

  checkpoint weights_;
  objective wanted_;
  const evaluator* over_;
  int threads_;
  std::vector<double> table_;
  std::size_t classes_ = 0;
  std::vector<double> full_losses_;
};

}  // namespace pluria::examples
