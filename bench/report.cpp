// SPDX-License-Identifier: MIT
// Out of what the benchmarks wrote (Google Benchmark's JSON): README's tables, a picture, and a line per target,
// TARGET <name> <value> <bound> ok|short, where the bound is >=0.9 or <=2.
//
//   report sample|number_systems|matvec|matmul|engines|decode FILE... [--picture folder]
//   report quality|decode_quality FILE... --evaluation FILE... [--picture folder]
//
// where quality takes bench_matvec's file and sets it against what evaluate_vit wrote with --json, decode_quality
// bench_decode's against what evaluate_llama wrote, once for each granularity.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "report_decode.hpp"
#include "report_file.hpp"
#include "report_products.hpp"
#include "report_quality.hpp"
#include "report_sample.hpp"

namespace {

using namespace bench;

void print_targets(const report& from) {
  for (const measurement& target : from.targets) {
    const bool at_least = target.run.contains("at_least");
    const double bound = target(at_least ? "at_least" : "at_most");
    const double value = target("ratio");
    const bool kept = at_least ? value >= bound : value <= bound;
    std::string name = target.name + "/" + target.size;
    std::replace(name.begin(), name.end(), ' ', '-');
    std::printf("TARGET %s %.4g %s%g %s\n", name.c_str(), value, at_least ? ">=" : "<=", bound, kept ? "ok" : "short");
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::string kind;
  std::vector<std::string> files;
  std::string folder;
  std::vector<std::string> evaluations;
  CLI::App app("The tables, the picture and the targets out of what the benchmarks wrote.\n");
  app.add_option("kind", kind,
                 "which benchmark: sample, number_systems, matvec, matmul, engines, decode, quality or decode_quality")
      ->required()
      ->check(CLI::IsMember(
          {"sample", "number_systems", "matvec", "matmul", "engines", "decode", "quality", "decode_quality"}));
  app.add_option("files", files, "Google Benchmark's JSON")->required();
  app.add_option("--picture", folder, "where sample.png, quality.png or decode_quality.png goes; none: no picture");
  app.add_option("--evaluation", evaluations, "JSON of evaluate_vit, for quality, or evaluate_llama");
  CLI11_PARSE(app, count, arguments);
  try {
    const bool is_quality = kind == "quality" || kind == "decode_quality";
    if (is_quality == evaluations.empty()) {
      throw pluria::bad_input("--evaluation: expected with quality and decode_quality, and with nothing else");
    }
    report found;
    for (const std::string& file : files) {
      read_report(file, found);
    }
    if (kind == "sample") {
      print_sample(found);
      if (!folder.empty() && draw_sample(found, folder)) {
        std::cout << "picture: " << folder << "/sample.png\n";
      }
    } else if (kind == "matvec") {
      print_matvec(found);
    } else if (kind == "matmul") {
      print_matmul(found);
    } else if (kind == "engines") {
      print_engines(found);
    } else if (kind == "decode") {
      print_decode(found);
    } else if (is_quality) {
      std::vector<nlohmann::json> evaluated;
      for (const std::string& file : evaluations) {
        evaluated.push_back(detail::read_json(file));
      }
      const quality shown =
          kind == "quality" ? quality_of_products(found, evaluated.front()) : quality_of_decoding(found, evaluated);
      print_quality(shown);
      if (!folder.empty() && draw_quality(shown, folder, kind)) {
        std::cout << "picture: " << folder << '/' << kind << ".png\n";
      }
      return 0;  // the targets are those of the benchmark
    }
    std::cout.flush();
    print_targets(found);
  } catch (const std::exception& error) {
    std::cerr << "report: " << error.what() << '\n';
    return 2;
  }
  return 0;
}
