// SPDX-License-Identifier: MIT
// Bits where they are worth most: measures, tensor by tensor, what rounding a Vision Transformer costs with each of
// some number systems, chooses one for every tensor under a budget, and writes the choice as a rule. See --help and
// README.md.

#include <pluria/pluria.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/image_evaluation.hpp"
#include "../common/number_systems.hpp"
#include "../common/options.hpp"
#include "../common/progress.hpp"
#include "../common/rule_file.hpp"
#include "../common/weights.hpp"
#include "bit_allocation.hpp"
#include "objective.hpp"
#include "precision_report.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

struct options {
  std::string model;
  image_options set{.images = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",
                    .labels = "/usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz",
                    .first = 55000,
                    .limit = 1000};
  double budget = 4.0;
  std::string systems = "INT-2,INT-3,INT-4,INT-5,INT-6,INT-7,INT-8";
  std::string granularity;
  std::string objective = "kl";
  std::size_t members = 8;
  std::string coupling = "lattice:8";
  std::uint64_t seed = 0;
  int threads = 0;
  std::string rule;
  std::string json;
  std::string csv;
  std::string plots;
};

std::vector<any_quantizer> candidates_of(const options& chosen) {
  std::vector<any_quantizer> candidates;
  for_each_part(chosen.systems, [&](std::string_view name) {
    candidates.push_back(quantizer_named(name, has_own_granularity(name) ? std::string() : chosen.granularity));
    const auto is_same = [&](const any_quantizer& other) { return other.system() == name; };
    if (std::find_if(candidates.begin(), candidates.end(), is_same) != candidates.end() - 1) {
      throw bad_input(mismatch_message("--systems", "each once", "\"" + chosen.systems + "\""));
    }
  });
  return candidates;
}

// The tensors that may be rounded, with what each candidate takes; nothing is measured yet.
std::vector<measured_tensor> tensors_of(const checkpoint& weights, const std::vector<any_quantizer>& candidates) {
  std::vector<measured_tensor> tensors;
  for (const tensor& current : weights.tensors()) {
    if (!quantized_by_default(current.name(), current.shape()) || !is_weight_type(current.type()) ||
        current.size() == 0) {
      continue;
    }
    measured_tensor& added = tensors.emplace_back();
    added.name = current.name();
    added.shape = current.shape();
    added.weights = current.size();
    for (const any_quantizer& candidate : candidates) {
      added.candidates.push_back(
          {candidate,
           current.size() * static_cast<std::size_t>(candidate.bits()) + candidate.granule_bits(current.shape()),
           {}});
    }
  }
  if (tensors.empty()) {
    throw bad_input(mismatch_message(weights.file(), "tensors that are quantized by default", "none"));
  }
  return tensors;
}

// Bits per weight of all tensors, each by the candidate that pick(tensor) names.
template <class Pick>
double bits_per_weight(const std::vector<measured_tensor>& tensors, Pick&& pick) {
  std::uint64_t bits = 0;
  std::size_t weights = 0;
  for (const measured_tensor& current : tensors) {
    bits += current.candidates[pick(current)].bits;
    weights += current.weights;
  }
  return static_cast<double>(bits) / static_cast<double>(weights);
}

double fewest_bits_per_weight(const std::vector<measured_tensor>& tensors) {
  return bits_per_weight(tensors, [](const measured_tensor& current) {
    const auto fewest =
        std::min_element(current.candidates.begin(), current.candidates.end(),
                         [](const measured_candidate& a, const measured_candidate& b) { return a.bits < b.bits; });
    return static_cast<std::size_t>(fewest - current.candidates.begin());
  });
}

rule only(const std::string& name, const any_quantizer& quantizer) {
  return rule([name, quantizer](std::string_view other, std::span<const std::size_t>) {
    return other == name ? rule::decision(quantizer) : std::nullopt;
  });
}

void choose(std::vector<measured_tensor>& tensors, double budget) {
  std::vector<std::vector<bit_candidate>> costs;
  std::size_t weights = 0;
  for (const measured_tensor& current : tensors) {
    std::vector<bit_candidate>& added = costs.emplace_back();
    for (const measured_candidate& candidate : current.candidates) {
      added.push_back({candidate.bits, candidate.cost.mean});
    }
    weights += current.weights;
  }
  // A budget that is met exactly is met: products of decimal fractions may be a little low.
  const double bits = budget * static_cast<double>(weights) * (1.0 + 1e-12);
  const auto chosen = allocate_bits(costs, static_cast<std::uint64_t>(bits));
  require(chosen.has_value(), "choose: the budget was checked");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].chosen = (*chosen)[i];
  }
}

rule_file chosen_rule(const std::vector<measured_tensor>& tensors) {
  std::vector<std::pair<std::string, rule_file::decision>> decisions;
  for (const measured_tensor& current : tensors) {
    decisions.emplace_back(current.name, current.candidates[current.chosen].quantizer);
  }
  return {std::nullopt, std::move(decisions)};
}

