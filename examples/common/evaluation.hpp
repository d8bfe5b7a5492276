// SPDX-License-Identifier: MIT
#pragma once
// What an evaluation prints and stores: one row per ensemble and number of members, as a table, JSON and CSV.

#include <pluria/ensemble/budget.hpp>
#include <pluria/ensemble/scores.hpp>
#include <pluria/ensemble/streaming_scores.hpp>
#include <pluria/member/rounded.hpp>

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pluria::examples {

/// Scores after one temperature, fitted on the calibration set.
struct calibrated_scores {
  double temperature = 1.0;
  double nll = 0.0;
  double ece = 0.0;
  double ece_se = 0.0;  ///< at this temperature: what its fit adds is not in it
  double brier = 0.0;
};

/// Scores of one predictive distribution.
struct score_row {
  double nll = 0.0;
  double err = 0.0;
  double ece = 0.0;
  double ece_se = 0.0;
  double brier = 0.0;
  double confidence_gap = 0.0;
  double ambiguity = 0.0;
  double mean_member_nll = 0.0;
  double mean_member_err = 0.0;
  std::optional<mean_and_error> nll_difference;             ///< to full precision, paired over examples
  std::optional<mean_and_error> rtn_nll_difference;         ///< to RTN at the same width, paired; none for RTN itself
  std::optional<mean_and_error> calibrated_nll_difference;  ///< the same with a temperature on both sides
  std::optional<calibrated_scores> calibrated;              ///< where there is a calibration set
  std::vector<double> calibrated_nll_per_example;           ///< to pair others with, where there is a calibration set
};

/// One line of the table.
struct evaluation_row {
  std::string system;
  int bits = 0;        ///< 0 where tensors have different widths
  std::string method;  ///< "rtn" or "bsr"; "members" where nothing is known of them but what they predict
  std::string granularity;
  std::string coupling;
  std::string storage;  ///< "packed", "shared_floor" or "fixed_point"
  std::uint64_t seed = 0;
  bool complete_block = true;
  std::size_t members = 0;
  std::optional<ensemble_budget>
      budget;  ///< none where only predictions are known: of the fields above, system and method
  score_row scores;
};

/// Whether a row is one of an ensemble's, for S = 1, 2, ...
bool is_ensemble(const evaluation_row& row);

/// What tables and pictures call a row: "INT-4 LPE-BSR".
std::string label_of(const evaluation_row& row);

/// Whether two rows are of one number system with another granularity or coupling, so that its name alone does not say
/// which is meant.
bool are_variants(const evaluation_row& a, const evaluation_row& b);

/// What tells variants apart: ", group:32, lattice:8"; of RTN ", group:32".
std::string settings_of(const evaluation_row& row);

/// A whole evaluation. Where only predictions are known, model and parameters are not.
struct evaluation {
  std::string model;
  std::size_t parameters = 0;
  std::size_t examples = 0;
  std::string example_name = "images";
  std::string token_name;  ///< where examples are tokens, what one is: "byte"; NLL is then a perplexity and bits, too
  std::string range = "absmax";  ///< how far grids reach; empty where a rule says it
  std::string engine = "float";
  std::string activations = "float32";
  std::size_t activation_bytes = 0;  ///< of all members, per thread; 0: members were run one after the other
  std::size_t resident_bytes = 0;    ///< of the process with the members stored, where they were
  std::optional<score_row> full_precision;
  std::vector<evaluation_row> rows;
};

/// e to the NLL of a token in nats: so many tokens, equally likely, would be as hard to guess.
double perplexity(double nll);

/// An NLL in nats as bits: what an arithmetic coder takes for a token.
double bits(double nll);

/// The scores of one distribution alone. Its ECE's error is over `groups` of the examples; none: they are independent.
score_row figures_of(const example_scores& examples, std::span<const std::int32_t> groups = {},
                     std::size_t bins = default_calibration_bins);

/// The same after a temperature.
calibrated_scores calibrated_figures_of(double temperature, const example_scores& examples,
                                        std::span<const std::int32_t> groups = {},
                                        std::size_t bins = default_calibration_bins);

/// All scores of an ensemble so far; `reference` is full precision (null for itself), `calibration` may be null.
score_row score(const pluria::scores& test, const pluria::scores* calibration, const pluria::scores* reference,
                const score_row* reference_row);

/// Everything, as JSON. What is not finite becomes null, with a message.
nlohmann::ordered_json to_json(const evaluation& result);

/// The measured columns of the JSON's rows as comma-separated values, one line each under a line of names; full
/// precision, where there is one, is the first row, with method "full_precision" and no members. Columns that only some
/// programs know, such as scores of tokens, come last.
std::string to_csv(const nlohmann::ordered_json& report);

/// A line that says how many weights lie beyond their grid, for which every rounding is biased; nothing where none do.
std::string saturation_note(const std::string& system, const rounded_members::storage& stored);

/// Two tables, of the scores and of what is left after one temperature on each side (where there is a calibration set)
/// with the storage (where it is known): full precision, then for every system RTN and LPE-BSR at S = 1, 2, 4, ... and
/// the last S of the first ensemble. Under a lattice an incomplete block is marked with *. Columns that no row fills
/// are left out.
std::string to_table(const evaluation& result);

}  // namespace pluria::examples
