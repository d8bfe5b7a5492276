// SPDX-License-Identifier: MIT
// A LLaMA becomes an ensemble of low-precision members, scored on a text and on multiple choice beside the checkpoint
// it came from, the checkpoint with a fitted temperature, and rounding to nearest. See --help.

#include <pluria/ensemble/budget.hpp>
#include <pluria/ensemble/stored_llama.hpp>
#include <pluria/io/safetensors_folder.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/llama_configuration.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/convert.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/ensemble_options.hpp"
#include "../common/evaluation.hpp"
#include "../common/growing_table.hpp"
#include "../common/memory.hpp"
#include "../common/progress.hpp"
#include "../common/report_files.hpp"
#include "../common/streamed_scores.hpp"
#include "../common/weights.hpp"
#include "network_predictions.hpp"
#include "questions.hpp"
#include "token_windows.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

struct options {
  std::string model;
  text_options text;
  text_options calibration;
  std::size_t context = 512;
  std::string choices;
  bool length_normalization = false;
  ensemble_options ensemble;
  report_options report;
};

// What is scored, and on what temperatures are fitted.
struct inputs {
  std::optional<token_windows> text;
  std::optional<token_windows> calibration;
  std::optional<question_set> choices;

  std::size_t tokens() const {
    return (text ? text->tokens.size() : 0) + (calibration ? calibration->tokens.size() : 0) +
           (choices ? choices->tokens() : 0);
  }
};

// All members of a network over everything that is scored.
class evaluator {
 public:
  // Both tables begin as `begun`.
  evaluator(const inputs& scored, const options& chosen, const evaluation& begun, progress& shown)
      : inputs_(&scored),
        length_normalization_(chosen.length_normalization),
        threads_(chosen.ensemble.threads),
        shown_(&shown) {
    if (scored.text) {
      evaluation of_text = begun;
      of_text.examples = scored.text->labels().size();
      of_text.example_name = "tokens";
      of_text.token_name = chosen.text.text.empty() ? "token" : "byte";
      tables_.emplace_back(std::move(of_text), scored.text->groups(), threads_);
    }
    if (scored.choices) {
      evaluation of_questions = begun;
      of_questions.examples = scored.choices->questions.size();
      of_questions.example_name = "questions";
      tables_.emplace_back(std::move(of_questions), std::vector<std::int32_t>(), threads_);
    }
  }

  // The text's, where there is one, and the questions'.
  const std::vector<growing_table>& tables() const { return tables_; }

  // Calls add(table, scores of the network's members) for each of them.
  template <class Add>
  void run(const llama<any_matrix>& network, const std::string& what, const Add& add) {
    if (inputs_->text) {
      std::vector<double> temperatures;
      if (inputs_->calibration) {
        window_predictions fitted_on(network, *inputs_->calibration, true, threads_, *shown_);
        temperatures = fit_temperatures(fitted_on, streaming_scores::no_floor, what);
      }
      window_predictions next_tokens(network, *inputs_->text, false, threads_, *shown_);
      add(tables_.front(), score_source(next_tokens, std::move(temperatures), streaming_scores::no_floor, what));
    }
    if (inputs_->choices) {
      choice_predictions answers(network, *inputs_->choices, length_normalization_, threads_, *shown_);
      add(tables_.back(), score_source(answers, {}, streaming_scores::no_floor, what));
    }
    note_memory(network);
  }

  // Of all members of the largest network, per thread.
  std::size_t cache_bytes() const { return cache_bytes_; }

