// SPDX-License-Identifier: MIT
#include <pluria/calibrate/temperature.hpp>
#include <pluria/ensemble/budget.hpp>
#include <pluria/ensemble/scores.hpp>
#include <pluria/io/npy.hpp>
#include <pluria/io/replaced_file.hpp>
#include <pluria/io/safetensors_folder.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/llama.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/tensor/convert.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../examples/evaluate_llama/network_predictions.hpp"
#include "examples/program.hpp"
#include "io/gzip_file.hpp"
#include "io/temporary_folder.hpp"
#include "support/byte_llama.hpp"
#include "support/catch.hpp"
#include "support/integer_weights.hpp"

namespace {

using namespace pluria;
using namespace pluria::test;
using support::byte_llama;
namespace fs = std::filesystem;

// More than the 128 tokens that go through the network at a time, so that windows come in two pieces.
constexpr std::size_t context = 140;
constexpr std::size_t windows = 5;
constexpr std::size_t calibration_windows = 3;

// Tokens that the network finds likely: each is drawn from its predictions, with the bits of `seed`.
std::vector<std::int32_t> sampled_text(const llama<dense_matrix>& network, std::size_t count, std::uint32_t seed) {
  std::vector<std::int32_t> tokens;
  while (tokens.size() < count) {
    key_value_cache cache = network.make_cache(network.configuration().positions);
    std::int32_t token = static_cast<std::int32_t>(support::mixed(seed + 1) % 256);
    for (std::size_t i = 0; i < context && tokens.size() < count; ++i) {
      tokens.push_back(token);
      const row_major_matrix logits = network.logits(std::span(&token, 1), cache, 1);
      std::vector<double> log_probabilities(static_cast<std::size_t>(logits.cols()));
      log_softmax(std::span<const float>(logits.data(), log_probabilities.size()), log_probabilities);
      double left = support::mixed(seed + 977 * static_cast<std::uint32_t>(tokens.size())) * 0x1p-32;
      token = 0;
      while (static_cast<std::size_t>(token) + 1 < log_probabilities.size() &&
             (left -= std::exp(log_probabilities[static_cast<std::size_t>(token)])) > 0) {
        ++token;
      }
    }
  }
  return tokens;
}

std::string bytes_as_text(std::span<const std::int32_t> tokens) {
  return {tokens.begin(), tokens.end()};
}

// A folder with a model and texts, and what the program makes of them.
class workplace {
 public:
  workplace() {
    byte_llama made;
    made.positions = 150;
    support::write_byte_llama(model(), made);
    configuration = read_llama_configuration(model() + "/config.json");
    weights = load_safetensors_folder(model());
    const llama<dense_matrix> network = load_llama(weights, configuration);
    // A few tokens more than the windows take.
    text = sampled_text(network, windows * context + 7, 1);
    calibration = sampled_text(network, calibration_windows * context, 5000);
    write_file(*this / "text.txt", bytes_as_text(text));
    write_file(*this / "calibration.txt", bytes_as_text(calibration));
  }

  std::string model() const { return *this / "model"; }
  std::string operator/(const std::string& name) const { return (folder_ / name).string(); }

  program_result run(const std::string& arguments) const {
    return run_program("cd " + (folder_ / "").string() + " && " PLURIA_EVALUATE_LLAMA " " + arguments);
  }

  nlohmann::json report(const std::string& arguments) const {
    const program_result result = run("--model model --json report.json --context 140 " + arguments);
    INFO(arguments << "\n" << result.output);
    REQUIRE(result.status == 0);
    return nlohmann::json::parse(read_text(*this / "report.json"));
  }

  // Exit status 2, a message with all of `parts`, and no report.
  void check_refused(const std::string& arguments, const std::vector<std::string>& parts) const {
    const program_result result = run(arguments + " --json none.json");
    INFO(arguments << "\n" << result.output);
    CHECK(result.status == 2);
    CHECK_FALSE(fs::exists(*this / "none.json"));
    for (const std::string& part : parts) {
      CHECK(result.output.find(part) != std::string::npos);
    }
  }

  llama_configuration configuration;
  checkpoint weights;
  std::vector<std::int32_t> text;
  std::vector<std::int32_t> calibration;

