// SPDX-License-Identifier: MIT
#include <pluria/ensemble/predictive.hpp>

#include "metrics/reference.hpp"
#include "support/catch.hpp"

#include <thread>

using namespace pluria;
using reference::agree;
using reference::classes;
using reference::examples;

namespace {

predictive reference_ensemble(std::size_t members) {
  predictive ensemble(examples, classes);
  for (std::size_t k = 0; k < members; ++k) {
    ensemble.add(reference::logits(k));
  }
  return ensemble;
}

// What Eigen's row-major matrices look like from outside.
struct matrix {
  std::vector<float> entries;
  std::size_t row_count;
  const float* data() const { return entries.data(); }
  std::size_t rows() const { return row_count; }
  std::size_t cols() const { return entries.size() / row_count; }
};

double mean_of(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) {
    sum += value;
  }
  return sum / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("the streaming mean of every prefix of the members is the mean of all at once", "[ensemble]") {
  predictive ensemble(examples, classes);
  for (std::size_t count = 1; count <= reference::members; ++count) {
    ensemble.add(reference::logits(count - 1));
    REQUIRE(ensemble.members() == count);
    const std::vector<double> found = ensemble.log_probabilities();
    const std::vector<double> expected = reference::mean_of_members(count);
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(agree(found[i], expected[i]));
    }
  }
}

TEST_CASE("rows with probabilities of zero and of e^-900 agree with PyTorch", "[ensemble]") {
  const reference::results expected("scores.txt");
  const predictive ensemble = reference_ensemble(reference::members);
  for (const std::size_t example : {3U, 4U}) {
    const std::vector<double> found = ensemble.log_probabilities(example, 1);
    for (std::size_t c = 0; c < classes; ++c) {
      CHECK(agree(found[c], expected.all("row_" + std::to_string(example))[c]));
    }
  }
  CHECK(ensemble.log_probabilities(4, 1)[6] < -890.0);
}

TEST_CASE("an ensemble of one is its member's softmax", "[ensemble]") {
  const std::vector<double> found = reference_ensemble(1).log_probabilities();
  const std::vector<double> expected = reference::log_softmax(reference::logits(0));
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(agree(found[i], expected[i]));
  }
  const std::vector<double> information = reference_ensemble(1).mutual_information();
  CHECK(information == std::vector<double>(examples, 0.0));
}

TEST_CASE("the probabilities of every row sum to one", "[ensemble]") {
  const predictive ensemble = reference_ensemble(reference::members);
  const std::vector<double> found = ensemble.log_probabilities();
  for (std::size_t i = 0; i < examples; ++i) {
    double sum = 0.0;
    for (std::size_t c = 0; c < classes; ++c) {
      sum += std::exp(found[i * classes + c]);
    }
    CHECK(agree(sum, 1.0, 1e-14));
  }
}

TEST_CASE("rows added in batches, in any order, give the same bits", "[ensemble]") {
  predictive ensemble(examples, classes);
  for (std::size_t k = 0; k < reference::members; ++k) {
    const std::vector<float> logits = reference::logits(k);
    const std::size_t batch = 1 + 37 * k;
    for (std::size_t end = examples; end > 0;) {
      const std::size_t count = std::min(batch, end);
      end -= count;
      ensemble.add(end, std::span(logits).subspan(end * classes, count * classes));
    }
  }
  CHECK(ensemble == reference_ensemble(reference::members));
}

