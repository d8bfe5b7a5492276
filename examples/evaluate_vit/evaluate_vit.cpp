// SPDX-License-Identifier: MIT
// The main job: one Vision Transformer becomes an ensemble of low-precision members, scored beside the checkpoint it
// came from, the checkpoint with a fitted temperature, and rounding to nearest. See --help.

#include <pluria/pluria.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "../common/ensemble_options.hpp"
#include "../common/evaluation.hpp"
#include "../common/main.hpp"
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
  std::string images = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz";
  std::string labels = "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz";
  std::size_t first = 0;
  std::size_t limit = 0;  // 0: all
  std::string calibration_images;
  std::string calibration_labels;
  std::size_t calibration_first = 0;
  std::size_t calibration_limit = 0;
  ensemble_options ensemble;
  std::size_t repeats = 1;
  std::size_t heads = 0;
  std::string mean;
  std::string std;
  report_options report;
  std::string logits;
};

// Images with their labels.
struct labelled_images {
  idx_array images;
  std::vector<std::int32_t> labels;
  std::size_t first = 0;
  std::string label_file;

  image_view view() const {
    const std::size_t height = images.shape[1];
    const std::size_t width = images.shape[2];
    return {images.values, labels.size(), 1, height, width};
  }
};

labelled_images load_images(const std::string& image_file, const std::string& label_file, std::size_t first,
                            std::size_t limit) {
  labelled_images result{load_idx(image_file), {}, first, label_file};
  const idx_array labels = load_idx(label_file);
  if (result.images.shape.size() != 3) {
    throw bad_input(
        mismatch_message(image_file, "3 dimensions: images, height, width", to_string(result.images.shape)));
  }
  const std::size_t count = result.images.shape[0];
  if (labels.shape != tensor_shape{count}) {
    throw bad_input(mismatch_message(label_file,
                                     "one label for each of the " + std::to_string(count) + " images of " + image_file,
                                     "shape " + to_string(labels.shape)));
  }
  if (first >= count || limit > count - first) {
    throw bad_input(mismatch_message(image_file,
                                     "at least " + std::to_string(first + std::max<std::size_t>(limit, 1)) + " images",
                                     std::to_string(count)));
  }
  const std::size_t last = limit == 0 ? count : first + limit;
  // Only what is used stays in memory.
  const std::size_t pixels = result.images.shape[1] * result.images.shape[2];
  result.images.values =
      std::vector<std::uint8_t>(result.images.values.begin() + static_cast<std::ptrdiff_t>(first * pixels),
                                result.images.values.begin() + static_cast<std::ptrdiff_t>(last * pixels));
  result.labels.assign(labels.values.begin() + static_cast<std::ptrdiff_t>(first),
                       labels.values.begin() + static_cast<std::ptrdiff_t>(last));
  return result;
}

// The sets that every ensemble is scored on, and how to run a network over them.
class evaluator {
 public:
  evaluator(const options& chosen, labelled_images test, std::optional<labelled_images> calibration, progress& shown)
      : test_(std::move(test)),
        calibration_(std::move(calibration)),
        threads_(chosen.ensemble.threads),
        shown_(&shown) {
    network_.heads = chosen.heads == 0 ? std::nullopt : std::optional(chosen.heads);
    network_.mean = chosen.mean.empty() ? std::vector<float>{} : parse_floats(chosen.mean, "--mean");
    network_.std = chosen.std.empty() ? std::vector<float>{} : parse_floats(chosen.std, "--std");
  }

  struct both {
    scores test;
    std::optional<scores> calibration;
  };

  const labelled_images& test() const { return test_; }

  // Throws bad_input where the network does not fit the images or labels.
  void check(const checkpoint& weights) {
    const vit_configuration network = read_vit_configuration(weights, network_);
    classes_ = network.classes;
    for (const labelled_images* set : {&test_, calibration_ ? &*calibration_ : nullptr}) {
      if (set == nullptr) {
        continue;
      }
      const image_view view = set->view();
      const std::size_t patch = network.patch;
      if (network.channels != view.channels || view.height % patch != 0 || view.width % patch != 0 ||
          (view.height / patch) * (view.width / patch) != network.patches) {
        throw bad_input(mismatch_message(
            weights.file() + ": input",
            fmt::format("{} channel images of {} x {} pixels", view.channels, view.height, view.width),
            fmt::format("{} channels, {} patches of {} x {} pixels", network.channels, network.patches, patch, patch)));
      }
      try {
        check_labels(set->labels, classes_);
      } catch (const bad_input& error) {
        throw bad_input(set->label_file + ", from image " + std::to_string(set->first) + " on: " + error.what() + " (" +
                        weights.file() + " has " + std::to_string(classes_) + " classes)");
      }
    }
  }

  both empty_scores() const {
    return {scores(test_.labels, classes_),
            calibration_ ? std::optional<scores>(std::in_place, calibration_->labels, classes_) : std::nullopt};
  }

