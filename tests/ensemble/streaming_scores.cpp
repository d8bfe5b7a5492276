// SPDX-License-Identifier: MIT
#include <pluria/ensemble/scores.hpp>
#include <pluria/ensemble/streaming_scores.hpp>

#include "metrics/reference.hpp"
#include "support/catch.hpp"

#include <cmath>
#include <limits>
#include <thread>
#include <vector>

using namespace pluria;
using reference::agree;
using reference::classes;
using reference::examples;
using reference::members;

namespace {

// Adds examples first, first + 1, ..., last - 1 of the reference members.
void add_reference(streaming_scores& target, std::size_t first, std::size_t last) {
  running_mean mean(classes);
  std::vector<std::vector<float>> logits;
  for (std::size_t k = 0; k < target.members(); ++k) {
    logits.push_back(reference::logits(k));
  }
  std::vector<double> member(classes);
  for (std::size_t i = first; i < last; ++i) {
    target.add(i, mean, [&](std::size_t k) {
      log_softmax(std::span<const float>(logits[k]).subspan(i * classes, classes), member);
      return std::span<const double>(member);
    });
  }
}

// Adds one example from log-probabilities, member after member.
void add_rows(streaming_scores& target, std::size_t example, const std::vector<std::vector<double>>& rows) {
  running_mean mean(rows.front().size());
  target.add(example, mean, [&](std::size_t k) { return std::span<const double>(rows[k]); });
}

}  // namespace

TEST_CASE("one pass over the examples gives, bit for bit, the scores of every number of members", "[ensemble]") {
  streaming_scores streamed(reference::labels(), members);
  add_reference(streamed, 0, examples);
  scores expected{reference::labels()};
  for (std::size_t count = 1; count <= members; ++count) {
    expected.add(reference::logits(count - 1));
    const example_scores& found = streamed.ensemble(count);
    CHECK(found.nll == expected.nll_per_example());
    CHECK(found.brier == expected.brier_per_example());
    CHECK(mean(found.nll) == expected.nll());
    CHECK(found.err() == expected.err());
    CHECK(ece(found.judgements) == expected.ece());
    CHECK(ece_standard_error(found.judgements) == expected.ece_standard_error());
    CHECK(confidence_gap(found.judgements) == expected.confidence_gap());
    CHECK(streamed.ambiguity(count) == expected.ambiguity());
    CHECK(streamed.mean_member_nll(count) == expected.mean_member_nll());
    CHECK(streamed.mean_member_err(count) == expected.mean_member_err());
    CHECK(streamed.member_nll(count - 1) == expected.member_nll(count - 1));
    CHECK(streamed.member_err(count - 1) == expected.member_err(count - 1));
  }
}

TEST_CASE("the observer sees the mean of every number of members", "[ensemble]") {
  streaming_scores streamed(std::vector<std::int32_t>{0, 1}, 2);
  running_mean mean(2);
  const std::vector<std::vector<double>> rows{{std::log(0.25), std::log(0.75)}, {std::log(0.5), std::log(0.5)}};
  std::vector<std::size_t> counts;
  std::vector<double> first_classes;
  streamed.add(
      1, mean, [&](std::size_t k) { return std::span<const double>(rows[k]); },
      [&](std::size_t count, std::span<const double> log_probabilities) {
        counts.push_back(count);
        first_classes.push_back(std::exp(log_probabilities[0]));
      });
  CHECK(counts == std::vector<std::size_t>{1, 2});
  CHECK(agree(first_classes[0], 0.25));
  CHECK(agree(first_classes[1], 0.375));
  CHECK(mean.members() == 2);
}

TEST_CASE("examples added by several threads, in any order, give the same bits", "[ensemble]") {
  streaming_scores whole(reference::labels(), members);
  add_reference(whole, 0, examples);
  streaming_scores streamed(reference::labels(), members);
  std::vector<std::thread> threads;
  for (std::size_t part = 4; part-- > 0;) {
    threads.emplace_back(
        [&streamed, part] { add_reference(streamed, part * examples / 4, (part + 1) * examples / 4); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (std::size_t count = 1; count <= members; ++count) {
    CHECK(streamed.ensemble(count).nll == whole.ensemble(count).nll);
    CHECK(streamed.ensemble(count).brier == whole.ensemble(count).brier);
    CHECK(streamed.ambiguity(count) == whole.ambiguity(count));
  }
}

TEST_CASE("a floor bounds every member's log score and leaves the other scores alone", "[ensemble]") {
  const double zero = -std::numeric_limits<double>::infinity();
  const std::vector<std::vector<double>> rows{{0.0, zero}, {std::log(0.5), std::log(0.5)}};
  streaming_scores as_it_is(std::vector<std::int32_t>{1}, 2);
  add_rows(as_it_is, 0, rows);
  CHECK(as_it_is.ensemble(1).nll[0] == std::numeric_limits<double>::infinity());
  CHECK(first_infinite(as_it_is.member_nll_per_example(0)) == std::size_t{0});
  CHECK(agree(as_it_is.ensemble(2).nll[0], -std::log(0.25)));
  CHECK(as_it_is.ambiguity(2) == std::numeric_limits<double>::infinity());

  streaming_scores floored(std::vector<std::int32_t>{1}, 2, std::log(0.01));
  add_rows(floored, 0, rows);
  CHECK(agree(floored.ensemble(1).nll[0], -std::log(0.01)));
  CHECK(agree(floored.ensemble(2).nll[0], -std::log(0.255)));
  CHECK(agree(floored.ambiguity(2), floored.mean_member_nll(2) - mean(floored.ensemble(2).nll)));
  CHECK(floored.ensemble(2).brier == as_it_is.ensemble(2).brier);
  CHECK(floored.ensemble(2).judgements[0].confidence == as_it_is.ensemble(2).judgements[0].confidence);
}

TEST_CASE("labels beyond the classes are named, wrong sizes break preconditions", "[ensemble]") {
  CHECK(reference::message_of<bad_input>([] { streaming_scores({}, 1); }) ==
        "labels: expected at least one, found none");
  CHECK_THROWS_AS(streaming_scores(std::vector<std::int32_t>{-1}, 1), bad_input);
  CHECK_THROWS_AS(streaming_scores(std::vector<std::int32_t>{0}, 0), precondition_error);
  CHECK_THROWS_AS(running_mean(0), precondition_error);
  streaming_scores streamed(std::vector<std::int32_t>{0, 2}, 1);
  const std::vector<std::vector<double>> row{{std::log(0.5), std::log(0.5)}};
  CHECK(reference::message_of<bad_input>([&] { add_rows(streamed, 1, row); }) == "label 1: expected 0..1, found 2");
  CHECK_THROWS_AS(add_rows(streamed, 2, row), precondition_error);
  CHECK_THROWS_AS(streamed.ensemble(0), precondition_error);
  CHECK_THROWS_AS(streamed.ensemble(2), precondition_error);
  CHECK_THROWS_AS(streamed.member_nll(1), precondition_error);
  running_mean mean(3);
  CHECK_THROWS_AS(mean.add(row[0]), precondition_error);
}
