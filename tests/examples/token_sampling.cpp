// SPDX-License-Identifier: MIT
// How generate chooses tokens, against the definition by loops.

#include "../../examples/generate/token_sampling.hpp"

#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_threefry.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

namespace {

using namespace pluria;
using namespace pluria::examples;

constexpr double zero_probability = -std::numeric_limits<double>::infinity();
constexpr double largest_uniform = 1.0 - 0x1p-53;

// A distribution out of integers in 0..15, so that many tokens tie and some have no probability.
std::vector<double> made_distribution(std::uint32_t number, std::size_t tokens) {
  std::vector<double> result(tokens);
  for (std::size_t i = 0; i < tokens; ++i) {
    result[i] = support::mixed(1000 * number + static_cast<std::uint32_t>(i)) >> 28;
  }
  result[number % tokens] += 1.0;  // never nothing
  const double sum = std::accumulate(result.begin(), result.end(), 0.0);
  for (double& value : result) {
    value /= sum;
  }
  return result;
}

std::vector<double> logarithms(const std::vector<double>& probabilities) {
  std::vector<double> result(probabilities.size());
  std::transform(probabilities.begin(), probabilities.end(), result.begin(), [](double p) { return std::log(p); });
  return result;
}

std::vector<std::size_t> naive_nucleus(const std::vector<double>& probabilities, double top_p) {
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return probabilities[a] > probabilities[b]; });
  double sum = 0.0;
  std::size_t count = 0;
  while (count < order.size() && sum < top_p) {
    sum += probabilities[order[count++]];
  }
  order.resize(count);
  return order;
}

TEST_CASE("the uniform number of a token is 53 bits of its address", "[examples]") {
  const std::uint64_t tokens[] = {0, 1, 2, 199, (1ULL << 32) - 1, 1ULL << 32, ~0ULL};
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{0x0123456789abcdefU}}) {
    for (const std::uint64_t token : tokens) {
      const std::uint64_t hash = name_hash("token");
      const auto words = support::naive_threefry4x32<13>::generate<std::uint32_t>(
          {static_cast<std::uint32_t>(token), static_cast<std::uint32_t>(token >> 32), 0U, 6U | 2U << 16},
          {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32), static_cast<std::uint32_t>(hash),
           static_cast<std::uint32_t>(hash >> 32)});
      // The high word and 21 bits of the low one.
      const double expected = std::ldexp(words[1], -32) + std::ldexp(words[0] >> 11, -53);
      CHECK(token_uniform(seed, token) == expected);
    }
  }
}

TEST_CASE("uniform numbers lie in [0, 1), differ, and have mean one half", "[examples]") {
  constexpr std::size_t count = 20000;
  std::set<double> numbers;
  double sum = 0.0;
  for (std::uint64_t token = 0; token < count; ++token) {
    const double uniform = token_uniform(5, token);
    CHECK((uniform >= 0.0 && uniform < 1.0));
    numbers.insert(uniform);
    sum += uniform;
  }
  CHECK(numbers.size() == count);
  // Four standard deviations of the mean.
  CHECK(std::abs(sum / count - 0.5) < 4.0 / std::sqrt(12.0 * count));
}

