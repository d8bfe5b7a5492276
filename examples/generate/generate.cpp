// SPDX-License-Identifier: MIT
// Continues a prompt with the mean next-token distribution of an ensemble of low-precision members, and shows how
// sensitive each token is to the rounding of the weights. See --help.

#include <pluria/ensemble/predictive.hpp>
#include <pluria/ensemble/stored_llama.hpp>
#include <pluria/io/replaced_file.hpp>
#include <pluria/io/safetensors_folder.hpp>
#include <pluria/member/identity.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/llama.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../common/command_line.hpp"
#include "../common/ensemble_options.hpp"
#include "../common/options.hpp"
#include "../common/weights.hpp"
#include "characters.hpp"
#include "shading.hpp"
#include "token_sampling.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

struct options {
  std::string model;
  std::optional<std::string> prompt;
  std::optional<std::string> prompt_tokens;
  std::size_t tokens = 200;
  ensemble_options ensemble{.bits = "4",
                            .granularity = "group:32",
                            .coupling = "lattice:8",
                            .engine = "shared",
                            .activations = ""};  // int8 where members are stored
  token_sampling sampling;
  std::uint64_t sampling_seed = 0;
  std::string colour = "auto";
  std::string json;
};

// A model with so many tokens is taken for one of bytes: token and byte are the same.
constexpr std::size_t byte_vocabulary = 256;

// What the members say of the next token, entropies in nats (metrics/uncertainty.hpp).
struct next_token {
  std::vector<double> log_probabilities;  // of the mean
  double entropy = 0.0;
  double expected_entropy = 0.0;
  double mutual_information = 0.0;
};

next_token mean_of_members(const row_major_matrix& logits) {
  const auto vocabulary = static_cast<std::size_t>(logits.cols());
  predictive mean(1, vocabulary);
  for (Eigen::Index m = 0; m < logits.rows(); ++m) {
    mean.add(0, std::span<const float>(logits.row(m).data(), vocabulary));
  }
  return {mean.log_probabilities(), mean.entropies()[0], mean.mean_member_entropies()[0], mean.mutual_information()[0]};
}

// A token that was chosen, and what was said of it.
struct generated_token {
  std::int32_t id = 0;
  double probability = 0.0;  // in the mean, before temperature and top-p
  double entropy = 0.0;
  double expected_entropy = 0.0;
  double mutual_information = 0.0;
};

struct generation {
  std::vector<generated_token> tokens;
  bool ended = false;  // by an end token, which is the last one
  double prefill_seconds = 0.0;
  double decode_seconds = 0.0;
};

double mean_over(const std::vector<generated_token>& tokens, double generated_token::*value) {
  double sum = 0.0;
  for (const generated_token& token : tokens) {
    sum += token.*value;
  }
  return sum / static_cast<double>(tokens.size());
}

// Standard output. A byte model's bytes go into a file or pipe as they are; a terminal, which could take them for
// commands, is shown characters.
class text_output {
 public:
  text_output(bool is_bytes, bool is_coloured)
      : is_bytes_(is_bytes), is_coloured_(is_coloured), is_terminal_(isatty(STDOUT_FILENO) == 1) {}

  void add(std::int32_t id, double mutual_information) {
    if (!is_bytes_) {
      write((is_first_ ? "" : ",") + in_shade(std::to_string(id), mutual_information));
    } else if (is_coloured_ || is_terminal_) {
      show(assembler_.add(static_cast<char>(id), mutual_information));
    } else {
      write(std::string(1, static_cast<char>(id)));
    }
    is_first_ = false;
    if (is_terminal_) {
      std::fflush(stdout);
    }
  }

  void finish() {
    show(assembler_.finish());
    write("\n");
    std::fflush(stdout);
  }

 private:
  void show(const std::vector<character>& complete) {
    for (const character& current : complete) {
      if (current.bytes == "\n") {
        // A shade that a line ends in would reach to the edge of some terminals: a blank has it.
        write((is_coloured_ && shade_of(current.value) != nullptr ? shaded(" ", current.value) : "") + "\n");
      } else {
        const bool can_be_shown = current.is_utf8 && (!is_control(current) || current.bytes == "\t");
        write(in_shade(can_be_shown ? current.bytes : escaped(current.bytes), current.value));
      }
    }
  }

  std::string in_shade(const std::string& text, double mutual_information) const {
    return is_coloured_ ? shaded(text, mutual_information) : text;
  }

