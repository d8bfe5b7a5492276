// SPDX-License-Identifier: MIT
#include <pluria/metrics/calibration.hpp>

#include <algorithm>
#include <numeric>
#include <vector>

#include "metrics/reference.hpp"
#include "support/catch.hpp"

using namespace pluria;
using reference::agree;

namespace {

// With the divisor n - 1.
double deviation(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  double mean = 0.0;
  for (const double value : values) {
    mean += value / count;
  }
  double squares = 0.0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  return std::sqrt(squares / (count - 1.0));
}

}  // namespace

TEST_CASE("ECE and the confidence gap agree with the textbook form for every number of members", "[metrics]") {
  const reference::results expected("scores.txt");
  const std::vector<std::int32_t> labels = reference::labels();
  for (std::size_t count = 1; count <= reference::members; ++count) {
    const std::vector<double> values = reference::mean_of_members(count);
    const auto examples = judged_confidences({values, reference::classes}, labels);
    CHECK(agree(ece(examples), expected("ece", count)));
    CHECK(agree(confidence_gap(examples), expected("confidence_gap", count)));
  }
}

TEST_CASE("confidences at 0, at 1 and around every edge fall into the bins of exact arithmetic", "[metrics]") {
  const reference::results expected("edges.txt");
  std::vector<judged_confidence> examples;
  for (std::size_t i = 0; i < expected.all("confidence").size(); ++i) {
    const double confidence = expected.all("confidence")[i];
    CHECK(static_cast<double>(calibration_bin(confidence)) == expected.all("bin")[i]);
    examples.push_back({confidence, expected.all("correct")[i] == 1.0});
  }
  REQUIRE(examples.size() == 46);
  CHECK(agree(ece(examples), expected("ece")));
}

TEST_CASE("every bin is closed on the right", "[metrics]") {
  CHECK(calibration_bin(0.0) == 0);
  for (int k = 1; k <= 15; ++k) {
    CHECK(calibration_bin(k / 15.0) == static_cast<std::size_t>(k - 1));
  }
  CHECK(calibration_bin(1.0 + 1e-15) == 14);
  CHECK(calibration_bin(0.5, 1) == 0);
  CHECK(calibration_bin(0.5, 2) == 0);
  CHECK(calibration_bin(std::nextafter(0.5, 1.0), 2) == 1);
}

TEST_CASE("reliability bins hold counts, mean confidences and accuracies, and give the ECE", "[metrics]") {
  const std::vector<std::int32_t> labels = reference::labels();
  const std::vector<double> values = reference::mean_of_members(reference::members);
  const auto examples = judged_confidences({values, reference::classes}, labels);
  const std::vector<reliability_bin> bins = reliability_bins(examples);
  REQUIRE(bins.size() == 15);
  std::size_t count = 0;
  double total = 0.0;
  for (std::size_t m = 0; m < bins.size(); ++m) {
    count += bins[m].count;
    if (bins[m].count == 0) {
      CHECK(std::isnan(bins[m].accuracy));
      continue;
    }
    CHECK(bins[m].mean_confidence <= (static_cast<double>(m) + 1.0) / 15.0 + 1e-15);
    CHECK(bins[m].mean_confidence >= static_cast<double>(m) / 15.0 - 1e-15);
    total += static_cast<double>(bins[m].count) * std::abs(bins[m].mean_confidence - bins[m].accuracy);
  }
  CHECK(count == examples.size());
  CHECK(agree(ece(examples), total / static_cast<double>(count)));
}

TEST_CASE("sure and right has no calibration error, sure and wrong has all of it", "[metrics]") {
  const std::vector<judged_confidence> right(7, {1.0, true});
  const std::vector<judged_confidence> wrong(7, {1.0, false});
  CHECK(ece(right) == 0.0);
  CHECK(ece(wrong) == 1.0);
  CHECK(confidence_gap(wrong) == 1.0);
  CHECK(ece_standard_error(wrong) == 0.0);
}

TEST_CASE("the bootstrap error of the ECE agrees with an independent bootstrap", "[metrics]") {
  const reference::results expected("scores.txt");
  const std::vector<double> values = reference::mean_of_members(reference::members);
  const auto examples = judged_confidences({values, reference::classes}, reference::labels());
  // A standard deviation from R values with kurtosis K has a relative standard error of sqrt((K - 1) / (4 R)): with R =
  // 2000 here, 20000 there and K = 3.01, 6 of them are 10 %.
  const double resamples = 2000.0;
  const double relative = 6.0 * std::sqrt((expected("ece_kurtosis") - 1.0) / 4.0 * (1.0 / resamples + 1.0 / 20000.0));
  const double found = ece_standard_error(examples, {.seed = 3, .resamples = 2000});
  CHECK(std::abs(found / expected("ece_standard_error") - 1.0) < relative);
}

