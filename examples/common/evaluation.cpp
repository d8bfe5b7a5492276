// SPDX-License-Identifier: MIT

#include "evaluation.hpp"

#include <pluria/calibrate/temperature.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <utility>

namespace pluria::examples {
namespace {

// JSON has no infinities and no NaN: null, and a message.
nlohmann::ordered_json finite_or_null(double value, const std::string& row, const std::string& field) {
  if (!std::isfinite(value)) {
    fmt::print(stderr, "{}: {} is not finite ({}): written as null\n", row, field, value);
    return nullptr;
  }
  return value;
}

// Over groups of the examples, or over the examples where there are none.
double ece_error_of(const example_scores& examples, std::span<const std::int32_t> groups, std::size_t bins) {
  return groups.empty() ? ece_standard_error(examples.judgements, {.bins = bins})
                        : ece_standard_error(examples.judgements, groups, {.bins = bins});
}

}  // namespace

bool is_ensemble(const evaluation_row& row) {
  return row.method != "rtn";
}

std::string label_of(const evaluation_row& row) {
  return row.system + (row.method == "bsr" ? " LPE-BSR" : row.method == "rtn" ? " RTN" : "");
}

bool are_variants(const evaluation_row& a, const evaluation_row& b) {
  return a.system == b.system && a.method == b.method && (a.granularity != b.granularity || a.coupling != b.coupling);
}

std::string settings_of(const evaluation_row& row) {
  return ", " + row.granularity + (row.coupling.empty() ? "" : ", " + row.coupling);
}

double perplexity(double nll) {
  return std::exp(nll);
}

double bits(double nll) {
  return nll / std::numbers::ln2;
}

score_row figures_of(const example_scores& examples, std::span<const std::int32_t> groups, std::size_t bins) {
  score_row row;
  row.nll = mean(examples.nll);
  row.err = examples.err();
  row.ece = ece(examples.judgements, bins);
  row.ece_se = ece_error_of(examples, groups, bins);
  row.brier = mean(examples.brier);
  row.confidence_gap = confidence_gap(examples.judgements);
  return row;
}

calibrated_scores calibrated_figures_of(double temperature, const example_scores& examples,
                                        std::span<const std::int32_t> groups, std::size_t bins) {
  return {temperature, mean(examples.nll), ece(examples.judgements, bins), ece_error_of(examples, groups, bins),
          mean(examples.brier)};
}

score_row score(const pluria::scores& test, const pluria::scores* calibration, const pluria::scores* reference,
                const score_row* reference_row) {
  example_scores examples;
  examples.nll = test.nll_per_example();
  examples.brier = test.brier_per_example();
  examples.judgements = test.judged_confidences();
  score_row row = figures_of(examples);
  row.ambiguity = test.ambiguity();
  row.mean_member_nll = test.mean_member_nll();
  row.mean_member_err = test.mean_member_err();
  if (reference != nullptr) {
    row.nll_difference = test.nll_difference(*reference);
  }
  if (calibration != nullptr) {
    const std::size_t classes = test.prediction().classes();
    const std::vector<double> fitted_on = calibration->prediction().log_probabilities();
    const double temperature = fit_temperature({fitted_on, classes}, calibration->labels());
    const std::vector<double> raw = test.prediction().log_probabilities();
    const std::vector<double> table = apply_temperature({raw, classes}, temperature);
    const log_probability_table view{table, classes};
    example_scores tempered;
    tempered.nll = nll_per_example(view, test.labels());
    tempered.brier = brier_per_example(view, test.labels());
    tempered.judgements = judged_confidences(view, test.labels());
    row.calibrated = calibrated_figures_of(temperature, tempered);
    if (reference_row != nullptr) {
      row.calibrated_nll_difference = paired_difference(tempered.nll, reference_row->calibrated_nll_per_example);
    }
    row.calibrated_nll_per_example = std::move(tempered.nll);
  }
  return row;
}

nlohmann::ordered_json to_json(const evaluation& result) {
  using json = nlohmann::ordered_json;
  std::string name;
  const auto number = [&](double value, const char* field) { return finite_or_null(value, name, field); };
  const auto add_token_scores = [&](json& entry, double nll) {
    if (!result.token_name.empty()) {
      entry["perplexity"] = number(perplexity(nll), "perplexity");
      entry["bits_per_token"] = number(bits(nll), "bits_per_token");
    }
  };
  json rows = json::array();
  for (const evaluation_row& row : result.rows) {
    const score_row& s = row.scores;
    name = fmt::format("{} {}, S = {}", row.system, row.method, row.members);
    const auto sampled = [&row](const auto& value) { return row.budget ? json(value) : json(nullptr); };
    json entry{{"system", row.system},
               {"bits", row.bits == 0 ? json(nullptr) : sampled(row.bits)},
               {"method", row.method},
               {"granularity", sampled(row.granularity)},
               {"range", sampled(result.range)},
               {"coupling", sampled(row.coupling)},
               {"engine", sampled(result.engine)},
               {"activations", sampled(result.activations)},
               {"seed", sampled(row.seed)},
               {"members", row.members},
               {"nll", number(s.nll, "nll")},
               {"err", number(s.err, "err")},
               {"ece", number(s.ece, "ece")},
               {"brier", number(s.brier, "brier")},
               {"ambiguity", number(s.ambiguity, "ambiguity")},
               {"mean_member_nll", number(s.mean_member_nll, "mean_member_nll")},
               {"mean_member_err", number(s.mean_member_err, "mean_member_err")},
               {"nll_difference", nullptr},
               {"nll_difference_se", nullptr},
               {"rtn_nll_difference", nullptr},
               {"rtn_nll_difference_se", nullptr},
               {"ece_se", number(s.ece_se, "ece_se")},
               {"confidence_gap", number(s.confidence_gap, "confidence_gap")},
               {"complete_block", sampled(row.complete_block)},
               {"temperature", nullptr},
               {"calibrated_nll", nullptr},
               {"calibrated_ece", nullptr},
               {"calibrated_ece_se", nullptr},
               {"calibrated_nll_difference", nullptr},
               {"calibrated_nll_difference_se", nullptr},
               {"storage", sampled(row.storage)},
               {"bits_per_weight", nullptr},
               {"total_bytes", nullptr}};
    if (row.budget) {
      entry["bits_per_weight"] = number(row.budget->bits_per_weight, "bits_per_weight");
      entry["total_bytes"] = row.budget->total_bytes;
    }
    if (s.nll_difference) {
      entry["nll_difference"] = number(s.nll_difference->mean, "nll_difference");
      entry["nll_difference_se"] = number(s.nll_difference->standard_error, "nll_difference_se");
    }
    if (s.rtn_nll_difference) {
      entry["rtn_nll_difference"] = number(s.rtn_nll_difference->mean, "rtn_nll_difference");
      entry["rtn_nll_difference_se"] = number(s.rtn_nll_difference->standard_error, "rtn_nll_difference_se");
    }
    if (s.calibrated) {
      entry["temperature"] = number(s.calibrated->temperature, "temperature");
      entry["calibrated_nll"] = number(s.calibrated->nll, "calibrated_nll");
      entry["calibrated_ece"] = number(s.calibrated->ece, "calibrated_ece");
      entry["calibrated_ece_se"] = number(s.calibrated->ece_se, "calibrated_ece_se");
    }
    if (s.calibrated_nll_difference) {
      entry["calibrated_nll_difference"] = number(s.calibrated_nll_difference->mean, "calibrated_nll_difference");
      entry["calibrated_nll_difference_se"] =
          number(s.calibrated_nll_difference->standard_error, "calibrated_nll_difference_se");
    }
    add_token_scores(entry, s.nll);
    rows.push_back(std::move(entry));
  }
  json report{{"model", result.model.empty() ? json(nullptr) : json(result.model)},
              {"parameters", result.model.empty() ? json(nullptr) : json(result.parameters)},
              {result.example_name, result.examples},
              {"activation_bytes", result.activation_bytes},
              {"resident_bytes", result.resident_bytes},
              {"full_precision", nullptr},
              {"full_precision_calibrated", nullptr},
              {"rows", std::move(rows)}};
  if (result.full_precision) {
    const score_row& full = *result.full_precision;
    name = "full precision";
    report["full_precision"] = {
        {"nll", number(full.nll, "nll")},          {"err", number(full.err, "err")},
        {"ece", number(full.ece, "ece")},          {"brier", number(full.brier, "brier")},
        {"ece_se", number(full.ece_se, "ece_se")}, {"confidence_gap", number(full.confidence_gap, "confidence_gap")}};
    add_token_scores(report["full_precision"], full.nll);
    if (full.calibrated) {
      report["full_precision_calibrated"] = {{"temperature", number(full.calibrated->temperature, "temperature")},
                                             {"nll", number(full.calibrated->nll, "nll")},
                                             {"ece", number(full.calibrated->ece, "ece")},
                                             {"ece_se", number(full.calibrated->ece_se, "ece_se")},
                                             {"brier", number(full.calibrated->brier, "brier")}};
    }
  }
  return report;
}

std::string to_csv(const nlohmann::ordered_json& report) {
  std::string text =
      "method,bits,members,nll,err,ece,brier,ece_se,confidence_gap,ambiguity,mean_member_nll,"
      "mean_member_err,nll_difference,nll_difference_se,rtn_nll_difference,rtn_nll_difference_se,temperature,"
      "calibrated_nll,calibrated_ece,calibrated_ece_se,"
      "bits_per_weight,total_bytes,seed,system,granularity,range,coupling,complete_block";
  // What only some programs know.
  const auto has_column = [&](const char* name) {
    return report["full_precision"].contains(name) || (!report["rows"].empty() && report["rows"][0].contains(name));
  };
  for (const char* name : {"perplexity", "bits_per_token", "member_bits_per_weight", "validation_nll"}) {
    text += has_column(name) ? fmt::format(",{}", name) : std::string();
  }
  text += '\n';
  const auto line = [&](const nlohmann::ordered_json& row) {
    const std::size_t names_end = text.find('\n');
    const std::string names = text.substr(0, names_end);
    for (std::size_t first = 0; first < names.size();) {
      const std::size_t end = std::min(names.find(',', first), names.size());
      const auto field = row.find(names.substr(first, end - first));
      if (field != row.end() && !field->is_null()) {
        text += field->is_string() ? field->get<std::string>() : field->dump();
      }
      text += end == names.size() ? '\n' : ',';
      first = end + 1;
    }
  };
  if (!report["full_precision"].is_null()) {
    nlohmann::ordered_json full = report["full_precision"];
    full["method"] = "full_precision";
    if (!report["full_precision_calibrated"].is_null()) {
      full["temperature"] = report["full_precision_calibrated"]["temperature"];
      full["calibrated_nll"] = report["full_precision_calibrated"]["nll"];
      full["calibrated_ece"] = report["full_precision_calibrated"]["ece"];
      full["calibrated_ece_se"] = report["full_precision_calibrated"]["ece_se"];
    }
    line(full);
  }
  for (const auto& row : report["rows"]) {
    line(row);
  }
  return text;
}

std::string saturation_note(const std::string& system, const rounded_members::storage& stored) {
  return stored.saturated == 0
             ? std::string()
             : fmt::format("{}: {} of {} weights ({:.3g} %) lie beyond their grid and are clipped\n", system,
                           stored.saturated, stored.weights,
                           100.0 * static_cast<double>(stored.saturated) / static_cast<double>(stored.weights));
}

std::string to_table(const evaluation& result) {
  const auto any_row = [&](const auto& has) { return std::any_of(result.rows.begin(), result.rows.end(), has); };
  const bool has_rtn = any_row([](const evaluation_row& row) { return row.scores.rtn_nll_difference.has_value(); });
  const bool has_storage = any_row([](const evaluation_row& row) { return row.budget.has_value(); });
  const bool has_temperature = any_row([](const evaluation_row& row) { return row.scores.calibrated.has_value(); });
  // A column of differences, 17 wide, or nothing.
  const auto difference = [](bool is_shown, const auto& content) {
    return is_shown ? fmt::format("{:<16} ", content) : std::string();
  };
  const auto signed_pair = [](const std::optional<mean_and_error>& pair) {
    // Without the sign that a NaN may have.
    const auto plain = [](double value) { return std::isnan(value) ? std::abs(value) : value; };
    return pair ? fmt::format("{:+.4f} +-{:.4f}", plain(pair->mean), plain(pair->standard_error)) : std::string();
  };
  const bool has_reference = result.full_precision.has_value();
  const auto name_of_row = [&](const evaluation_row& row) {
    const bool is_ambiguous = any_row([&](const evaluation_row& other) { return are_variants(row, other); });
    return label_of(row) + (is_ambiguous ? settings_of(row) : std::string());
  };
  std::size_t width = 14;  // of "full precision"
  for (const evaluation_row& row : result.rows) {
    width = std::max(width, name_of_row(row).size());
  }
  const auto of_token = [&](const auto& first, const auto& second) {
    return result.token_name.empty() ? std::string() : fmt::format("{:>7} {:>6} ", first, second);
  };
  std::string table = fmt::format("{:<{}} {:>3}  {:<6} {}{}{}{:>6}  {:<14} {:>6} {:<6} {:<6} {}\n", "", width, "S",
                                  "NLL", of_token("perpl.", "bits"), difference(has_reference, "- full precision"),
                                  difference(has_rtn, "- RTN"), "ERR %", "ECE", "gap", "Brier", "ambig.", "a member's");
  std::string more =
      fmt::format("{:<{}} {:>3}  ", "", width, "S") +
      (has_storage ? fmt::format("{:>8} {:>8}  ", "bits/w", "MiB") : std::string()) +
      fmt::format("{:>5}  {:<6} {}{}\n", "T", "NLL", difference(has_reference, "- full precision"), "ECE");
  const auto line = [&](const std::string& name, const std::string& members, const score_row& s, bool has_members,
                        const std::optional<ensemble_budget>& budget) {
    table += fmt::format("{:<{}} {:>3}  {:<6.4f} {}{}{}{:6.2f}  {:.4f}+-{:.4f} {:+.3f} {:.4f} {:<6} {}\n", name, width,
                         members, s.nll,
                         of_token(fmt::format("{:.4g}", perplexity(s.nll)), fmt::format("{:.4f}", bits(s.nll))),
                         difference(has_reference, signed_pair(s.nll_difference)),
                         difference(has_rtn, signed_pair(s.rtn_nll_difference)), 100 * s.err, s.ece, s.ece_se,
                         s.confidence_gap, s.brier, has_members ? fmt::format("{:.4f}", s.ambiguity) : "",
                         has_members ? fmt::format("{:.4f} {:.2f} %", s.mean_member_nll, 100 * s.mean_member_err) : "");
    more += fmt::format("{:<{}} {:>3}  ", name, width, members);
    if (has_storage) {
      more += budget ? fmt::format("{:8.2f} {:8.2f}  ", budget->bits_per_weight,
                                   static_cast<double>(budget->total_bytes) / (1 << 20))
                     : fmt::format("{:17}  ", "");
    }
    if (s.calibrated) {
      more += fmt::format("{:5.3f}  {:<6.4f} {}{:.4f}+-{:.4f}", s.calibrated->temperature, s.calibrated->nll,
                          difference(has_reference, signed_pair(s.calibrated_nll_difference)), s.calibrated->ece,
                          s.calibrated->ece_se);
    }
    more.erase(more.find_last_not_of(' ') + 1);
    more += '\n';
  };
  if (result.full_precision) {
    line("full precision", "1", *result.full_precision, false, std::nullopt);
  }
  for (std::size_t i = 0; i < result.rows.size(); ++i) {
    const evaluation_row& row = result.rows[i];
    const bool is_last = i + 1 == result.rows.size() || result.rows[i + 1].members <= row.members;
    if (row.seed != result.rows.front().seed || (is_ensemble(row) && !is_last && !std::has_single_bit(row.members))) {
      continue;
    }
    line(name_of_row(row), std::to_string(row.members) + (row.complete_block ? "" : "*"), row.scores, is_ensemble(row),
         row.budget);
  }
  if (!has_temperature && !has_storage) {
    return table;
  }
  return table + "\n" +
         (!has_temperature ? "What is stored:\n"
          : has_storage    ? "With one temperature T on both sides, and what is stored:\n"
                           : "With one temperature T on both sides:\n") +
         more;
}

}  // namespace pluria::examples