  // Runs one member over both sets; `keep`, where given, gets the test logits, [N, C].
  void add(checkpoint member, both& result, std::vector<float>* keep = nullptr) const {
    const vit<dense_matrix> network = load_vit(member, network_);
    member = checkpoint();  // the network holds what it needs
    add(network, test_, result.test, keep);
    if (calibration_) {
      add(network, *calibration_, *result.calibration, nullptr);
    }
  }

  // Runs all members of a stored network over both sets, each layer once for all of them; then adds member after member
  // and calls added(k). Holds their logits meanwhile.
  template <class Added>
  void add_all(const vit<any_matrix>& network, both& result, std::vector<float>* keep, Added&& added) const {
    const std::vector<float> of_test = all_logits(network, test_);
    const std::vector<float> of_calibration = calibration_ ? all_logits(network, *calibration_) : std::vector<float>{};
    const auto member = [&](const std::vector<float>& logits, std::size_t k) {
      const std::size_t size = logits.size() / network.members();
      return std::span<const float>(logits).subspan(k * size, size);
    };
    for (std::size_t k = 0; k < network.members(); ++k) {
      result.test.add(member(of_test, k));
      if (calibration_) {
        result.calibration->add(member(of_calibration, k));
      }
      if (keep != nullptr) {
        keep->assign(member(of_test, k).begin(), member(of_test, k).end());
      }
      added(k);
    }
  }

  const vit_options& network_options() const { return network_; }

  // Images that one member runs over.
  std::size_t images_per_member() const {
    return test_.labels.size() + (calibration_ ? calibration_->labels.size() : 0);
  }

 private:
  // Batch by batch, so that a member's logits are never held as a whole unless they are to be kept.
  void add(const vit<dense_matrix>& network, const labelled_images& set, scores& target,
           std::vector<float>* keep) const {
    const image_view images = set.view();
    const std::size_t at_once = 8 * network.batch();
    if (keep != nullptr) {
      keep->resize(images.count * classes_);
    }
    parallel_for((images.count + at_once - 1) / at_once, threads_, [&](std::size_t index) {
      const std::size_t first = index * at_once;
      const std::size_t count = std::min(at_once, images.count - first);
      const row_major_matrix logits = network.logits(images.part(first, count), 1);
      target.add(first, logits);
      if (keep != nullptr) {
        std::copy_n(logits.data(), logits.size(), keep->begin() + static_cast<std::ptrdiff_t>(first * classes_));
      }
      shown_->advance(count);
    });
  }

  // [member][image][class]
  std::vector<float> all_logits(const vit<any_matrix>& network, const labelled_images& set) const {
    const image_view images = set.view();
    const std::size_t at_once = network.batch();
    std::vector<float> all(network.members() * images.count * classes_);
    parallel_for((images.count + at_once - 1) / at_once, threads_, [&](std::size_t index) {
      const std::size_t first = index * at_once;
      const std::size_t count = std::min(at_once, images.count - first);
      const row_major_matrix logits = network.logits(images.part(first, count), 1);
      for (std::size_t m = 0; m < network.members(); ++m) {
        std::copy_n(logits.data() + m * count * classes_, count * classes_,
                    all.begin() + static_cast<std::ptrdiff_t>((m * images.count + first) * classes_));
      }
      shown_->advance(count * network.members());
    });
    return all;
  }

