// SPDX-License-Identifier: MIT
#pragma once
// A rule decides for every tensor of a checkpoint, by name and shape, whether it stays as it is or which quantizer
// rounds it: different number systems and widths for different tensors. A single quantizer is the rule "this one for
// all".

#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace pluria {

/// What is quantized unless a rule says otherwise: tensors of two or more dimensions whose name ends in ".weight",
/// except token embeddings (and heads tied to them, which are the same tensor). Biases, norms, class token and position
/// embeddings stay as they are.
inline bool quantized_by_default(std::string_view name, std::span<const std::size_t> shape) {
  // The token and position embeddings of transformers' BERT, GPT-2, OPT, CLIP, LLaMA and T5, and of GGUF.
  constexpr std::array<std::string_view, 12> embeddings{
      "embed_tokens.weight",    "word_embeddings.weight",     "token_embedding.weight",
      "tok_embeddings.weight",  "token_embd.weight",          "wte.weight",
      "shared.weight",          "position_embeddings.weight", "position_embedding.weight",
      "embed_positions.weight", "position_embd.weight",       "wpe.weight"};
  if (shape.size() < 2 || !name.ends_with(".weight")) {
    return false;
  }
  for (const std::string_view embedding : embeddings) {
    if (name == embedding || (name.ends_with(embedding) && name[name.size() - embedding.size() - 1] == '.')) {
      return false;
    }
  }
  return true;
}

/// (name, shape) -> keep (no value) or the quantizer. `Quantizer` is any type that a single number system and
/// granularity converts to (member/any_quantizer.hpp).
template <class Quantizer>
class basic_rule {
 public:
  using decision = std::optional<Quantizer>;
  using function = std::function<decision(std::string_view name, std::span<const std::size_t> shape)>;

  /// Decides by any function.
  explicit basic_rule(function decide) : decide_(std::move(decide)) {}

  /// One quantizer for everything that is quantized by default.
  template <class Single>
  requires std::convertible_to<Single, Quantizer> basic_rule(
      Single single)  // NOLINT(google-explicit-constructor): a single quantizer is a rule
      : decide_([quantizer = Quantizer(std::move(single))](std::string_view name,
                                                           std::span<const std::size_t> shape) -> decision {
          return quantized_by_default(name, shape) ? decision(quantizer) : std::nullopt;
        }) {}

  decision operator()(std::string_view name, std::span<const std::size_t> shape) const { return decide_(name, shape); }

 private:
  function decide_;
};

}  // namespace pluria
