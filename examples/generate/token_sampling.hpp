// SPDX-License-Identifier: MIT
#pragma once
// How the next token is chosen from its distribution: the most probable one, or at random. Temperature and top-p act on
// the distribution that is handed in, for an ensemble the mean of its members', not on each member's:
//
//   q = p^(1/T) renormalized,   then only the nucleus: the fewest most probable tokens that hold top-p of q
//
// (Holtzman, Buys, Du, Forbes & Choi, "The Curious Case of Neural Text Degeneration", ICLR 2020), in the order of
// transformers. Randomness is addressed, never consumed: token t has a uniform number of its own.

#include <pluria/calibrate/temperature.hpp>
#include <pluria/core/error.hpp>
#include <pluria/metrics/table.hpp>
#include <pluria/random/address.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace pluria::examples {

/// How a token is chosen.
struct token_sampling {
  bool greedy = false;       ///< the most probable one; the rest is not looked at
  double temperature = 1.0;  ///< T, positive and finite
  double top_p = 1.0;        ///< in (0, 1]; 1: all tokens
};

/// The uniform number in [0, 1) of token `number` of a text: words 0 and 1 of its output, 53 bits of them. A pure
/// function of its arguments.
inline double token_uniform(std::uint64_t seed, std::uint64_t number) {
  const stream random{seed, name_hash("token"), purpose::token, 0, 0};
  const auto words = random(number);
  return static_cast<double>((std::uint64_t{words[1]} << 32 | words[0]) >> 11) * 0x1p-53;
}

/// The nucleus of a distribution [V]: the fewest tokens, most probable first and the lowest index first among ties,
/// whose probabilities sum to top_p or more, in that order. All tokens where the sum stays below, by rounding.
inline std::vector<std::size_t> nucleus(std::span<const double> probabilities, double top_p) {
  // A heap: few of the tokens are looked at, and a vocabulary has many.
  const auto comes_later = [&](std::size_t a, std::size_t b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] < probabilities[b] : a > b;
  };
  std::vector<std::size_t> rest(probabilities.size());
  std::iota(rest.begin(), rest.end(), std::size_t{0});
  std::make_heap(rest.begin(), rest.end(), comes_later);
  std::vector<std::size_t> kept;
  for (double sum = 0.0; !rest.empty() && sum < top_p;) {
    std::pop_heap(rest.begin(), rest.end(), comes_later);
    kept.push_back(rest.back());
    sum += probabilities[kept.back()];
    rest.pop_back();
  }
  return kept;
}

/// The token that `uniform`, in [0, 1), chooses from a distribution given by its log-probabilities [V], some of them
/// finite: the first, by index, up to which the probabilities of those that may be chosen sum to more than `uniform` of
/// them all. Greedy: the most probable, the lowest index among ties. A token of probability zero is never chosen.
/// Throws precondition_error for a temperature, top_p or uniform number out of range.
inline std::size_t choose_token(std::span<const double> log_probabilities, const token_sampling& how, double uniform) {
  if (how.greedy) {
    return most_probable(log_probabilities);
  }
  require(how.top_p > 0.0 && how.top_p <= 1.0, "top-p must be above 0 and at most 1");
  require(uniform >= 0.0 && uniform < 1.0, "a uniform number lies in [0, 1)");
  std::vector<double> weights(log_probabilities.size());
  apply_temperature(log_probabilities, how.temperature, weights);
  for (double& weight : weights) {
    weight = std::exp(weight);
  }
  if (how.top_p < 1.0) {
    std::vector<double> kept(weights.size());
    for (const std::size_t token : nucleus(weights, how.top_p)) {
      kept[token] = weights[token];
    }
    weights = std::move(kept);
  }
  // The product is smaller than the sum, so that the same additions exceed it at a token that adds something.
  const double chosen = uniform * std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0.0;
  for (std::size_t token = 0;; ++token) {
    sum += weights[token];
    if (sum > chosen) {
      return token;
    }
  }
}

}  // namespace pluria::examples
