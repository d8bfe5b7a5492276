// SPDX-License-Identifier: MIT
#pragma once
// Multiple choice as in MMLU (Hendrycks et al., ICLR 2021, arXiv 2009.03300), in JSON Lines: one object a line with the
// token ids of a question's context, those of every choice, and the number of the right one,
//
//   {"context": [5, 17, 3], "choices": [[8], [9, 2]], "answer": 1}
//
// Other fields are left alone.

#include <pluria/core/error.hpp>
#include <pluria/io/unpacked_bytes.hpp>
#include <pluria/nn/llama_configuration.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "token_windows.hpp"

namespace pluria::examples {

/// One line.
struct question {
  std::vector<std::int32_t> context;
  std::vector<std::vector<std::int32_t>> choices;
  std::int32_t answer = 0;

  /// Positions that the context and the longest choice take, without its last token, which has nothing to predict.
  std::size_t positions() const {
    std::size_t longest = 0;
    for (const auto& choice : choices) {
      longest = std::max(longest, choice.size());
    }
    return context.size() + longest - 1;
  }

  /// That go through the network.
  std::size_t tokens() const {
    std::size_t count = context.size();
    for (const auto& choice : choices) {
      count += choice.size() - 1;
    }
    return count;
  }
};

/// All questions of a file.
struct question_set {
  std::string file;
  std::vector<question> questions;

  std::vector<std::int32_t> labels() const {
    std::vector<std::int32_t> result;
    for (const question& current : questions) {
      result.push_back(current.answer);
    }
    return result;
  }

  std::size_t tokens() const {
    std::size_t count = 0;
    for (const question& current : questions) {
      count += current.tokens();
    }
    return count;
  }

  std::size_t longest_sequence() const {
    std::size_t longest = 0;
    for (const question& current : questions) {
      longest = std::max(longest, current.positions());
    }
    return longest;
  }
};

namespace detail {

inline std::vector<std::int32_t> read_token_ids(const nlohmann::json& ids, const std::string& where,
                                                const llama_configuration& configuration) {
  if (!ids.is_array() || ids.empty()) {
    throw bad_input(mismatch_message(where, "an array of token ids, at least one", ids.dump()));
  }
  std::vector<std::int32_t> result;
  for (const nlohmann::json& id : ids) {
    const std::string place = where + "[" + std::to_string(result.size()) + "]";
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<std::uint64_t>() >> 63 != 0)) {
      throw bad_input(mismatch_message(place, "a token id", id.dump()));
    }
    result.push_back(token_id(id.get<std::int64_t>(), place, configuration));
  }
  return result;
}

inline question read_question(std::string_view line, const std::string& where,
                              const llama_configuration& configuration) {
  const nlohmann::json content = nlohmann::json::parse(line, nullptr, false);
  if (!content.is_object()) {
    throw bad_input(
        mismatch_message(where, "a JSON object with \"context\", \"choices\" and \"answer\"",
                         content.is_discarded() ? "no JSON" : "a JSON " + std::string(content.type_name())));
  }
  const auto field = [&](const char* name) -> const nlohmann::json& {
    const auto found = content.find(name);
    if (found == content.end()) {
      throw bad_input(where + ": \"" + name + "\": expected, not found");
    }
    return *found;
  };
  question result;
  result.context = read_token_ids(field("context"), where + ": \"context\"", configuration);
  const nlohmann::json& choices = field("choices");
  if (!choices.is_array() || choices.size() < 2) {
    throw bad_input(mismatch_message(where + ": \"choices\"", "an array of two choices or more", choices.dump()));
  }
  for (const nlohmann::json& choice : choices) {
    const std::string place = where + ": \"choices\"[" + std::to_string(result.choices.size()) + "]";
    result.choices.push_back(read_token_ids(choice, place, configuration));
  }
  const nlohmann::json& answer = field("answer");
  if (!answer.is_number_unsigned() || answer >= choices.size()) {
    throw bad_input(mismatch_message(where + ": \"answer\"", "an integer in 0.." + std::to_string(choices.size() - 1),
                                     answer.dump()));
  }
  result.answer = answer.get<std::int32_t>();
  if (result.positions() > configuration.positions) {
    throw bad_input(mismatch_message(
        where + ": context and longest choice",
        "at most " + std::to_string(configuration.positions + 1) + " tokens for the positions of " + configuration.file,
        std::to_string(result.positions() + 1)));
  }
  return result;
}

}  // namespace detail

/// The questions in a file of JSON Lines, packed by gzip or not; empty lines are skipped. Throws bad_input, naming
/// file, line and place, for a line that is no such object, a token that the network does not know, and a question
/// longer than its positions.
inline question_set load_questions(const std::string& file, const llama_configuration& configuration) {
  question_set result{file, {}};
  const std::vector<std::uint8_t> bytes = load_unpacked(file);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::size_t number = 1;
  for (std::size_t first = 0; first < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', first), text.size());
    const std::string_view line = text.substr(first, end - first);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      result.questions.push_back(detail::read_question(line, file + ": line " + std::to_string(number), configuration));
    }
    first = end + 1;
  }
  if (result.questions.empty()) {
    throw bad_input(mismatch_message(file, "at least one question", "none"));
  }
  return result;
}

}  // namespace pluria::examples
