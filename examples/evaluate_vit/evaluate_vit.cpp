// SPDX-License-Identifier: MIT
// The main job: one Vision Transformer becomes an ensemble of low-precision members, scored beside the checkpoint it
// came from, the checkpoint with a fitted temperature, and rounding to nearest. See --help.

#include <pluria/pluria.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/ensemble_options.hpp"
#include "../common/evaluation.hpp"
#include "../common/image_evaluation.hpp"
#include "../common/memory.hpp"
#include "../common/options.hpp"
#include "../common/progress.hpp"
#include "../common/report_files.hpp"
#include "../common/weights.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

struct options {
  std::string model;
  image_options sets;
  ensemble_options ensemble;
  std::size_t repeats = 1;
  report_options report;
  std::string logits;
};

// DIR/<name>/logits-000.npy, -001, ...
void save_logits(const std::string& folder, const std::string& name, std::size_t member, std::size_t examples,
                 const std::vector<float>& logits) {
  const std::filesystem::path directory = std::filesystem::path(folder) / name;
  std::filesystem::create_directories(directory);
  save_npy(directory / fmt::format("logits-{:03}.npy", member), {examples, logits.size() / examples}, logits);
}

// The spread of the last S of every system over independent ensembles.
std::string spread_over_repeats(const evaluation& result, std::size_t members) {
  std::map<std::string, std::vector<double>> losses;
  for (const evaluation_row& row : result.rows) {
    if (row.method == "bsr" && row.members == members) {
      losses[row.system].push_back(row.scores.nll);
    }
  }
  std::string text;
  for (const auto& [system, values] : losses) {
    const double centre = mean(values);
    double squares = 0.0;
    for (const double value : values) {
      squares += (value - centre) * (value - centre);
    }
    text += fmt::format("{}, {} ensembles of {}: NLL {:.4f}, standard deviation over draws {:.4f}\n", system,
                        values.size(), members, centre, std::sqrt(squares / static_cast<double>(values.size() - 1)));
  }
  return text;
}

