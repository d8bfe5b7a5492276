// SPDX-License-Identifier: MIT
// Predictions of members that were run elsewhere become an ensemble's predictive distribution and its scores, in one
// pass over files of any size. See --help.

#include <pluria/calibrate/temperature.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/ensemble/streaming_scores.hpp>
#include <pluria/io/replaced_file.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../common/evaluation.hpp"
#include "../common/main.hpp"
#include "../common/memory.hpp"
#include "../common/plots.hpp"
#include "../common/progress.hpp"
#include "files.hpp"
#include "predictions.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

struct options {
  std::vector<std::string> members;
  std::vector<std::string> kld;
  std::string labels;
  bool probabilities = false;
  std::string reference;
  std::vector<std::string> calibration_members;
  std::string calibration_labels;
  std::string calibration_reference;
  std::string groups;
  std::optional<std::int64_t> ignore_index;
  std::size_t bins = default_calibration_bins;
  std::optional<double> epsilon;
  std::string json;
  std::string csv;
  std::string plots;
  int threads = 0;
};

// Members, and the model that they came from, over the same examples.
struct prediction_set {
  std::vector<prediction_file> members;
  std::vector<prediction_file> reference;  // one or none
  labelled_rows scored;
  std::string label_file;

  const prediction_file& first() const { return members.front(); }
};

prediction_set open_set(const std::vector<std::string>& patterns, const std::string& option,
                        const std::string& reference, const std::string& labels, const options& chosen) {
  const prediction_kind kind = !chosen.kld.empty()    ? prediction_kind::kld
                               : chosen.probabilities ? prediction_kind::probabilities
                                                      : prediction_kind::logits;
  prediction_set set;
  for (const std::string& file : matching_files(patterns, option)) {
    set.members.emplace_back(file, kind, "member " + std::to_string(set.members.size()));
    check_same_table(set.members.back(), set.first());
  }
  if (!reference.empty()) {
    set.reference.emplace_back(reference, kind, "the reference");
    check_same_table(set.reference.front(), set.first());
  }
  std::vector<std::int64_t> all;
  if (const kld_predictions* saved = set.first().saved()) {
    set.label_file = set.first().file();
    const std::vector<std::int32_t> tokens = saved->labels();
    all.assign(tokens.begin(), tokens.end());
  } else {
    set.label_file = labels;
    all = load_integers(labels, set.first().examples(), "labels");
  }
  set.scored = scored_rows(all, set.first().classes(), chosen.ignore_index, set.label_file);
  return set;
}

// Numbers of the groups of the scored examples, by first appearance; none where examples are independent.
std::vector<std::int32_t> groups_of(const prediction_set& set, const options& chosen) {
  std::vector<std::int64_t> all;
  if (!chosen.groups.empty()) {
    all = load_integers(chosen.groups, set.first().examples(), "group numbers");
  } else if (const kld_predictions* saved = set.first().saved()) {
    const std::vector<std::int32_t> contexts = saved->groups();
    all.assign(contexts.begin(), contexts.end());
  } else {
    return {};
  }
  std::unordered_map<std::int64_t, std::int32_t> numbers;
  std::vector<std::int32_t> groups;
  for (const std::size_t row : set.scored.rows) {
    groups.push_back(numbers.try_emplace(all[row], static_cast<std::int32_t>(numbers.size())).first->second);
  }
  return groups;
}

// Room for one row of a file, reused from row to row.
class row_reader {
 public:
  explicit row_reader(std::size_t classes) : log_probabilities_(classes) {}

  std::span<const double> read(const prediction_file& file, std::size_t row) {
    log_sum_ = file.read(row, floats_, log_probabilities_);
    return log_probabilities_;
  }

  // Of the row that was read last, before it was normalized.
  double log_sum() const { return log_sum_; }

 private:
  std::vector<float> floats_;
  std::vector<double> log_probabilities_;
  double log_sum_ = 0.0;
};

