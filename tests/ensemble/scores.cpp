// SPDX-License-Identifier: MIT
#include <pluria/ensemble/scores.hpp>

#include "metrics/reference.hpp"
#include "support/catch.hpp"

#include <Eigen/Core>

#include <thread>

using namespace pluria;
using reference::agree;
using reference::classes;
using reference::examples;

namespace {

scores reference_scores(std::size_t members) {
  scores ensemble{reference::labels()};
  for (std::size_t k = 0; k < members; ++k) {
    ensemble.add(reference::logits(k));
  }
  return ensemble;
}

}  // namespace

TEST_CASE("the curve over the number of members agrees with PyTorch", "[ensemble]") {
  const reference::results expected("scores.txt");
  scores ensemble{reference::labels()};
  for (std::size_t count = 1; count <= reference::members; ++count) {
    ensemble.add(reference::logits(count - 1));
    REQUIRE(ensemble.members() == count);
    CHECK(agree(ensemble.nll(), expected("nll", count)));
    CHECK(agree(ensemble.err(), expected("err", count)));
    CHECK(agree(ensemble.brier(), expected("brier", count)));
    CHECK(agree(ensemble.ece(), expected("ece", count)));
    CHECK(agree(ensemble.confidence_gap(), expected("confidence_gap", count)));
    CHECK(agree(ensemble.mean_member_nll(), expected("mean_member_nll", count)));
    CHECK(agree(ensemble.mean_member_err(), expected("mean_member_err", count)));
    CHECK(agree(ensemble.disagreement(), expected("disagreement", count)));
    CHECK(agree(ensemble.ambiguity(), expected("mean_member_nll", count) - expected("nll", count)));
  }
  for (std::size_t i = 0; i < examples; ++i) {
    CHECK(agree(ensemble.label_log_probabilities()[i], expected.all("label_log_probabilities")[i]));
  }
}

TEST_CASE("scores of the ensemble are the metrics of its table, bit for bit", "[ensemble]") {
  const scores ensemble = reference_scores(3);
  const std::vector<std::int32_t> labels = reference::labels();
  const std::vector<double> values = ensemble.prediction().log_probabilities();
  const log_probability_table table{values, classes};
  CHECK(ensemble.nll() == nll(table, labels));
  CHECK(ensemble.err() == err(table, labels));
  CHECK(ensemble.brier() == brier(table, labels));
  CHECK(ensemble.ece() == ece(judged_confidences(table, labels)));
  CHECK(ensemble.ece(7) == ece(judged_confidences(table, labels), 7));
  CHECK(ensemble.ece_standard_error({.seed = 4}) == ece_standard_error(judged_confidences(table, labels), {.seed = 4}));
}

TEST_CASE("ambiguity is mean member NLL - ensemble NLL, and never negative", "[ensemble]") {
  for (std::size_t count = 1; count <= reference::members; ++count) {
    const scores ensemble = reference_scores(count);
    CHECK(agree(ensemble.ambiguity(), ensemble.mean_member_nll() - ensemble.nll()));
    for (const double value : ensemble.ambiguity_per_example()) {
      CHECK(value >= -1e-13);
    }
  }
  CHECK(reference_scores(1).ambiguity() == 0.0);
}

TEST_CASE("each member's scores are those of an ensemble of itself", "[ensemble]") {
  const scores ensemble = reference_scores(3);
  for (std::size_t k = 0; k < 3; ++k) {
    scores alone{reference::labels()};
    alone.add(reference::logits(k));
    CHECK(agree(ensemble.member_nll(k), alone.nll()));
    CHECK(ensemble.member_err(k) == alone.err());
    CHECK(ensemble.member_label_log_probabilities(17)[k] == alone.label_log_probabilities()[17]);
  }
  CHECK_THROWS_AS(ensemble.member_nll(3), precondition_error);
}

TEST_CASE("the difference of two ensembles' NLL agrees with NumPy", "[ensemble]") {
  const reference::results expected("scores.txt");
  const scores one = reference_scores(1);
  const scores all = reference_scores(reference::members);
  const mean_and_error found = all.nll_difference(one);
  CHECK(agree(found.mean, expected("difference")));
  CHECK(agree(found.standard_error, expected("difference_error")));
  CHECK(agree(found.mean, all.nll() - one.nll()));
  CHECK(agree(all.nll_difference(one, reference::groups()).standard_error, expected("difference_group_error")));
  CHECK(all.nll_difference(all).mean == 0.0);
  CHECK(all.nll_difference(all).standard_error == 0.0);
  std::vector<std::int32_t> labels = reference::labels();
  labels[9] = (labels[9] + 1) % 10;
  scores other{labels};
  other.add(reference::logits(0));
  CHECK_THROWS_AS(all.nll_difference(other), precondition_error);
}

