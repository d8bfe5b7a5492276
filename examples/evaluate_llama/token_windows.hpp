// SPDX-License-Identifier: MIT
#pragma once
// A text as windows of tokens. In each window every token but the first is predicted from the true ones before it.

#include <pluria/core/error.hpp>
#include <pluria/io/unpacked_bytes.hpp>
#include <pluria/nn/llama_configuration.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../common/integer_arrays.hpp"

namespace pluria::examples {

/// Whole windows of `context` tokens, side by side in the text unless only some of them are used.
struct token_windows {
  std::string file;
  std::size_t context = 0;
  std::vector<std::int32_t> tokens;
  std::size_t unused = 0;   ///< tokens of the text in no window that is used
  std::size_t in_text = 0;  ///< windows that the text has

  std::size_t count() const { return tokens.size() / context; }
  /// Which of the text's windows the one of an index is. Evenly spread, as a text's beginning is of few documents.
  std::size_t number(std::size_t index) const { return index * in_text / count(); }
  std::span<const std::int32_t> window(std::size_t index) const {
    return std::span(tokens).subspan(index * context, context);
  }

  /// The tokens that are predicted, window after window.
  std::vector<std::int32_t> labels() const {
    std::vector<std::int32_t> result;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i % context != 0) {
        result.push_back(tokens[i]);
      }
    }
    return result;
  }

  /// The window of each of them.
  std::vector<std::int32_t> groups() const {
    std::vector<std::int32_t> result;
    for (std::size_t i = 0; i < labels_per_window() * count(); ++i) {
      result.push_back(static_cast<std::int32_t>(i / labels_per_window()));
    }
    return result;
  }

  std::size_t labels_per_window() const { return context - 1; }
};

/// Where a text comes from: bytes, which are its tokens, or token ids; one of them or none.
struct text_options {
  std::string text;
  std::string tokens;
  std::size_t limit = 0;  ///< windows; 0: all

  bool is_given() const { return !text.empty() || !tokens.empty(); }
};

/// Throws bad_input, naming file and index, unless `id` is a token of the vocabulary.
inline std::int32_t token_id(std::int64_t id, const std::string& where, const llama_configuration& configuration) {
  if (id < 0 || static_cast<std::uint64_t>(id) >= configuration.vocabulary) {
    throw bad_input(mismatch_message(where,
                                     "a token id in 0.." + std::to_string(configuration.vocabulary - 1) +
                                         ", the vocabulary of " + configuration.file,
                                     std::to_string(id)));
  }
  return static_cast<std::int32_t>(id);
}

/// The windows of a text; `prefix` is what its options' names begin with: "--" or "--calibration-". Throws bad_input,
/// naming the file, for a token that the network does not know, and for fewer tokens than a window or `limit` windows
/// take.
inline token_windows load_windows(const text_options& chosen, const std::string& prefix, std::size_t context,
                                  const llama_configuration& configuration) {
  token_windows result{chosen.text.empty() ? chosen.tokens : chosen.text, context, {}, 0};
  if (!chosen.text.empty()) {
    if (configuration.vocabulary != 256) {
      throw bad_input(mismatch_message(configuration.file + ": \"vocab_size\"",
                                       "256, the values of a byte, for " + prefix + "text",
                                       std::to_string(configuration.vocabulary)));
    }
    const std::vector<std::uint8_t> bytes = load_unpacked(result.file);
    result.tokens.assign(bytes.begin(), bytes.end());
  } else {
    const std::vector<std::int64_t> ids = load_integers(result.file, "token ids");
    for (std::size_t i = 0; i < ids.size(); ++i) {
      result.tokens.push_back(token_id(ids[i], result.file + ": index " + std::to_string(i), configuration));
    }
  }
  const std::size_t found = result.tokens.size();
  if (found < context) {
    throw bad_input(mismatch_message(result.file, "at least " + std::to_string(context) + " tokens, one window",
                                     std::to_string(found)));
  }
  if (chosen.limit > result.count()) {
    throw bad_input(mismatch_message(
        result.file, "at least " + std::to_string(chosen.limit) + " windows of " + std::to_string(context) + " tokens",
        std::to_string(result.count())));
  }
  result.in_text = result.count();
  const std::vector<std::int32_t> text = std::move(result.tokens);
  result.tokens.resize((chosen.limit == 0 ? result.in_text : chosen.limit) * context);
  for (std::size_t i = 0; i < result.count(); ++i) {
    const auto begin = text.begin() + static_cast<std::ptrdiff_t>(result.number(i) * context);
    std::copy_n(begin, context, result.tokens.begin() + static_cast<std::ptrdiff_t>(i * context));
  }
  result.unused = found - result.tokens.size();
  return result;
}

}  // namespace pluria::examples
