// SPDX-License-Identifier: MIT
#include <pluria/metrics/proper_score.hpp>

#include "metrics/reference.hpp"
#include "support/catch.hpp"

using namespace pluria;
using reference::agree;

TEST_CASE("NLL, ERR and Brier agree with PyTorch for every number of members", "[metrics]") {
  const reference::results expected("scores.txt");
  const std::vector<std::int32_t> labels = reference::labels();
  for (std::size_t count = 1; count <= reference::members; ++count) {
    const std::vector<double> values = reference::mean_of_members(count);
    const log_probability_table table{values, reference::classes};
    CHECK(agree(nll(table, labels), expected("nll", count)));
    CHECK(agree(err(table, labels), expected("err", count)));
    CHECK(agree(brier(table, labels), expected("brier", count)));
  }
}

TEST_CASE("a tie is decided for the lowest class", "[metrics]") {
  const std::vector<double> values(4 * 2, std::log(0.25));
  CHECK(err({values, 4}, std::vector<std::int32_t>{0, 1}) == 0.5);
}

TEST_CASE("the Brier score runs from 0 to 2", "[metrics]") {
  const double zero = -std::numeric_limits<double>::infinity();
  const std::vector<double> values{0.0, zero, zero, 0.0, zero, zero};
  CHECK(brier_per_example({values, 3}, std::vector<std::int32_t>{0, 2}) == std::vector<double>{0.0, 2.0});
}

TEST_CASE("the NLL of a label of probability zero is infinite and its example is named", "[metrics]") {
  const double zero = -std::numeric_limits<double>::infinity();
  const std::vector<double> values{std::log(0.5), std::log(0.5), 0.0, zero, 0.0, zero};
  const std::vector<std::int32_t> labels{1, 0, 1};
  const std::vector<double> scores = nll_per_example({values, 2}, labels);
  CHECK(nll({values, 2}, labels) == std::numeric_limits<double>::infinity());
  CHECK(first_infinite(scores) == std::size_t{2});
  CHECK(!std::signbit(scores[1]));
  CHECK(first_infinite(std::span(scores).first(2)) == std::nullopt);
}

TEST_CASE("a paired difference and its standard errors agree with NumPy", "[metrics]") {
  const reference::results expected("scores.txt");
  const std::vector<std::int32_t> labels = reference::labels();
  const std::vector<double> one = reference::mean_of_members(1);
  const std::vector<double> all = reference::mean_of_members(reference::members);
  const std::vector<double> a = nll_per_example({all, reference::classes}, labels);
  const std::vector<double> b = nll_per_example({one, reference::classes}, labels);
  const mean_and_error plain = paired_difference(a, b);
  CHECK(agree(plain.mean, expected("difference")));
  CHECK(agree(plain.standard_error, expected("difference_error")));
  const mean_and_error grouped = paired_difference(a, b, reference::groups());
  CHECK(grouped.mean == plain.mean);
  CHECK(agree(grouped.standard_error, expected("difference_group_error")));
}

TEST_CASE("a standard error over groups of one example is the plain one", "[metrics]") {
  const std::vector<double> a{1.0, 2.0, 4.0, 8.0};
  const std::vector<double> b{2.0, 2.0, 1.0, 3.0};
  const mean_and_error plain = paired_difference(a, b);
  const mean_and_error grouped = paired_difference(a, b, std::vector<std::int32_t>{5, -1, 7, 0});
  CHECK(plain.mean == 1.75);
  // d = -1, 0, 3, 5: squared residuals 7.5625 + 3.0625 + 1.5625 + 10.5625 = 22.75, over 3 and over 4.
  CHECK(agree(plain.standard_error, std::sqrt(22.75 / 12.0)));
  CHECK(agree(grouped.standard_error, plain.standard_error));
}

TEST_CASE("copies of an example in its own group do not shrink the standard error", "[metrics]") {
  std::vector<double> a;
  std::vector<double> zero;
  std::vector<std::int32_t> group;
  for (std::int32_t i = 0; i < 30; ++i) {
    a.push_back(i / 3 % 4);
    zero.push_back(0.0);
    group.push_back(i / 3);
  }
  std::vector<double> once;
  for (std::int32_t i = 0; i < 10; ++i) {
    once.push_back(i % 4);
  }
  const mean_and_error thrice = paired_difference(a, zero, group);
  const mean_and_error single = paired_difference(once, std::vector<double>(10, 0.0));
  CHECK(agree(thrice.standard_error, single.standard_error));
}

TEST_CASE("a standard error is not a number where it is undefined", "[metrics]") {
  const std::vector<double> one{1.0};
  CHECK(std::isnan(paired_difference(one, one).standard_error));
  const std::vector<double> two{1.0, 2.0};
  CHECK(std::isnan(paired_difference(two, two, std::vector<std::int32_t>{4, 4}).standard_error));
  const std::vector<double> three{0.1, 0.7, 0.3};  // whose residuals do not cancel exactly
  const std::vector<double> zeros(3);
  CHECK(std::isnan(paired_difference(three, zeros, std::vector<std::int32_t>{4, 4, 4}).standard_error));
  const std::vector<double> infinite{std::numeric_limits<double>::infinity(), 2.0};
  CHECK(paired_difference(infinite, two).mean == std::numeric_limits<double>::infinity());
  CHECK(std::isnan(paired_difference(infinite, two).standard_error));
}

TEST_CASE("scores that do not cover the same examples cannot be paired", "[metrics]") {
  const std::vector<double> two{1.0, 2.0};
  const std::vector<double> three{1.0, 2.0, 3.0};
  CHECK_THROWS_AS(paired_difference(two, three), precondition_error);
  CHECK_THROWS_AS(paired_difference({}, {}), precondition_error);
  CHECK_THROWS_AS(paired_difference(two, two, std::vector<std::int32_t>{0}), precondition_error);
  CHECK_THROWS_AS(mean({}), precondition_error);
}