TEST_CASE("the nucleus is the fewest most probable tokens that hold top-p", "[examples]") {
  std::size_t wrong = 0;
  std::size_t looked_at = 0;
  for (std::uint32_t number = 0; number < 50; ++number) {
    for (const std::size_t tokens : {1U, 2U, 7U, 256U}) {
      const std::vector<double> probabilities = made_distribution(number, tokens);
      for (const double top_p : {1e-12, 0.05, 0.25, 0.5, 0.9, 0.99, 1.0 - 1e-9}) {
        wrong += nucleus(probabilities, top_p) == naive_nucleus(probabilities, top_p) ? 0U : 1U;
        ++looked_at;
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(looked_at == 50U * 4U * 7U);
  const std::vector<double> probabilities{0.25, 0.5, 0.25};
  CHECK(nucleus(probabilities, 0.5) == std::vector<std::size_t>{1});
  CHECK(nucleus(probabilities, std::nextafter(0.5, 1.0)) == std::vector<std::size_t>{1, 0});
  CHECK(nucleus(probabilities, 0.75) == std::vector<std::size_t>{1, 0});
  CHECK(nucleus(probabilities, 0.76) == std::vector<std::size_t>{1, 0, 2});
}

TEST_CASE("a token is chosen where the sum of what may be chosen exceeds the uniform number", "[examples]") {
  std::size_t wrong = 0;
  std::size_t kept_out = 0;
  for (std::uint32_t number = 0; number < 40; ++number) {
    const std::vector<double> probabilities = made_distribution(number, 30);
    for (const double temperature : {0.3, 1.0, 2.5}) {
      for (const double top_p : {0.2, 0.7, 1.0}) {
        std::vector<double> tempered(probabilities.size());
        double sum = 0.0;
        for (std::size_t i = 0; i < tempered.size(); ++i) {
          tempered[i] = std::pow(probabilities[i], 1.0 / temperature);
          sum += tempered[i];
        }
        // Ties stay ties: equal probabilities have equal powers.
        for (double& value : tempered) {
          value /= sum;
        }
        const std::vector<std::size_t> kept = naive_nucleus(tempered, top_p);
        std::vector<double> allowed(tempered.size());
        double held = 0.0;
        for (const std::size_t token : kept) {
          allowed[token] = tempered[token];
          held += tempered[token];
        }
        kept_out += tempered.size() - kept.size();
        for (std::uint64_t draw = 0; draw < 40; ++draw) {
          const double uniform = token_uniform(number, draw);
          const std::size_t found =
              choose_token(logarithms(probabilities), {.temperature = temperature, .top_p = top_p}, uniform);
          const double before = std::accumulate(allowed.begin(), allowed.begin() + static_cast<long>(found), 0.0);
          // Some 30 additions and powers: 1e-12 is far beyond their rounding.
          const bool holds = allowed[found] > 0.0 && before / held <= uniform + 1e-12 &&
                             (before + allowed[found]) / held > uniform - 1e-12;
          wrong += holds ? 0U : 1U;
        }
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(kept_out > 1000);
}

TEST_CASE("neither end of the uniform numbers chooses a token without probability", "[examples]") {
  const std::vector<double> row{zero_probability, std::log(0.3), zero_probability, std::log(0.7), zero_probability};
  CHECK(choose_token(row, {}, 0.0) == 1);
  CHECK(choose_token(row, {}, largest_uniform) == 3);
  // Sums with other last digits: the uniform number times the sum stays below it.
  for (std::uint32_t number = 0; number < 2000; ++number) {
    const std::vector<double> probabilities = made_distribution(number, 9);
    const std::size_t last = choose_token(logarithms(probabilities), {.temperature = 0.7}, largest_uniform);
    CHECK(probabilities[last] > 0.0);
  }
}

TEST_CASE("greedy, a small top-p and a small temperature choose the most probable token, the lowest among ties",
          "[examples]") {
  const std::vector<double> row = logarithms({0.1, 0.35, 0.2, 0.35});
  for (const double uniform : {0.0, 0.4, largest_uniform}) {
    CHECK(choose_token(row, {.greedy = true}, uniform) == 1);
    CHECK(choose_token(row, {.top_p = 1e-9}, uniform) == 1);
  }
  const std::vector<double> without_tie = logarithms({0.1, 0.35, 0.2, 0.36});
  CHECK(choose_token(without_tie, {.temperature = 1e-3}, 0x1p-33) == 3);
  CHECK(choose_token(without_tie, {.temperature = 1e-300}, largest_uniform) == 3);
  CHECK(choose_token(std::vector<double>{0.0}, {}, 0.5) == 0);
}

TEST_CASE("tokens come as often as their probabilities say", "[examples]") {
  const std::vector<double> probabilities{0.05, 0.4, 0.0, 0.3, 0.15, 0.1};
  const std::vector<double> row = logarithms(probabilities);
  constexpr std::size_t draws = 20000;
  // Whether all counts lie within five standard deviations of what they should be.
  const auto agrees = [&](auto uniform_of) {
    std::vector<double> counts(row.size());
    for (std::uint64_t token = 0; token < draws; ++token) {
      ++counts[choose_token(row, {}, uniform_of(token))];
    }
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const double p = probabilities[i];
      if (std::abs(counts[i] - draws * p) > 5.0 * std::sqrt(draws * p * (1.0 - p))) {
        return false;
      }
    }
    return true;
  };
  CHECK(agrees([](std::uint64_t token) { return token_uniform(11, token); }));
  // A bias of one in twenty is found.
  CHECK_FALSE(agrees([](std::uint64_t token) { return 0.95 * token_uniform(11, token); }));
}

TEST_CASE("a temperature, top-p or uniform number out of range is a broken precondition", "[examples]") {
  const std::vector<double> row = logarithms({0.5, 0.5});
  CHECK_THROWS_AS(choose_token(row, {.temperature = 0.0}, 0.5), precondition_error);
  CHECK_THROWS_AS(choose_token(row, {.top_p = 0.0}, 0.5), precondition_error);
  CHECK_THROWS_AS(choose_token(row, {.top_p = 1.1}, 0.5), precondition_error);
  CHECK_THROWS_AS(choose_token(row, {}, 1.0), precondition_error);
  CHECK_THROWS_AS(choose_token(row, {}, -0.1), precondition_error);
}

}  // namespace
