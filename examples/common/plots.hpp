// SPDX-License-Identifier: MIT
#pragma once
// Plots of an evaluation through gnuplot: NLL and ECE against the number of members, and reliability diagrams. The data
// and the script stay beside the pictures, so that anyone can draw them again.

#include <pluria/io/replaced_file.hpp>
#include <pluria/metrics/calibration.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evaluation.hpp"

namespace pluria::examples {

/// A reliability diagram's name and bars.
using reliability_curve = std::pair<std::string, std::vector<reliability_bin>>;

/// Writes curves.{png,svg} and reliability.{png,svg} to `folder`, with their data and script. Without gnuplot only the
/// latter; returns whether pictures were drawn.
inline bool draw_plots(const std::filesystem::path& folder, const evaluation& result,
                       const std::vector<reliability_curve>& reliability) {
  std::filesystem::create_directories(folder);
  // One block per curve, blocks two blank lines apart: gnuplot's "index".
  std::string curves;
  std::vector<std::string> names;
  std::vector<const score_row*> to_nearest;  // of each curve's system
  const score_row* last_to_nearest = nullptr;
  double paired_error = 0.0;
  std::size_t most_members = 1;
  for (const evaluation_row& row : result.rows) {
    if (row.method == "rtn") {
      last_to_nearest = &row.scores;
    }
    if (row.method != "bsr" || row.seed != result.rows.front().seed) {
      continue;
    }
    if (row.budget.members == 1) {
      curves += names.empty() ? "" : "\n\n";
      names.push_back(row.system);
      to_nearest.push_back(last_to_nearest);
    }
    curves +=
        fmt::format("{} {} {} {}\n", row.budget.members, row.scores.nll, row.scores.ece, row.complete_block ? 1 : 0);
    most_members = std::max(most_members, row.budget.members);
  }
  for (const evaluation_row& row : result.rows) {
    if (row.method == "bsr" && row.budget.members == most_members) {
      paired_error = std::max(paired_error, row.scores.nll_difference.standard_error);
    }
  }
  write_file(folder / "curves.dat", curves);
  std::string bars;
  for (const auto& [name, bins] : reliability) {
    for (const reliability_bin& bin : bins) {
      if (bin.count >= 20) {  // the accuracy of fewer is noise
        bars += fmt::format("{} {} {}\n", bin.mean_confidence, bin.accuracy, bin.count);
      }
    }
    bars += "\n\n";
  }
  write_file(folder / "reliability.dat", bars);

  const score_row& full = result.full_precision;
  const auto colour = [](std::size_t i) {
    constexpr const char* colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#f0e442"};
    return colours[i % 7];
  };
  // One panel: full precision with its band, rounding to nearest dashed, the ensembles with points at complete blocks.
  const auto panel = [&](const char* title, int column, double score_row::*value, std::optional<double> tempered,
                         double band, const char* band_name) {
    std::string text = fmt::format(
        "set title '{}'\nset xlabel 'members S'\nset xrange [0.9:{}]\nset logscale x 2\nset yrange [*:*]\n"
        "level = {}\nband = {}\nplot '+' using 1:(level-band):(level+band) with filledcurves fc rgb '#dddddd' "
        "title '{}', level with lines lw 2 lc rgb '#444444' title 'full precision'",
        title, 1.15 * static_cast<double>(most_members), full.*value, band, band_name);
    if (tempered) {
      text +=
          fmt::format(", {} with lines lw 2 dt 3 lc rgb '#444444' title 'full precision, one temperature'", *tempered);
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      text += fmt::format(", {} with lines dt 2 lc rgb '{}' title '{} to nearest'", to_nearest[i]->*value, colour(i),
                          names[i]);
      text += fmt::format(
          ", 'curves.dat' index {} using 1:{} with lines lw 2 lc rgb '{}' title '{} LPE-BSR', '' index {} using "
          "1:($4==1?${}:1/0) with points pt 7 lc rgb '{}' notitle",
          i, column, colour(i), names[i], i, column, colour(i));
    }
    return text + "\n";
  };
  std::string script = "set samples 50\nset grid lc rgb '#eeeeee'\nset border 3\nset tics nomirror\n";
  for (const auto& [terminal, suffix] : {std::pair{"pngcairo size 1320,440 font ',11'", "png"},
                                         std::pair{"svg size 1320,440 font 'sans,12' background '#ffffff'", "svg"}}) {
    script += fmt::format(
        "set terminal {}\nset output 'curves.{}'\nset multiplot\nset origin 0,0\nset size 0.42,1\nunset key\n",
        terminal, suffix);
    script += panel("negative log-likelihood", 2, &score_row::nll,
                    full.calibrated ? std::optional(full.calibrated->nll) : std::nullopt, paired_error,
                    "+- paired standard error");
    script += "set origin 0.42,0\nset size 0.58,1\nset key outside right center reverse Left samplen 2\n";
    script +=
        panel("expected calibration error", 3, &score_row::ece,
              full.calibrated ? std::optional(full.calibrated->ece) : std::nullopt, full.ece_se, "+- standard error");
    script += "unset multiplot\n";
  }
  script +=
      "reset\nset key bottom right\nset grid lc rgb '#eeeeee'\nset border 3\nset tics nomirror\nset size square\n"
      "set xrange [0:1]\nset yrange [0:1]\nset xlabel 'confidence'\nset ylabel 'accuracy'\n";
  for (const auto& [terminal, suffix] : {std::pair{"pngcairo size 560,540 font ',11'", "png"},
                                         std::pair{"svg size 560,540 font 'sans,12' background '#ffffff'", "svg"}}) {
    script += fmt::format(
        "set terminal {}\nset output 'reliability.{}'\nplot x with lines dt 2 lc rgb '#444444' title "
        "'calibrated'",
        terminal, suffix);
    for (std::size_t i = 0; i < reliability.size(); ++i) {
      script += fmt::format(
          ", 'reliability.dat' index {} using 1:2 with linespoints lw 2 pt 7 ps 0.8 lc rgb '{}' "
          "title '{}'",
          i, i == 0 ? "#444444" : colour(i - 1), reliability[i].first);
    }
    script += "\nset output\n";
  }
  write_file(folder / "plots.gnuplot", script);
  std::string quoted = "'";
  for (const char character : folder.string()) {
    quoted += character == '\'' ? "'\\''" : std::string(1, character);
  }
  const std::string command = "cd " + quoted + "' && gnuplot plots.gnuplot";
  return std::system("command -v gnuplot > /dev/null 2>&1") == 0 && std::system(command.c_str()) == 0;
}

}  // namespace pluria::examples