  labelled_images test_;
  std::optional<labelled_images> calibration_;
  vit_options network_;
  std::size_t classes_ = 0;
  int threads_;
  progress* shown_;
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
  if (chosen.calibration_images.empty() != chosen.calibration_labels.empty()) {
    throw bad_input("--calibration-images and --calibration-labels: expected both or none");
  }
  if (chosen.calibration_images.empty() && (chosen.calibration_first != 0 || chosen.calibration_limit != 0)) {
    throw bad_input("--calibration-first and --calibration-limit: expected with --calibration-images only");
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
  check_finite_weights(weights);
  labelled_images test = load_images(chosen.images, chosen.labels, chosen.first, chosen.limit);
  std::optional<labelled_images> calibration;
  if (!chosen.calibration_images.empty()) {
    calibration = load_images(chosen.calibration_images, chosen.calibration_labels, chosen.calibration_first,
                              chosen.calibration_limit);
  }

  const std::size_t images = test.labels.size() + (calibration ? calibration->labels.size() : 0);
  const std::size_t single_models = 1 + (wanted.bfloat16 ? 1 : 0) + plan.quantizers.size();
  progress shown((single_models + plan.quantizers.size() * chosen.repeats * wanted.members) * images, "images");
  Eigen::setNbThreads(1);  // the batches are spread over the threads
  evaluator over(chosen, std::move(test), std::move(calibration), shown);
  over.check(weights);

  evaluation result;
  result.model = std::filesystem::path(chosen.model).filename().string();
  result.parameters = parameters_of(weights);
  result.examples = over.test().labels.size();
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
  for (const any_quantizer& current : plan.quantizers) {
    const auto add_row = [&](const char* method, storage_form form, const evaluator::both& ensemble,
                             const rounded_members& members, std::size_t count, std::uint64_t seed, bool complete) {
      result.rows.push_back({current.system(), current.bits(), method, wanted.granularity,
                             method == std::string("rtn") ? "" : plan.coupling.name(), name_of(form), seed, complete,
                             count, storage_budget(members.packed_storage(), form, count), scored(ensemble, false)});
    };
    // Runs `count` members over the images and calls added(k) after each: one checkpoint after the other, or all of
    // them as they are stored.
    const auto run_members = [&](const rounded_members& members, storage_form form, std::size_t count,
                                 evaluator::both& ensemble, std::vector<float>* kept, const auto& added) {
      if (!engine.is_stored) {
        for (std::size_t k = 0; k < count; ++k) {
          shown.describe(fmt::format("{}, member {} of {}", current.system(), k + 1, count));
          over.add(members[k], ensemble, kept);
          added(k);
        }
        return;
      }
      shown.describe(fmt::format("{}, {} members at once", current.system(), count));
      const vit<any_matrix> network = stored_vit(members, form, 0, count, engine.activations, over.network_options());
      over.add_all(network, ensemble, kept, added);
      const std::size_t tokens = network.batch() * network.configuration().tokens();
      result.activation_bytes =
          std::max(result.activation_bytes, activation_bytes(count, tokens, network.activation_width()));
      result.resident_bytes = std::max(result.resident_bytes, resident_bytes().value_or(0));
    };
    const rounded_members rtn(weights, current, nearest{}, wanted.threads);
    evaluator::both to_nearest = over.empty_scores();
    run_members(rtn, storage_form::packed, 1, to_nearest, keep,
                [&](std::size_t) { add_row("rtn", storage_form::packed, to_nearest, rtn, 1, wanted.seed, true); });
    if (keep != nullptr) {
      save_logits(chosen.logits, current.system() + "-rtn", 0, result.examples, logits);
    }
    for (std::size_t repeat = 0; repeat < chosen.repeats; ++repeat) {
      const std::uint64_t seed = wanted.seed + repeat;
      const rounded_members bsr(weights, current, bernoulli{.seed = seed, .coupling = plan.coupling}, wanted.threads);
      evaluator::both ensemble = over.empty_scores();
      std::vector<float>* kept = repeat == 0 ? keep : nullptr;
      run_members(bsr, engine.form, wanted.members, ensemble, kept, [&](std::size_t k) {
        add_row("bsr", engine.form, ensemble, bsr, k + 1, seed, plan.is_complete(k + 1));
        result.rows.back().scores.rtn_nll_difference = ensemble.test.nll_difference(to_nearest.test);
        if (kept != nullptr) {
          save_logits(chosen.logits, current.system() + "-bsr", k, result.examples, logits);
        }
      });
      if (repeat == 0) {
        reliability.emplace_back(fmt::format("{} LPE-BSR, S = {}", current.system(), wanted.members),
                                 reliability_bins(ensemble.test.judged_confidences()));
      }
    }
  }
  shown.clear();

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  fmt::print("{}: {} parameters, {} images{}\n\n{}", result.model, result.parameters, result.examples,
             chosen.calibration_images.empty()
                 ? std::string()
                 : fmt::format(", temperatures fitted on {} others", over.images_per_member() - result.examples),
             to_table(result));
  fmt::print("{}", coupling_note(plan));
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
               *first_infinite(full.test.nll_per_example()) + chosen.first);
  }
  fmt::print("{:.1f} s\n", seconds);
  const nlohmann::ordered_json report = to_json(result);
  files.write(report, report, result, reliability);
}

}  // namespace

int main(int argument_count, char** arguments) {
  options chosen;
  CLI::App app("Turns one Vision Transformer into an ensemble of low-precision members, and scores it.\n");
  app.option_defaults()->always_capture_default();
  app.add_option("--model", chosen.model, "checkpoint with timm's names, one input channel, .safetensors")->required();
  app.add_option("--images", chosen.images, "test images, idx or idx.gz");
  app.add_option("--labels", chosen.labels, "their labels, idx or idx.gz");
  app.add_option("--first", chosen.first, "the first image to use");
  app.add_option("--limit", chosen.limit, "how many images to use; 0: all that follow");
  app.add_option("--calibration-images", chosen.calibration_images, "images that temperatures are fitted on");
  app.add_option("--calibration-labels", chosen.calibration_labels, "their labels");
  app.add_option("--calibration-first", chosen.calibration_first, "the first of them to use");
  app.add_option("--calibration-limit", chosen.calibration_limit, "how many of them; 0: all that follow");
  add_options(app, chosen.ensemble);
  app.add_option("--repeats", chosen.repeats, "independent ensembles of each width; number r uses the seed + r");
  app.add_option("--heads", chosen.heads, "attention heads; 0: from the metadata, else width / 64");
  app.add_option("--mean", chosen.mean, "of pixels in 0..1, comma-separated per channel; else from the metadata");
  app.add_option("--std", chosen.std, "of pixels, likewise");
  add_options(app, chosen.report);
  app.add_option("--logits", chosen.logits, "write every member's logits to this folder, .npy");
  return run_main(app, argument_count, arguments, "evaluate_vit", [&] { run(chosen); });
}