 private:
  temporary_folder folder_;
};

// The tokens that are predicted.
std::vector<std::int32_t> labels_of(std::span<const std::int32_t> tokens, std::size_t count) {
  std::vector<std::int32_t> labels;
  for (std::size_t w = 0; w < count; ++w) {
    labels.insert(labels.end(), tokens.begin() + static_cast<std::ptrdiff_t>(w * context + 1),
                  tokens.begin() + static_cast<std::ptrdiff_t>((w + 1) * context));
  }
  return labels;
}

// The logits of the next token all along `count` windows, [tokens, vocabulary]: one call a window.
row_major_matrix window_logits(const checkpoint& member, const llama_configuration& configuration,
                               std::span<const std::int32_t> tokens, std::size_t count) {
  const llama<dense_matrix> network = load_llama(member, configuration);
  constexpr std::size_t predicted = context - 1;
  row_major_matrix all(static_cast<Eigen::Index>(count * predicted),
                       static_cast<Eigen::Index>(configuration.vocabulary));
  for (std::size_t w = 0; w < count; ++w) {
    key_value_cache cache = network.make_cache(predicted, cache_type::float32);
    all.middleRows(static_cast<Eigen::Index>(w * predicted), predicted) =
        network.logits(tokens.subspan(w * context, predicted), cache, predicted);
  }
  return all;
}

// sqrt(G / (G - 1) * sum of the squares of windows' sums of residuals) / n.
double error_over_windows(const std::vector<double>& a, const std::vector<double>& b) {
  const std::size_t count = a.size() / (context - 1);
  double mean_difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    mean_difference += (a[i] - b[i]) / static_cast<double>(a.size());
  }
  double squares = 0;
  for (std::size_t w = 0; w < count; ++w) {
    double sum = 0;
    for (std::size_t i = w * (context - 1); i < (w + 1) * (context - 1); ++i) {
      sum += a[i] - b[i] - mean_difference;
    }
    squares += sum * sum;
  }
  return std::sqrt(squares * static_cast<double>(count) / static_cast<double>(count - 1)) /
         static_cast<double>(a.size());
}

// Windows come in pieces, whose products may be summed in another order: logits of magnitude 10 differ by some 1e-6.
bool close(double a, double b, double tolerance = 2e-6) {
  return std::abs(a - b) < tolerance;
}

// JSON Lines of questions whose choices have one token to four.
struct asked {
  std::vector<std::int32_t> context;
  std::vector<std::vector<std::int32_t>> choices;
  std::size_t answer = 0;
};

std::vector<asked> made_questions() {
  std::vector<asked> made;
  std::uint32_t index = 0;
  const auto ids = [&](std::size_t count) {
    std::vector<std::int32_t> result;
    for (std::size_t i = 0; i < count; ++i) {
      result.push_back(static_cast<std::int32_t>(support::mixed(++index) % 256));
    }
    return result;
  };
  for (std::size_t q = 0; q < 12; ++q) {
    asked current{ids(1 + 3 * q), {}, q % 2};
    for (std::size_t c = 0; c < 2 + q % 3; ++c) {
      current.choices.push_back(ids(1 + (q + c) % 4));
    }
    made.push_back(std::move(current));
  }
  return made;
}

std::string json_lines(const std::vector<asked>& questions) {
  std::string text;
  for (const asked& current : questions) {
    const nlohmann::json line{
        {"subject", "any"}, {"context", current.context}, {"choices", current.choices}, {"answer", current.answer}};
    text += line.dump() + "\n";
  }
  return text;
}

// A member's distribution over the choices: every choice after its context in a sequence of its own.
std::vector<double> choice_distribution(const llama<dense_matrix>& network, const asked& question, bool normalized) {
  std::vector<double> weights;
  for (const std::vector<std::int32_t>& choice : question.choices) {
    std::vector<std::int32_t> all = question.context;
    all.insert(all.end(), choice.begin(), choice.end());
    key_value_cache cache = network.make_cache(all.size(), cache_type::float32);
    const row_major_matrix logits = network.logits(all, cache, all.size());
    double sum = 0;
    for (std::size_t i = question.context.size(); i < all.size(); ++i) {
      const auto row = logits.row(static_cast<Eigen::Index>(i - 1)).cast<double>().eval();
      sum += row(all[i]) - std::log(row.array().exp().sum());
    }
    weights.push_back(std::exp(normalized ? sum / static_cast<double>(choice.size()) : sum));
  }
  double total = 0;
  for (const double weight : weights) {
    total += weight;
  }
  for (double& weight : weights) {
    weight /= total;
  }
  return weights;
}

}  // namespace

