// SPDX-License-Identifier: MIT
#include <pluria/core/float16.hpp>
#include <pluria/io/npy.hpp>
#include <pluria/metrics/calibration.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "examples/program.hpp"
#include "io/kld_file.hpp"
#include "io/temporary_folder.hpp"
#include "support/catch.hpp"
#include "support/exhaustive.hpp"

namespace {

using namespace pluria;
using namespace pluria::test;
namespace fs = std::filesystem;

constexpr std::size_t examples = 300;
constexpr std::size_t classes = 7;
constexpr std::size_t members = 5;
using table = std::vector<double>;  // [examples, classes]

std::uint64_t hashed(std::uint64_t index) {
  std::uint64_t z = index * 0x9e3779b97f4a7c15U + 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

// Multiples of 1/16 of magnitude 12 at most, which every float type holds. Member 99 is the reference; `set` tells test
// from calibration examples.
table logits_of(std::size_t member, std::size_t set = 0) {
  table result;
  for (std::size_t i = 0; i < examples * classes; ++i) {
    const auto base = static_cast<int>(hashed(1000 * set + 17 * i) % 257) - 128;
    const auto noise =
        member == 99 ? 0 : static_cast<int>(hashed(1'000'000 * (member + 1) + 1000 * set + i) % 129) - 64;
    result.push_back((base + noise) / 16.0);
  }
  return result;
}

std::vector<std::int64_t> labels_of(std::size_t set = 0) {
  const table base = logits_of(99, set);
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < examples; ++i) {
    const auto row = base.begin() + static_cast<std::ptrdiff_t>(i * classes);
    const auto best = std::max_element(row, row + classes) - row;
    const std::uint64_t draw = hashed(77'000 + 1000 * set + i);
    result.push_back(draw % 3 == 0 ? static_cast<std::int64_t>((draw >> 8) % classes) : best);
  }
  return result;
}

std::vector<std::int64_t> groups() {
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < examples; ++i) {
    result.push_back(static_cast<std::int64_t>(hashed(88'000 + i) % 19) * 5'000'000'000 - 7);
  }
  return result;
}

// ------------------------------------------------------------------------------------------- files

template <class Value>
void write_npy(const fs::path& path, dtype type, const tensor_shape& shape, const std::vector<Value>& values) {
  std::string text = detail::npy_preamble(type, shape, path.string());
  text.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value));
  write_file(path, text);
}

void write_table(const fs::path& path, dtype type, const table& values, std::size_t rows = examples) {
  const tensor_shape shape{rows, values.size() / rows};
  if (type == dtype::f64) {
    write_npy(path, type, shape, values);
  } else if (type == dtype::f32) {
    write_npy(path, type, shape, std::vector<float>(values.begin(), values.end()));
  } else {
    std::vector<std::uint16_t> halves;
    for (const double value : values) {
      halves.push_back(half_from_float(static_cast<float>(value)));
    }
    write_npy(path, type, shape, halves);
  }
}

template <class Integer = std::int64_t>
void write_integers(const fs::path& path, dtype type, const std::vector<std::int64_t>& values) {
  write_npy(path, type, {values.size()}, std::vector<Integer>(values.begin(), values.end()));
}

// logits-0.npy, ..., labels.npy, fp.npy, groups.npy, and the same of the calibration set.
void write_all(const temporary_folder& folder, dtype type = dtype::f32) {
  for (std::size_t k = 0; k < members; ++k) {
    write_table(folder / ("logits-" + std::to_string(k) + ".npy"), type, logits_of(k));
    write_table(folder / ("calibration-" + std::to_string(k) + ".npy"), type, logits_of(k, 1));
  }
  write_table(folder / "fp.npy", type, logits_of(99));
  write_table(folder / "calibration-fp.npy", type, logits_of(99, 1));
  write_integers(folder / "labels.npy", dtype::i64, labels_of());
  write_integers(folder / "calibration-labels.npy", dtype::i64, labels_of(1));
  write_integers(folder / "groups.npy", dtype::i64, groups());
}

program_result score(const temporary_folder& folder, const std::string& arguments) {
  return run_program("cd " + (folder / "").string() + " && " PLURIA_SCORE_PREDICTIONS " " + arguments);
}

nlohmann::json score_json(const temporary_folder& folder, const std::string& arguments) {
  const program_result result = score(folder, arguments + " --json report.json");
  INFO(arguments << "\n" << result.output);
  REQUIRE(result.status == 0);
  return nlohmann::json::parse(read_text((folder / "report.json").string()));
}

// ------------------------------------------------------------------------------ the definitions, in long double

using real = long double;

std::vector<real> softmax(const table& logits, std::size_t example, real temperature = 1) {
  std::vector<real> result;
  real sum = 0;
  for (std::size_t c = 0; c < classes; ++c) {
    result.push_back(std::exp(static_cast<real>(logits[example * classes + c]) / temperature));
    sum += result.back();
  }
  for (real& value : result) {
    value /= sum;
  }
  return result;
}

// The mean of distributions, example by example: [examples][classes].
std::vector<std::vector<real>> mean_of(const std::vector<table>& of_members) {
  std::vector<std::vector<real>> result;
  for (std::size_t i = 0; i < of_members[0].size() / classes; ++i) {
    std::vector<real> row(classes);
    for (const table& member : of_members) {
      const std::vector<real> one = softmax(member, i);
      for (std::size_t c = 0; c < classes; ++c) {
        row[c] += one[c] / static_cast<real>(of_members.size());
      }
    }
    result.push_back(row);
  }
  return result;
}

std::vector<std::vector<real>> tempered(std::vector<std::vector<real>> rows, real temperature) {
  for (std::vector<real>& row : rows) {
    real sum = 0;
    for (real& value : row) {
      value = std::pow(value, 1 / temperature);
      sum += value;
    }
    for (real& value : row) {
      value /= sum;
    }
  }
  return rows;
}

struct figures {
  std::vector<real> losses;
  real nll = 0;
  real err = 0;
  real brier = 0;
  real ece = 0;
  real gap = 0;
  std::vector<judged_confidence> judged;
};

figures figures_of(const std::vector<std::vector<real>>& rows, const std::vector<std::int64_t>& labels,
                   std::size_t bins = 15) {
  figures result;
  std::vector<real> gaps(bins);
  const auto count = static_cast<real>(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto label = static_cast<std::size_t>(labels[i]);
    result.losses.push_back(-std::log(rows[i][label]));
    result.nll += result.losses.back() / count;
    const auto best = static_cast<std::size_t>(std::max_element(rows[i].begin(), rows[i].end()) - rows[i].begin());
    result.err += (best != label ? 1 : 0) / count;
    for (std::size_t c = 0; c < rows[i].size(); ++c) {
      const real distance = rows[i][c] - (c == label ? 1 : 0);
      result.brier += distance * distance / count;
    }
    const real confidence = rows[i][best];
    const real gap = confidence - (best == label ? 1 : 0);
    result.gap += gap / count;
    const auto bin = std::min<std::ptrdiff_t>(
        std::max<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(std::ceil(static_cast<real>(bins) * confidence)) - 1, 0),
        static_cast<std::ptrdiff_t>(bins) - 1);
    gaps[static_cast<std::size_t>(bin)] += gap;
    result.judged.push_back({static_cast<double>(confidence), best == label});
  }
  for (const real gap : gaps) {
    result.ece += std::abs(gap) / count;
  }
  return result;
}

