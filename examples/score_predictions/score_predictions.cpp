// SPDX-License-Identifier: MIT
// Predictions of members that were run elsewhere become an ensemble's predictive distribution and its scores, in one
// pass over files of any size. See --help.

#include <pluria/core/parallel.hpp>
#include <pluria/ensemble/streaming_scores.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/evaluation.hpp"
#include "../common/memory.hpp"
#include "../common/progress.hpp"
#include "../common/report_files.hpp"
#include "../common/streamed_scores.hpp"
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
  report_options report;
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
    all = load_integers(labels, "labels", set.first().examples());
  }
  set.scored = scored_rows(all, set.first().classes(), chosen.ignore_index, set.label_file);
  return set;
}

// Numbers of the groups of the scored examples, by first appearance; none where examples are independent.
std::vector<std::int32_t> groups_of(const prediction_set& set, const options& chosen) {
  std::vector<std::int64_t> all;
  if (!chosen.groups.empty()) {
    all = load_integers(chosen.groups, "group numbers", set.first().examples());
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

// Rows of files in blocks, all files of a block together.
class file_rows {
 public:
  file_rows(std::span<const prediction_file> files, const labelled_rows& scored, int threads)
      : files_(files), scored_(&scored), threads_(threads), log_sums_(scored.rows.size()) {
    // A megabyte of every file is at once in memory, and a row at least. The division must not depend on the number of
    // threads: sums over blocks are merged in their order.
    constexpr std::size_t bytes = 1U << 20;
    constexpr std::size_t most_rows = 4096;
    block_rows_ = std::clamp<std::size_t>(bytes / std::max<std::size_t>(files[0].row_bytes(), 1), 1, most_rows);
  }

  std::size_t members() const { return files_.size(); }
  std::span<const std::int32_t> labels() const { return scored_->labels; }
  std::size_t blocks() const { return (scored_->rows.size() + block_rows_ - 1) / block_rows_; }
  std::size_t classes(std::size_t) const { return files_[0].classes(); }

  template <class Work>
  void run(const std::string& what, std::size_t count, const Work& work) {
    progress shown(scored_->rows.size() * count, "rows");
    shown.describe(what);
    parallel_for(blocks(), threads_, [&](std::size_t block) {
      const std::size_t first = block * block_rows_;
      const std::size_t last = std::min(first + block_rows_, scored_->rows.size());
      std::vector<float> floats;
      std::vector<double> log_probabilities(classes(block));
      work(block, first, last, [&](std::size_t i, std::size_t k) -> std::span<const double> {
        const double log_sum = files_[k].read(scored_->rows[i], floats, log_probabilities);
        if (k == 0) {
          log_sums_[i] = log_sum;
        }
        return log_probabilities;
      });
      for (const prediction_file& file : files_.first(count)) {
        file.release(scored_->rows[first], scored_->rows[last - 1]);
      }
      shown.advance((last - first) * count);
    });
  }

  bad_input zero_probability(std::size_t example, std::size_t count) const {
    return bad_input(
        mismatch_message(fmt::format("{}: probability of the label of example {}, in the mean of the first {} files",
                                     files_[count - 1].file(), scored_->rows[example], count),
                         "more than 0, for a temperature to be fitted (--epsilon leaves it out)", "0"));
  }

  // What the exponentials of the first file's rows summed to before they were normalized, in the mean of the logarithm.
  double mean_log_sum() const { return mean(log_sums_); }

 private:
  std::span<const prediction_file> files_;
  const labelled_rows* scored_;
  int threads_;
  std::size_t block_rows_ = 1;
  std::vector<double> log_sums_;
};

static_assert(prediction_source<file_rows>);

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

  report_files files(chosen.report);
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

  const double floor = chosen.epsilon ? std::log(*chosen.epsilon) : streaming_scores::no_floor;
  const auto temperatures_of = [&](const std::vector<prediction_file>& of, const std::string& what) {
    file_rows rows(of, calibration->scored, chosen.threads);
    return fit_temperatures(rows, floor, what);
  };
  std::vector<double> temperatures;
  std::vector<double> reference_temperatures;
  if (calibration) {
    temperatures = temperatures_of(calibration->members, "the members");
    if (!calibration->reference.empty()) {
      reference_temperatures = temperatures_of(calibration->reference, "the reference");
    }
  }
  std::optional<scored_ensemble> reference;
  if (!test.reference.empty()) {
    file_rows rows(test.reference, test.scored, chosen.threads);
    reference = score_source(rows, std::move(reference_temperatures), floor, "reference");
  }
  const scored_ensemble* const full = reference ? &*reference : nullptr;
  file_rows member_rows(test.members, test.scored, chosen.threads);
  const scored_ensemble ensemble = score_source(member_rows, std::move(temperatures), floor, "members");

  evaluation result;
  result.examples = test.scored.rows.size();
  result.example_name = is_kld ? "tokens" : "examples";
  std::vector<reliability_curve> reliability;
  if (full != nullptr) {
    result.full_precision = rows_of(*full, {nullptr, nullptr, groups}, chosen.threads, chosen.bins).front();
    reliability.emplace_back("full precision", reliability_bins(full->scores.ensemble(1).judgements, chosen.bins));
  }
  const std::size_t members = test.members.size();
  for (score_row& scored : rows_of(ensemble, {full, nullptr, groups}, chosen.threads, chosen.bins)) {
    evaluation_row& row = result.rows.emplace_back();
    row.system = "ensemble";
    row.method = "members";
    row.members = result.rows.size();
    row.scores = std::move(scored);
  }
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
        member_rows.mean_log_sum());
  }
  fmt::print("\n{}", to_table(result));
  if (group_count != 0) {
    fmt::print("standard errors are over {} groups of {}\n", group_count, result.example_name);
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
  files.write(report, report, result, reliability);
}

}  // namespace

int main(int argument_count, char** arguments) {
  options chosen;
  command_line app("Scores the ensemble of members whose predictions are in files, one file a member.\n");
  app.add_option(
      "--members", chosen.members,
      "members' logits: .npy of shape [N, C], float16, float32 or float64; files, or a quoted pattern; members "
      "are in the order of their names, numbers as numbers");
  app.add_option("--kld", chosen.kld,
                 "instead: files of llama-perplexity --save-all-logits, whose tokens are the labels; so are then "
                 "--reference and --calibration-*; errors are over contexts");
  app.add_option("--labels", chosen.labels, "integers of shape [N], .npy");
  app.add_flag("--probabilities", chosen.probabilities,
               "the .npy files hold probabilities, rows with a sum within 1e-4 of 1 (float16: 1e-3 + 6e-8 C)");
  app.add_option("--reference", chosen.reference, "the model that the members came from, likewise");
  app.add_option("--calibration-members", chosen.calibration_members,
                 "the same members on other examples, on which one temperature is fitted for every S");
  app.add_option("--calibration-labels", chosen.calibration_labels, "their labels");
  app.add_option("--calibration-reference", chosen.calibration_reference, "the reference on the same examples");
  app.add_option(
      "--groups", chosen.groups,
      "which group every example belongs to (a token's document), integers [N], .npy: standard errors are then "
      "over groups");
  app.add_option("--ignore-index", chosen.ignore_index, "examples with this label are left out");
  app.add_option("--bins", chosen.bins, "of the expected calibration error");
  app.add_option("--epsilon", chosen.epsilon,
                 "what a member's probability of a label counts as at least in NLL, where zero is infinite otherwise");
  app.add_option("--threads", chosen.threads, "0: all cores").non_negative();
  add_options(app, chosen.report);
  return app.run(argument_count, arguments, "score_predictions", [&] { run(chosen); });
}