TEST_CASE("evaluate_llama's scores are those of every member's logits, window after window", "[examples]") {
  const workplace place;
  const nlohmann::json report = place.report(
      "--text text.txt --calibration-text calibration.txt --bfloat16 --bits 4 --members 4 --coupling lattice:4 "
      "--seed 3 --csv rows.csv");

  const std::size_t tokens = windows * (context - 1);
  CHECK(report["model"] == "model");
  CHECK(report["tokens"] == tokens);
  CHECK(report["windows"] == windows);
  CHECK(report["unused_tokens"] == 7);
  CHECK(report["context"] == context);
  CHECK(report["token"] == "byte");
  CHECK(report["calibration_tokens"] == calibration_windows * (context - 1));
  CHECK_FALSE(report.contains("choices"));
  // The largest network has all four members.
  const std::vector<checkpoint> four(4, place.weights);
  CHECK(report["cache_bytes"] ==
        load_llama(four, place.configuration).make_cache(context, cache_type::float32).bytes());
  std::size_t parameters = 0;
  for (const tensor& current : place.weights.tensors()) {
    parameters += current.size();
  }
  CHECK(report["parameters"] == parameters);

  const std::vector<std::int32_t> labels = labels_of(place.text, windows);
  const std::vector<std::int32_t> fitted_labels = labels_of(place.calibration, calibration_windows);
  std::vector<std::int32_t> window_of;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    window_of.push_back(static_cast<std::int32_t>(i / (context - 1)));
  }
  struct both {
    scores test;
    scores fitted_on;
  };
  const both empty{scores(labels), scores(fitted_labels)};
  const auto add = [&](both& to, const checkpoint& member) {
    to.test.add(window_logits(member, place.configuration, place.text, windows));
    to.fitted_on.add(window_logits(member, place.configuration, place.calibration, calibration_windows));
  };
  both full = empty;
  add(full, place.weights);
  const double full_temperature =
      fit_temperature({full.fitted_on.prediction().log_probabilities(), 256}, fitted_labels);
  const auto tempered = [&](const both& of, double temperature) {
    const std::vector<double> raw = of.test.prediction().log_probabilities();
    return apply_temperature({raw, 256}, temperature);
  };
  const std::vector<double> full_tempered = tempered(full, full_temperature);
  const std::vector<double> full_tempered_nll = nll_per_example({full_tempered, 256}, labels);
  CHECK(close(report["full_precision"]["nll"], full.test.nll()));
  CHECK(close(report["full_precision"]["perplexity"], std::exp(full.test.nll()), 1e-4));
  CHECK(close(report["full_precision"]["ece_se"], ece_standard_error(full.test.judged_confidences(), window_of)));
  CHECK(close(report["full_precision"]["bits_per_token"], full.test.nll() / std::numbers::ln2));
  CHECK(close(report["full_precision_calibrated"]["temperature"], full_temperature, 1e-4));
  CHECK(close(report["full_precision_calibrated"]["nll"], mean(full_tempered_nll)));
  // The text was drawn from the model, which therefore is nearly calibrated, and far from uniform.
  CHECK(full_temperature > 0.8);
  CHECK(full_temperature < 1.25);
  CHECK(full.test.nll() < 0.8 * std::log(256.0));

  const auto check_row = [&](const nlohmann::json& row, const both& of) {
    CHECK(close(row["nll"], of.test.nll()));
    CHECK(close(row["perplexity"], std::exp(of.test.nll()), 1e-4));
    CHECK(close(row["err"], of.test.err()));
    CHECK(close(row["ece"], of.test.ece()));
    CHECK(close(row["ece_se"], ece_standard_error(of.test.judged_confidences(), window_of)));
    CHECK(close(row["brier"], of.test.brier()));
    CHECK(close(row["confidence_gap"], of.test.confidence_gap()));
    CHECK(close(row["ambiguity"], of.test.ambiguity()));
    CHECK(close(row["mean_member_nll"], of.test.mean_member_nll()));
    CHECK(close(row["nll_difference"], of.test.nll() - full.test.nll()));
    CHECK(close(row["nll_difference_se"], error_over_windows(of.test.nll_per_example(), full.test.nll_per_example())));
    const double temperature = fit_temperature({of.fitted_on.prediction().log_probabilities(), 256}, fitted_labels);
    CHECK(close(row["temperature"], temperature, 1e-4));
    const std::vector<double> table = tempered(of, temperature);
    const std::vector<double> nll = nll_per_example({table, 256}, labels);
    CHECK(close(row["calibrated_nll"], mean(nll)));
    const std::vector<judged_confidence> judged = judged_confidences({table, 256}, labels);
    CHECK(close(row["calibrated_ece"], ece(judged), 1e-4));
    CHECK(close(row["calibrated_ece_se"], ece_standard_error(judged, window_of), 1e-4));
    CHECK(close(row["calibrated_nll_difference"], mean(nll) - mean(full_tempered_nll)));
    CHECK(close(row["calibrated_nll_difference_se"], error_over_windows(nll, full_tempered_nll)));
  };
  REQUIRE(report["rows"].size() == 6);
  both narrow = empty;
  add(narrow, converted(place.weights, dtype::bf16));
  CHECK(report["rows"][0]["system"] == "bfloat16");
  CHECK(report["rows"][0]["bits_per_weight"] == 16.0);
  CHECK(report["rows"][0]["total_bytes"] == 2 * parameters);
  check_row(report["rows"][0], narrow);
  const quantizer<symmetric_int<4>> int4;
  both nearest_alone = empty;
  add(nearest_alone, rounded_members(place.weights, int4, nearest{})[0]);
  CHECK(report["rows"][1]["method"] == "rtn");
  CHECK(report["rows"][1]["rtn_nll_difference"].is_null());
  check_row(report["rows"][1], nearest_alone);
  const rounded_members members(place.weights, int4, bernoulli{.seed = 3, .coupling = lattice(4)});
  both ensemble = empty;
  for (std::size_t k = 0; k < 4; ++k) {
    CAPTURE(k);
    add(ensemble, members[k]);
    const nlohmann::json& row = report["rows"][k + 2];
    CHECK(row["method"] == "bsr");
    CHECK(row["system"] == "INT-4");
    CHECK(row["granularity"] == "channel");
    CHECK(row["coupling"] == "lattice:4");
    CHECK(row["seed"] == 3);
    CHECK(row["members"] == k + 1);
    CHECK(row["complete_block"] == (k == 3));
    CHECK(row["engine"] == "float");
    CHECK(close(row["bits_per_weight"],
                storage_budget(members.packed_storage(), pluria::storage_form::packed, k + 1).bits_per_weight));
    CHECK(close(row["rtn_nll_difference"], ensemble.test.nll() - nearest_alone.test.nll()));
    CHECK(close(row["rtn_nll_difference_se"],
                error_over_windows(ensemble.test.nll_per_example(), nearest_alone.test.nll_per_example())));
    check_row(row, ensemble);
  }
  CHECK(report["rows"][5]["ambiguity"].get<double>() > 0.01);

  // Names, full precision, and the rows; the scores of tokens come last.
  const std::string csv = read_text(place / "rows.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 8);
  CHECK(csv.find("complete_block,perplexity,bits_per_token\nfull_precision,") != std::string::npos);
}

