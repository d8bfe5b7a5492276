// SPDX-License-Identifier: MIT
// Which number system makes the best ensemble for a given number of bits? Every system is rounded to nearest and
// sampled, and scored on the same images, with one temperature each. Choices are made on the validation split, the test
// set only says what they are worth. See --help.

#include <pluria/pluria.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/evaluation.hpp"
#include "../common/image_evaluation.hpp"
#include "../common/number_systems.hpp"
#include "../common/options.hpp"
#include "../common/progress.hpp"
#include "../common/report_files.hpp"
#include "../common/weights.hpp"
#include "saved_predictions.hpp"
#include "system_comparison.hpp"
#include "system_plots.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

struct options {
  std::string model;
  image_options sets{.calibration_images = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",
                     .calibration_labels = "/usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz",
                     .calibration_first = 55000};
  std::string system;  // empty: all
  std::size_t members = 16;
  std::string granularity;  // empty: channel
  std::string range = "absmax";
  std::string coupling = "independent";
  std::string predictions;  // empty: the network is run
  std::uint64_t seed = 0;
  int threads = 0;
  std::string csv;
  std::string json;
  std::string plots;
  bool plan = false;
};

// Every system in every granularity; block formats in their own, once. Throws bad_input where a system that is asked
// for by its name has another granularity of its own than all that are asked for.
std::vector<any_quantizer> quantizers_of(const options& chosen) {
  const std::vector<std::string> systems =
      chosen.system.empty() ? number_system_names() : parse_names(chosen.system, "--system");
  const std::vector<std::string> granularities = parse_names(chosen.granularity, "--granularity");
  std::vector<any_quantizer> quantizers;
  for (const std::string& system : systems) {
    if (has_own_granularity(system)) {
      const std::string own = granularity_of(system, {}).name();
      const bool takes_any = chosen.system.empty() || chosen.granularity.empty();
      const bool has = std::find(granularities.begin(), granularities.end(), own) != granularities.end();
      quantizers.push_back(
          quantizer_named(system, takes_any || has ? std::string() : granularities.front(), chosen.range));
      continue;
    }
    for (const std::string& granularity : granularities) {
      quantizers.push_back(quantizer_named(system, granularity, chosen.range));
    }
  }
  return quantizers;
}

std::vector<coupling> couplings_of(const options& chosen) {
  std::vector<coupling> couplings;
  for (const std::string& name : parse_names(chosen.coupling, "--coupling")) {
    couplings.push_back(parse_coupling(name));
  }
  return couplings;
}

// The NLL of an ensemble on the split that its temperature is fitted on.
double validation_nll(const scores& validation, double temperature) {
  const std::vector<double> raw = validation.prediction().log_probabilities();
  const std::size_t classes = validation.prediction().classes();
  const std::vector<double> table = apply_temperature({raw, classes}, temperature);
  return mean(nll_per_example({table, classes}, validation.labels()));
}

nlohmann::ordered_json to_json(const system_comparison& all) {
  evaluation flat = all.result;
  for (const compared_system& system : all.systems) {
    flat.rows.push_back(system.row);
  }
  nlohmann::ordered_json report = examples::to_json(flat);
  for (std::size_t i = 0; i < all.systems.size(); ++i) {
    report["rows"][i]["member_bits_per_weight"] = all.systems[i].bits_per_weight;
    report["rows"][i]["validation_nll"] = all.systems[i].validation_nll;
  }
  return report;
}

// What is compared: a line for RTN and one for the members of every system, granularity and coupling: where their
// predictions are expected, and what sample_checkpoint is told to make them.
void print_plan(const options& chosen) {
  const std::vector<coupling> couplings = couplings_of(chosen);
  for (const any_quantizer& current : quantizers_of(chosen)) {
    const std::string settings =
        fmt::format("--system {} --granularity {}", current.system(), current.granularity_name());
    fmt::print("{}\t{} --method rtn\n", saved_predictions::place(current), settings);
    for (const coupling& coupled : couplings) {
      fmt::print("{}\t{} --coupling {} --members {} --seed {}\n",
                 saved_predictions::place(current, bernoulli{.seed = chosen.seed, .coupling = coupled}), settings,
                 coupled.name(), chosen.members, chosen.seed);
    }
  }
}

