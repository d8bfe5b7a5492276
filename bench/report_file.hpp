// SPDX-License-Identifier: MIT
#pragma once
// What a benchmark wrote (Google Benchmark's JSON), read: "rate/<what>/<size>" and "target/<what>/<size>", medians of
// their repetitions, in the order in which they are registered.

#include <pluria/core/error.hpp>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// One benchmark: `name` is what it measures, counters are fields of `run`.
struct measurement {
  std::string name;
  std::string size;
  nlohmann::json run;

  double operator()(const char* counter) const { return run.at(counter); }
};

struct report {
  std::vector<measurement> rates;
  std::vector<measurement> targets;

  /// Null where there is none.
  const measurement* rate(const std::string& name, const std::string& size) const {
    const auto found = std::find_if(rates.begin(), rates.end(), [&](const measurement& measured) {
      return measured.name == name && measured.size == size;
    });
    return found == rates.end() ? nullptr : &*found;
  }
};

/// Adds what is in a file. A run without repetitions is its own median.
inline void read_report(const std::string& file, report& into) {
  std::ifstream stream(file);
  if (!stream) {
    throw pluria::bad_input(file + ": cannot be opened");
  }
  const nlohmann::json content = nlohmann::json::parse(stream);
  std::vector<const nlohmann::json*> runs;
  for (const nlohmann::json& run : content.at("benchmarks")) {
    if (run.at("run_type") == "aggregate" ? run.at("aggregate_name") == "median" : run.at("repetitions") == 1) {
      runs.push_back(&run);
    }
  }
  // Whatever turns they took.
  std::stable_sort(runs.begin(), runs.end(), [](const nlohmann::json* a, const nlohmann::json* b) {
    return a->at("family_index") < b->at("family_index");
  });
  for (const nlohmann::json* run : runs) {
    // "kind/name/size" and what Google Benchmark adds: "/real_time", "/iterations:25/manual_time".
    std::string name = run->at("run_name");
    for (const char* added : {"/real_time", "/iterations:"}) {
      name = name.substr(0, name.find(added));
    }
    const std::size_t kind_end = name.find('/');
    const std::size_t name_end = name.rfind('/');
    if (name_end == std::string::npos || name_end == kind_end) {
      continue;
    }
    const std::string kind = name.substr(0, kind_end);
    measurement found{name.substr(kind_end + 1, name_end - kind_end - 1), name.substr(name_end + 1), *run};
    if (kind == "rate") {
      into.rates.push_back(std::move(found));
    } else if (kind == "target") {
      into.targets.push_back(std::move(found));
    }
  }
}

}  // namespace bench
