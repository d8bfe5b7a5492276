// SPDX-License-Identifier: MIT

#include "streamed_scores.hpp"

#include <pluria/core/parallel.hpp>

namespace pluria::examples {

std::vector<score_row> rows_of(const scored_ensemble& ensemble, const row_references& paired, int threads,
                               std::size_t bins) {
  const auto difference = [&](std::span<const double> a, std::span<const double> b) {
    return paired.groups.empty() ? paired_difference(a, b) : paired_difference(a, b, paired.groups);
  };
  std::vector<score_row> rows(ensemble.scores.members());
  // Most of the time goes into the bootstrap of the ECE.
  parallel_for(rows.size(), threads, [&](std::size_t k) {
    const example_scores& examples = ensemble.scores.ensemble(k + 1);
    score_row& row = rows[k];
    row = figures_of(examples, paired.groups, bins);
    row.ambiguity = ensemble.scores.ambiguity(k + 1);
    row.mean_member_nll = ensemble.scores.mean_member_nll(k + 1);
    row.mean_member_err = ensemble.scores.mean_member_err(k + 1);
    if (paired.full_precision != nullptr) {
      row.nll_difference = difference(examples.nll, paired.full_precision->scores.ensemble(1).nll);
    }
    if (paired.to_nearest != nullptr) {
      row.rtn_nll_difference = difference(examples.nll, paired.to_nearest->scores.ensemble(1).nll);
    }
    if (!ensemble.tempered.empty()) {
      const example_scores& tempered = ensemble.tempered[k];
      row.calibrated = calibrated_figures_of(ensemble.temperatures[k], tempered, paired.groups, bins);
      if (paired.full_precision != nullptr && !paired.full_precision->tempered.empty()) {
        row.calibrated_nll_difference = difference(tempered.nll, paired.full_precision->tempered[0].nll);
      }
    }
  });
  return rows;
}

}  // namespace pluria::examples
