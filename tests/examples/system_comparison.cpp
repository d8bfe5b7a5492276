// SPDX-License-Identifier: MIT
// What compare_number_systems makes of its scores: winners, chosen on one set and judged on another, and pictures.

#include "../../examples/compare_number_systems/system_comparison.hpp"

#include <unistd.h>

#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <numeric>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "../../examples/compare_number_systems/system_plots.hpp"
#include "examples/program.hpp"

namespace {

using namespace pluria::examples;

score_row scored(const std::vector<double>& nll_per_example) {
  score_row row;
  row.nll = std::accumulate(nll_per_example.begin(), nll_per_example.end(), 0.0) /
            static_cast<double>(nll_per_example.size());
  row.calibrated = calibrated_scores{.temperature = 1.0, .nll = row.nll};
  row.calibrated_nll_per_example = nll_per_example;
  return row;
}

compared_system made(const std::string& system, int bits, std::size_t members, double validation_nll,
                     const std::vector<double>& nll_per_example) {
  compared_system result;
  result.row.system = system;
  result.row.bits = bits;
  result.row.method = members == 0 ? "rtn" : "bsr";
  result.row.members = std::max<std::size_t>(members, 1);
  result.row.scores = scored(nll_per_example);
  result.bits_per_weight = bits + 0.25;
  result.ensemble_bits = result.bits_per_weight + (members > 1 ? static_cast<double>(members) : 0.0);
  result.validation_nll = validation_nll;
  return result;
}

// 0 members: rounded to nearest. The order of the systems on the test set is not that of the validation set.
system_comparison made_comparison() {
  system_comparison all;
  all.result.full_precision = scored({0.1, 0.3, 0.5, 0.7});
  all.systems = {made("INT-4", 4, 0, 0.50, {0.2, 0.4, 0.6, 0.8}),    //
                 made("INT-4", 4, 1, 0.55, {0.3, 0.5, 0.7, 0.9}),    //
                 made("INT-4", 4, 2, 0.46, {0.2, 0.3, 0.5, 0.8}),    //
                 made("NF4", 4, 0, 0.40, {0.3, 0.7, 0.7, 1.1}),      //
                 made("NF4", 4, 1, 0.45, {0.2, 0.5, 0.6, 0.9}),      //
                 made("NF4", 4, 2, 0.47, {0.0, 0.2, 0.4, 0.6}),      //
                 made("posit-3", 3, 0, 0.60, {0.4, 0.4, 0.4, 0.4}),  //
                 made("posit-3", 3, 1, 0.70, {0.5, 0.5, 0.5, 0.5}),  //
                 made("posit-3", 3, 2, 0.65, {0.45, 0.45, 0.45, 0.45})};
  return all;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The line of a budget and of "RTN" or a number of members.
std::string line_of(const std::string& table, const std::string& begin) {
  const std::size_t first = table.find("\n" + begin);
  return first == std::string::npos ? std::string() : table.substr(first + 1, table.find('\n', first + 1) - first - 1);
}

}  // namespace

TEST_CASE("the winner within a budget is that of the validation set, its distance that of the test set", "[examples]") {
  const system_comparison all = made_comparison();
  CHECK(all.members() == std::vector<std::size_t>{1, 2});
  const std::string table = winners_table(all);
  INFO(table);
  CHECK(std::count(table.begin(), table.end(), '\n') == 1 + 2 * 3);
  CHECK(table.find("\n 3.5 RTN") < table.find("\n 4.5 RTN"));

  const std::string nearest = line_of(table, " 4.5 RTN");
  CHECK(has(nearest, "NF4 "));
  CHECK(has(nearest, " 4.25 "));
  CHECK(has(nearest, " 0.7000 "));
  // Differences .1 .3 .1 .3 to INT-4: variance 4 * .01 / 3, of the mean a quarter. To full precision .2 .4 .2 .4.
  CHECK(has(nearest, "+0.2000 +-0.0577"));
  CHECK(has(nearest, "+0.3000 +-0.0577"));
  CHECK(has(line_of(table, " 4.5   1"), "NF4 "));
  // Where INT-4 wins, and where there is no INT-b, only the distance from full precision is left.
  const std::string pair = line_of(table, " 4.5   2");
  CHECK(has(pair, "INT-4 "));
  CHECK(has(pair, "+0.0500 +-0.0289"));
  CHECK(std::count(pair.begin(), pair.end(), '+') == 2);
  const std::string alone = line_of(table, " 3.5   2");
  CHECK(has(alone, "posit-3 "));
  CHECK(std::count(alone.begin(), alone.end(), '+') == 2);
}

TEST_CASE("variants of a number system are told apart by granularity and coupling, others are not", "[examples]") {
  system_comparison all = made_comparison();
  for (compared_system& system : all.systems) {
    system.row.granularity = "channel";
    system.row.coupling = system.row.method == "bsr" ? "independent" : "";
  }
  CHECK(all.name_of(all.systems[2]) == "INT-4");
  all.systems.push_back(all.systems[2]);
  all.systems.back().row.coupling = "lattice:2";
  all.systems.back().validation_nll = 0.44;
  CHECK(all.name_of(all.systems[2]) == "INT-4, channel, independent");
  CHECK(all.name_of(all.systems.back()) == "INT-4, channel, lattice:2");
  CHECK(all.name_of(all.systems[0]) == "INT-4");  // RTN has no coupling
  CHECK(all.name_of(all.systems[3]) == "NF4");
  CHECK(has(verdict(all, 16.0), "INT-4, channel, lattice:2, S = 2"));
  all.systems.back().row.complete_block = false;
  CHECK(has(line_of(winners_table(all), " 4.5   2"), " 2* INT-4, channel, lattice:2 "));
}

TEST_CASE("the verdict is on the ensemble that the validation set prefers within the budget", "[examples]") {
  system_comparison all = made_comparison();
  // Two members of 4 bits over a shared floor take 6.25 bits.
  CHECK(has(verdict(all, 16.0), "INT-4, S = 2, 6.25 bits"));
  CHECK(has(verdict(all, 6.25), "INT-4, S = 2"));
  CHECK(has(verdict(all, 6.0), "posit-3, S = 2, 5.25 bits"));
  CHECK(has(verdict(all, 5.0), "no ensemble takes at most 5 bits"));
  // One member alone is no ensemble, whatever it scores.
  all.systems[1].validation_nll = 0.0;
  CHECK(has(verdict(all, 16.0), "INT-4, S = 2"));

  // .1 0 0 .1 more than full precision: 1.7 standard errors.
  CHECK(has(verdict(all, 16.0), "+0.0500 +-0.0289, even within two standard errors"));
  // .1 less for each example.
  all.systems[5].validation_nll = 0.1;
  CHECK(has(verdict(all, 16.0),
            "NF4, S = 2, 6.25 bits; on the test set, with one temperature on both sides, NLL 0.3000 "
            "against the checkpoint's 0.4000: -0.1000"));
  CHECK(has(verdict(all, 16.0), "better by more than two standard errors"));
  all.systems[5].row.scores = scored({0.2, 0.4, 0.6, 0.9});
  CHECK(has(verdict(all, 16.0), "+0.1250 +-0.0250, worse by more than two standard errors"));
}

TEST_CASE("systems that differ in their width alone are one family", "[examples]") {
  CHECK(family_of("INT-4") == "INT");
  CHECK(family_of("half-INT-8") == "half-INT");
  CHECK(family_of("ggml-full-range-INT-5") == "ggml-full-range-INT");
  CHECK(family_of("affine-INT-1") == "affine-INT");
  CHECK(family_of("FP8-E4M3") == "FP");
  CHECK(family_of("FP3-E2M0") == "FP");
  CHECK(family_of("MXINT8") == "MX, NVFP4");
  CHECK(family_of("MXFP4-covering") == "MX, NVFP4");
  CHECK(family_of("NVFP4") == "MX, NVFP4");
  CHECK(family_of("NF4") == "NF4");
  CHECK(family_of("ternary") == "ternary");
  CHECK(family_of("k-means-4") == "k-means");
  CHECK(family_of("posit-8") == "posit");
}

TEST_CASE("every family is a curve of its own look, at the largest number of members", "[examples]") {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("pluria-families-" + std::to_string(::getpid()));
  system_comparison all;
  all.result.full_precision = scored({0.1, 0.3});
  const std::vector<std::string> names{"INT-4",    "half-INT-4", "full-range-INT-4", "ggml-full-range-INT-4",
                                       "FP4-E2M1", "MXFP4",      "affine-INT-4",     "ternary",
                                       "NF4",      "k-means-4",  "fitted-4",         "posit-4"};
  for (const std::string& name : names) {
    for (const std::size_t members : {0U, 1U, 2U}) {
      all.systems.push_back(made(name, 4, members, 0.5, {0.25, 0.5}));
      all.systems.back().row.scores.ambiguity = members == 2 ? 0.01 : 0.0;
    }
  }
  all.systems.push_back(made("INT-3", 3, 2, 0.6, {0.5, 0.75}));
  all.systems.back().row.scores.ambiguity = 0.02;
  const auto draw_and_read = [&](const std::string& file) {
    const bool has_gnuplot = std::system("command -v gnuplot > /dev/null 2>&1") == 0;
    CHECK(draw_comparison(folder, all) == has_gnuplot);
    return read_text((folder / file).string());
  };

  const std::string points = draw_and_read("systems.dat");
  // Of a family by their bits, whatever their order was.
  CHECK(points.starts_with("3.25 0.625 0.625 0.02 \"INT-3\"\n4.25 0.375 0.375 0.01 \"INT-4\"\n\n\n4.25 "));
  CHECK(std::count(points.begin(), points.end(), '"') == 2 * 13);
  const std::string script = read_text((folder / "systems.gnuplot").string());
  const std::regex look("pt ([0-9]+) ps 1 lc rgb '(#[0-9a-f]+)'");
  std::set<std::string> looks;
  for (auto match = std::sregex_iterator(script.begin(), script.end(), look); match != std::sregex_iterator();
       ++match) {
    looks.insert(match->str());
  }
  CHECK(looks.size() == names.size());

  // Single members have no ambiguity, which no logarithmic axis could show.
  std::erase_if(all.systems, [](const compared_system& system) { return system.row.members == 2; });
  CHECK(has(script, "\nset logscale x\n"));
  CHECK(!has(draw_and_read("systems.gnuplot"), "\nset logscale x\n"));
  std::filesystem::remove_all(folder);
}