// The standard error of a mean of differences over groups (each example its own: the usual one).
std::pair<real, real> paired(const std::vector<real>& a, const std::vector<real>& b,
                             const std::vector<std::int64_t>& group) {
  const auto count = static_cast<real>(a.size());
  real mean = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    mean += (a[i] - b[i]) / count;
  }
  real squares = 0;
  const std::set<std::int64_t> names(group.begin(), group.end());
  for (const std::int64_t name : names) {
    real residual = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      residual += group[i] == name ? a[i] - b[i] - mean : 0;
    }
    squares += residual * residual;
  }
  const auto number = static_cast<real>(names.size());
  return {mean, std::sqrt(squares * number / (number - 1)) / count};
}

std::vector<std::int64_t> numbers(std::size_t count) {
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < count; ++i) {
    result.push_back(static_cast<std::int64_t>(i));
  }
  return result;
}

// By ternary search: the NLL has one minimum.
real best_temperature(const std::vector<std::vector<real>>& rows, const std::vector<std::int64_t>& labels) {
  real low = std::log(0.05L);
  real high = std::log(20.0L);
  while (high - low > 1e-8L) {
    const real a = low + (high - low) / 3;
    const real b = high - (high - low) / 3;
    const bool is_left =
        figures_of(tempered(rows, std::exp(a)), labels).nll < figures_of(tempered(rows, std::exp(b)), labels).nll;
    (is_left ? high : low) = is_left ? b : a;
  }
  return std::exp((low + high) / 2);
}

bool close(const nlohmann::json& found, real expected, double bound = 1e-11) {
  return found.is_number() && std::abs(found.get<double>() - static_cast<double>(expected)) < bound;
}

std::vector<table> first_members(std::size_t count, std::size_t set = 0) {
  std::vector<table> result;
  for (std::size_t k = 0; k < count; ++k) {
    result.push_back(logits_of(k, set));
  }
  return result;
}