TEST_CASE("a text is the same tokens as bytes, packed bytes and ids, on any number of threads", "[examples]") {
  const workplace place;
  write_gzip(place / "text.txt.gz", bytes_as_text(place.text));
  save_npy(place / "text32.npy", {place.text.size()}, std::span<const std::int32_t>(place.text));
  const std::vector<std::int64_t> wide(place.text.begin(), place.text.end());
  save_npy(place / "text64.npy", {wide.size()}, std::span<const std::int64_t>(wide));
  const std::string arguments = " --bits 5 --members 2 --granularity group:32 --calibration-text calibration.txt ";
  const nlohmann::json one = place.report("--text text.txt --threads 1" + arguments)["rows"];
  CHECK(one == place.report("--text text.txt --threads 2" + arguments)["rows"]);
  CHECK(one == place.report("--text text.txt.gz" + arguments)["rows"]);
  CHECK(one == place.report("--tokens text32.npy" + arguments)["rows"]);
  nlohmann::json of_ids = place.report("--tokens text64.npy" + arguments);
  CHECK(one == of_ids["rows"]);
  CHECK(of_ids["token"] == "token");
  CHECK(one[2]["nll"] != place.report("--text text.txt --seed 1" + arguments)["rows"][2]["nll"]);
}

TEST_CASE("some windows of a text are spread over it, and what is left over is not used", "[examples]") {
  const workplace place;
  // Two of five: the first and the third.
  std::vector<std::int32_t> chosen(place.text.begin(), place.text.begin() + context);
  chosen.insert(chosen.end(), place.text.begin() + 2 * context, place.text.begin() + 3 * context);
  write_file(place / "two.txt", bytes_as_text(chosen));
  const std::string arguments = " --bits 4 --members 1";
  const nlohmann::json two = place.report("--text two.txt" + arguments);
  const nlohmann::json limited = place.report("--text text.txt --limit 2" + arguments);
  CHECK(two["tokens"] == 2 * (context - 1));
  CHECK(two["rows"] == limited["rows"]);
  CHECK(two["unused_tokens"] == 0);
  CHECK(limited["unused_tokens"] == place.text.size() - 2 * context);
  CHECK(two["full_precision_calibrated"].is_null());
  CHECK(two["rows"][0]["temperature"].is_null());
}

