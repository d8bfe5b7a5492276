// SPDX-License-Identifier: MIT

#include <pluria/core/parallel.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using pluria::division;
using pluria::parallel_for;
using pluria::thread_count;

TEST_CASE("no threads means all, a negative number is refused", "[core]") {
  CHECK(thread_count(0) >= 1);
  CHECK_THROWS_AS(thread_count(-1), pluria::precondition_error);
  CHECK_THROWS_AS(parallel_for(3, -1, [](std::size_t) {}), pluria::precondition_error);
}

TEST_CASE("every index is worked on once in each loop, with any number of threads", "[core]") {
  for (const int threads : {0, 1, 2, 3, 8}) {
    for (const std::size_t count : {0U, 1U, 2U, 7U, 1000U}) {
      std::vector<int> visits(count, 0);
      parallel_for(count, threads, [&](std::size_t index) { ++visits[index]; });
      parallel_for<division::dealt>(count, threads, [&](std::size_t index) { ++visits[index]; });
      CHECK(std::all_of(visits.begin(), visits.end(), [](int times) { return times == 2; }));
    }
  }
}

std::atomic<std::size_t> sum_of_visits = 0;
void visit(std::size_t index) {
  sum_of_visits += index;
}

TEST_CASE("functions, temporaries and what changes itself are called as they are", "[core]") {
  parallel_for(10, 2, visit);
  CHECK(sum_of_visits == 45);
  std::size_t calls = 0;
  auto counting = [count = std::size_t{0}, &calls](std::size_t) mutable { calls = ++count; };
  parallel_for(7, 1, counting);
  parallel_for(3, 1, counting);
  CHECK(calls == 10);
}

template <division Division>
void check_lowest_exception() {
  for (const int threads : {0, 1, 2, 8}) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::string text;
      try {
        parallel_for<Division>(1000, threads, [](std::size_t index) {
          if (index == 900 || index == 37 || index == 38 || index == 500) {
            throw std::runtime_error(std::to_string(index));
          }
        });
      } catch (const std::runtime_error& error) {
        text = error.what();
      }
      CHECK(text == "37");
    }
  }
}

TEST_CASE("the exception of the lowest index comes out, with any number of threads", "[core]") {
  check_lowest_exception<division::taken>();
  check_lowest_exception<division::dealt>();
}

}  // namespace
