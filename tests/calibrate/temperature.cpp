// SPDX-License-Identifier: MIT
#include <pluria/calibrate/temperature.hpp>

#include <pluria/metrics/proper_score.hpp>

#include "metrics/reference.hpp"
#include "support/catch.hpp"

using namespace pluria;
using reference::agree;
using reference::classes;

TEST_CASE("the fitted temperature and its NLL agree with a bisection on PyTorch's gradient", "[calibrate]") {
  const reference::results expected("scores.txt");
  const std::vector<std::int32_t> labels = reference::labels();
  for (std::size_t count = 1; count <= reference::members; ++count) {
    const std::vector<double> values = reference::mean_of_members(count);
    const double temperature = fit_temperature({values, classes}, labels);
    CHECK(agree(temperature, expected("temperature", count), 1e-10));
    const std::vector<double> calibrated = apply_temperature({values, classes}, temperature);
    CHECK(agree(nll({calibrated, classes}, labels), expected("calibrated_nll", count)));
  }
  const std::vector<double> values = reference::mean_of_members(reference::members);
  CHECK(agree(fit_temperature({std::span(values).subspan(5 * classes), classes}, std::span(labels).subspan(5)),
              expected("temperature_without_outlier"), 1e-10));
}

TEST_CASE("the fitted temperature is a minimum of the NLL", "[calibrate]") {
  const std::vector<std::int32_t> labels = reference::labels();
  const std::vector<double> values = reference::mean_of_members(reference::members);
  const double temperature = fit_temperature({values, classes}, labels);
  const auto nll_at = [&](double t) { return nll({apply_temperature({values, classes}, t), classes}, labels); };
  for (double step = 1e-3; step < 3.0; step *= 2.0) {
    CHECK(nll_at(temperature) < nll_at(temperature * (1.0 + step)));
    CHECK(nll_at(temperature) < nll_at(temperature / (1.0 + step)));
  }
}

TEST_CASE("temperatures multiply: softening by t makes the fitted temperature t times smaller", "[calibrate]") {
  const std::vector<std::int32_t> labels = reference::labels();
  const std::vector<double> values = reference::mean_of_members(3);
  const double fitted = fit_temperature({values, classes}, labels);
  for (const double t : {0.125, 0.5, 2.0, 40.0}) {
    const std::vector<double> softened = apply_temperature({values, classes}, t);
    CHECK(agree(fit_temperature({softened, classes}, labels) * t / fitted, 1.0, 1e-10));
  }
}

TEST_CASE("a temperature keeps the order of the classes, the sum of one and zeros", "[calibrate]") {
  const std::vector<double> values = reference::mean_of_members(2);
  const log_probability_table before{values, classes};
  for (const double t : {0.01, 0.3, 1.0, 7.0, 100.0}) {
    const std::vector<double> scaled = apply_temperature(before, t);
    const log_probability_table after{scaled, classes};
    for (std::size_t i = 0; i < before.rows(); ++i) {
      CHECK(most_probable(after.row(i)) == most_probable(before.row(i)));
      double sum = 0.0;
      for (const double value : after.row(i)) {
        sum += std::exp(value);
      }
      CHECK(agree(sum, 1.0, 1e-13));
    }
    CHECK(after.row(3)[2] == -std::numeric_limits<double>::infinity());
  }
}

TEST_CASE("a temperature of one changes nothing but rounding", "[calibrate]") {
  const std::vector<double> values = reference::mean_of_members(2);
  const std::vector<double> scaled = apply_temperature({values, classes}, 1.0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(agree(scaled[i], values[i]));
  }
}

TEST_CASE("an optimum beyond the range is its bound", "[calibrate]") {
  const std::vector<double> values{std::log(0.7), std::log(0.3), std::log(0.4), std::log(0.6)};
  CHECK(fit_temperature({values, 2}, std::vector<std::int32_t>{0, 1}) == smallest_temperature);
  CHECK(fit_temperature({values, 2}, std::vector<std::int32_t>{1, 0}) == largest_temperature);
}