// One pass over files in blocks of rows, all files of a block together.
class block_pass {
 public:
  block_pass(std::span<const prediction_file> files, const labelled_rows& scored) : files_(files), scored_(&scored) {
    // A megabyte of every file is at once in memory, and a row at least. The division must not depend on the number of
    // threads: sums over blocks are merged in their order.
    constexpr std::size_t bytes = 1U << 20;
    constexpr std::size_t most_rows = 4096;
    block_rows_ = std::clamp<std::size_t>(bytes / std::max<std::size_t>(files[0].row_bytes(), 1), 1, most_rows);
  }

  std::size_t blocks() const { return (scored_->rows.size() + block_rows_ - 1) / block_rows_; }

  // Calls work(block, first, last) for scored examples first..last - 1 of every block.
  template <class Work>
  void run(const std::string& what, int threads, const Work& work) const {
    progress shown(scored_->rows.size() * files_.size(), "rows");
    shown.describe(what);
    parallel_for(blocks(), threads, [&](std::size_t block) {
      const std::size_t first = block * block_rows_;
      const std::size_t last = std::min(first + block_rows_, scored_->rows.size());
      work(block, first, last);
      for (const prediction_file& file : files_) {
        file.release(scored_->rows[first], scored_->rows[last - 1]);
      }
      shown.advance((last - first) * files_.size());
    });
  }

 private:
  std::span<const prediction_file> files_;
  const labelled_rows* scored_;
  std::size_t block_rows_ = 1;
};

// One temperature for each of the ensembles of the first 1, 2, ..., S files. Every pass over the files takes a step of
// all searches that have not ended: 4 to 6 passes, since Newton's steps square the error.
std::vector<double> fit_temperatures(std::span<const prediction_file> files, const prediction_set& set,
                                     const options& chosen, const std::string& what) {
  constexpr double tolerance = 1e-6;  // relative; the temperature itself is known to some 1e-2
  std::vector<temperature_search> searches(files.size(), temperature_search(tolerance));
  const std::size_t classes = set.first().classes();
  for (int number = 1;; ++number) {
    std::size_t used = 0;
    std::vector<std::size_t> places;  // of each search's results among all
    std::size_t results = 0;
    for (std::size_t k = 0; k < files.size(); ++k) {
      places.push_back(results);
      results += searches[k].betas().size();
      used = searches[k].done() ? used : k + 1;
    }
    if (used == 0) {
      break;
    }
    const block_pass pass(files.first(used), set.scored);
    std::vector<std::vector<slope_and_curvature>> of_blocks(pass.blocks());
    pass.run(fmt::format("temperature of {}, pass {}", what, number), chosen.threads,
             [&](std::size_t block, std::size_t first, std::size_t last) {
               row_reader reader(classes);
               running_mean ensemble(classes);
               std::vector<slope_and_curvature> sums(results);
               for (std::size_t i = first; i < last; ++i) {
                 const std::size_t row = set.scored.rows[i];
                 const auto label = static_cast<std::size_t>(set.scored.labels[i]);
                 ensemble.clear();
                 for (std::size_t k = 0; k < used; ++k) {
                   const std::span<const double> mean = ensemble.add(reader.read(files[k], row));
                   if (searches[k].done()) {
                     continue;
                   }
                   if (std::isinf(mean[label])) {
                     // The floor is its likelihood for every temperature.
                     if (chosen.epsilon) {
                       continue;
                     }
                     try {
                       check_label_probability(mean, label, row);
                     } catch (const bad_input& error) {
                       throw bad_input(fmt::format("{}: {} (the mean of the first {} files; --epsilon leaves it out)",
                                                   files[k].file(), error.what(), k + 1));
                     }
                   }
                   for (std::size_t j = 0; j < searches[k].betas().size(); ++j) {
                     sums[places[k] + j] += nll_derivatives(mean, label, searches[k].betas()[j]);
                   }
                 }
               }
               of_blocks[block] = std::move(sums);
             });
    std::vector<slope_and_curvature> sums(results);
    for (const std::vector<slope_and_curvature>& part : of_blocks) {
      for (std::size_t j = 0; j < results; ++j) {
        sums[j] += part[j];
      }
    }
    for (std::size_t k = 0; k < files.size(); ++k) {
      if (!searches[k].done()) {
        searches[k].add(std::span(sums).subspan(places[k], searches[k].betas().size()));
      }
    }
  }
  std::vector<double> temperatures;
  for (const temperature_search& search : searches) {
    temperatures.push_back(search.temperature());
  }
  return temperatures;
}

