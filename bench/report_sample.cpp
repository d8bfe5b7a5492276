// SPDX-License-Identifier: MIT
// Out of what bench_sample wrote (Google Benchmark's JSON): README's table, a picture of it, and a line per target,
// TARGET <name> <value> <bound> ok|short, where the bound is >=0.9 or <=2.
//
//   report_sample sample.json [folder for sample.png]

#include <pluria/core/error.hpp>
#include <pluria/io/replaced_file.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace {

using nlohmann::json;

struct rate {
  double weights = 0;  // 10^9 per second
  double bytes = 0;
};

struct report {
  std::map<std::string, rate> rates;  // by "name/size"
  std::vector<json> targets;
};

// Medians of the repetitions; a run without repetitions is its own.
report read_report(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) {
    throw pluria::bad_input(file + ": cannot be opened");
  }
  const json content = json::parse(stream);
  report result;
  for (const json& run : content.at("benchmarks")) {
    if (run.at("run_type") == "aggregate" ? run.at("aggregate_name") != "median" : run.at("repetitions") != 1) {
      continue;
    }
    // "kind/name/size" and what Google Benchmark adds: "/real_time", "/iterations:25/manual_time".
    std::string name = run.at("run_name");
    for (const char* added : {"/real_time", "/iterations:"}) {
      name = name.substr(0, name.find(added));
    }
    if (name.starts_with("rate/")) {
      result.rates[name.substr(5)] = {run.at("items_per_second").get<double>() * 1e-9,
                                      run.at("bytes_per_second").get<double>() * 1e-9};
    } else if (name.starts_with("target/")) {
      json target = run;
      target["name"] = name.substr(7);
      result.targets.push_back(std::move(target));
    }
  }
  // In the order in which they are registered, whatever turns they took.
  std::sort(result.targets.begin(), result.targets.end(),
            [](const json& a, const json& b) { return a.at("family_index") < b.at("family_index"); });
  return result;
}

const std::vector<std::string> shown{
    "memcpy, f32",
    "read, f32",
    "best RTN to int8, f32",
    "RTN INT-4, f32",
    "BSR INT-4, f32, S=1, Threefry-13",
    "BSR INT-4, f32, S=1, Threefry-20",
    "BSR INT-4, bf16, S=1, Threefry-13",
    "BSR INT-5, f32, S=1, Threefry-13",
    "BSR INT-8, f32, S=1, Threefry-13",
    "BSR INT-4, f32, S=8 independent, Threefry-13",
    "BSR INT-4, f32, S=8 lattice, Threefry-13",
    "BSR INT-5, f32, S=8 lattice, Threefry-13",
    "BSR INT-4, f32, S=32 lattice, Threefry-13",
    "xorshift loop, f32",
    "mt19937 + bernoulli_distribution, f32",
    "Eigen expression with Random, f32",
};

std::optional<rate> find(const report& from, const std::string& name, const char* size) {
  const auto found = from.rates.find(name + size);
  return found == from.rates.end() ? std::nullopt : std::optional(found->second);
}

void print_table(const report& from) {
  std::puts("| 10^9 weights (times members) per second | L2, 64 Ki weights | memory, 16 Mi weights |\n|---|---|---|");
  for (const std::string& name : shown) {
    std::string line = "| " + name + " |";
    for (const char* size : {"/64Ki", "/16Mi"}) {
      char cell[64] = " |";
      if (const auto value = find(from, name, size)) {
        std::snprintf(cell, sizeof(cell), " %.3g (%.3g GB/s) |", value->weights, value->bytes);
      }
      line += cell;
    }
    std::puts(line.c_str());
  }
}

bool draw(const report& from, const std::filesystem::path& folder) {
  std::string data;
  std::string labels;
  std::size_t row = shown.size();
  for (const std::string& name : shown) {
    --row;
    const auto cached = find(from, name, "/64Ki");
    const auto memory = find(from, name, "/16Mi");
    data += std::to_string(row) + " " + std::to_string(cached ? cached->weights : 0.0) + " " +
            std::to_string(memory ? memory->weights : 0.0) + "\n";
    labels += (labels.empty() ? "'" : ", '") + name + "' " + std::to_string(row);
  }
  std::filesystem::create_directories(folder);
  pluria::write_file(folder / "sample.dat", data);
  const std::string bar = "with boxxyerror fs solid 0.8 noborder lc rgb ";
  pluria::write_file(
      folder / "sample.gnuplot",
      "set terminal pngcairo size 1100,640 font ',11'\nset output 'sample.png'\nset logscale x\nset xrange [0.02:100]\n"
      "set yrange [-0.7:" +
          std::to_string(shown.size()) + "]\nset ytics (" + labels +
          ") nomirror scale 0 noenhanced\nset xtics nomirror\nset border 3\nset grid xtics lc rgb '#dddddd'\n"
          "set xlabel '10^9 weights (times members) per second, one core'\nset key bottom right\n"
          "plot 'sample.dat' using 2:1:(0.02):2:($1):($1+0.38) " +
          bar +
          "'#0072b2' title 'second-level cache (64 Ki)', "
          "'' using 3:1:(0.02):3:($1-0.38):($1) " +
          bar +
          "'#e69f00' title 'memory (16 Mi)', "
          "'' using 2:($1+0.19):(sprintf('  %.3g', $2)) with labels left font ',8' notitle, "
          "'' using 3:($1-0.19):(sprintf('  %.3g', $3)) with labels left font ',8' notitle\n");
  return std::system("command -v gnuplot > /dev/null 2>&1") == 0 &&
         std::system(("cd '" + folder.string() + "' && gnuplot sample.gnuplot").c_str()) == 0;
}

void print_targets(const report& from) {
  for (const json& target : from.targets) {
    const bool at_least = target.contains("at_least");
    const double bound = target.at(at_least ? "at_least" : "at_most");
    const double value = target.at("ratio");
    const bool kept = at_least ? value >= bound : value <= bound;
    std::string name = target.at("name");
    std::replace(name.begin(), name.end(), ' ', '-');
    std::printf("TARGET %s %.2f %s%g %s\n", name.c_str(), value, at_least ? ">=" : "<=", bound, kept ? "ok" : "short");
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::string file;
  std::string folder;
  CLI::App app("The table, the picture and the targets out of what bench_sample wrote.\n");
  app.add_option("file", file, "Google Benchmark's JSON")->required();
  app.add_option("folder", folder, "where sample.png goes; none: no picture");
  CLI11_PARSE(app, count, arguments);
  try {
    const report found = read_report(file);
    print_table(found);
    if (!folder.empty() && draw(found, folder)) {
      std::cout << "picture: " << folder << "/sample.png\n";
    }
    std::cout.flush();
    print_targets(found);
  } catch (const std::exception& error) {
    std::cerr << "report_sample: " << error.what() << '\n';
    return 2;
  }
  return 0;
}