// All figures of every row against the definitions.
void check_rows(const nlohmann::json& report, const std::vector<std::int64_t>& group, double bound = 1e-11) {
  const std::vector<std::int64_t> labels = labels_of();
  const figures reference = figures_of(mean_of({logits_of(99)}), labels);
  REQUIRE(report["rows"].size() == members);
  CHECK(close(report["full_precision"]["nll"], reference.nll, bound));
  CHECK(close(report["full_precision"]["brier"], reference.brier, bound));
  const std::vector<std::int32_t> names(group.begin(), group.end());
  CHECK(close(report["full_precision"]["ece_se"], ece_standard_error(reference.judged, names), bound));
  real member_nll = 0;
  real member_err = 0;
  for (std::size_t count = 1; count <= members; ++count) {
    INFO("S = " << count);
    const nlohmann::json& row = report["rows"][count - 1];
    const figures expected = figures_of(mean_of(first_members(count)), labels);
    const figures alone = figures_of(mean_of({logits_of(count - 1)}), labels);
    member_nll += alone.nll;
    member_err += alone.err;
    CHECK(row["members"] == count);
    CHECK(row["method"] == "members");
    CHECK(close(row["nll"], expected.nll, bound));
    CHECK(close(row["err"], expected.err, bound));
    CHECK(close(row["brier"], expected.brier, bound));
    CHECK(close(row["ece"], expected.ece, bound));
    CHECK(close(row["ece_se"], ece_standard_error(expected.judged, names), bound));
    CHECK(close(row["confidence_gap"], expected.gap, bound));
    CHECK(close(row["mean_member_nll"], member_nll / static_cast<real>(count), bound));
    CHECK(close(row["mean_member_err"], member_err / static_cast<real>(count), bound));
    CHECK(close(row["ambiguity"], member_nll / static_cast<real>(count) - expected.nll, bound));
    const auto [difference, error] = paired(expected.losses, reference.losses, group);
    CHECK(close(row["nll_difference"], difference, bound));
    CHECK(close(row["nll_difference_se"], error, bound));
    CHECK(row["bits_per_weight"].is_null());
  }
}

const std::string scored = "--members 'logits-*.npy' --labels labels.npy --reference fp.npy ";

// Exit status 2, a message with all of `parts`, and no file that looks finished.
void check_refused(const temporary_folder& folder, const std::string& arguments,
                   const std::vector<std::string>& parts) {
  const program_result result = score(folder, arguments + " --json none.json --csv none.csv");
  INFO(arguments << "\n" << result.output);
  CHECK(result.status == 2);
  for (const std::string& part : parts) {
    INFO(part);
    CHECK(result.output.find(part) != std::string::npos);
  }
  for (const std::string& name : folder.names()) {
    CHECK(name.find("none.") == std::string::npos);
  }
}

}  // namespace

TEST_CASE("score_predictions reports the scores of every number of members by their definitions", "[examples]") {
  const temporary_folder folder;
  write_all(folder);
  const nlohmann::json report = score_json(folder, scored);
  check_rows(report, numbers(examples));
  CHECK(report["examples"] == examples);
  CHECK(report["classes"] == classes);
  CHECK(report["model"].is_null());
  CHECK(report["full_precision_calibrated"].is_null());
  CHECK(report["rows"][0]["temperature"].is_null());
  CHECK(report["files"]["members"].size() == members);
  CHECK(report["files"]["members"][4] == "logits-4.npy");
}

TEST_CASE("float16, float32 and float64 files of the same numbers give the same figures", "[examples]") {
  const temporary_folder folder;
  for (const dtype type : {dtype::f16, dtype::f32, dtype::f64}) {
    INFO(name_of(type));
    write_all(folder, type);
    check_rows(score_json(folder, scored), numbers(examples));
  }
}

TEST_CASE("float64 logits are not rounded to float", "[examples]") {
  const temporary_folder folder;
  write_table(folder / "a.npy", dtype::f64, {1e-9, 0.0}, 1);
  write_integers(folder / "l.npy", dtype::i64, {1});
  CHECK(close(score_json(folder, "--members a.npy --labels l.npy")["rows"][0]["nll"], std::log(1 + std::exp(1e-9L)),
              1e-15));
}

TEST_CASE("probabilities give the figures of the logits that they came from", "[examples]") {
  const temporary_folder folder;
  // Rounding to float changes a log-probability by 2^-24 of itself and more where the sum is off: 1e-6 in all.
  for (const auto& [type, bound] : {std::pair{dtype::f64, 1e-11}, {dtype::f32, 1e-6}}) {
    write_all(folder);
    for (std::size_t k = 0; k <= members; ++k) {
      table probabilities;
      for (std::size_t i = 0; i < examples; ++i) {
        for (const real value : softmax(logits_of(k == members ? 99 : k), i)) {
          probabilities.push_back(static_cast<double>(value));
        }
      }
      write_table(folder / (k == members ? "fp.npy" : "logits-" + std::to_string(k) + ".npy"), type, probabilities);
    }
    check_rows(score_json(folder, scored + "--probabilities"), numbers(examples), bound);
    // Taken for logits they would be scored without an error: the program says what it sees.
    CHECK(score(folder, scored).output.find("are these --probabilities?") != std::string::npos);
  }
}