TEST_CASE("a language model's engines give the same members' scores, whatever they are stored in", "[examples]") {
  const workplace place;
  write_file(place / "questions.jsonl", json_lines(made_questions()));
  const std::string arguments =
      "--text text.txt --limit 3 --choices questions.jsonl --bits 4 --members 4 --coupling lattice:4 ";
  const nlohmann::json floats = place.report(arguments);
  const auto scored = [&](const std::string& engine, const std::string& activations) {
    const nlohmann::json report = place.report(arguments + "--engine " + engine + " --activations " + activations);
    REQUIRE(report["rows"].size() == 5);
    for (const auto& row : report["rows"]) {
      CHECK(row["engine"] == engine);
      CHECK(row["activations"] == activations);
      CHECK(row["storage"] == (row["method"] == "rtn" || engine == "packed" ? "packed"
                               : engine == "shared"                         ? "shared_floor"
                                                                            : "fixed_point"));
    }
    return report;
  };
  const auto largest_difference = [](const nlohmann::json& a, const nlohmann::json& b) {
    double largest = 0;
    for (std::size_t row = 0; row < 5; ++row) {
      const auto nll = [&](const nlohmann::json& of) { return of["rows"][row]["nll"].get<double>(); };
      largest = std::max({largest, std::abs(nll(a) - nll(b)), std::abs(nll(a["choices"]) - nll(b["choices"]))});
    }
    return largest;
  };
  const nlohmann::json packed = scored("packed", "float32");
  CHECK(largest_difference(packed, floats) < 2e-5);
  CHECK(largest_difference(scored("shared", "float32"), packed) == 0);
  const nlohmann::json int8 = scored("shared", "int8");
  CHECK(largest_difference(scored("packed", "int8"), int8) == 0);
  CHECK(largest_difference(int8, packed) > 0);
  CHECK(largest_difference(int8, packed) < 0.05);
  // Other members, of the same law.
  const nlohmann::json fixed = scored("fixed", "float32");
  CHECK(largest_difference(fixed, packed) > 1e-3);
  CHECK(fixed["rows"][4]["bits_per_weight"] == fixed["rows"][1]["bits_per_weight"]);
}