void run(const options& chosen) {
  const auto started = std::chrono::steady_clock::now();
  if (chosen.repeats == 0) {
    throw bad_input(mismatch_message("--repeats", "at least 1", "0"));
  }
  const ensemble_options& wanted = chosen.ensemble;
  const ensemble_plan plan = plan_of(wanted);
  const engine_choice& engine = plan.engine;
  report_files files(chosen.report);
  if (!chosen.logits.empty()) {
    std::filesystem::create_directories(chosen.logits);
    if (!std::filesystem::is_empty(chosen.logits)) {
      throw bad_input(
          mismatch_message(chosen.logits, "a new or empty folder", "files, which may be another ensemble's"));
    }
  }

  const checkpoint weights = load_safetensors(chosen.model);
  plan.expect_tensors(weights);
  check_finite_weights(weights);
  evaluator over(chosen.sets, wanted.threads);
  over.check(weights);
  const std::size_t single_models = 1 + (wanted.bfloat16 ? 1 : 0) + plan.ensembles.size();
  progress shown((single_models + plan.ensembles.size() * chosen.repeats * wanted.members) * over.images_per_member(),
                 "images");
  over.show(shown);

  evaluation result;
  result.model = std::filesystem::path(chosen.model).filename().string();
  result.parameters = parameters_of(weights);
  result.examples = over.test().labels.size();
  result.range = plan.range;
  result.engine = wanted.engine;
  result.activations = wanted.activations;
  std::vector<float> logits;
  std::vector<float>* keep = chosen.logits.empty() ? nullptr : &logits;

  shown.describe("full precision");
  evaluator::both full = over.empty_scores();
  over.add(weights, full, keep);
  if (keep != nullptr) {
    save_npy(std::filesystem::path(chosen.logits) / "labels.npy", {result.examples},
             std::span<const std::int32_t>(over.test().labels));
    save_logits(chosen.logits, "full-precision", 0, result.examples, logits);
  }
  const auto scored = [&](const evaluator::both& ensemble, bool is_reference) {
    return score(ensemble.test, ensemble.calibration ? &*ensemble.calibration : nullptr,
                 is_reference ? nullptr : &full.test, is_reference ? nullptr : &*result.full_precision);
  };
  result.full_precision = scored(full, true);
  std::vector<reliability_curve> reliability{{"full precision", reliability_bins(full.test.judged_confidences())}};

  if (wanted.bfloat16) {
    shown.describe("bfloat16");
    evaluator::both narrow = over.empty_scores();
    const checkpoint rounded = converted(weights, dtype::bf16);
    over.add(rounded, narrow, keep);
    result.rows.push_back({"bfloat16", 16, "rtn", "", "", "bfloat16", wanted.seed, true, 1,
                           ensemble_budget{1, 16.0, bytes_of(rounded)}, scored(narrow, false)});
    if (keep != nullptr) {
      save_logits(chosen.logits, "bfloat16-rtn", 0, result.examples, logits);
    }
  }
  std::string saturated;
  for (const planned_ensemble& current : plan.ensembles) {
    const auto add_row = [&](const char* method, storage_form form, const evaluator::both& ensemble,
                             const rounded_members& members, std::size_t count, std::uint64_t seed, bool complete) {
      result.rows.push_back({current.system, current.bits, method, current.granularity,
                             method == std::string("rtn") ? "" : plan.coupling.name(), name_of(form), seed, complete,
                             count, storage_budget(members.packed_storage(), form, count), scored(ensemble, false)});
    };
    // Runs `count` members over the images and calls added(k) after each: one checkpoint after the other, or all of
    // them as they are stored.
    const auto run_members = [&](const rounded_members& members, storage_form form, std::size_t count,
                                 evaluator::both& ensemble, std::vector<float>* kept, const auto& added) {
      if (!engine.is_stored) {
        for (std::size_t k = 0; k < count; ++k) {
          shown.describe(fmt::format("{}, member {} of {}", current.system, k + 1, count));
          over.add(members[k], ensemble, kept);
          added(k);
        }
        return;
      }
      shown.describe(fmt::format("{}, {} members at once", current.system, count));
      const vit<any_matrix> network = stored_vit(members, form, 0, count, engine.activations, over.network_options());
      over.add_all(network, ensemble, kept, added);
      const std::size_t tokens = network.batch() * network.configuration().tokens();
      result.activation_bytes =
          std::max(result.activation_bytes, activation_bytes(count, tokens, network.activation_width()));
      result.resident_bytes = std::max(result.resident_bytes, resident_bytes().value_or(0));
    };
    const rounded_members rtn(weights, current.decide, nearest{}, wanted.threads);
    saturated += saturation_note(current.system, rtn.packed_storage());
    evaluator::both to_nearest = over.empty_scores();
    run_members(rtn, storage_form::packed, 1, to_nearest, keep,
                [&](std::size_t) { add_row("rtn", storage_form::packed, to_nearest, rtn, 1, wanted.seed, true); });
    if (keep != nullptr) {
      save_logits(chosen.logits, current.system + "-rtn", 0, result.examples, logits);
    }
    for (std::size_t repeat = 0; repeat < chosen.repeats; ++repeat) {
      const std::uint64_t seed = wanted.seed + repeat;
      const rounded_members bsr(weights, current.decide, bernoulli{.seed = seed, .coupling = plan.coupling},
                                wanted.threads);
      evaluator::both ensemble = over.empty_scores();
      std::vector<float>* kept = repeat == 0 ? keep : nullptr;
      run_members(bsr, engine.form, wanted.members, ensemble, kept, [&](std::size_t k) {
        add_row("bsr", engine.form, ensemble, bsr, k + 1, seed, plan.is_complete(k + 1));
        result.rows.back().scores.rtn_nll_difference = ensemble.test.nll_difference(to_nearest.test);
        if (kept != nullptr) {
          save_logits(chosen.logits, current.system + "-bsr", k, result.examples, logits);
        }
      });
      if (repeat == 0) {
        reliability.emplace_back(fmt::format("{} LPE-BSR, S = {}", current.system, wanted.members),
                                 reliability_bins(ensemble.test.judged_confidences()));
      }
    }
  }
  shown.clear();

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  fmt::print("{}: {} parameters, {} images{}\n\n{}", result.model, result.parameters, result.examples,
             chosen.sets.calibration_images.empty()
                 ? std::string()
                 : fmt::format(", temperatures fitted on {} others", over.images_per_member() - result.examples),
             to_table(result));
  fmt::print("{}{}", coupling_note(plan), saturated);
  if (engine.is_stored) {
    fmt::print("engine {}, activations {}: {:.2f} MiB of activations per thread, {:.1f} MiB resident in all\n",
               wanted.engine, wanted.activations, static_cast<double>(result.activation_bytes) / 1048576.0,
               static_cast<double>(result.resident_bytes) / 1048576.0);
  }
  if (chosen.repeats > 1) {
    fmt::print("{}", spread_over_repeats(result, wanted.members));
  }
  if (!std::isfinite(result.full_precision->nll)) {
    fmt::print(stderr, "the checkpoint gives label {} probability zero\n",
               *first_infinite(full.test.nll_per_example()) + chosen.sets.first);
  }
  fmt::print("{:.1f} s\n", seconds);
  const nlohmann::ordered_json report = to_json(result);
  files.write(report, report, result, reliability);
}

}  // namespace

int main(int argument_count, char** arguments) {
  options chosen;
  command_line app("Turns one Vision Transformer into an ensemble of low-precision members, and scores it.\n");
  app.add_option("--model", chosen.model, "checkpoint with timm's names, one input channel, .safetensors").required();
  add_options(app, chosen.sets);
  add_options(app, chosen.ensemble);
  app.add_option("--repeats", chosen.repeats, "independent ensembles of each width; number r uses the seed + r");
  add_options(app, chosen.report);
  app.add_option("--logits", chosen.logits, "write every member's logits to this folder, .npy");
  return app.run(argument_count, arguments, "evaluate_vit", [&] { run(chosen); });
}
