// SPDX-License-Identifier: MIT
#pragma once
// Number systems side by side: which one wins within a budget of bits, chosen on the validation split, and by how much
// on the test set, paired over its examples.

#include <pluria/metrics/proper_score.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "../common/evaluation.hpp"

namespace pluria::examples {

/// One number system, rounded to nearest or as an ensemble of so many members.
struct compared_system {
  evaluation_row row;            ///< scores on the test set, with each example's NLL after the temperature
  double bits_per_weight = 0.0;  ///< of one member, codes and granules, without the padding of short rows
  double ensemble_bits = 0.0;    ///< a weight, of all members over a shared floor as they are stored
  double validation_nll = 0.0;   ///< after the temperature, which is fitted there
};

/// Of one model.
struct system_comparison {
  evaluation result;  ///< full precision only
  std::vector<compared_system> systems;

  /// What tells a system's variants apart (settings_of); nothing where it has none.
  std::string variant_of(const compared_system& system) const {
    const bool is_ambiguous = std::any_of(systems.begin(), systems.end(), [&](const compared_system& other) {
      return are_variants(system.row, other.row);
    });
    return is_ambiguous ? settings_of(system.row) : std::string();
  }

  /// What tables call a system: "INT-4", or "INT-4, group:32, lattice:8" where it has variants.
  std::string name_of(const compared_system& system) const { return system.row.system + variant_of(system); }

  /// The numbers of members that all systems have: 1, 2, 4, ...; RTN is not among them.
  std::vector<std::size_t> members() const {
    std::vector<std::size_t> counts;
    for (const compared_system& system : systems) {
      if (is_ensemble(system.row) && std::find(counts.begin(), counts.end(), system.row.members) == counts.end()) {
        counts.push_back(system.row.members);
      }
    }
    std::sort(counts.begin(), counts.end());
    return counts;
  }
};

/// The system of the lowest validation NLL among those that `wanted` takes; null where it takes none.
template <class Wanted>
const compared_system* best_on_validation(const system_comparison& all, Wanted&& wanted) {
  const compared_system* best = nullptr;
  for (const compared_system& system : all.systems) {
    if (wanted(system) && (best == nullptr || system.validation_nll < best->validation_nll)) {
      best = &system;
    }
  }
  return best;
}

/// The NLL of `a` minus that of `b`, a temperature on both sides, paired over the test set.
inline mean_and_error calibrated_difference(const score_row& a, const score_row& b) {
  return paired_difference(a.calibrated_nll_per_example, b.calibrated_nll_per_example);
}

/// For budgets half a bit above every width, RTN and each number of members: the winner among the systems whose members
/// take at most as many bits a weight, its distance from the best symmetric INT-b among them (where there is one) and
/// from the checkpoint. * is an incomplete block of a lattice.
inline std::string winners_table(const system_comparison& all) {
  std::size_t width = 20;
  for (const compared_system& system : all.systems) {
    width = std::max(width, all.name_of(system).size());
  }
  std::string table = fmt::format("{:>4} {:>3}  {:<{}} {:>6}  {:<6} {:<16} {:<16}\n", "most", "S", "best on validation",
                                  width, "bits/w", "NLL", "- INT-b", "- full precision");
  const auto pair = [](const mean_and_error& difference) {
    return fmt::format("{:+.4f} +-{:.4f}", difference.mean, difference.standard_error);
  };
  std::set<int> widths;
  for (const compared_system& system : all.systems) {
    widths.insert(system.row.bits);
  }
  const auto line = [&](double most, const std::string& members, const auto& has_members) {
    // A hundredth of a bit is for what a whole tensor shares: NVFP4 takes 4.5 and its tensors' scales.
    const auto is_within = [&](const compared_system& system) {
      return system.bits_per_weight <= most + 0.01 && has_members(system.row);
    };
    const compared_system* const best = best_on_validation(all, is_within);
    const compared_system* const integer = best_on_validation(all, [&](const compared_system& system) {
      return is_within(system) && system.row.system == fmt::format("INT-{}", system.row.bits);
    });
    if (best == nullptr) {
      return;
    }
    table += fmt::format(
        "{:4.1f} {:>3}{:1} {:<{}} {:6.2f}  {:.4f} {:<16} {:<16}\n", most, members, best->row.complete_block ? "" : "*",
        all.name_of(*best), width, best->bits_per_weight, best->row.scores.calibrated->nll,
        integer == nullptr || integer == best ? std::string()
                                              : pair(calibrated_difference(best->row.scores, integer->row.scores)),
        pair(calibrated_difference(best->row.scores, *all.result.full_precision)));
  };
  for (const int bits : widths) {
    const double most = bits + 0.5;
    line(most, "RTN", [](const evaluation_row& row) { return !is_ensemble(row); });
    for (const std::size_t count : all.members()) {
      line(most, std::to_string(count),
           [&](const evaluation_row& row) { return is_ensemble(row) && row.members == count; });
    }
  }
  return table;
}

/// Whether the best ensemble of at most `most_bits` a weight, all members together, beats the checkpoint with
/// temperature on both sides; chosen on the validation split.
inline std::string verdict(const system_comparison& all, double most_bits) {
  const compared_system* const best = best_on_validation(all, [&](const compared_system& system) {
    return is_ensemble(system.row) && system.row.members > 1 && system.ensemble_bits <= most_bits;
  });
  if (best == nullptr) {
    return fmt::format("no ensemble takes at most {} bits a weight\n", most_bits);
  }
  const mean_and_error difference = calibrated_difference(best->row.scores, *all.result.full_precision);
  return fmt::format(
      "best on validation of all ensembles of at most {} bits a weight: {}, S = {}, {:.2f} bits; on the test set, "
      "with one temperature on both sides, NLL {:.4f} against the checkpoint's {:.4f}: {:+.4f} +-{:.4f}, {}\n",
      most_bits, all.name_of(*best), best->row.members, best->ensemble_bits, best->row.scores.calibrated->nll,
      all.result.full_precision->calibrated->nll, difference.mean, difference.standard_error,
      difference.mean < -2 * difference.standard_error  ? "better by more than two standard errors"
      : difference.mean > 2 * difference.standard_error ? "worse by more than two standard errors"
                                                        : "even within two standard errors");
}

}  // namespace pluria::examples