TEST_CASE("the members' distributions over the choices are averaged, not their scores of tokens", "[examples]") {
  const workplace place;
  const std::vector<asked> questions = made_questions();
  write_file(place / "questions.jsonl", json_lines(questions) + "\n");
  const quantizer<symmetric_int<4>> int4;
  const rounded_members members(place.weights, int4, bernoulli{.seed = 2});
  for (const bool normalized : {false, true}) {
    CAPTURE(normalized);
    const nlohmann::json report =
        place.report("--choices questions.jsonl --bits 4 --members 3 --seed 2 --csv rows.csv" +
                     std::string(normalized ? " --length-normalization" : ""));
    CHECK_FALSE(report.contains("tokens"));
    const nlohmann::json& choices = report["choices"];
    CHECK(choices["questions"] == questions.size());
    CHECK(choices["length_normalization"] == normalized);
    CHECK_FALSE(choices["rows"][0].contains("perplexity"));

    struct figures {
      std::vector<double> nll;
      double err = 0;
      std::vector<judged_confidence> judged;
    };
    // Of the mean of the distributions.
    const auto figures_of = [&](const std::vector<checkpoint>& of) {
      std::vector<std::vector<double>> means(questions.size());
      for (const checkpoint& member : of) {
        const llama<dense_matrix> network = load_llama(member, place.configuration);
        for (std::size_t q = 0; q < questions.size(); ++q) {
          const std::vector<double> distribution = choice_distribution(network, questions[q], normalized);
          means[q].resize(distribution.size());
          for (std::size_t c = 0; c < distribution.size(); ++c) {
            means[q][c] += distribution[c] / static_cast<double>(of.size());
          }
        }
      }
      figures result;
      for (std::size_t q = 0; q < questions.size(); ++q) {
        const auto best = std::max_element(means[q].begin(), means[q].end());
        const bool correct = static_cast<std::size_t>(best - means[q].begin()) == questions[q].answer;
        result.nll.push_back(-std::log(means[q][questions[q].answer]));
        result.err += (correct ? 0.0 : 1.0) / static_cast<double>(questions.size());
        result.judged.push_back({*best, correct});
      }
      return result;
    };
    const figures full = figures_of({place.weights});
    CHECK(close(choices["full_precision"]["nll"], mean(full.nll), 1e-5));
    std::vector<checkpoint> drawn;
    for (std::size_t k = 0; k < 3; ++k) {
      CAPTURE(k);
      drawn.push_back(members[k]);
      const figures expected = figures_of(drawn);
      const nlohmann::json& row = choices["rows"][k + 1];
      CHECK(row["members"] == k + 1);
      CHECK(close(row["nll"], mean(expected.nll), 1e-5));
      CHECK(close(row["err"], expected.err));
      CHECK(close(row["ece"], ece(expected.judged), 1e-5));
      const mean_and_error difference = paired_difference(expected.nll, full.nll);
      CHECK(close(row["nll_difference"], difference.mean, 1e-5));
      CHECK(close(row["nll_difference_se"], difference.standard_error, 1e-5));
    }
    const std::string csv = read_text(place / "rows.csv");
    CHECK(std::count(csv.begin(), csv.end(), '\n') == 6);
  }
}

TEST_CASE("logits that are kept for the passes of a temperature are those of networks that run again", "[examples]") {
  const workplace place;
  write_file(place / "ids.txt", bytes_as_text(place.calibration));
  const pluria::examples::token_windows text = pluria::examples::load_windows(
      {.text = place / "ids.txt", .tokens = {}, .limit = 0}, "--", context, place.configuration);
  const quantizer<symmetric_int<4>> int4;
  const rounded_members source(place.weights, int4, bernoulli{});
  const std::vector<checkpoint> members{source[0], source[1]};
  const llama<any_matrix> network(
      members, [&](std::string_view name) { return any_matrix(dense_matrix::load(members, name)); },
      place.configuration);
  pluria::examples::progress shown(1, "tokens");
  pluria::examples::window_predictions kept(network, text, true, 2, shown);
  pluria::examples::window_predictions again(network, text, false, 2, shown);
  const double no_floor = streaming_scores::no_floor;
  const std::vector<double> temperatures = pluria::examples::fit_temperatures(kept, no_floor, "kept");
  CHECK(temperatures == pluria::examples::fit_temperatures(again, no_floor, "again"));
  const auto scored = pluria::examples::score_source(kept, temperatures, no_floor, "kept");
  const auto scored_again = pluria::examples::score_source(again, temperatures, no_floor, "again");
  CHECK(scored.scores.ensemble(2).nll == scored_again.scores.ensemble(2).nll);
  CHECK(scored.tempered[1].nll == scored_again.tempered[1].nll);
}