 private:
  void note_memory(const llama<any_matrix>& network) {
    const std::size_t longest = std::max(inputs_->text ? inputs_->text->context : 0,
                                         inputs_->choices ? inputs_->choices->longest_sequence() : 0);
    cache_bytes_ = std::max(cache_bytes_, network.make_cache(longest, evaluation_cache).bytes());
    // What llama::logits holds of a token and member: the residual stream, normalized and at last, queries and what is
    // attended, keys and values, both halves of the hidden layer, and the logits.
    const llama_configuration& c = network.configuration();
    const std::size_t floats =
        3 * c.width + 2 * (c.heads + c.key_value_heads) * c.head_width + 2 * c.hidden + c.vocabulary;
    for (growing_table& table : tables_) {
      evaluation& result = table.result();
      result.activation_bytes = std::max(
          result.activation_bytes, activation_bytes(network.members(), std::min(longest, tokens_at_once), floats));
      result.resident_bytes = std::max(result.resident_bytes, resident_bytes().value_or(0));
    }
  }

  const inputs* inputs_;
  bool length_normalization_;
  int threads_;
  progress* shown_;
  std::vector<growing_table> tables_;
  std::size_t cache_bytes_ = 0;
};

// Members on plain float32 matrices: load_llama's, in the type that stored ones have.
llama<any_matrix> float_llama(std::span<const checkpoint> members, const llama_configuration& configuration) {
  return {members, [&](std::string_view name) { return any_matrix(dense_matrix::load(members, name)); }, configuration};
}

// Members 0, ..., count - 1 as the engine runs them.
llama<any_matrix> rounded_llama(const rounded_members& members, storage_form form, std::size_t count,
                                const engine_choice& engine, const llama_configuration& configuration) {
  if (engine.is_stored) {
    return stored_llama(members, configuration, form, 0, count, engine.activations);
  }
  std::vector<checkpoint> drawn;
  for (std::size_t k = 0; k < count; ++k) {
    drawn.push_back(members[k]);
  }
  return float_llama(drawn, configuration);
}

void check_options(const options& chosen) {
  if (!chosen.text.text.empty() && !chosen.text.tokens.empty()) {
    throw bad_input("--text and --tokens: expected one of them, found both");
  }
  if (!chosen.text.is_given() && chosen.choices.empty()) {
    throw bad_input("--text, --tokens, --choices: expected one of them, found none");
  }
  if (!chosen.calibration.text.empty() && !chosen.calibration.tokens.empty()) {
    throw bad_input("--calibration-text and --calibration-tokens: expected one of them, found both");
  }
  if (chosen.calibration.is_given() && !chosen.text.is_given()) {
    throw bad_input("--calibration-text and --calibration-tokens: expected with --text or --tokens only");
  }
  if (chosen.text.limit != 0 && !chosen.text.is_given()) {
    throw bad_input("--limit: expected with --text or --tokens only");
  }
  if (chosen.calibration.limit != 0 && !chosen.calibration.is_given()) {
    throw bad_input("--calibration-limit: expected with --calibration-text or --calibration-tokens only");
  }
  if (chosen.length_normalization && chosen.choices.empty()) {
    throw bad_input("--length-normalization: expected with --choices only");
  }
  if (chosen.context < 2) {
    throw bad_input(
        mismatch_message("--context", "at least 2: a token and the one after it", std::to_string(chosen.context)));
  }
}

inputs load_inputs(const options& chosen, const llama_configuration& configuration) {
  inputs loaded;
  if (chosen.text.is_given() && chosen.context > configuration.positions) {
    throw bad_input(mismatch_message(configuration.file + ": \"max_position_embeddings\"",
                                     "at least " + std::to_string(chosen.context) + " for --context",
                                     std::to_string(configuration.positions)));
  }
  if (chosen.text.is_given()) {
    loaded.text = load_windows(chosen.text, "--", chosen.context, configuration);
  }
  if (chosen.calibration.is_given()) {
    loaded.calibration = load_windows(chosen.calibration, "--calibration-", chosen.context, configuration);
  }
  if (!chosen.choices.empty()) {
    loaded.choices = load_questions(chosen.choices, configuration);
  }
  return loaded;
}

