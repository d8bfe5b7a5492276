// SPDX-License-Identifier: MIT
#pragma once
// What a choice of precisions prints and stores: costs of tensors by candidates, and whole rules beside each other.

#include <pluria/io/replaced_file.hpp>
#include <pluria/member/any_quantizer.hpp>
#include <pluria/metrics/proper_score.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "../common/gnuplot.hpp"

namespace pluria::examples {

/// A tensor rounded by one of the candidates, alone.
struct measured_candidate {
  any_quantizer quantizer;
  std::uint64_t bits = 0;  ///< of all its weights and granules
  mean_and_error cost{};   ///< loss - the checkpoint's, paired over images
};

struct measured_tensor {
  std::string name;
  tensor_shape shape;
  std::size_t weights = 0;
  std::vector<measured_candidate> candidates;
  std::size_t chosen = 0;

  double bits_per_weight(const measured_candidate& candidate) const {
    return static_cast<double>(candidate.bits) / static_cast<double>(weights);
  }
};

/// All tensors rounded together.
struct measured_rule {
  std::string name;
  double bits_per_weight = 0.0;
  mean_and_error cost{};         ///< loss - the checkpoint's, paired over images
  mean_and_error chosen_less{};  ///< the chosen rule's loss - this one's, likewise
};

struct precision_choice {
  std::string model;
  std::string objective;
  std::size_t images = 0;  ///< measured ones
  double budget = 0.0;     ///< bits per weight
  std::vector<measured_tensor> tensors;
  std::vector<measured_rule> rules;  ///< the chosen one first, then each candidate for all tensors