TEST_CASE("evaluate_llama prints tables and what the scores mean, and draws", "[examples]") {
  const workplace place;
  write_file(place / "questions.jsonl", json_lines(made_questions()));
  const program_result result = place.run(
      "--model model/ --text text.txt --context 140 --choices questions.jsonl --bits 4 --members 2 --coupling "
      "lattice:2 "
      "--plots plots");
  INFO(result.output);
  REQUIRE(result.status == 0);
  for (const char* part : {"model: ", "695 tokens in 5 of 5 windows of 140", "perpl.", "INT-4 LPE-BSR   1*",
                           "12 questions", "bits are per byte", "teacher-forced", "standard errors are over windows",
                           "the sum over its tokens", "errors are over questions", "an incomplete block"}) {
    INFO(part);
    CHECK(result.output.find(part) != std::string::npos);
  }
  CHECK(result.output.find('\r') == std::string::npos);
  CHECK(fs::exists(place / "plots/plots.gnuplot"));
  const std::string help = place.run("--help").output;
  CHECK(help.find("uniform mixture of the members' next-token distributions") != std::string::npos);
}

TEST_CASE("evaluate_llama refuses bad arguments with exit status 2 and what it expected", "[examples]") {
  const workplace place;
  const std::string base = "--model model --context 140 --text text.txt ";
  place.check_refused("--model model", {"--text", "--choices", "none"});
  place.check_refused(base + "--tokens text.npy", {"--text and --tokens", "both"});
  place.check_refused(base + "--calibration-text a --calibration-tokens b", {"--calibration-tokens", "both"});
  place.check_refused(base + "--calibration-limit 1", {"--calibration-limit", "--calibration-text"});
  place.check_refused(base + "--length-normalization", {"--length-normalization", "--choices"});
  place.check_refused(base + "--limit 6", {"text.txt", "6 windows of 140", "found 5"});
  place.check_refused("--model model --text text.txt --context 1", {"--context", "at least 2", "found 1"});
  place.check_refused("--model model --text text.txt --context 151",
                      {"config.json", "max_position_embeddings", "151", "150"});
  place.check_refused(base + "--bits 9", {"--bits", "2..8", "9"});
  place.check_refused(base + "--members 0", {"--members", "found 0"});
  place.check_refused(base + "--engine shared --members 65", {"--engine shared", "1..64", "65"});
  place.check_refused(base + "--no-such-option", {"no-such-option"});
  place.check_refused("--model none --text text.txt", {"none: cannot be opened", "no such file or folder"});
  place.check_refused("--model model --context 140 --text none.txt", {"none.txt", "No such file"});
  write_file(place / "short.txt", std::string(139, 'a'));
  place.check_refused("--model model --context 140 --text short.txt", {"short.txt", "140 tokens", "found 139"});
  place.check_refused(base + "--calibration-text short.txt", {"short.txt", "140 tokens", "found 139"});

  std::vector<std::int32_t> ids = place.text;
  ids[17] = 256;
  save_npy(place / "high.npy", {ids.size()}, std::span<const std::int32_t>(ids));
  place.check_refused("--model model --context 140 --tokens high.npy", {"high.npy", "index 17", "0..255", "256"});
  ids[17] = -1;
  save_npy(place / "low.npy", {ids.size()}, std::span<const std::int32_t>(ids));
  place.check_refused("--model model --context 140 --tokens low.npy", {"low.npy", "index 17", "0..255", "-1"});
  save_npy(place / "table.npy", {2, 3}, std::span<const std::int32_t>(ids).first(6));
  place.check_refused("--model model --context 140 --tokens table.npy", {"table.npy", "[N]", "[2, 3]"});
  save_npy(place / "floats.npy", {3}, std::vector<float>(3));
  place.check_refused("--model model --context 140 --tokens floats.npy", {"floats.npy", "integers", "F32"});
}

