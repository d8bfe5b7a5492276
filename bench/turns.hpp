// SPDX-License-Identifier: MIT
#pragma once
// Works measured by turns, so that a slow moment of a shared machine meets both; what is reported are medians.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "cases.hpp"

namespace bench {

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

inline double seconds(const work& run, int times) {
  const auto started = std::chrono::steady_clock::now();
  for (int i = 0; i < times; ++i) {
    run();
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
}

/// A product of weights with inputs: how to run it, the bytes of weights that one run reads, and its multiplications
/// and additions.
struct product {
  work run;
  double bytes = 0;
  double operations = 0;
};
using make_product = std::function<product()>;

/// How long is measured: turns, and the runs of each turn.
struct effort {
  int turns;
  int runs;
};

/// The benchmark rate/<name>: a product by turns with a reference, with the counters "seconds", "of_reference",
/// "bytes_per_second" and "operations_per_second".
inline void register_rate(const std::string& name, const make_product& measured, const make_product& reference,
                          effort spent) {
  benchmark::RegisterBenchmark(("rate/" + name).c_str(),
                               [=](benchmark::State& state) {
                                 const work of_reference = reference().run;
                                 const product own = measured();
                                 seconds(of_reference, spent.runs);
                                 seconds(own.run, spent.runs);
                                 std::vector<double> times;
                                 std::vector<double> ratios;
                                 for (auto _ : state) {
                                   const double other = seconds(of_reference, spent.runs);
                                   const double time = seconds(own.run, spent.runs);
                                   times.push_back(time / spent.runs);
                                   ratios.push_back(time / other);
                                   state.SetIterationTime(time / spent.runs);
                                 }
                                 state.counters["seconds"] = median(times);
                                 state.counters["of_reference"] = median(ratios);
                                 state.counters["bytes_per_second"] = own.bytes / median(times);
                                 state.counters["operations_per_second"] = own.operations / median(times);
                               })
      ->UseManualTime()
      ->Iterations(spent.turns)
      ->Unit(benchmark::kMillisecond);
}

/// What a ratio should keep: "at_least" or "at_most".
struct bound {
  const char* kind;
  double value;
};

/// The benchmark target/<name> with the counter "ratio", time(b) / time(a) * factor, and the bound that it should keep.
inline void register_ratio(const std::string& name, const make_work& a, const make_work& b, double factor, bound kept,
                           effort spent) {
  benchmark::RegisterBenchmark(("target/" + name).c_str(),
                               [=](benchmark::State& state) {
                                 const work run_a = a();
                                 const work run_b = b();
                                 seconds(run_a, spent.runs);
                                 seconds(run_b, spent.runs);
                                 std::vector<double> ratios;
                                 for (auto _ : state) {
                                   const double time_a = seconds(run_a, spent.runs);
                                   const double time_b = seconds(run_b, spent.runs);
                                   ratios.push_back(factor * time_b / time_a);
                                   state.SetIterationTime(time_a + time_b);
                                 }
                                 state.counters["ratio"] = median(ratios);
                                 state.counters[kept.kind] = kept.value;
                               })
      ->UseManualTime()
      ->Iterations(spent.turns);
}

}  // namespace bench