  /// What the costs of the chosen candidates add up to.
  double summed_cost() const {
    double sum = 0.0;
    for (const measured_tensor& current : tensors) {
      sum += current.candidates[current.chosen].cost.mean;
    }
    return sum;
  }
};

/// Costs in units of 10^-3 nats, tensor by candidate, the chosen ones marked; then the rules.
inline std::string to_table(const precision_choice& all) {
  std::size_t names = 0;
  for (const measured_tensor& current : all.tensors) {
    names = std::max(names, current.name.size());
  }
  for (const measured_rule& current : all.rules) {
    names = std::max(names, current.name.size());
  }
  std::string table = fmt::format("{:<{}} {:>8}", "", names, "weights");
  for (const measured_candidate& candidate : all.tensors.front().candidates) {
    table += fmt::format(" {:>9} ", candidate.quantizer.system());
  }
  table += fmt::format(" {:>6}\n", "bits/w");
  for (const measured_tensor& current : all.tensors) {
    table += fmt::format("{:<{}} {:>8}", current.name, names, current.weights);
    for (std::size_t j = 0; j < current.candidates.size(); ++j) {
      table += fmt::format(" {:>9.3f}{}", 1000 * current.candidates[j].cost.mean, j == current.chosen ? '*' : ' ');
    }
    table += fmt::format(" {:6.2f}\n", current.bits_per_weight(current.candidates[current.chosen]));
  }
  const auto pair = [](const mean_and_error& difference) {
    return fmt::format("{:+.5f} +-{:.5f}", difference.mean, difference.standard_error);
  };
  table += fmt::format("\n{:<{}} {:>6}  {:<18}  {}\n", "", names, "bits/w", "- full precision", "the choice - this");
  for (std::size_t i = 0; i < all.rules.size(); ++i) {
    const measured_rule& current = all.rules[i];
    table += fmt::format("{:<{}} {:6.2f}  {}  {}\n", current.name, names, current.bits_per_weight, pair(current.cost),
                         i == 0 ? fmt::format("costs added up: {:+.5f}", all.summed_cost())
                         : current.bits_per_weight > all.budget ? pair(current.chosen_less) + ", above the budget"
                                                                : pair(current.chosen_less));
  }
  return table;
}

inline nlohmann::ordered_json to_json(const precision_choice& all) {
  using json = nlohmann::ordered_json;
  json tensors = json::array();
  for (const measured_tensor& current : all.tensors) {
    json candidates = json::array();
    for (std::size_t j = 0; j < current.candidates.size(); ++j) {
      const measured_candidate& candidate = current.candidates[j];
      candidates.push_back({{"system", candidate.quantizer.system()},
                            {"granularity", candidate.quantizer.granularity_name()},
                            {"bits_per_weight", current.bits_per_weight(candidate)},
                            {"cost", candidate.cost.mean},
                            {"cost_se", candidate.cost.standard_error},
                            {"chosen", j == current.chosen}});
    }
    tensors.push_back({{"tensor", current.name},
                       {"shape", current.shape},
                       {"weights", current.weights},
                       {"candidates", std::move(candidates)}});
  }
  json rules = json::array();
  for (const measured_rule& current : all.rules) {
    rules.push_back({{"rule", current.name},
                     {"bits_per_weight", current.bits_per_weight},
                     {"cost", current.cost.mean},
                     {"cost_se", current.cost.standard_error},
                     {"chosen_less", current.chosen_less.mean},
                     {"chosen_less_se", current.chosen_less.standard_error}});
  }
  return {{"model", all.model},       {"objective", all.objective},       {"images", all.images},
          {"budget", all.budget},     {"summed_cost", all.summed_cost()}, {"tensors", std::move(tensors)},
          {"rules", std::move(rules)}};
}

/// One line for each tensor and candidate.
inline std::string to_csv(const precision_choice& all) {
  std::string text = "tensor,weights,system,granularity,bits_per_weight,cost,cost_se,chosen\n";
  for (const measured_tensor& current : all.tensors) {
    for (std::size_t j = 0; j < current.candidates.size(); ++j) {
      const measured_candidate& candidate = current.candidates[j];
      text += fmt::format("{},{},{},{},{},{},{},{}\n", current.name, current.weights, candidate.quantizer.system(),
                          candidate.quantizer.granularity_name(), current.bits_per_weight(candidate),
                          candidate.cost.mean, candidate.cost.standard_error, j == current.chosen ? 1 : 0);
    }
  }
  return text;
}

/// Writes precision.{png,svg} to `folder`, the chosen bits of each tensor as bars, with data and script. Without
/// gnuplot only these; returns whether pictures were drawn.
inline bool draw_precision(const std::filesystem::path& folder, const precision_choice& all) {
  std::filesystem::create_directories(folder);
  std::string bars;
  for (const measured_tensor& current : all.tensors) {
    const measured_candidate& chosen = current.candidates[current.chosen];
    bars += fmt::format("\"{}\" {} \"{}\"\n", current.name, current.bits_per_weight(chosen), chosen.quantizer.system());
  }
  write_file(folder / "precision.dat", bars);
  std::string script =
      "set style fill solid\nset boxwidth 0.8\nset border 3\nset tics nomirror\nset grid y lc rgb '#eeeeee'\nset xtics "
      "rotate by 60 right noenhanced\nset yrange [0:*]\nset ylabel 'bits per weight, scales included'\nunset key\n";
  for (const auto& [terminal, suffix] : {std::pair{"pngcairo size 1100,560 font ',11'", "png"},
                                         std::pair{"svg size 1100,560 font 'sans,12' background '#ffffff'", "svg"}}) {
    script += fmt::format(
        "set terminal {}\nset output 'precision.{}'\nset title \"{}, budget {} bits\" noenhanced\n"
        "plot 'precision.dat' using 0:2:xtic(1) with boxes lc rgb '#0072b2', {} with lines dt 2 lw 2 lc rgb '#444444'\n"
        "set output\n",
        terminal, suffix, all.model, all.budget, all.budget);
  }
  return draw_with_gnuplot(folder, "precision.gnuplot", script);
}

}  // namespace pluria::examples