// The bits of one member, codes and granules, without the padding of short rows.
double bits_of_a_member(const any_quantizer& rounded, const rounded_members::storage& stored) {
  return rounded.bits() + static_cast<double>(stored.granule_bits) / static_cast<double>(stored.weights);
}

// One ensemble, or RTN, as it is scored so far.
compared_system compare(const any_quantizer& rounded, const std::optional<coupling>& coupled, std::uint64_t seed,
                        std::size_t members, const rounded_members::storage& stored, const evaluator::both& scored,
                        const evaluator::both& full, const score_row& full_row) {
  const storage_form form = members == 1 ? storage_form::packed : storage_form::shared_floor;
  compared_system result;
  result.bits_per_weight = bits_of_a_member(rounded, stored);
  result.row = {rounded.system(),
                rounded.bits(),
                coupled ? "bsr" : "rtn",
                rounded.granularity_name(),
                coupled ? coupled->name() : std::string(),
                name_of(form),
                seed,
                !coupled || members % coupled->block() == 0,
                members,
                storage_budget(stored, form, members),
                score(scored.test, &*scored.calibration, &full.test, &full_row)};
  result.ensemble_bits = result.row.budget->bits_per_weight;
  result.validation_nll = validation_nll(*scored.calibration, result.row.scores.calibrated->temperature);
  return result;
}