TEST_CASE("standard errors are over groups where groups are given", "[examples]") {
  const temporary_folder folder;
  write_all(folder);
  const nlohmann::json report = score_json(folder, scored + "--groups groups.npy");
  check_rows(report, groups());
  CHECK(report["groups"] == 19);
}

TEST_CASE("ignored examples leave no trace, whatever their predictions", "[examples]") {
  const temporary_folder folder;
  write_all(folder);
  // Every other example belongs to what is scored; those between are ignored and hold NaN.
  std::vector<std::int64_t> labels;
  std::vector<std::int64_t> in_groups;
  for (std::size_t i = 0; i < examples; ++i) {
    labels.insert(labels.end(), {-100, labels_of()[i]});
    in_groups.insert(in_groups.end(), {123, groups()[i]});
  }
  const auto spread = [&](const std::string& name, const table& values) {
    table all;
    for (std::size_t i = 0; i < examples; ++i) {
      all.insert(all.end(), classes, std::numeric_limits<double>::quiet_NaN());
      all.insert(all.end(), values.begin() + static_cast<std::ptrdiff_t>(i * classes),
                 values.begin() + static_cast<std::ptrdiff_t>((i + 1) * classes));
    }
    write_table(folder / name, dtype::f32, all, 2 * examples);
  };
  for (std::size_t k = 0; k < members; ++k) {
    spread("logits-" + std::to_string(k) + ".npy", logits_of(k));
  }
  spread("fp.npy", logits_of(99));
  write_integers(folder / "labels.npy", dtype::i64, labels);
  write_integers(folder / "groups.npy", dtype::i64, in_groups);
  const nlohmann::json report = score_json(folder, scored + "--ignore-index -100 --groups groups.npy");
  check_rows(report, groups());
  CHECK(report["ignored"] == examples);
  CHECK(report["examples"] == examples);
  check_refused(folder, scored, {"labels.npy", "label 0", "expected 0..6", "found -100"});
}

TEST_CASE("temperatures are fitted on the calibration members, for every number of members, and the reference",
          "[examples]") {
  const temporary_folder folder;
  write_all(folder);
  const std::string calibrated =
      scored + "--calibration-members 'calibration-[0-9].npy' --calibration-labels calibration-labels.npy ";
  const nlohmann::json report =
      score_json(folder, calibrated + "--calibration-reference calibration-fp.npy --groups groups.npy");
  check_rows(report, groups());
  const figures reference = figures_of(
      tempered(mean_of({logits_of(99)}), best_temperature(mean_of({logits_of(99, 1)}), labels_of(1))), labels_of());
  CHECK(close(report["full_precision_calibrated"]["nll"], reference.nll, 1e-7));
  CHECK(close(report["full_precision_calibrated"]["ece"], reference.ece, 1e-6));
  const std::vector<std::int64_t> group = groups();
  const std::vector<std::int32_t> names(group.begin(), group.end());
  CHECK(close(report["full_precision_calibrated"]["ece_se"], ece_standard_error(reference.judged, names), 1e-5));
  CHECK(close(report["full_precision_calibrated"]["brier"], reference.brier, 1e-6));
  for (std::size_t count = 1; count <= members; ++count) {
    const nlohmann::json& row = report["rows"][count - 1];
    const real temperature = best_temperature(mean_of(first_members(count, 1)), labels_of(1));
    // The program's accuracy is 1e-6 of T, that of the search here about the same.
    CHECK(close(row["temperature"], temperature, 3e-6 * static_cast<double>(temperature)));
    const figures expected =
        figures_of(tempered(mean_of(first_members(count)), row["temperature"].get<double>()), labels_of());
    CHECK(close(row["calibrated_nll"], expected.nll));
    CHECK(close(row["calibrated_ece"], expected.ece));
    CHECK(close(row["calibrated_ece_se"], ece_standard_error(expected.judged, names)));
    const auto [difference, error] = paired(expected.losses, reference.losses, group);
    CHECK(close(row["calibrated_nll_difference"], difference, 1e-6));
    CHECK(close(row["calibrated_nll_difference_se"], error, 1e-6));
  }
  // Without calibration predictions of the reference it has no temperature.
  const nlohmann::json without = score_json(folder, calibrated);
  CHECK(without["rows"][4]["temperature"] == report["rows"][4]["temperature"]);
  CHECK(without["full_precision_calibrated"].is_null());
  CHECK(without["rows"][4]["calibrated_nll_difference"].is_null());
  // A calibration set may have another number of examples.
  write_table(folder / "few.npy", dtype::f32, {1, 2, 3, 4, 5, 6, 7, 3, 2, 1, 0, 0, 0, 0}, 2);
  write_integers(folder / "few-labels.npy", dtype::i64, {5, 1});
  CHECK(score_json(folder,
                   "--members logits-0.npy --labels labels.npy --calibration-members few.npy "
                   "--calibration-labels few-labels.npy")["rows"][0]["temperature"]
            .is_number());
}