// What is left of predictions after the pass over them.
struct scored_ensemble {
  streaming_scores scores;
  std::vector<double> temperatures;      // of the first 1, 2, ..., S members, or none
  std::vector<example_scores> tempered;  // likewise
  double mean_log_sum = 0.0;             // of the first member's rows, before they were normalized
};

scored_ensemble score_files(std::span<const prediction_file> files, const prediction_set& set,
                            std::vector<double> temperatures, const options& chosen, const std::string& what) {
  const double floor = chosen.epsilon ? std::log(*chosen.epsilon) : streaming_scores::no_floor;
  const std::size_t examples = set.scored.rows.size();
  const std::size_t classes = set.first().classes();
  scored_ensemble result{streaming_scores(set.scored.labels, files.size(), floor), std::move(temperatures), {}, 0.0};
  result.tempered.assign(result.temperatures.size(), example_scores(examples));
  const block_pass pass(files, set.scored);
  std::vector<double> log_sums(examples);
  pass.run(what, chosen.threads, [&](std::size_t, std::size_t first, std::size_t last) {
    row_reader reader(classes);
    running_mean ensemble(classes);
    std::vector<double> scaled(classes);
    for (std::size_t i = first; i < last; ++i) {
      const auto label = static_cast<std::size_t>(set.scored.labels[i]);
      result.scores.add(
          i, ensemble,
          [&](std::size_t k) {
            const std::span<const double> row = reader.read(files[k], set.scored.rows[i]);
            if (k == 0) {
              log_sums[i] = reader.log_sum();
            }
            return row;
          },
          [&](std::size_t count, std::span<const double> mean) {
            if (!result.temperatures.empty()) {
              apply_temperature(mean, result.temperatures[count - 1], scaled);
              result.tempered[count - 1].set(i, scaled, label, std::max(scaled[label], floor));
            }
          });
    }
  });
  result.mean_log_sum = mean(log_sums);
  return result;
}

mean_and_error difference(std::span<const double> a, std::span<const double> b, std::span<const std::int32_t> groups) {
  return groups.empty() ? paired_difference(a, b) : paired_difference(a, b, groups);
}

// The figures of the ensemble of the first `count` members.
score_row row_of(const scored_ensemble& ensemble, std::size_t count, const scored_ensemble* reference,
                 std::span<const std::int32_t> groups, std::size_t bins) {
  const example_scores& examples = ensemble.scores.ensemble(count);
  score_row row = figures_of(examples, bins);
  row.ambiguity = ensemble.scores.ambiguity(count);
  row.mean_member_nll = ensemble.scores.mean_member_nll(count);
  row.mean_member_err = ensemble.scores.mean_member_err(count);
  if (reference != nullptr) {
    row.nll_difference = difference(examples.nll, reference->scores.ensemble(1).nll, groups);
  }
  if (!ensemble.tempered.empty()) {
    const example_scores& tempered = ensemble.tempered[count - 1];
    row.calibrated = calibrated_figures_of(ensemble.temperatures[count - 1], tempered, bins);
    if (reference != nullptr && !reference->tempered.empty()) {
      row.calibrated_nll_difference = difference(tempered.nll, reference->tempered[0].nll, groups);
    }
  }
  return row;
}