  static void write(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

  bool is_bytes_;
  bool is_coloured_;
  bool is_terminal_;
  bool is_first_ = true;
  character_assembler assembler_;
};

bool is_coloured(std::string_view choice) {
  if (choice != "auto" && choice != "always" && choice != "never") {
    throw bad_input(mismatch_message("--colour", "auto, always or never", "\"" + std::string(choice) + "\""));
  }
  if (choice != "auto") {
    return choice == "always";
  }
  const char* const refused = std::getenv("NO_COLOR");
  const char* const terminal = std::getenv("TERM");
  return isatty(STDOUT_FILENO) == 1 && (refused == nullptr || *refused == '\0') &&
         (terminal == nullptr || std::string_view(terminal) != "dumb");
}

void check_sampling(const token_sampling& sampling) {
  if (!(sampling.temperature > 0.0 && sampling.temperature <= std::numeric_limits<double>::max())) {
    throw bad_input(mismatch_message("--temperature", "a positive number", fmt::format("{}", sampling.temperature)));
  }
  if (!(sampling.top_p > 0.0 && sampling.top_p <= 1.0)) {
    throw bad_input(mismatch_message("--top-p", "a number above 0 and at most 1", fmt::format("{}", sampling.top_p)));
  }
}

std::vector<std::int32_t> prompt_tokens(const options& chosen, const llama_configuration& network) {
  if (chosen.prompt.has_value() == chosen.prompt_tokens.has_value()) {
    throw bad_input(mismatch_message("--prompt and --prompt-tokens", "one of them", chosen.prompt ? "both" : "none"));
  }
  std::vector<std::int32_t> tokens;
  if (chosen.prompt_tokens) {
    for_each_part(*chosen.prompt_tokens, [&](std::string_view part) {
      tokens.push_back(static_cast<std::int32_t>(parse_number(part, "--prompt-tokens", 0, network.vocabulary - 1)));
    });
    return tokens;
  }
  if (network.vocabulary != byte_vocabulary) {
    throw bad_input(mismatch_message("--prompt", "a model of bytes, 256 tokens (others take --prompt-tokens)",
                                     fmt::format("{} tokens in {}", network.vocabulary, network.file)));
  }
  if (chosen.prompt->empty()) {
    throw bad_input(mismatch_message("--prompt", "a byte or more", "none"));
  }
  for (const char byte : *chosen.prompt) {
    tokens.push_back(static_cast<unsigned char>(byte));
  }
  return tokens;
}

void check_length(std::size_t prompt, std::size_t tokens, const llama_configuration& network) {
  const std::size_t room = network.positions - std::min(network.positions, prompt);
  if (tokens == 0 || tokens > room) {
    throw bad_input(mismatch_message(
        fmt::format("--tokens after a prompt of {}", prompt),
        room == 0 ? fmt::format("a shorter prompt for the {} positions of {}", network.positions, network.file)
                  : fmt::format("1..{} for the {} positions of {}", room, network.positions, network.file),
        std::to_string(tokens)));
  }
}

llama<any_matrix> load_members(const ensemble_options& chosen, const engine_choice& engine,
                               const rounded_members& members, const llama_configuration& network) {
  if (engine.is_stored) {
    return stored_llama(members, network, engine.form, 0, chosen.members, engine.activations, chosen.threads);
  }
  std::vector<checkpoint> drawn;
  for (std::size_t k = 0; k < chosen.members; ++k) {
    drawn.push_back(members[k]);
  }
  return {drawn, [&](std::string_view name) { return any_matrix(dense_matrix::load(drawn, name)); }, network};
}

// Calls chosen(token) for every token as soon as it is there, but for one that ends the text.
template <class Chosen>
generation continue_prompt(const llama<any_matrix>& network, std::span<const std::int32_t> prompt, const options& how,
                           Chosen&& chosen) {
  using clock = std::chrono::steady_clock;
  const auto seconds_since = [](clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
  };
  const std::vector<std::int32_t>& end_tokens = network.configuration().end_tokens;
  generation result;
  // The last token is chosen, but never read.
  key_value_cache cache = network.make_cache(prompt.size() + how.tokens - 1);
  const auto started = clock::now();
  row_major_matrix logits = network.logits(prompt, cache, 1, how.ensemble.threads);
  result.prefill_seconds = seconds_since(started);
  const auto decoding = clock::now();
  for (;;) {
    const std::size_t number = result.tokens.size();
    next_token next;
    try {
      next = mean_of_members(logits);
    } catch (const bad_input& error) {
      throw bad_input(fmt::format("{}: after {} tokens: {}", how.model, prompt.size() + number, error.what()));
    }
    const std::size_t id = choose_token(next.log_probabilities, how.sampling, token_uniform(how.sampling_seed, number));
    result.tokens.push_back({static_cast<std::int32_t>(id), std::exp(next.log_probabilities[id]), next.entropy,
                             next.expected_entropy, next.mutual_information});
    const generated_token& latest = result.tokens.back();
    result.ended = std::find(end_tokens.begin(), end_tokens.end(), latest.id) != end_tokens.end();
    if (!result.ended) {
      chosen(latest);
    }
    if (result.ended || result.tokens.size() == how.tokens) {
      break;
    }
    logits = network.logits(std::span(&latest.id, 1), cache, 1, how.ensemble.threads);
  }
  result.decode_seconds = seconds_since(decoding);
  return result;
}

// Tokens for each of which the network was run, in so many seconds: null where there are none.
nlohmann::ordered_json speed(std::size_t tokens, double seconds) {
  return {{"tokens", tokens},
          {"seconds", seconds},
          {"tokens_per_second", tokens == 0 ? nlohmann::ordered_json(nullptr)
                                            : nlohmann::ordered_json(static_cast<double>(tokens) / seconds)}};
}

nlohmann::ordered_json to_json(const options& chosen, const planned_ensemble& rounded_to, const any_rounding& rounding,
                               const std::vector<std::int32_t>& prompt, std::size_t vocabulary,
                               const generation& result) {
  using json = nlohmann::ordered_json;
  const bool is_bytes = vocabulary == byte_vocabulary;
  std::string text;
  json tokens = json::array();
  for (const generated_token& token : result.tokens) {
    const std::string byte(1, static_cast<char>(token.id));
    tokens.push_back({{"id", token.id},
                      {"text", is_bytes ? json(to_utf8(byte)) : json(nullptr)},
                      {"probability", token.probability},
                      {"entropy", token.entropy},
                      {"expected_entropy", token.expected_entropy},
                      {"mutual_information", token.mutual_information}});
    text += result.ended && &token == &result.tokens.back() ? std::string() : byte;
  }
  json identity = json::object();
  for (const auto& [key, value] :
       member_identity(rounding, {rounded_to.system}, {rounded_to.granularity}).metadata(0, {})) {
    identity[key] = value;
  }
  identity["pluria.member"] = json::array();
  for (std::size_t k = 0; k < chosen.ensemble.members; ++k) {
    identity["pluria.member"].push_back(std::to_string(k));
  }
  return {{"model", to_utf8(chosen.model)},
          {"vocabulary", vocabulary},
          {"bits", rounded_to.bits},
          {"members", chosen.ensemble.members},
          {"granularity", rounded_to.granularity},
          {"scales", chosen.ensemble.scales},
          {"coupling", chosen.ensemble.coupling},
          {"engine", chosen.ensemble.engine},
          {"activations", chosen.ensemble.activations},
          {"seed", chosen.ensemble.seed},
          {"identity", std::move(identity)},
          {"greedy", chosen.sampling.greedy},
          {"temperature", chosen.sampling.temperature},
          {"top_p", chosen.sampling.top_p},
          {"sampling_seed", chosen.sampling_seed},
          {"prompt_tokens", prompt},
          {"tokens", std::move(tokens)},
          {"text", is_bytes ? json(to_utf8(text)) : json(nullptr)},
          {"ended_by", result.ended ? "end token" : "number of tokens"},
          {"threads", chosen.ensemble.threads},
          {"prefill", speed(prompt.size(), result.prefill_seconds)},
          {"decode", speed(result.tokens.size() - 1, result.decode_seconds)}};
}

void run(options chosen) {
  check_sampling(chosen.sampling);
  ensemble_options& ensemble = chosen.ensemble;
  if (ensemble.activations.empty()) {
    ensemble.activations = ensemble.engine == "float" ? "float32" : "int8";
  }
  const ensemble_plan plan = plan_of(ensemble);
  if (plan.ensembles.size() != 1) {
    throw bad_input(mismatch_message("--bits", "one width in 2..8", "\"" + ensemble.bits + "\""));
  }
  const bool coloured = is_coloured(chosen.colour);
  // Whether it can be written is found before the work, not after it.
  std::optional<replaced_file> json;
  if (!chosen.json.empty()) {
    json.emplace(chosen.json);
  }

  const std::filesystem::path folder(chosen.model);
  const llama_configuration configuration = read_llama_configuration(folder / "config.json");
  const std::vector<std::int32_t> prompt = prompt_tokens(chosen, configuration);
  check_length(prompt.size(), chosen.tokens, configuration);
  Eigen::setNbThreads(1);  // with others it sums in another order: the number of threads would change bits
  const checkpoint weights = load_safetensors_folder(folder);
  check_finite_weights(weights);
  const planned_ensemble& rounded_to = plan.ensembles.front();
  const any_rounding rounding = bernoulli{.seed = ensemble.seed, .coupling = plan.coupling};
  const llama<any_matrix> network = load_members(
      ensemble, plan.engine, rounded_members(weights, rounded_to.decide, rounding, ensemble.threads), configuration);

  text_output output(configuration.vocabulary == byte_vocabulary, coloured);
  for (const std::int32_t token : prompt) {
    output.add(token, 0.0);
  }
  const generation result = continue_prompt(
      network, prompt, chosen, [&](const generated_token& token) { output.add(token.id, token.mutual_information); });
  output.finish();

  if (coloured) {
    fmt::print("{}\n", shading_legend());
  }
  // Beside the legend, or out of the way of what a pipe carries.
  fmt::print(coloured ? stdout : stderr,
             "entropy of the next token, mean of {}: {:.3f} nats = {:.3f} of the members alone + {:.3f} sensitivity to "
             "rounding\n",
             result.tokens.size(), mean_over(result.tokens, &generated_token::entropy),
             mean_over(result.tokens, &generated_token::expected_entropy),
             mean_over(result.tokens, &generated_token::mutual_information));
  std::fflush(stdout);
  const auto rate = [](std::size_t tokens, double seconds) {
    return tokens == 0 ? std::string("no tokens")
                       : fmt::format("{} tokens in {:.2f} s ({:.1f}/s)", tokens, seconds,
                                     static_cast<double>(tokens) / seconds);
  };
  fmt::print(stderr, "prefill: {}; decode: {}\n", rate(prompt.size(), result.prefill_seconds),
             rate(result.tokens.size() - 1, result.decode_seconds));
  if (json) {
    json->write(to_json(chosen, rounded_to, rounding, prompt, configuration.vocabulary, result).dump(1) + "\n");
    json->commit();
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  options chosen;
  command_line app(
      "Continues a prompt with the mean next-token distribution of an ensemble of low-precision members.\n");
  app.footer(
      "Models of bytes (vocabulary 256) take text and print bytes. Models with a tokenizer take and print token ids, "
      "and\nnone are added to them; these two lines encode and decode:\n\n"
      "  python3 -c 'from transformers import AutoTokenizer as T; "
      "print(*T.from_pretrained(\"DIR\")(\"TEXT\").input_ids, sep=\",\")'\n"
      "  python3 -c 'from transformers import AutoTokenizer as T; print(T.from_pretrained(\"DIR\").decode([IDS]))'\n\n"
      "A token that the configuration calls an end token ends the text, and is not printed.\n");
  app.add_option("--model", chosen.model, "folder of a LlamaForCausalLM: config.json and .safetensors").required();
  app.add_option("--prompt", chosen.prompt, "text, for models of bytes");
  app.add_option("--prompt-tokens", chosen.prompt_tokens, "token ids, comma-separated");
  app.add_option("--tokens", chosen.tokens, "how many to add at most");
  app.add_option("--bits", chosen.ensemble.bits, "the width of symmetric INT-b, 2..8");
  app.add_option("--members", chosen.ensemble.members, "S, the number of members");
  app.add_option("--granularity", chosen.ensemble.granularity, "what shares a scale: channel, tensor or group:G");
  app.add_option("--scales", chosen.ensemble.scales,
                 "what a scale is stored as: float32, or float16 (4, 5 and 8 bits)");
  app.add_option("--coupling", chosen.ensemble.coupling, "of the members: independent or lattice:L");
  app.add_option("--engine", chosen.ensemble.engine,
                 "shared, packed, fixed: members as they are stored; float: as float32 checkpoints");
  app.add_option("--activations", chosen.ensemble.activations,
                 "int8, one scale a token, or float32; if not given: int8, and float32 with --engine float");
  app.add_option("--temperature", chosen.sampling.temperature, "of the mean distribution");
  app.add_option("--top-p", chosen.sampling.top_p,
                 "only the most probable tokens that hold so much of the mean distribution, after the temperature");
  app.add_flag("--greedy", chosen.sampling.greedy, "the most probable token, without temperature, top-p and seed");
  app.add_option("--seed", chosen.ensemble.seed, "decides the rounding of every member");
  app.add_option("--sampling-seed", chosen.sampling_seed, "decides, with its number, every token");
  app.add_option("--threads", chosen.ensemble.threads, "0: all cores").non_negative();
  app.add_option("--colour", chosen.colour,
                 "shade tokens by their sensitivity to rounding: auto (on a terminal), always or never");
  app.add_option("--json", chosen.json, "write every token's probability and entropies, and all settings, as JSON");
  return app.run(argument_count, arguments, "generate", [&] { run(chosen); });
}