TEST_CASE("a label of probability zero makes the NLL infinite, and is named, unless it is floored", "[examples]") {
  const temporary_folder folder;
  const double zero = -std::numeric_limits<double>::infinity();
  // Member 0 gives example 2 (label 1) nothing, member 1 does not.
  write_table(folder / "m-0.npy", dtype::f32, {0, 0, 0, 0, 0, zero}, 3);
  write_table(folder / "m-1.npy", dtype::f32, {0, 0, 0, 0, 0, 0}, 3);
  write_integers(folder / "l.npy", dtype::i64, {0, 0, 1});
  const std::string arguments = "--members 'm-*.npy' --labels l.npy ";
  const program_result result = score(folder, arguments + "--json zero.json");
  CHECK(result.status == 0);
  CHECK(mentions(result.output, {"m-0.npy", "label of example 2 has probability zero", "from S = 1 on",
                                 "infinite up to S = 1", "--epsilon"}));
  const nlohmann::json report = nlohmann::json::parse(read_text((folder / "zero.json").string()));
  CHECK(report["rows"][0]["nll"].is_null());
  CHECK(close(report["rows"][1]["nll"], (2 * std::log(2.0L) + std::log(4.0L)) / 3));
  CHECK(report["rows"][1]["ambiguity"].is_null());

  const nlohmann::json floored = score_json(folder, arguments + "--epsilon 0.01");
  CHECK(close(floored["rows"][0]["nll"], (2 * std::log(2.0L) - std::log(0.01L)) / 3));
  CHECK(close(floored["rows"][1]["nll"], (2 * std::log(2.0L) - std::log(0.255L)) / 3));
  CHECK(close(floored["rows"][1]["ambiguity"],
              floored["rows"][1]["mean_member_nll"].get<double>() - floored["rows"][1]["nll"].get<double>()));
  CHECK(floored["rows"][1]["brier"] == report["rows"][1]["brier"]);

  const std::string calibrated = arguments + "--calibration-members 'm-*.npy' --calibration-labels l.npy ";
  check_refused(folder, calibrated,
                {"m-0.npy", "label of example 2", "more than 0", "first 1 files", "--epsilon leaves it out"});
  CHECK(score_json(folder, calibrated + "--epsilon 0.01")["rows"][0]["temperature"] == 1.0);
}

TEST_CASE("llama-perplexity's files are scored against their tokens, errors over contexts", "[examples]") {
  const temporary_folder folder;
  // 20 contexts of 8 tokens out of 7: positions 4, 5, 6 are scored.
  constexpr std::size_t chunks = 20;
  constexpr std::size_t rows = 3 * chunks;
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < 8 * chunks; ++i) {
    tokens.push_back(static_cast<std::int32_t>(hashed(5000 + i) % classes));
  }
  std::vector<std::int64_t> labels;
  std::vector<std::int64_t> contexts;
  for (std::size_t i = 0; i < rows; ++i) {
    labels.push_back(tokens[8 * (i / 3) + 4 + i % 3 + 1]);
    contexts.push_back(static_cast<std::int64_t>(i / 3));
  }
  // Logits within 16 of each other, so that none is raised.
  const auto halved = [](std::size_t member) {
    table logits = logits_of(member);
    for (double& logit : logits) {
      logit /= 2;
    }
    return logits;
  };
  const auto write = [&](const std::string& name, std::size_t member) {
    std::string text = kld_head(8, classes, chunks, tokens);
    const table logits = halved(member);
    for (std::size_t i = 0; i < rows; ++i) {
      append_kld_row(text, std::vector<float>(logits.begin() + static_cast<std::ptrdiff_t>(i * classes),
                                              logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * classes)));
    }
    write_file(folder / name, text);
  };
  write("member-9.kld", 0);
  write("member-10.kld", 1);
  write("fp.kld", 99);
  const std::string arguments = "--kld 'member-*.kld' --reference fp.kld ";
  const nlohmann::json report = score_json(folder, arguments);
  CHECK(report["tokens"] == rows);
  CHECK(report["groups"] == chunks);
  CHECK(report["files"]["members"] == nlohmann::json{"member-9.kld", "member-10.kld"});
  auto ensemble = mean_of({halved(0), halved(1)});
  auto reference = mean_of({halved(99)});
  ensemble.resize(rows);
  reference.resize(rows);
  const figures expected = figures_of(ensemble, labels);
  // Log-probabilities are rounded by 1.3e-4 at most, their differences and the sums of rows likewise.
  CHECK(close(report["rows"][1]["nll"], expected.nll, 2.6e-4));
  CHECK(close(report["rows"][1]["brier"], expected.brier, 5e-4));
  const auto [difference, error] = paired(expected.losses, figures_of(reference, labels).losses, contexts);
  CHECK(close(report["rows"][1]["nll_difference"], difference, 5.2e-4));
  CHECK(close(report["rows"][1]["nll_difference_se"], error, 5.2e-4));
  CHECK(
      score_json(folder,
                 arguments +
                     "--calibration-members 'member-*.kld' --calibration-reference fp.kld")["full_precision_calibrated"]
                                                                                           ["temperature"]
                                                                                               .is_number());
  const std::string output = score(folder, arguments).output;
  CHECK(mentions(output, {"20 contexts of 8 tokens", "16 bits", "within 1.3e-4", "20 groups of tokens"}));

  check_refused(folder, arguments + "--labels labels.npy", {"--labels", "--kld"});
  check_refused(folder, arguments + "--probabilities", {"--probabilities", "--members only"});
  tokens[3] = (tokens[3] + 1) % static_cast<std::int32_t>(classes);
  write("member-10.kld", 1);
  check_refused(folder, arguments, {"member-10.kld", "expected the tokens of member-9.kld", "found others"});
  const std::string whole = read_text((folder / "fp.kld").string());
  write_file(folder / "fp.kld", whole.substr(0, whole.size() - 1));
  write("member-10.kld", 1);
  fs::remove(folder / "member-9.kld");
  check_refused(folder, "--kld fp.kld", {"fp.kld", "complete"});
  // Twice the probability: no rounding does that.
  std::string twice = kld_head(3, 2, 1, {0, 1, 1});
  append_kld_codes(twice, 0.0F, 0.0F, {0, 0});
  write_file(folder / "twice.kld", twice);
  check_refused(folder, "--kld twice.kld", {"twice.kld", "member 0, example 0", "a sum in", "found 2.0"});
}