// The name of a folder, also where it ends in a slash.
std::string last_name_of(const std::filesystem::path& path) {
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

void print_text(const inputs& scored, const evaluation& result) {
  fmt::print("{} tokens in {} of {} windows of {}", result.examples, scored.text->count(), scored.text->in_text,
             scored.text->context);
  if (scored.calibration) {
    fmt::print(", temperatures fitted on {} others", scored.calibration->labels().size());
  }
  fmt::print(
      "\n\n{}bits are per {}; teacher-forced: each is predicted from the true ones before it, by the mean of the "
      "members' "
      "next-token distributions; standard errors are over windows\n",
      to_table(result), result.token_name);
}

nlohmann::ordered_json text_report(const inputs& scored, const evaluation& result) {
  nlohmann::ordered_json report = to_json(result);
  report["token"] = result.token_name;
  report["context"] = scored.text->context;
  report["windows"] = scored.text->count();
  report["unused_tokens"] = scored.text->unused;
  report["calibration_tokens"] = scored.calibration ? scored.calibration->labels().size() : 0;
  return report;
}

void run(const options& chosen) {
  const auto started = std::chrono::steady_clock::now();
  check_options(chosen);
  const ensemble_options& wanted = chosen.ensemble;
  const ensemble_plan plan = plan_of(wanted);
  report_files files(chosen.report);

  const std::filesystem::path folder = chosen.model;
  const checkpoint weights = load_safetensors_folder(folder);
  const llama_configuration configuration =
      read_llama_configuration((std::filesystem::is_directory(folder) ? folder : folder.parent_path()) / "config.json");
  check_llama_tensors(weights, configuration);
  plan.expect_tensors(weights);
  check_finite_weights(weights);
  const inputs loaded = load_inputs(chosen, configuration);

  const std::size_t single_models = 1 + (wanted.bfloat16 ? 1 : 0) + plan.ensembles.size();
  progress shown((single_models + plan.ensembles.size() * wanted.members) * loaded.tokens(), "tokens");
  Eigen::setNbThreads(1);  // windows and questions are spread over the threads
  evaluation begun;
  begun.model = last_name_of(folder);
  begun.parameters = parameters_of(weights);
  begun.range = plan.range;
  begun.engine = wanted.engine;
  begun.activations = wanted.activations;
  evaluator over(loaded, chosen, begun, shown);

  over.run(float_llama(std::span(&weights, 1), configuration), "full precision",
           [](growing_table& table, scored_ensemble scored) { table.add_full_precision(std::move(scored)); });
  if (wanted.bfloat16) {
    const checkpoint rounded = converted(weights, dtype::bf16);
    evaluation_row row;
    row.system = "bfloat16";
    row.bits = 16;
    row.storage = "bfloat16";
    row.seed = wanted.seed;
    row.budget = ensemble_budget{1, 16.0, bytes_of(rounded)};
    over.run(float_llama(std::span(&rounded, 1), configuration), "bfloat16",
             [&](growing_table& table, scored_ensemble scored) { table.add_nearest(row, std::move(scored)); });
  }
  std::string saturated;
  for (const planned_ensemble& current : plan.ensembles) {
    const rounded_members rtn(weights, current.decide, nearest{}, wanted.threads);
    saturated += saturation_note(current.system, rtn.packed_storage());
    evaluation_row row;
    row.system = current.system;
    row.bits = current.bits;
    row.granularity = current.granularity;
    row.seed = wanted.seed;
    row.storage = name_of(storage_form::packed);
    row.budget = storage_budget(rtn.packed_storage(), storage_form::packed, 1);
    over.run(rounded_llama(rtn, storage_form::packed, 1, plan.engine, configuration), current.system + " to nearest",
             [&](growing_table& table, scored_ensemble scored) { table.add_nearest(row, std::move(scored)); });

    const rounded_members bsr(weights, current.decide, bernoulli{.seed = wanted.seed, .coupling = plan.coupling},
                              wanted.threads);
    row.coupling = plan.coupling.name();
    row.storage = name_of(plan.engine.form);
    over.run(rounded_llama(bsr, plan.engine.form, wanted.members, plan.engine, configuration),
             fmt::format("{}, {} members at once", current.system, wanted.members),
             [&](growing_table& table, const scored_ensemble& scored) {
               table.add_ensemble(row, scored, [&](evaluation_row& completed) {
                 completed.complete_block = plan.is_complete(completed.members);
                 completed.budget = storage_budget(bsr.packed_storage(), plan.engine.form, completed.members);
               });
             });
  }
  shown.clear();

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  const evaluation& first = over.tables().front().result();
  fmt::print("{}: {} parameters\n", first.model, first.parameters);
  nlohmann::ordered_json report{{"model", first.model}, {"parameters", first.parameters}};
  if (loaded.text) {
    print_text(loaded, first);
    report = text_report(loaded, first);
  }
  if (loaded.choices) {
    const evaluation& last = over.tables().back().result();
    fmt::print("{}{} questions\n\n{}", loaded.text ? "\n" : "", last.examples, to_table(last));
    fmt::print(
        "each member's log-probability of a choice, the {} over its tokens, is normalized over the choices, then "
        "members "
        "are averaged; errors are over questions\n",
        chosen.length_normalization ? "mean" : "sum");
    report["choices"] = to_json(last);
    report["choices"]["length_normalization"] = chosen.length_normalization;
  }
  report["cache_bytes"] = over.cache_bytes();
  fmt::print("{}{}", coupling_note(plan), saturated);
  const auto mebibytes = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  fmt::print(
      "engine {}, activations {}: {:.2f} MiB of activations and {:.2f} MiB of caches per thread, {:.1f} MiB "
      "resident in all\n{:.1f} s\n",
      wanted.engine, wanted.activations, mebibytes(first.activation_bytes), mebibytes(over.cache_bytes()),
      mebibytes(first.resident_bytes), seconds);
  files.write(report, loaded.text ? report : report["choices"], first, over.tables().front().reliability());
}

}  // namespace

