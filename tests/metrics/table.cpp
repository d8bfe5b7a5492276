// SPDX-License-Identifier: MIT
#include <pluria/metrics/table.hpp>

#include "metrics/reference.hpp"
#include "support/catch.hpp"

using namespace pluria;

TEST_CASE("a table gives its rows", "[metrics]") {
  const std::vector<double> values{-1.0, -2.0, -3.0, -4.0, -5.0, -6.0};
  const log_probability_table table{values, 3};
  CHECK(table.rows() == 2);
  CHECK(table.row(1)[0] == -4.0);
  CHECK(table.row(1).size() == 3);
}

TEST_CASE("a label out of range is named with its index, the range and what was found", "[metrics]") {
  CHECK_NOTHROW(check_labels(std::vector<std::int32_t>{0, 9}, 10));
  CHECK(reference::message_of<bad_input>([] {
          check_labels(std::vector<std::int32_t>{0, 10}, 10);
        }) == "label 1: expected 0..9, found 10");
  CHECK(reference::message_of<bad_input>([] {
          check_labels(std::vector<std::int32_t>{0, 3, -1}, 10);
        }) == "label 2: expected 0..9, found -1");
}

TEST_CASE("a table without whole rows, classes or examples breaks a precondition", "[metrics]") {
  const std::vector<double> five(5, -1.0);
  CHECK_THROWS_AS(check_table({five, 2}), precondition_error);
  CHECK_THROWS_AS(check_table({five, 0}), precondition_error);
  CHECK_THROWS_AS(check_table({{}, 2}), precondition_error);
  CHECK_NOTHROW(check_table({five, 5}));
}

TEST_CASE("what is no logarithm of a probability is named with its example and class", "[metrics]") {
  std::vector<double> values(6, -std::numeric_limits<double>::infinity());
  CHECK_NOTHROW(check_table({values, 3}));
  values[4] = std::numeric_limits<double>::quiet_NaN();
  CHECK(reference::message_of<bad_input>([&] {
          check_table({values, 3});
        }) == "log-probability of example 1, class 1: expected a number of at most 0, found nan");
  values[4] = 0.5;  // a probability
  CHECK_THROWS_AS(check_table({values, 3}), bad_input);
  values[4] = 1e-16;  // rounding
  CHECK_NOTHROW(check_table({values, 3}));
}

TEST_CASE("a number of labels that is not the number of rows is bad input", "[metrics]") {
  const std::vector<double> values(6, -1.0);
  CHECK(reference::message_of<bad_input>([&] {
          check_examples({values, 3}, std::vector<std::int32_t>{0, 1, 2});
        }) == "labels: expected 2, one per example, found 3");
}

TEST_CASE("the most probable class is the lowest among ties", "[metrics]") {
  const std::vector<double> row{-3.0, -1.0, -1.0, -2.0};
  CHECK(most_probable(std::span<const double>(row)) == 1);
}