TEST_CASE("members come in the order of the numbers in their names, which the output says", "[examples]") {
  const temporary_folder folder;
  write_integers<std::uint8_t>(folder / "l.npy", dtype::u8, {0});
  for (const char* name : {"m-10.npy", "m-9.npy", "m-009.npy", "m-1.npy", "m-a.npy", "n-0.npy"}) {
    write_table(folder / name, dtype::f32, {1, 0}, 1);
  }
  const std::vector<std::string> expected{"m-1.npy", "m-009.npy", "m-9.npy", "m-10.npy", "m-a.npy", "n-0.npy"};
  CHECK(score_json(folder, "--members n-0.npy 'm-?.npy' m-009.npy m-10.npy --labels l.npy")["files"]["members"] ==
        expected);
  CHECK(score(folder, "--members '?-*.npy' --labels l.npy")
            .output.find("in this order: m-1.npy, m-009.npy, m-9.npy, "
                         "m-10.npy, m-a.npy, n-0.npy\n") != std::string::npos);
}

TEST_CASE("labels may be integers of any width", "[examples]") {
  const temporary_folder folder;
  write_all(folder);
  const std::string arguments = "--members logits-0.npy --labels l.npy";
  write_integers<std::int8_t>(folder / "l.npy", dtype::i8, labels_of());
  const nlohmann::json expected = score_json(folder, arguments)["rows"];
  const auto check = [&]<class Integer>(Integer, dtype type) {
    INFO(name_of(type));
    write_integers<Integer>(folder / "l.npy", type, labels_of());
    CHECK(score_json(folder, arguments)["rows"] == expected);
  };
  check(std::int16_t{}, dtype::i16);
  check(std::int32_t{}, dtype::i32);
  check(std::int64_t{}, dtype::i64);
  check(std::uint8_t{}, dtype::u8);
  check(std::uint16_t{}, dtype::u16);
  check(std::uint32_t{}, dtype::u32);
  check(std::uint64_t{}, dtype::u64);
}

TEST_CASE("threads change no figure of score_predictions, bins change the calibration error", "[examples]") {
  const temporary_folder folder;
  write_all(folder);
  const std::string arguments =
      scored + "--calibration-members 'calibration-[0-9].npy' --calibration-labels calibration-labels.npy ";
  const nlohmann::json one = score_json(folder, arguments + "--threads 1");
  CHECK(one["rows"] == score_json(folder, arguments + "--threads 3")["rows"]);
  const nlohmann::json wide = score_json(folder, arguments + "--bins 4");
  CHECK(close(wide["rows"][2]["ece"], figures_of(mean_of(first_members(3)), labels_of(), 4).ece));
  CHECK(wide["rows"][2]["nll"] == one["rows"][2]["nll"]);
}