TEST_CASE("evaluate_llama names file and place of a model that will not do", "[examples]") {
  const workplace place;
  byte_llama wide;
  wide.vocabulary = 300;
  support::write_byte_llama(place / "wide", wide);
  place.check_refused("--model wide --context 20 --text text.txt", {"wide/config.json", "vocab_size", "256", "300"});

  const auto changed_configuration = [&](const std::string& name, const nlohmann::json& changes) {
    fs::copy(place / "model", place / name);
    nlohmann::json fields = nlohmann::json::parse(read_text(place / "model/config.json"));
    fields.update(changes);
    write_file((place / name) + "/config.json", fields.dump());
  };
  changed_configuration("mistral", {{"model_type", "mistral"}, {"architectures", {"MistralForCausalLM"}}});
  place.check_refused("--model mistral --text text.txt", {"mistral/config.json", "model_type", "llama", "mistral"});

  const auto changed_weights = [&](const std::string& name, const auto& change) {
    fs::copy(place / "model", place / name);
    checkpoint changed("", place.weights.metadata());
    for (const tensor& current : place.weights.tensors()) {
      change(changed, current);
    }
    save_safetensors(changed, (place / name) + "/model.safetensors");
  };
  changed_weights("missing", [](checkpoint& changed, const tensor& current) {
    if (current.name() != "model.layers.1.mlp.up_proj.weight") {
      changed.add(current);
    }
  });
  place.check_refused("--model missing --context 140 --text text.txt",
                      {"missing/model.safetensors", "model.layers.1.mlp.up_proj.weight", "not found"});
  changed_weights("nan", [](checkpoint& changed, const tensor& current) {
    std::vector<float> values = current.to_floats();
    if (current.name() == "lm_head.weight") {
      values[77] = std::numeric_limits<float>::quiet_NaN();
    }
    changed.add(tensor::from_floats(current.name(), current.shape(), values));
  });
  place.check_refused("--model nan --context 140 --text text.txt",
                      {"nan/model.safetensors", "lm_head.weight", "index 77", "finite", "nan"});
}

TEST_CASE("evaluate_llama names the line of a question that will not do", "[examples]") {
  const workplace place;
  const std::string good = R"({"context": [1], "choices": [[2], [3]], "answer": 0})";
  const auto check = [&](const std::string& line, const std::vector<std::string>& parts) {
    write_file(place / "questions.jsonl", good + "\n\n" + line + "\n" + good + "\n");
    std::vector<std::string> all = parts;
    all.emplace_back("questions.jsonl: line 3");
    place.check_refused("--model model --choices questions.jsonl", all);
  };
  check(R"({"context": [1], "choices": [[2], [3]], )", {"JSON object", "no JSON"});
  check("[1, 2]", {"JSON object", "array"});
  check(R"({"choices": [[2], [3]], "answer": 0})", {"\"context\"", "not found"});
  check(R"({"context": [], "choices": [[2], [3]], "answer": 0})", {"\"context\"", "at least one", "[]"});
  check(R"({"context": [1, "a"], "choices": [[2], [3]], "answer": 0})", {"\"context\"[1]", "token id", "\"a\""});
  check(R"({"context": [1, 2.5], "choices": [[2], [3]], "answer": 0})", {"\"context\"[1]", "token id", "2.5"});
  check(R"({"context": [256], "choices": [[2], [3]], "answer": 0})", {"\"context\"[0]", "0..255", "256"});
  check(R"({"context": [18446744073709551615], "choices": [[2], [3]], "answer": 0})",
        {"\"context\"[0]", "token id", "18446744073709551615"});
  check(R"({"context": [1], "choices": [[2]], "answer": 0})", {"\"choices\"", "two"});
  check(R"({"context": [1], "choices": [[2], [3, -4]], "answer": 0})", {"\"choices\"[1][1]", "0..255", "-4"});
  check(R"({"context": [1], "choices": [[2], []], "answer": 0})", {"\"choices\"[1]", "at least one"});
  check(R"({"context": [1], "choices": [[2], [3]], "answer": 2})", {"\"answer\"", "0..1", "2"});
  check(R"({"context": [1], "choices": [[2], [3]], "answer": -1})", {"\"answer\"", "0..1", "-1"});
  const std::vector<std::int32_t> most(149, 7);
  const nlohmann::json fits{{"context", most}, {"choices", {{1, 2}, {3}}}, {"answer", 0}};
  write_file(place / "questions.jsonl", fits.dump());
  CHECK(place.run("--model model --choices questions.jsonl --bits 4 --members 1").status == 0);
  const nlohmann::json long_one{{"context", most}, {"choices", {{1, 2, 3}, {3}}}, {"answer", 0}};
  check(long_one.dump(), {"at most 151 tokens", "config.json", "found 152"});
  write_file(place / "questions.jsonl", "\n");
  place.check_refused("--model model --choices questions.jsonl", {"questions.jsonl", "at least one question"});
}