TEST_CASE("where a temperature makes no difference it is one", "[calibrate]") {
  const double zero = -std::numeric_limits<double>::infinity();
  const double half = std::log(0.5);
  const std::vector<double> values{half, half, zero, zero, 0.0, zero};
  CHECK(fit_temperature({values, 3}, std::vector<std::int32_t>{0, 1}) == 1.0);
}

TEST_CASE("two right examples of three give the temperature that can be written down", "[calibrate]") {
  // Log odds a in all three: the optimum is sigma(a / T) = 2/3, so T = a / log 2.
  for (const double odds : {0.01, 0.5, 3.0, 40.0, 69.0}) {
    std::vector<double> values;
    for (int i = 0; i < 3; ++i) {
      values.push_back(-std::log1p(std::exp(-odds)));
      values.push_back(-odds - std::log1p(std::exp(-odds)));
    }
    CHECK(agree(fit_temperature({values, 2}, std::vector<std::int32_t>{0, 0, 1}) * std::log(2.0) / odds, 1.0, 1e-10));
  }
}

TEST_CASE("a label of probability zero cannot be calibrated and is named", "[calibrate]") {
  const double zero = -std::numeric_limits<double>::infinity();
  const std::vector<double> values{-1.0, std::log1p(-std::exp(-1.0)), 0.0, zero};
  CHECK(reference::message_of<bad_input>([&] {
          (void)fit_temperature({values, 2}, std::vector<std::int32_t>{0, 1});
        }) == "probability of the label of example 1: expected more than 0, for a temperature to be fitted, found 0");
}

TEST_CASE("labels out of range, wrong sizes and impossible temperatures are refused", "[calibrate]") {
  const std::vector<double> values(4, std::log(0.5));
  CHECK_THROWS_AS(fit_temperature({values, 2}, std::vector<std::int32_t>{0, 2}), bad_input);
  CHECK_THROWS_AS(fit_temperature({values, 2}, std::vector<std::int32_t>{0}), bad_input);
  CHECK_THROWS_AS(fit_temperature({values, 3}, std::vector<std::int32_t>{0}), precondition_error);
  for (const double t :
       {0.0, -1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_AS(apply_temperature({values, 2}, t), precondition_error);
  }
  const std::vector<double> nothing(2, -std::numeric_limits<double>::infinity());
  CHECK_THROWS_AS(apply_temperature({nothing, 2}, 1.0), bad_input);
}

TEST_CASE("a search that is given derivatives pass by pass finds the same temperature", "[calibrate]") {
  const std::vector<std::int32_t> labels = reference::labels();
  const std::vector<double> values = reference::mean_of_members(4);
  const log_probability_table table{values, classes};
  // Any positive multiple of the derivatives will do: here they are sums over blocks of examples.
  const auto derivatives = [&](double beta) {
    slope_and_curvature sum;
    for (std::size_t first = 0; first < table.rows(); first += 7) {
      slope_and_curvature of_block;
      for (std::size_t i = first; i < std::min(first + 7, table.rows()); ++i) {
        of_block += nll_derivatives(table.row(i), static_cast<std::size_t>(labels[i]), beta);
      }
      sum += of_block;
    }
    return sum;
  };
  for (const double tolerance : {1e-12, 1e-4}) {
    temperature_search search(tolerance);
    int passes = 0;
    for (; !search.done(); ++passes) {
      std::vector<slope_and_curvature> found;
      for (const double beta : search.betas()) {
        found.push_back(derivatives(beta));
      }
      search.add(found);
    }
    CHECK(passes <= 9);
    // Newton's last step is below the tolerance, and squares what was left.
    CHECK(agree(search.temperature() / fit_temperature(table, labels), 1.0, tolerance == 1e-12 ? 1e-11 : 1e-6));
    CHECK_THROWS_AS(search.add(std::vector<slope_and_curvature>(1)), precondition_error);
  }
  CHECK_THROWS_AS(temperature_search(0.0), precondition_error);
  temperature_search search;
  CHECK_THROWS_AS(search.add(std::vector<slope_and_curvature>(2)), precondition_error);
}