TEST_CASE("score_predictions writes a table, rows and pictures, and no progress into a pipe", "[examples]") {
  const temporary_folder folder;
  write_all(folder);
  const program_result result = score(folder, scored + "--csv rows.csv --plots plots");
  CHECK(result.status == 0);
  CHECK(result.output.find('\r') == std::string::npos);
  CHECK(mentions(result.output, {"5 members, 300 examples, 7 classes", "full precision   1", "ensemble         5"}));
  const std::string csv = read_text((folder / "rows.csv").string());
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 7);
  const std::string script = read_text((folder / "plots/plots.gnuplot").string());
  CHECK(mentions(script, {"full precision", "title 'ensemble'"}));
  CHECK(read_text((folder / "plots/curves.dat").string()).find("5 ") != std::string::npos);
  // Without a reference there is nothing to compare with.
  const program_result alone = score(folder, "--members 'logits-*.npy' --labels labels.npy --plots alone");
  CHECK(alone.output.find("full precision") == std::string::npos);
  CHECK(read_text((folder / "alone/plots.gnuplot").string()).find("full precision") == std::string::npos);
  for (const char* name : {"plots", "alone"}) {
    if (run_program("command -v gnuplot").status == 0) {
      CHECK(fs::file_size(folder / (std::string(name) + "/curves.png")) > 1000);
      CHECK(fs::file_size(folder / (std::string(name) + "/reliability.png")) > 1000);
    }
  }
}

TEST_CASE("score_predictions refuses bad files by name, index, what it expected and found", "[examples]") {
  const temporary_folder folder;
  write_all(folder);
  check_refused(folder, "--members 'none-*.npy' --labels labels.npy", {"--members", "\"none-*.npy\"", "found none"});
  check_refused(folder, "--members logits-0.npy ./logits-0.npy --labels labels.npy",
                {"--members", "once", "logits-0.npy"});
  check_refused(folder, "--members logits-0.npy --labels none.npy", {"none.npy", "cannot open"});
  check_refused(folder, "--members labels.npy --labels labels.npy",
                {"labels.npy", "float16, float32 or float64", "I64"});
  check_refused(folder, "--members logits-0.npy --labels fp.npy", {"fp.npy", "labels of shape [300]", "[300, 7]"});
  check_refused(folder, "--members logits-0.npy --labels labels.npy --groups none.npy", {"none.npy"});

  write_table(folder / "z-few.npy", dtype::f32, table(7 * 2), 2);
  write_table(folder / "narrow.npy", dtype::f32, table(300 * 6));
  write_npy(folder / "flat.npy", dtype::f32, {300}, std::vector<float>(300));
  write_npy(folder / "empty.npy", dtype::f32, {300, 0}, std::vector<float>());
  write_npy(folder / "float-labels.npy", dtype::f32, {300}, std::vector<float>(300));
  write_integers(folder / "few-labels.npy", dtype::i64, {0, 1});
  const std::string first = "--members logits-0.npy ";
  check_refused(folder, first + "z-few.npy --labels labels.npy", {"z-few.npy", "found [2, 7]", "[300, 7]"});
  check_refused(folder, first + "narrow.npy --labels labels.npy", {"narrow.npy", "[300, 6]", "logits-0.npy"});
  check_refused(folder, first + "--reference narrow.npy --labels labels.npy", {"narrow.npy", "[300, 6]", "[300, 7]"});
  check_refused(folder, "--members flat.npy --labels labels.npy", {"flat.npy", "shape [N, C]", "found [300]"});
  check_refused(folder, "--members empty.npy --labels labels.npy", {"empty.npy", "at least one", "[300, 0]"});
  check_refused(folder, first + "--labels few-labels.npy", {"few-labels.npy", "[300]", "found [2]"});
  check_refused(folder, first + "--labels float-labels.npy", {"float-labels.npy", "integers", "F32"});
  check_refused(folder, first + "--labels labels.npy --groups few-labels.npy",
                {"few-labels.npy", "group numbers", "[2]"});

  std::vector<std::int64_t> labels = labels_of();
  labels[123] = 7;
  write_integers(folder / "high.npy", dtype::i64, labels);
  check_refused(folder, first + "--labels high.npy", {"high.npy: label 123", "expected 0..6", "found 7"});
  check_refused(folder, first + "--labels high.npy --ignore-index -100", {"label 123", "0..6 or -100"});
  labels[123] = -1;
  write_integers<std::uint64_t>(folder / "huge.npy", dtype::u64, labels);
  check_refused(folder, first + "--labels huge.npy", {"huge.npy: index 123", "below 2^63", "18446744073709551615"});
  write_integers(folder / "all-ignored.npy", dtype::i64, std::vector<std::int64_t>(300, -100));
  check_refused(folder, first + "--labels all-ignored.npy --ignore-index -100",
                {"all-ignored.npy", "at least one label", "none"});

  table bad = logits_of(1);
  bad[17 * classes + 3] = std::numeric_limits<double>::quiet_NaN();
  for (const dtype type : {dtype::f16, dtype::f32, dtype::f64}) {
    write_table(folder / "logits-1.npy", type, bad);
    check_refused(folder, scored, {"logits-1.npy", "logit of member 1, example 17, class 3", "found nan"});
  }
  bad[17 * classes + 3] = std::numeric_limits<double>::infinity();
  write_table(folder / "logits-1.npy", dtype::f16, bad);
  check_refused(folder, scored,
                {"logits-1.npy", "member 1, example 17, class 3", "finite number or -inf", "found inf"});
  std::fill_n(bad.begin() + 17 * classes, classes, -std::numeric_limits<double>::infinity());
  write_table(folder / "logits-1.npy", dtype::f32, bad);
  check_refused(folder, scored, {"logits-1.npy", "member 1, example 17", "-inf in every class"});
  write_table(folder / "logits-1.npy", dtype::f32, logits_of(1));
  write_table(folder / "fp.npy", dtype::f32, bad);
  check_refused(folder, scored, {"fp.npy", "the reference, example 17"});

  check_refused(folder, first + "--labels labels.npy --probabilities",
                {"logits-0.npy", "probability of member 0", "0..1"});
  write_table(folder / "p.npy", dtype::f32, {0.5, 0.5, 0.5, 0.4}, 2);
  check_refused(folder, "--members p.npy --labels few-labels.npy --probabilities",
                {"p.npy", "member 0, example 1", "a sum within 0.0001", "found 0.9"});
}