TEST_CASE("batches of rows from several threads give the same bits", "[ensemble]") {
  const scores whole = reference_scores(reference::members);
  scores ensemble{reference::labels(), classes};
  std::vector<std::thread> threads;
  constexpr std::size_t rows = examples / 5;
  for (std::size_t first = 0; first < examples; first += rows) {
    threads.emplace_back([&ensemble, first] {
      for (std::size_t k = 0; k < reference::members; ++k) {
        const std::vector<float> member = reference::logits(k);
        ensemble.add(first, std::span(member).subspan(first * classes, rows * classes));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(ensemble.prediction() == whole.prediction());
  CHECK(ensemble.mean_member_nll() == whole.mean_member_nll());
  CHECK(ensemble.mean_member_err() == whole.mean_member_err());
  CHECK(ensemble.nll() == whole.nll());
}

TEST_CASE("row-major Eigen matrices are added as they are", "[ensemble]") {
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const std::vector<float> entries = reference::logits(0);
  const matrix logits = Eigen::Map<const matrix>(entries.data(), Eigen::Index{examples}, Eigen::Index{classes});
  scores ensemble{reference::labels()};
  ensemble.add(logits);
  CHECK(ensemble.prediction() == reference_scores(1).prediction());
  scores in_batches{reference::labels(), classes};
  in_batches.add(100, matrix(logits.bottomRows(300)));
  in_batches.add(0, logits.topRows(100));  // rows of a matrix follow each other
  CHECK(in_batches.prediction() == ensemble.prediction());
  CHECK_THROWS_AS(in_batches.add(0, logits.leftCols(4)), precondition_error);
  const matrix wider = matrix::Zero(Eigen::Index{examples}, Eigen::Index{classes + 1});
  CHECK_THROWS_AS(ensemble.add(wider.leftCols(Eigen::Index{classes})), precondition_error);  // gaps between rows
  CHECK_THROWS_AS(ensemble.add(wider), precondition_error);
}

TEST_CASE("an infinite NLL is reported as such, with its example", "[ensemble]") {
  const float zero = -std::numeric_limits<float>::infinity();
  scores ensemble{std::vector<std::int32_t>{0, 1}};
  ensemble.add(std::vector<float>{0.0F, 0.0F, 0.0F, zero});
  CHECK(ensemble.nll() == std::numeric_limits<double>::infinity());
  CHECK(first_infinite(ensemble.nll_per_example()) == std::size_t{1});
  ensemble.add(std::vector<float>{0.0F, 0.0F, 0.0F, 0.0F});
  CHECK(agree(ensemble.nll(), 0.5 * (std::log(2.0) + std::log(4.0))));
  CHECK(ensemble.ambiguity() == std::numeric_limits<double>::infinity());
}

TEST_CASE("bad labels and logits are named, wrong sizes break preconditions", "[ensemble]") {
  CHECK(reference::message_of<bad_input>([] { scores({}, 10); }) == "labels: expected at least one, found none");
  CHECK(reference::message_of<bad_input>([] {
          scores(std::vector<std::int32_t>{0, 1, 12}, 10);
        }) == "label 2: expected 0..9, found 12");
  scores ensemble{std::vector<std::int32_t>{0, 3}};
  CHECK(ensemble.members() == 0);
  CHECK_THROWS_AS(ensemble.nll(), precondition_error);
  CHECK_THROWS_AS(ensemble.ambiguity(), precondition_error);
  CHECK_THROWS_AS(ensemble.mean_member_nll(), precondition_error);
  CHECK_THROWS_AS(ensemble.prediction(), precondition_error);
  CHECK(reference::message_of<bad_input>([&] { ensemble.add(std::vector<float>(6)); }) ==
        "label 1: expected 0..2, found 3");
  CHECK_THROWS_AS(ensemble.add(std::vector<float>(7)), precondition_error);
  CHECK_THROWS_AS(ensemble.add(0, std::vector<float>(4)), precondition_error);
  std::vector<float> logits(8);
  logits[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(reference::message_of<bad_input>([&] { ensemble.add(logits); }) ==
        "logit of member 0, example 1, class 1: expected a finite number or -inf, found nan");
  CHECK(ensemble.members() == 0);
  ensemble.add(std::vector<float>(8));
  CHECK_THROWS_AS(ensemble.add(std::vector<float>(10)), precondition_error);
  CHECK(ensemble.members() == 1);
  CHECK(agree(ensemble.nll(), std::log(4.0)));
}
