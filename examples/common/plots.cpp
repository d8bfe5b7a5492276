// SPDX-License-Identifier: MIT

#include "plots.hpp"

#include <pluria/io/replaced_file.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "gnuplot.hpp"

namespace pluria::examples {

bool draw_plots(const std::filesystem::path& folder, const evaluation& result,
                const std::vector<reliability_curve>& reliability) {
  std::filesystem::create_directories(folder);
  // One block per curve, blocks two blank lines apart: gnuplot's "index".
  std::string curves;
  std::vector<std::string> names;
  std::vector<std::string> labels;
  std::vector<const score_row*> to_nearest;  // of each curve's system
  const score_row* last_to_nearest = nullptr;
  double paired_error = 0.0;
  std::size_t most_members = 1;
  for (const evaluation_row& row : result.rows) {
    if (row.method == "rtn") {
      last_to_nearest = &row.scores;
    }
    if (!is_ensemble(row) || row.seed != result.rows.front().seed) {
      continue;
    }
    if (row.members == 1) {
      curves += names.empty() ? "" : "\n\n";
      names.push_back(row.system);
      labels.push_back(label_of(row));
      to_nearest.push_back(last_to_nearest);
    }
    curves += fmt::format("{} {} {} {}\n", row.members, row.scores.nll, row.scores.ece, row.complete_block ? 1 : 0);
    most_members = std::max(most_members, row.members);
  }
  for (const evaluation_row& row : result.rows) {
    if (is_ensemble(row) && row.members == most_members && row.scores.nll_difference) {
      paired_error = std::max(paired_error, row.scores.nll_difference->standard_error);
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

  const auto colour = [](std::size_t i) {
    constexpr const char* colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#f0e442"};
    return colours[i % 7];
  };
  // One panel: full precision with its band, where there is one, rounding to nearest dashed, the ensembles with points
  // at complete blocks.
  const auto panel = [&](const char* title, int column, double score_row::*value, double calibrated_scores::*tempered,
                         double band, const char* band_name) {
    std::vector<std::string> lines;
    // What is infinite has no place in a picture.
    if (result.full_precision && std::isfinite((*result.full_precision).*value)) {
      const score_row& full = *result.full_precision;
      lines.push_back(fmt::format(
          "'+' using 1:({0}-{1}):({0}+{1}) with filledcurves fc rgb '#dddddd' title '{2}', {0} with lines lw "
          "2 lc rgb '#444444' title 'full precision'",
          full.*value, std::isfinite(band) ? band : 0.0, band_name));
      if (full.calibrated && std::isfinite((*full.calibrated).*tempered)) {
        lines.push_back(fmt::format("{} with lines lw 2 dt 3 lc rgb '#444444' title 'full precision, one temperature'",
                                    (*full.calibrated).*tempered));
      }
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (to_nearest[i] != nullptr && std::isfinite(to_nearest[i]->*value)) {
        lines.push_back(fmt::format("{} with lines dt 2 lc rgb '{}' title '{} to nearest'", to_nearest[i]->*value,
                                    colour(i), names[i]));
      }
      lines.push_back(
          fmt::format("'curves.dat' index {} using 1:{} with lines lw 2 lc rgb '{}' title '{}', '' index {} using "
                      "1:($4==1?${}:1/0) with points pt 7 lc rgb '{}' notitle",
                      i, column, colour(i), labels[i], i, column, colour(i)));
    }
    return fmt::format(
        "set title '{}'\nset xlabel 'members S'\nset xrange [0.9:{}]\nset logscale x 2\nset yrange [*:*]\n"
        "plot {}\n",
        title, 1.15 * static_cast<double>(most_members), fmt::join(lines, ", "));
  };
  const std::size_t greys = result.full_precision ? 1 : 0;  // full precision comes first
  std::string script = "set samples 50\nset grid lc rgb '#eeeeee'\nset border 3\nset tics nomirror\n";
  for (const auto& [terminal, suffix] : {std::pair{"pngcairo size 1320,440 font ',11'", "png"},
                                         std::pair{"svg size 1320,440 font 'sans,12' background '#ffffff'", "svg"}}) {
    script += fmt::format(
        "set terminal {}\nset output 'curves.{}'\nset multiplot\nset origin 0,0\nset size 0.42,1\nunset key\n",
        terminal, suffix);
    script += panel("negative log-likelihood", 2, &score_row::nll, &calibrated_scores::nll, paired_error,
                    "+- paired standard error");
    script += "set origin 0.42,0\nset size 0.58,1\nset key outside right center reverse Left samplen 2\n";
    script += panel("expected calibration error", 3, &score_row::ece, &calibrated_scores::ece,
                    result.full_precision ? result.full_precision->ece_se : 0.0, "+- standard error");
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
          i, i < greys ? "#444444" : colour(i - greys), reliability[i].first);
    }
    script += "\nset output\n";
  }
  return draw_with_gnuplot(folder, "plots.gnuplot", script);
}

}  // namespace pluria::examples