int main(int argument_count, char** arguments) {
  options chosen;
  command_line app(
      "Turns a LLaMA into an ensemble of low-precision members, and scores it on a text and on multiple choice.\n\n"
      "A text is cut into windows; in each, every token but the first is predicted from the true ones before it "
      "(teacher forcing), by the uniform mixture of the members' next-token distributions, token by token. Of multiple "
      "choice each member gives a distribution over the choices; those are averaged.\n");
  app.add_option("--model", chosen.model,
                 "folder of transformers' LlamaForCausalLM: config.json, .safetensors (shards with their index, too)")
      .required();
  app.add_option("--text", chosen.text.text,
                 "a file whose bytes are tokens (a vocabulary of 256), packed by gzip or not");
  app.add_option("--tokens", chosen.text.tokens, "instead: token ids, integers of shape [N], .npy");
  app.add_option("--limit", chosen.text.limit, "how many windows to use, evenly spread over the text; 0: all");
  app.add_option("--calibration-text", chosen.calibration.text, "another text, that temperatures are fitted on");
  app.add_option("--calibration-tokens", chosen.calibration.tokens, "instead: its token ids");
  app.add_option("--calibration-limit", chosen.calibration.limit, "how many windows of it, evenly spread; 0: all");
  app.add_option("--context", chosen.context, "tokens of a window");
  app.add_option(
      "--choices", chosen.choices,
      "multiple choice in JSON Lines: {\"context\": [ids], \"choices\": [[ids], ...], \"answer\": i}; beside a "
      "text, --csv and --plots are of the text");
  app.add_flag("--length-normalization", chosen.length_normalization,
               "the mean log-probability of a choice's tokens counts, not their sum");
  add_options(app, chosen.ensemble);
  add_options(app, chosen.report);
  return app.run(argument_count, arguments, "evaluate_llama", [&] { run(chosen); });
}