// Says which example made an NLL infinite.
void report_zeros(const prediction_set& set, const scored_ensemble& ensemble, const scored_ensemble* reference) {
  const auto row_of_zero = [&](std::span<const double> nll) {
    const std::optional<std::size_t> found = first_infinite(nll);
    return found ? std::optional(set.scored.rows[*found]) : std::nullopt;
  };
  if (reference != nullptr) {
    if (const auto row = row_of_zero(reference->scores.ensemble(1).nll)) {
      fmt::print(stderr, "{}: the label of example {} has probability zero: NLL is infinite (--epsilon floors it)\n",
                 set.reference.front().file(), *row);
    }
  }
  for (std::size_t k = 0; k < set.members.size(); ++k) {
    if (const auto row = row_of_zero(ensemble.scores.member_nll_per_example(k))) {
      fmt::print(stderr,
                 "{}: the label of example {} has probability zero: the mean NLL of members and ambiguity are infinite "
                 "from S = {} on (--epsilon floors it)\n",
                 set.members[k].file(), *row, k + 1);
      break;
    }
  }
  // A mean is zero only where all members before it are.
  for (std::size_t count = set.members.size(); count > 0; --count) {
    if (const auto row = row_of_zero(ensemble.scores.ensemble(count).nll)) {
      fmt::print(stderr,
                 "all of the first {} members give the label of example {} probability zero: NLL is infinite up to "
                 "S = {} (--epsilon floors it)\n",
                 count, *row, count);
      break;
    }
  }
}

