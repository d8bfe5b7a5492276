// SPDX-License-Identifier: MIT
#pragma once
// Pictures of a comparison through gnuplot: NLL against bits per weight, and against ambiguity at one number of
// members. Data and script stay beside the pictures.

#include <pluria/io/replaced_file.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "../common/gnuplot.hpp"
#include "system_comparison.hpp"

namespace pluria::examples {

/// What systems of several widths have in common: "INT-4" is of "INT", "FP6-E2M3" of "FP", "MXINT8" and "NVFP4" of
/// "MX, NVFP4".
inline std::string family_of(const std::string& system) {
  if (system.starts_with("MX") || system.starts_with("NVFP")) {
    return "MX, NVFP4";
  }
  if (system.starts_with("FP")) {
    return "FP";
  }
  const std::size_t digits = system.find_last_not_of("0123456789");
  const std::string stem = system.substr(0, digits + 1);
  return stem.ends_with('-') ? stem.substr(0, stem.size() - 1) : system;
}

/// Writes systems.{png,svg} to `folder`, with data and script. Without gnuplot only these; returns whether pictures
/// were drawn.
inline bool draw_comparison(const std::filesystem::path& folder, const system_comparison& all) {
  std::filesystem::create_directories(folder);
  // The largest ensembles, those of a curve beside each other; variants of a family are curves of their own.
  struct point {
    std::string curve;
    const compared_system* system;
  };
  const std::size_t most = all.members().empty() ? 0 : all.members().back();
  std::vector<point> drawn;
  std::vector<std::string> families;
  for (const compared_system& system : all.systems) {
    if (is_ensemble(system.row) && system.row.members == most) {
      drawn.push_back({family_of(system.row.system) + all.variant_of(system), &system});
      if (std::find(families.begin(), families.end(), drawn.back().curve) == families.end()) {
        families.push_back(drawn.back().curve);
      }
    }
  }
  std::stable_sort(drawn.begin(), drawn.end(), [](const point& a, const point& b) {
    return a.system->bits_per_weight < b.system->bits_per_weight;
  });
  // One block for each family: bits, NLL, NLL after the temperature and ambiguity of the ensembles, names.
  std::string points;
  for (const std::string& family : families) {
    for (const auto& [curve, system] : drawn) {
      if (curve == family) {
        points += fmt::format("{} {} {} {} \"{}\"\n", system->bits_per_weight, system->row.scores.nll,
                              system->row.scores.calibrated->nll, system->row.scores.ambiguity, system->row.system);
      }
    }
    points += "\n\n";
  }
  write_file(folder / "systems.dat", points);
  const score_row& full = *all.result.full_precision;
  const auto panel = [&](int column, const std::string& axis, bool logarithmic) {
    std::vector<std::string> curves{fmt::format(
        "{} with lines dt 3 lw 2 lc rgb '#444444' title 'full precision, one temperature'", full.calibrated->nll)};
    // Colours and points repeat after different numbers of families, so that no two of 60 look the same.
    constexpr const char* colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9",
                                       "#e69f00", "#000000", "#8c564b", "#7f7f7f", "#bcbd22"};
    for (std::size_t i = 0; i < families.size(); ++i) {
      curves.push_back(
          fmt::format("'systems.dat' index {} using {}:3 with linespoints lw 1.5 pt {} ps 1 lc rgb '{}' title '{}'", i,
                      column, 4 + i % 12, colours[i % 10], families[i]));
    }
    return fmt::format("set xlabel '{}'\n{}plot {}\n", axis,
                       logarithmic ? "set logscale x\nset xrange [1e-4:0.3]\nset format x '%g'\n"
                                   : "unset logscale x\nset xrange [2:11]\n",
                       fmt::join(curves, ", "));
  };
  // What is far worse than the checkpoint, or takes more bits than two members of 5, would leave no room for the rest.
  std::string script = fmt::format(
      "set samples 200\nset grid lc rgb '#eeeeee'\nset border 3\nset tics nomirror\nset ylabel 'NLL, one temperature'\n"
      "set yrange [{}:{}]\nset format y '%.3f'\n",
      0.99 * full.calibrated->nll, 1.15 * full.calibrated->nll);
  for (const auto& [terminal, suffix] : {std::pair{"pngcairo size 1320,520 font ',11'", "png"},
                                         std::pair{"svg size 1320,520 font 'sans,12' background '#ffffff'", "svg"}}) {
    script += fmt::format(
        "set terminal {}\nset output 'systems.{}'\nset multiplot title '{}, {} members'\nset origin 0,0\nset size "
        "0.42,0.95\nunset key\n",
        terminal, suffix, all.result.model, most);
    script += panel(1, "bits per weight of a member, scales included", false);
    script += "set origin 0.42,0\nset size 0.58,0.95\nset key outside right center reverse Left samplen 2\n";
    // A single member has no ambiguity, and zero no logarithm.
    script += panel(4, "ambiguity: mean NLL of the members - NLL of the ensemble", most > 1);
    script += "unset multiplot\n";
  }
  return draw_with_gnuplot(folder, "systems.gnuplot", script);
}

}  // namespace pluria::examples