TEST_CASE("the bootstrap follows its definition draw by draw", "[metrics]") {
  const std::vector<double> values = reference::mean_of_members(2);
  auto examples = judged_confidences({values, reference::classes}, reference::labels());
  examples.resize(301);  // neither a multiple of 64 nor of 128
  std::vector<double> resampled;
  for (std::uint64_t resample = 0; resample < 9; ++resample) {
    const stream random{11, name_hash("ece"), purpose::bootstrap, 0, resample};
    std::vector<judged_confidence> drawn;
    for (std::uint32_t draw = 0; draw < examples.size(); ++draw) {
      const std::uint64_t word = decision_bits_32(random, draw / 128, draw % 128);
      drawn.push_back(examples[word * examples.size() >> 32]);
    }
    resampled.push_back(ece(drawn));
  }
  CHECK(agree(ece_standard_error(examples, {.seed = 11, .resamples = 9}), deviation(resampled)));
}

TEST_CASE("the bootstrap over groups draws whole groups", "[metrics]") {
  const std::vector<double> values = reference::mean_of_members(2);
  auto examples = judged_confidences({values, reference::classes}, reference::labels());
  std::vector<std::int32_t> group = reference::groups();
  std::vector<std::int32_t> names;  // by first appearance
  for (const std::int32_t name : group) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  }
  std::vector<double> resampled;
  for (std::uint64_t resample = 0; resample < 9; ++resample) {
    const stream random{11, name_hash("ece"), purpose::bootstrap, 0, resample};
    std::vector<judged_confidence> drawn;
    for (std::uint32_t draw = 0; draw < names.size(); ++draw) {
      const std::int32_t name = names[decision_bits_32(random, 0, draw) * std::uint64_t{names.size()} >> 32];
      for (std::size_t i = 0; i < examples.size(); ++i) {
        if (group[i] == name) {
          drawn.push_back(examples[i]);
        }
      }
    }
    resampled.push_back(ece(drawn));
  }
  CHECK(agree(ece_standard_error(examples, group, {.seed = 11, .resamples = 9}), deviation(resampled)));
}

TEST_CASE("a bootstrap over groups of one example is the plain one", "[metrics]") {
  const std::vector<double> values = reference::mean_of_members(1);
  const auto examples = judged_confidences({values, reference::classes}, reference::labels());
  std::vector<std::int32_t> group(examples.size());
  std::iota(group.rbegin(), group.rend(), -7);
  CHECK(agree(ece_standard_error(examples, group, {.seed = 5}), ece_standard_error(examples, {.seed = 5})));
}

TEST_CASE("copies of an example in its own group do not shrink the error of the ECE", "[metrics]") {
  const std::vector<double> values = reference::mean_of_members(1);
  const auto once = judged_confidences({values, reference::classes}, reference::labels());
  std::vector<judged_confidence> thrice;
  std::vector<std::int32_t> group;
  for (std::size_t i = 0; i < once.size(); ++i) {
    thrice.insert(thrice.end(), 3, once[i]);
    group.insert(group.end(), 3, static_cast<std::int32_t>(i));
  }
  const double found = ece_standard_error(thrice, group);
  CHECK(agree(found, ece_standard_error(once)));
  CHECK(found > 1.5 * ece_standard_error(thrice));  // as if they were three
}

TEST_CASE("one group has no error, and every example needs its group", "[metrics]") {
  const std::vector<judged_confidence> examples{{0.5, true}, {0.25, false}};
  CHECK(std::isnan(ece_standard_error(examples, std::vector<std::int32_t>{4, 4})));
  CHECK_THROWS_AS(ece_standard_error(examples, std::vector<std::int32_t>{4}), precondition_error);
  CHECK_THROWS_AS(ece_standard_error(examples, std::vector<std::int32_t>{4, 4}, {.resamples = 1}), precondition_error);
  CHECK_THROWS_AS(ece_standard_error({}, std::vector<std::int32_t>{}), precondition_error);
}

TEST_CASE("the bootstrap is a pure function of its seed", "[metrics]") {
  const std::vector<double> values = reference::mean_of_members(1);
  const auto examples = judged_confidences({values, reference::classes}, reference::labels());
  CHECK(ece_standard_error(examples, {.seed = 5}) == ece_standard_error(examples, {.seed = 5}));
  CHECK(ece_standard_error(examples, {.seed = 5}) != ece_standard_error(examples, {.seed = 6}));
}

TEST_CASE("what cannot be a confidence is named, and nothing to average is refused", "[metrics]") {
  const std::vector<judged_confidence> examples{{0.5, true}, {std::numeric_limits<double>::quiet_NaN(), true}};
  CHECK(reference::message_of<bad_input>([&] { (void)ece(examples); }) ==
        "confidence of example 1: expected a probability, found nan");
  CHECK_THROWS_AS(ece(std::vector<judged_confidence>{{-0.5, true}}), bad_input);
  CHECK_THROWS_AS(ece({}), precondition_error);
  CHECK_THROWS_AS(ece(std::span(examples).first(1), 0), precondition_error);
  CHECK_THROWS_AS(ece_standard_error({}), precondition_error);
  CHECK_THROWS_AS(ece_standard_error(std::span(examples).first(1), {.resamples = 1}), precondition_error);
}