void run(const options& chosen) {
  const auto started = std::chrono::steady_clock::now();
  if (chosen.members == 0 || chosen.members > 64) {
    throw bad_input(mismatch_message("--members", "1..64", std::to_string(chosen.members)));
  }
  if ((chosen.plan || !chosen.predictions.empty()) && chosen.range != absmax::name()) {
    throw bad_input(mismatch_message("--range with --plan or --predictions",
                                     "absmax, as sample_checkpoint has no other", "\"" + chosen.range + "\""));
  }
  if (chosen.plan) {
    print_plan(chosen);
    return;
  }
  if (chosen.sets.calibration_images.empty()) {
    throw bad_input("--calibration-images: expected, as choices are made on them");
  }
  const std::vector<coupling> couplings = couplings_of(chosen);
  const std::vector<any_quantizer> quantizers = quantizers_of(chosen);
  // What cannot be written is found before the work.
  report_files files({chosen.csv, chosen.json, {}});
  if (!chosen.plots.empty()) {
    std::filesystem::create_directories(chosen.plots);
  }
  const checkpoint weights = load_safetensors(chosen.model);
  check_finite_weights(weights);
  evaluator over(chosen.sets, chosen.threads);
  over.check(weights);
  progress shown((1 + quantizers.size() * (1 + couplings.size() * chosen.members)) * over.images_per_member(),
                 "images");
  over.show(shown);
  const std::optional<saved_predictions> saved =
      chosen.predictions.empty() ? std::nullopt : std::optional<saved_predictions>(chosen.predictions);
  if (saved) {
    constexpr std::size_t some = 16;
    const image_view images = over.test().view();
    saved->check(load_vit(weights, over.network_options()).logits(images.part(0, std::min(some, images.count))));
  }
  const auto predict = [&](const std::string& place, const auto& member, evaluator::both& result) {
    if (saved) {
      saved->add(place, result);
      shown.advance(over.images_per_member());
    } else {
      over.add(member(), result);
    }
  };

  system_comparison all;
  all.result.model = std::filesystem::path(chosen.model).filename().string();
  all.result.parameters = parameters_of(weights);
  all.result.examples = over.test().labels.size();
  all.result.range = chosen.range;
  shown.describe("full precision");
  evaluator::both full = over.empty_scores();
  predict(
      saved_predictions::full, [&] { return weights; }, full);
  const score_row full_row = score(full.test, &*full.calibration, nullptr, nullptr);
  all.result.full_precision = full_row;

  std::string saturated;
  for (const any_quantizer& current : quantizers) {
    const rounded_members rtn(weights, current, nearest{}, chosen.threads);
    const rounded_members::storage& stored = rtn.packed_storage();
    saturated += saturation_note(current.system(), stored);
    evaluator::both to_nearest = over.empty_scores();
    shown.describe(current.system() + " to nearest");
    predict(
        saved_predictions::place(current), [&] { return rtn[0]; }, to_nearest);
    all.systems.push_back(compare(current, std::nullopt, chosen.seed, 1, stored, to_nearest, full, full_row));
    for (const coupling& coupled : couplings) {
      const bernoulli rounding{.seed = chosen.seed, .coupling = coupled};
      const rounded_members bsr(weights, current, rounding, chosen.threads);
      evaluator::both ensemble = over.empty_scores();
      for (std::size_t k = 0; k < chosen.members; ++k) {
        shown.describe(fmt::format("{}, member {} of {}", current.system(), k + 1, chosen.members));
        predict(
            saved_predictions::place(current, rounding, k), [&] { return bsr[k]; }, ensemble);
        if (std::has_single_bit(k + 1) || k + 1 == chosen.members) {
          all.systems.push_back(compare(current, coupled, chosen.seed, k + 1, stored, ensemble, full, full_row));
          all.systems.back().row.scores.rtn_nll_difference = ensemble.test.nll_difference(to_nearest.test);
        }
      }
    }
  }
  shown.clear();

  evaluation table = all.result;
  for (const compared_system& system : all.systems) {
    table.rows.push_back(system.row);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  fmt::print("{}: {} parameters, {} images, temperatures fitted and choices made on {} others; members {}\n\n{}\n",
             all.result.model, all.result.parameters, all.result.examples,
             over.images_per_member() - all.result.examples, chosen.coupling, to_table(table));
  fmt::print(
      "The winner within each budget, with one temperature on all sides (bits/w of one member, scales included, "
      "without the padding of short rows):\n{}\n{}",
      winners_table(all), verdict(all, 16.0));
  fmt::print("{}{:.1f} s\n", saturated, seconds);
  const nlohmann::ordered_json report = to_json(all);
  files.write(report, report, table, {});
  if (!chosen.plots.empty()) {
    if (draw_comparison(chosen.plots, all)) {
      fmt::print("plots: {0}/systems.png (and .svg)\n", chosen.plots);
    } else {
      fmt::print("gnuplot is not installed (gnuplot-nox) or failed; its script is {}/systems.gnuplot\n", chosen.plots);
    }
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  options chosen;
  command_line app("Compares number systems as ensembles of one Vision Transformer.\n");
  app.add_option("--model", chosen.model, "checkpoint with timm's names, one input channel, .safetensors").required();
  add_options(app, chosen.sets);
  app.add_option(
      "--system", chosen.system,
      fmt::format("number systems, comma-separated; empty: all of {}", fmt::join(number_system_names(), ", ")));
  app.add_option("--members", chosen.members, "S, the number of members; 1, 2, 4, ... of them are scored");
  app.add_option(
      "--granularity", chosen.granularity,
      "what shares a scale, comma-separated: channel (the default), tensor or group:G; MX and NVFP4 have groups of "
      "their own");
  app.add_option("--range", chosen.range,
                 "how far grids reach: absmax, percentile:P, mse:nearest or mse:bernoulli; weights beyond are clipped");
  app.add_option("--coupling", chosen.coupling, "of the members, comma-separated: independent or lattice:L");
  app.add_option("--seed", chosen.seed, "decides every random bit");
  app.add_flag(
      "--plan", chosen.plan,
      "only print what would be compared: a folder in --predictions, and what sample_checkpoint is told to make "
      "its members");
  app.add_option("--predictions", chosen.predictions,
                 "take logits from this folder, where predict.py wrote them, instead of running the network");
  app.add_option("--threads", chosen.threads, "0: all cores").non_negative();
  app.add_option("--csv", chosen.csv, "write all rows as comma-separated values");
  app.add_option("--json", chosen.json, "write everything as JSON");
  app.add_option("--plots", chosen.plots, "write NLL against bits and against ambiguity to this folder");
  return app.run(argument_count, arguments, "compare_number_systems", [&] { run(chosen); });
}
