// SPDX-License-Identifier: MIT
#include <pluria/metrics/diversity.hpp>

#include "metrics/reference.hpp"
#include "support/catch.hpp"

using namespace pluria;
using reference::agree;

TEST_CASE("ambiguity is never negative and is the gap of Jensen's inequality", "[metrics]") {
  for (std::uint64_t i = 0; i < 2000; ++i) {
    std::vector<double> values;
    double sum = 0.0;
    double mean = 0.0;
    const std::uint64_t members = 1 + reference::hashed(i) % 9;
    for (std::uint64_t k = 0; k < members; ++k) {
      const double probability = static_cast<double>((reference::hashed(100000 + 10 * i + k) >> 40) + 1) / (1 << 24);
      values.push_back(std::log(probability));
      sum += probability;
      mean += std::log(probability) / static_cast<double>(members);
    }
    // Logarithms of at most 17 in magnitude, 9 of them: 9 * 17 * 2^-52 < 4e-14.
    CHECK(ambiguity(values) >= -4e-14);
    CHECK(agree(ambiguity(values), std::log(sum / static_cast<double>(members)) - mean, 4e-14));
  }
}

TEST_CASE("equal members have no ambiguity", "[metrics]") {
  CHECK(ambiguity(std::vector<double>{-0.7}) == 0.0);
  CHECK(ambiguity(std::vector<double>(4, -900.3)) == 0.0);
}

TEST_CASE("ambiguity is infinite when some members exclude the label, undefined when all do", "[metrics]") {
  const double zero = -std::numeric_limits<double>::infinity();
  CHECK(ambiguity(std::vector<double>{-1.0, zero}) == std::numeric_limits<double>::infinity());
  CHECK(std::isnan(ambiguity(std::vector<double>{zero, zero})));
  CHECK_THROWS_AS(ambiguity({}), precondition_error);
}

TEST_CASE("disagreement counts the pairs of members that vote differently", "[metrics]") {
  using votes = std::vector<std::uint16_t>;
  CHECK(disagreement(votes{4, 0, 0}) == 0.0);
  CHECK(disagreement(votes{1, 1, 1}) == 1.0);
  CHECK(disagreement(votes{2, 2, 0}) == 4.0 / 6.0);
  CHECK(disagreement(votes{0, 1, 0}) == 0.0);
  CHECK(disagreement(votes{65535, 65535, 65535}) > 2.0 / 3.0);
  CHECK(disagreements(votes{4, 0, 2, 2}, 2) == std::vector<double>{0.0, 4.0 / 6.0});
  CHECK_THROWS_AS(disagreements(votes{4, 0, 2}, 2), precondition_error);
}

TEST_CASE("the variation ratio counts the members outside the majority", "[metrics]") {
  using votes = std::vector<std::uint16_t>;
  CHECK(variation_ratio(votes{4, 0}) == 0.0);
  CHECK(variation_ratio(votes{1, 3}) == 0.25);
  CHECK(variation_ratio(votes{0, 0}) == 0.0);
}
