// SPDX-License-Identifier: MIT
#pragma once
// The table of an evaluation while models are scored, one after the other: rows are paired with those before them.

#include <pluria/metrics/calibration.hpp>

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evaluation.hpp"
#include "plots.hpp"
#include "streamed_scores.hpp"

namespace pluria::examples {

/// Takes full precision first, then of every system rounding to nearest and the ensembles.
class growing_table {
 public:
  /// `groups` are those of the examples, for standard errors; none: they are independent.
  growing_table(evaluation begun, std::vector<std::int32_t> groups, int threads)
      : result_(std::move(begun)), groups_(std::move(groups)), threads_(threads) {}

  evaluation& result() noexcept { return result_; }
  const evaluation& result() const noexcept { return result_; }
  const std::vector<reliability_curve>& reliability() const noexcept { return reliability_; }

  void add_full_precision(scored_ensemble scored) {
    result_.full_precision = rows_of(scored, {nullptr, nullptr, groups_}, threads_).front();
    reliability_.emplace_back("full precision", reliability_bins(scored.scores.ensemble(1).judgements));
    full_precision_ = std::move(scored);
  }

  /// One model, rounded to nearest; ensembles that follow are paired with it.
  void add_nearest(evaluation_row row, scored_ensemble scored) {
    row.method = "rtn";
    row.members = 1;
    row.scores = rows_of(scored, {&*full_precision_, nullptr, groups_}, threads_).front();
    result_.rows.push_back(std::move(row));
    to_nearest_ = std::move(scored);
  }

  /// The ensembles of the first 1, 2, ..., S members; complete(row) adds what their number decides.
  template <class Complete>
  void add_ensemble(const evaluation_row& common, const scored_ensemble& scored, const Complete& complete) {
    std::vector<score_row> rows = rows_of(scored, {&*full_precision_, &*to_nearest_, groups_}, threads_);
    for (std::size_t k = 0; k < rows.size(); ++k) {
      evaluation_row& row = result_.rows.emplace_back(common);
      row.method = "bsr";
      row.members = k + 1;
      row.scores = std::move(rows[k]);
      complete(row);
    }
    reliability_.emplace_back(fmt::format("{} LPE-BSR, S = {}", common.system, rows.size()),
                              reliability_bins(scored.scores.ensemble(rows.size()).judgements));
  }

 private:
  evaluation result_;
  std::vector<std::int32_t> groups_;
  int threads_;
  std::vector<reliability_curve> reliability_;
  std::optional<scored_ensemble> full_precision_;
  std::optional<scored_ensemble> to_nearest_;
};

}  // namespace pluria::examples