// Where files of several folders have the same name, the folders are said, too.
std::string names_in_order(const std::vector<prediction_file>& files) {
  constexpr std::size_t most = 8;
  std::vector<std::string> names;
  for (const prediction_file& file : files) {
    names.push_back(std::filesystem::path(file.file()).filename().string());
  }
  if (std::set<std::string>(names.begin(), names.end()).size() < names.size()) {
    std::transform(files.begin(), files.end(), names.begin(), [](const prediction_file& file) { return file.file(); });
  }
  if (names.size() > most) {
    names.erase(names.begin() + most - 2, names.end() - 1);
    names.insert(names.end() - 1, "...");
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

nlohmann::ordered_json names_of(const std::vector<prediction_file>& files) {
  nlohmann::ordered_json names = nlohmann::ordered_json::array();
  for (const prediction_file& file : files) {
    names.push_back(file.file());
  }
  return names;
}

void check_options(const options& chosen) {
  if (chosen.members.empty() == chosen.kld.empty()) {
    throw bad_input("--members and --kld: expected one of them");
  }
  if (chosen.kld.empty() == chosen.labels.empty()) {
    throw bad_input("--labels: expected with --members, and not with --kld, whose tokens are the labels");
  }
  if (!chosen.kld.empty() && chosen.probabilities) {
    throw bad_input("--probabilities: expected with --members only");
  }
  if (chosen.calibration_members.empty() &&
      !(chosen.calibration_labels.empty() && chosen.calibration_reference.empty())) {
    throw bad_input("--calibration-labels and --calibration-reference: expected with --calibration-members only");
  }
  if (!chosen.calibration_members.empty() && chosen.kld.empty() == chosen.calibration_labels.empty()) {
    throw bad_input("--calibration-labels: expected with --calibration-members, and not with --kld");
  }
  if (!chosen.calibration_reference.empty() && chosen.reference.empty()) {
    throw bad_input("--calibration-reference: expected with --reference only");
  }
  if (chosen.bins == 0 || chosen.bins > 1'000'000) {
    throw bad_input(mismatch_message("--bins", "1..1000000", std::to_string(chosen.bins)));
  }
  if (chosen.epsilon && !(*chosen.epsilon > 0.0 && *chosen.epsilon < 1.0)) {
    throw bad_input(mismatch_message("--epsilon", "a probability between 0 and 1", std::to_string(*chosen.epsilon)));
  }
}

void run(const options& chosen) {
  const auto started = std::chrono::steady_clock::now();
  check_options(chosen);

  // Whatever cannot be written is found before the work, not after it.
  const auto output = [](const std::string& file) {
    return file.empty() ? std::nullopt : std::optional<replaced_file>(std::in_place, file);
  };
  std::optional<replaced_file> csv = output(chosen.csv);
  std::optional<replaced_file> json = output(chosen.json);
  if (!chosen.plots.empty()) {
    std::filesystem::create_directories(chosen.plots);
  }

  const bool is_kld = !chosen.kld.empty();
  const prediction_set test = open_set(is_kld ? chosen.kld : chosen.members, is_kld ? "--kld" : "--members",
                                       chosen.reference, chosen.labels, chosen);
  const std::vector<std::int32_t> groups = groups_of(test, chosen);
  std::optional<prediction_set> calibration;
  if (!chosen.calibration_members.empty()) {
    calibration = open_set(chosen.calibration_members, "--calibration-members", chosen.calibration_reference,
                           chosen.calibration_labels, chosen);
    if (calibration->members.size() != test.members.size()) {
      throw bad_input(mismatch_message("--calibration-members",
                                       fmt::format("{} files, one per member", test.members.size()),
                                       std::to_string(calibration->members.size())));
    }
    if (calibration->first().classes() != test.first().classes()) {
      throw bad_input(mismatch_message(calibration->first().file(), fmt::format("{} classes", test.first().classes()),
                                       std::to_string(calibration->first().classes())));
    }
  }
  if (test.first().looks_like_probabilities(test.scored.rows.front())) {
    fmt::print(stderr, "{}: row {} sums to 1 and is taken for logits: are these --probabilities?\n",
               test.first().file(), test.scored.rows.front());
  }

  std::vector<double> temperatures;
  std::vector<double> reference_temperatures;
  if (calibration) {
    temperatures = fit_temperatures(calibration->members, *calibration, chosen, "the members");
    if (!calibration->reference.empty()) {
      reference_temperatures = fit_temperatures(calibration->reference, *calibration, chosen, "the reference");
    }
  }
  std::optional<scored_ensemble> reference;
  if (!test.reference.empty()) {
    reference = score_files(test.reference, test, std::move(reference_temperatures), chosen, "reference");
  }
  const scored_ensemble* const full = reference ? &*reference : nullptr;
  const scored_ensemble ensemble = score_files(test.members, test, std::move(temperatures), chosen, "members");

  evaluation result;
  result.examples = test.scored.rows.size();
  result.example_name = is_kld ? "tokens" : "examples";
  std::vector<reliability_curve> reliability;
  if (full != nullptr) {
    result.full_precision = row_of(*full, 1, nullptr, {}, chosen.bins);
    reliability.emplace_back("full precision", reliability_bins(full->scores.ensemble(1).judgements, chosen.bins));
  }
  const std::size_t members = test.members.size();
  result.rows.resize(members);
  // Most of the time goes into the bootstrap of the ECE.
  parallel_for(members, chosen.threads, [&](std::size_t k) {
    evaluation_row& row = result.rows[k];
    row.system = "ensemble";
    row.method = "members";
    row.members = k + 1;
    row.scores = row_of(ensemble, k + 1, full, groups, chosen.bins);
  });
  reliability.emplace_back(fmt::format("ensemble, S = {}", members),
                           reliability_bins(ensemble.scores.ensemble(members).judgements, chosen.bins));
  const std::size_t group_count =
      groups.empty() ? 0 : 1 + static_cast<std::size_t>(*std::max_element(groups.begin(), groups.end()));
  result.resident_bytes = most_resident_bytes().value_or(0);

  fmt::print("{} members, {} {}, {} classes{}{}\nin this order: {}\n", members, result.examples, result.example_name,
             test.first().classes(), test.scored.ignored == 0 ? "" : fmt::format(", {} ignored", test.scored.ignored),
             calibration ? fmt::format(", temperatures fitted on {} others", calibration->scored.rows.size()) : "",
             names_in_order(test.members));
  if (const kld_predictions* saved = test.first().saved()) {
    fmt::print(
        "{} contexts of {} tokens; log-probabilities of 16 bits, within 1.3e-4 nats, at most 16 below the largest; "
        "rows are divided by their sum, which raises the NLL of {} by {:.4f} over llama-perplexity's\n",
        saved->chunks(), saved->context(), std::filesystem::path(test.first().file()).filename().string(),
        ensemble.mean_log_sum);
  }
  fmt::print("\n{}", to_table(result));
  if (group_count != 0) {
    fmt::print("errors of differences are over {} groups of {}, those of ECE over {}\n", group_count,
               result.example_name, result.example_name);
  }
  if (chosen.epsilon) {
    fmt::print("NLL: a member's probability of a label counts as at least {}\n", *chosen.epsilon);
  }
  if (full != nullptr && calibration && calibration->reference.empty()) {
    fmt::print("full precision has no temperature: --calibration-reference is missing\n");
  }
  report_zeros(test, ensemble, full);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  fmt::print("{:.1f} s, {:.0f} MiB of memory at most\n", seconds,
             static_cast<double>(result.resident_bytes) / (1 << 20));

  nlohmann::ordered_json report = to_json(result);
  report["classes"] = test.first().classes();
  report["ignored"] = test.scored.ignored;
  report["groups"] = group_count == 0 ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(group_count);
  report["bins"] = chosen.bins;
  report["epsilon"] = chosen.epsilon ? nlohmann::ordered_json(*chosen.epsilon) : nlohmann::ordered_json(nullptr);
  report["files"] = {
      {"members", names_of(test.members)},
      {"reference", names_of(test.reference)},
      {"labels", test.label_file},
      {"calibration_members", names_of(calibration ? calibration->members : std::vector<prediction_file>{})}};
  if (csv) {
    csv->write(to_csv(report));
    csv->commit();
  }
  if (json) {
    json->write(report.dump(1) + "\n");
    json->commit();
  }
  if (!chosen.plots.empty()) {
    if (draw_plots(chosen.plots, result, reliability)) {
      fmt::print("plots: {0}/curves.png, {0}/reliability.png (and .svg)\n", chosen.plots);
    } else {
      fmt::print("gnuplot is not installed (gnuplot-nox) or failed; its script is {}/plots.gnuplot\n", chosen.plots);
    }
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  options chosen;
  CLI::App app("Scores the ensemble of members whose predictions are in files, one file a member.\n");
  app.option_defaults()->always_capture_default();
  app.add_option(
         "--members", chosen.members,
         "members' logits: .npy of shape [N, C], float16, float32 or float64; files, or a quoted pattern; members "
         "are in the order of their names, numbers as numbers")
      ->default_str("");
  app.add_option("--kld", chosen.kld,
                 "instead: files of llama-perplexity --save-all-logits, whose tokens are the labels; so are then "
                 "--reference and --calibration-*; errors are over contexts")
      ->default_str("");
  app.add_option("--labels", chosen.labels, "integers of shape [N], .npy");
  app.add_flag("--probabilities", chosen.probabilities,
               "the .npy files hold probabilities, rows with a sum within 1e-4 of 1 (float16: 1e-3 + 6e-8 C)");
  app.add_option("--reference", chosen.reference, "the model that the members came from, likewise");
  app.add_option("--calibration-members", chosen.calibration_members,
                 "the same members on other examples, on which one temperature is fitted for every S")
      ->default_str("");
  app.add_option("--calibration-labels", chosen.calibration_labels, "their labels");
  app.add_option("--calibration-reference", chosen.calibration_reference, "the reference on the same examples");
  app.add_option("--groups", chosen.groups,
                 "which group every example belongs to (a token's document), integers [N], .npy: errors of differences "
                 "are then over groups");
  app.add_option("--ignore-index", chosen.ignore_index, "examples with this label are left out");
  app.add_option("--bins", chosen.bins, "of the expected calibration error");
  app.add_option("--epsilon", chosen.epsilon,
                 "what a member's probability of a label counts as at least in NLL, where zero is infinite otherwise");
  app.add_option("--threads", chosen.threads, "0: all cores")->check(CLI::NonNegativeNumber);
  app.add_option("--csv", chosen.csv, "write all rows as comma-separated values");
  app.add_option("--json", chosen.json, "write everything as JSON");
  app.add_option("--plots", chosen.plots, "write curves and reliability diagrams to this folder");
  return run_main(app, argument_count, arguments, "score_predictions", [&] { run(chosen); });
}