TEST_CASE("rows added by several threads give the same bits", "[ensemble]") {
  predictive ensemble(examples, classes);
  std::vector<std::vector<float>> logits;
  for (std::size_t k = 0; k < reference::members; ++k) {
    logits.push_back(reference::logits(k));
  }
  // Each thread owns rows and runs through the members on its own: threads are at different members at the same time.
  std::vector<std::thread> threads;
  constexpr std::size_t rows = examples / 4;
  for (std::size_t first = 0; first < examples; first += rows) {
    threads.emplace_back([&ensemble, &logits, first] {
      for (const std::vector<float>& member : logits) {
        ensemble.add(first, std::span(member).subspan(first * classes, rows * classes));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(ensemble == reference_ensemble(reference::members));
}

TEST_CASE("entropies, mutual information and disagreement agree with PyTorch for every number of members",
          "[ensemble]") {
  const reference::results expected("scores.txt");
  for (std::size_t count = 1; count <= reference::members; ++count) {
    const predictive ensemble = reference_ensemble(count);
    CHECK(agree(mean_of(ensemble.entropies()), expected("entropy", count)));
    CHECK(agree(mean_of(ensemble.mutual_information()), expected("mutual_information", count)));
    CHECK(agree(mean_of(ensemble.disagreements()), expected("disagreement", count)));
    for (const double value : ensemble.mutual_information()) {
      CHECK(value >= -1e-14);
      CHECK(value <= std::log(static_cast<double>(count)) + 1e-14);
    }
  }
}

TEST_CASE("a matrix is added like its entries", "[ensemble]") {
  predictive ensemble(examples, classes);
  ensemble.add(matrix{reference::logits(0), examples});
  CHECK(ensemble == reference_ensemble(1));
  predictive in_batches(examples, classes);
  in_batches.add(0, matrix{reference::logits(0), examples});
  CHECK(in_batches == ensemble);
  CHECK_THROWS_AS(ensemble.add(matrix{reference::logits(0), examples * 2}), precondition_error);
  CHECK_THROWS_AS(ensemble.add(0, matrix{reference::logits(0), examples * 2}), precondition_error);
}

TEST_CASE("a tie votes for the lowest class", "[ensemble]") {
  predictive ensemble(2, 3);
  ensemble.add(std::vector<float>{1.0F, 2.0F, 2.0F, 0.0F, 0.0F, 0.0F});
  CHECK(std::vector<std::uint16_t>(ensemble.votes().begin(), ensemble.votes().end()) ==
        std::vector<std::uint16_t>{0, 1, 0, 1, 0, 0});
}

TEST_CASE("logits that are not finite are named, and nothing of their member is added", "[ensemble]") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    predictive ensemble = reference_ensemble(2);
    std::vector<float> logits = reference::logits(2);
    logits[7 * classes + 3] = bad;
    CHECK(reference::message_of<bad_input>([&] { ensemble.add(logits); }) ==
          std::string("logit of member 2, example 7, class 3: expected a finite number or -inf, found ") +
              (std::isnan(bad) ? "nan" : "inf"));
    CHECK(ensemble == reference_ensemble(2));
  }
  predictive ensemble(2, 2);
  const float zero = -std::numeric_limits<float>::infinity();
  CHECK(reference::message_of<bad_input>([&] {
          ensemble.add(std::vector<float>{1.0F, zero, zero, zero});
        }) == "logits of member 0, example 1: expected at least one finite number, found -inf in every class");
}

TEST_CASE("the largest and smallest floats are legal logits", "[ensemble]") {
  predictive ensemble(1, 2);
  ensemble.add(std::vector<float>{std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()});
  CHECK(ensemble.log_probabilities()[0] == 0.0);
  CHECK(agree(ensemble.log_probabilities()[1], -2.0 * static_cast<double>(std::numeric_limits<float>::max()), 1e-15));
}

TEST_CASE("wrong sizes and unfinished members break preconditions", "[ensemble]") {
  predictive ensemble(4, 3);
  const std::vector<float> logits(12, 0.5F);
  CHECK(ensemble.members() == 0);
  CHECK_THROWS_AS(ensemble.log_probabilities(), precondition_error);
  CHECK_THROWS_AS(ensemble.add(std::span(logits).first(9)), precondition_error);
  CHECK_THROWS_AS(ensemble.add(0, std::span(logits).first(4)), precondition_error);
  CHECK_THROWS_AS(ensemble.add(1, logits), precondition_error);
  CHECK_THROWS_AS(ensemble.add(5, std::span(logits).first(3)), precondition_error);
  ensemble.add(2, std::span(logits).first(6));
  CHECK_THROWS_AS(ensemble.members(), precondition_error);
  CHECK_THROWS_AS(ensemble.log_probabilities(), precondition_error);
  CHECK(ensemble.log_probabilities(2, 2).size() == 6);
  ensemble.add(0, std::span(logits).first(6));
  CHECK(ensemble.members() == 1);
  CHECK_THROWS_AS(predictive(0, 3), precondition_error);
  CHECK_THROWS_AS(predictive(3, 0), precondition_error);
}