void run(const options& chosen) {
  const auto started = std::chrono::steady_clock::now();
  if (!(chosen.budget > 0.0 && chosen.budget <= 64.0)) {
    throw bad_input(mismatch_message("--budget", "bits per weight, more than 0", fmt::format("{}", chosen.budget)));
  }
  const objective wanted(chosen.objective, chosen.members, chosen.coupling, chosen.seed);
  const std::vector<any_quantizer> candidates = candidates_of(chosen);
  // What cannot be written is found before the work.
  const auto output = [](const std::string& file) {
    return file.empty() ? std::nullopt : std::optional<replaced_file>(std::in_place, file);
  };
  std::optional<replaced_file> rule_output = output(chosen.rule);
  std::optional<replaced_file> json_output = output(chosen.json);
  std::optional<replaced_file> csv_output = output(chosen.csv);
  if (!chosen.plots.empty()) {
    std::filesystem::create_directories(chosen.plots);
  }
  const auto write = [](std::optional<replaced_file>& file, const std::string& text) {
    if (file) {
      file->write(text);
      file->commit();
    }
  };

  const checkpoint weights = load_safetensors(chosen.model);
  check_finite_weights(weights);
  precision_choice all;
  all.model = std::filesystem::path(chosen.model).filename().string();
  all.objective = wanted.description();
  all.budget = chosen.budget;
  all.tensors = tensors_of(weights, candidates);
  if (const double fewest = fewest_bits_per_weight(all.tensors); fewest > chosen.budget * (1.0 + 1e-12)) {
    throw bad_input(mismatch_message("--budget",
                                     fmt::format("at least {:.3f} bits, the fewest that --systems take", fewest),
                                     fmt::format("{}", chosen.budget)));
  }
  evaluator over(chosen.set, chosen.threads);
  over.check(weights);
  if (over.test().labels.size() < 4) {
    throw bad_input(mismatch_message("--limit", "at least 4 images", std::to_string(over.test().labels.size())));
  }
  const std::size_t models = (all.tensors.size() + 1) * candidates.size() + 1;
  progress shown((1 + models * wanted.members()) * over.images_per_member(), "images");
  over.show(shown);
  shown.describe("full precision");
  const loss_meter meter(weights, wanted, over, chosen.threads);
  all.images = meter.full_precision().size();

  for (measured_tensor& current : all.tensors) {
    for (measured_candidate& candidate : current.candidates) {
      shown.describe(fmt::format("{} in {}", current.name, candidate.quantizer.system()));
      candidate.cost = paired_difference(meter.losses(only(current.name, candidate.quantizer)), meter.full_precision());
    }
  }
  choose(all.tensors, chosen.budget);
  const rule_file choice = chosen_rule(all.tensors);

  shown.describe("the choice");
  const std::vector<double> chosen_losses = meter.losses(choice.rule());
  const auto add_rule = [&](const std::string& name, double bits, const std::vector<double>& losses) {
    all.rules.push_back(
        {name, bits, paired_difference(losses, meter.full_precision()), paired_difference(chosen_losses, losses)});
  };
  add_rule("the choice", bits_per_weight(all.tensors, [](const measured_tensor& current) { return current.chosen; }),
           chosen_losses);
  for (std::size_t j = 0; j < candidates.size(); ++j) {
    shown.describe(candidates[j].system() + " for all");
    add_rule(candidates[j].system() + " for all",
             bits_per_weight(all.tensors, [j](const measured_tensor&) { return j; }), meter.losses(candidates[j]));
  }
  shown.clear();

  fmt::print(
      "{}: {} images, budget {} bits per weight, scales included\nloss: {}\n\n"
      "What rounding one tensor alone adds to the loss, 10^-3 nats (* chosen):\n{}",
      all.model, all.images, all.budget, all.objective, to_table(all));
  write(rule_output, choice.text());
  write(json_output, to_json(all).dump(1) + "\n");
  write(csv_output, to_csv(all));
  if (!chosen.plots.empty()) {
    if (draw_precision(chosen.plots, all)) {
      fmt::print("plots: {0}/precision.png (and .svg)\n", chosen.plots);
    } else {
      fmt::print("gnuplot is not installed (gnuplot-nox) or failed; its script is {}/precision.gnuplot\n",
                 chosen.plots);
    }
  }
  fmt::print("{:.1f} s\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
}

}  // namespace

int main(int argument_count, char** arguments) {
  options chosen;
  command_line app("Chooses a number system for every tensor of a Vision Transformer under a budget of bits.\n");
  app.add_option("--model", chosen.model, "checkpoint with timm's names, one input channel, .safetensors").required();
  app.add_option("--budget", chosen.budget, "bits per rounded weight of one member, scales included");
  app.add_option("--systems", chosen.systems,
                 fmt::format("the candidates, comma-separated, of {}", fmt::join(number_system_names(), ", ")));
  app.add_option(
      "--granularity", chosen.granularity,
      "what shares a scale: channel (the default), tensor or group:G; MX and NVFP4 have groups of their own");
  app.add_option("--objective", chosen.objective,
                 "nll, kl: of the single model rounded to nearest; ensemble: NLL of the members after one temperature");
  app.add_option("--members", chosen.members, "S, the number of members (ensemble)");
  app.add_option("--coupling", chosen.coupling, "of the members: independent or lattice:L");
  app.add_option("--seed", chosen.seed, "decides every random bit");
  app.add_option("--images", chosen.set.images, "validation images, idx or idx.gz");
  app.add_option("--labels", chosen.set.labels, "their labels, idx or idx.gz");
  app.add_option("--first", chosen.set.first, "the first image to use");
  app.add_option("--limit", chosen.set.limit, "how many images to use; 0: all that follow");
  app.add_option("--heads", chosen.set.heads, "attention heads; 0: from the metadata, else width / 64");
  app.add_option("--mean", chosen.set.mean, "of pixels in 0..1, comma-separated per channel; else from the metadata");
  app.add_option("--std", chosen.set.std, "of pixels, likewise");
  app.add_option("--threads", chosen.threads, "0: all cores").non_negative();
  app.add_option("--rule", chosen.rule,
                 "write the choice to this file, JSON: evaluate_vit and sample_checkpoint read it");
  app.add_option("--json", chosen.json, "write everything as JSON");
  app.add_option("--csv", chosen.csv, "write the costs as comma-separated values");
  app.add_option("--plots", chosen.plots, "draw the bits of every tensor to this folder");
  return app.run(argument_count, arguments, "choose_precision", [&] { run(chosen); });
}
