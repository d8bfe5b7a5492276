// SPDX-License-Identifier: MIT
#pragma once
// How much the members of an ensemble differ, in three ways:
//
//   ambiguity        mean member NLL - ensemble NLL, at the label log(mean_k p_k) - mean_k log p_k. Never negative
//                    (Jensen): the ensemble beats its mean member by exactly this much (the ambiguity decomposition of
//                    Krogh & Vedelsby, NIPS 1994, for log loss)
//   disagreement     the fraction of pairs of members that vote for different classes (Skalak 1996)
//   variation ratio  the fraction of members that do not vote for the class most voted for (Freeman 1965)

#include <pluria/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace pluria {

/// The ambiguity of one example from its members' log-probabilities of the label, nats; at least 0 up to rounding,
/// exactly 0 for one member. +inf when some members, NaN when all of them gave the label probability zero. Throws
/// precondition_error for no members.
inline double ambiguity(std::span<const double> member_log_probabilities) {
  require(!member_log_probabilities.empty(), "ambiguity: no members");
  const double largest = *std::max_element(member_log_probabilities.begin(), member_log_probabilities.end());
  if (largest == -std::numeric_limits<double>::infinity()) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  // Relative to the largest, so that two large numbers are never subtracted.
  double sum = 0.0;
  double distance = 0.0;
  for (const double value : member_log_probabilities) {
    sum += std::exp(value - largest);
    distance += largest - value;
  }
  const auto members = static_cast<double>(member_log_probabilities.size());
  return std::log(sum / members) + distance / members;
}

/// The fraction of pairs of members that vote differently, from the votes of one example for each class, in 0..1; 0 for
/// fewer than two votes.
inline double disagreement(std::span<const std::uint16_t> votes) noexcept {
  std::uint64_t total = 0;
  std::uint64_t ordered_pairs_that_agree = 0;
  for (const std::uint64_t count : votes) {
    total += count;
    ordered_pairs_that_agree += count * (count - (count > 0 ? 1U : 0U));
  }
  if (total < 2) {
    return 0.0;
  }
  const std::uint64_t ordered_pairs = total * (total - 1);
  return static_cast<double>(ordered_pairs - ordered_pairs_that_agree) / static_cast<double>(ordered_pairs);
}

/// The fraction of members that do not vote for the class most voted for, from the votes of one example, in 0..1; 0 for
/// no votes.
inline double variation_ratio(std::span<const std::uint16_t> votes) noexcept {
  std::uint64_t total = 0;
  std::uint64_t largest = 0;
  for (const std::uint64_t count : votes) {
    total += count;
    largest = std::max(largest, count);
  }
  return total == 0 ? 0.0 : static_cast<double>(total - largest) / static_cast<double>(total);
}

/// The disagreement of every example, from votes [N, C] row-major, [N]. Throws precondition_error for incomplete rows.
inline std::vector<double> disagreements(std::span<const std::uint16_t> votes, std::size_t classes) {
  require(classes > 0 && votes.size() % classes == 0, "disagreements: votes must have whole rows");
  std::vector<double> result(votes.size() / classes);
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = disagreement(votes.subspan(i * classes, classes));
  }
  return result;
}

}  // namespace pluria