TEST_CASE("score_predictions refuses options that do not go together", "[examples]") {
  const temporary_folder folder;
  write_all(folder);
  const std::string base = "--members 'logits-*.npy' --labels labels.npy ";
  check_refused(folder, "--labels labels.npy", {"--members and --kld"});
  check_refused(folder, base + "--kld x.kld", {"--members and --kld"});
  check_refused(folder, "--members logits-0.npy", {"--labels"});
  check_refused(folder, base + "--bins 0", {"--bins", "1..1000000"});
  check_refused(folder, base + "--epsilon 0", {"--epsilon", "between 0 and 1"});
  check_refused(folder, base + "--epsilon nan", {"--epsilon", "between 0 and 1"});
  check_refused(folder, base + "--calibration-labels calibration-labels.npy", {"--calibration-members only"});
  check_refused(folder, base + "--calibration-members 'calibration-[0-9].npy'", {"--calibration-labels"});
  check_refused(folder, base + "--calibration-members calibration-0.npy --calibration-labels calibration-labels.npy",
                {"--calibration-members", "5 files", "found 1"});
  check_refused(folder,
                base +
                    "--calibration-members 'calibration-[0-9].npy' --calibration-labels calibration-labels.npy "
                    "--calibration-reference calibration-fp.npy",
                {"--calibration-reference", "--reference only"});
  check_refused(folder, base + "--no-such-option", {"no-such-option"});
  const program_result unwritable = score(folder, base + "--json /no/such/folder/report.json");
  CHECK(unwritable.status == 2);
  CHECK(unwritable.output.find("/no/such/folder") != std::string::npos);
}

namespace {

// Sparse files: `rows` examples of `columns` float16 zeros each, which take no room on the disk.
void write_sparse(const temporary_folder& folder, std::size_t files, std::size_t rows, std::size_t columns) {
  for (std::size_t k = 0; k < files; ++k) {
    const fs::path file = folder / ("logits-" + std::to_string(k) + ".npy");
    const std::string head = detail::npy_preamble(dtype::f16, {rows, columns}, file.string());
    write_file(file, head);
    fs::resize_file(file, head.size() + 2 * rows * columns);
  }
}

}  // namespace

TEST_CASE("files of any size are scored in the memory of a few rows", "[examples]") {
  const temporary_folder folder;
  // Three files of 5.1 GB: 20 000 tokens of 128 000 words, of which every 800th is scored.
  constexpr std::size_t rows = 20'000;
  constexpr std::size_t columns = 128'000;
  write_sparse(folder, 3, rows, columns);
  std::vector<std::int64_t> labels(rows, -100);
  for (std::size_t i = 0; i < rows; i += 800) {
    labels[i] = static_cast<std::int64_t>(i);
  }
  write_integers(folder / "labels.npy", dtype::i64, labels);
  const nlohmann::json report =
      score_json(folder, "--members 'logits-*.npy' --labels labels.npy --ignore-index -100 --threads 2");
  CHECK(close(report["rows"][2]["nll"], std::log(128'000.0L), 1e-9));
  if (support::exhaustive) {  // sanitizers keep memory of their own
    CHECK(report["resident_bytes"].get<std::size_t>() < 64U << 20);
  }
}

TEST_CASE("every row of files of several gigabytes is scored in the memory of a few", "[.large]") {
  const temporary_folder folder;
  write_sparse(folder, 2, 10'000, 128'000);
  write_integers(folder / "labels.npy", dtype::i64, std::vector<std::int64_t>(10'000, 5));
  const nlohmann::json report =
      score_json(folder,
                 "--members 'logits-*.npy' --labels labels.npy --calibration-members 'logits-*.npy' "
                 "--calibration-labels labels.npy --threads 2");
  CHECK(close(report["rows"][1]["nll"], std::log(128'000.0L), 1e-9));
  CHECK(report["resident_bytes"].get<std::size_t>() < 64U << 20);
}
