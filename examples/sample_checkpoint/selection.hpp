// SPDX-License-Identifier: MIT
#pragma once
// Which tensors of a checkpoint are rounded, and to how many bits, as patterns of names.

#include <pluria/core/error.hpp>
#include <pluria/quantize/rule.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <regex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../common/options.hpp"

namespace pluria::examples {

/// A regular expression and what was written, for messages.
struct name_pattern {
  std::string text;
  std::regex expression;

  /// Throws bad_input, naming the option, where `text` is no ECMAScript regular expression.
  name_pattern(std::string written, const std::string& option) : text(std::move(written)) {
    try {
      expression = std::regex(text, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
      throw bad_input(mismatch_message(option, "a regular expression", "\"" + text + "\": " + error.what()));
    }
  }
  bool matches(const std::string& name) const { return std::regex_search(name, expression); }
};

/// Which tensors of a GGUF file are rounded by default: of those that all checkpoints' are, the ones that llama.cpp's
/// own quantization takes (tensor_allows_quantization in its llama-quant.cpp). Norms, gates of experts, short
/// convolutions, and the small matrices of RWKV stay, some because it cannot run them otherwise.
inline bool quantized_in_gguf_by_default(std::string_view name, std::span<const std::size_t> shape) {
  constexpr std::string_view kept[] = {"_norm.weight",
                                       "ffn_gate_inp.weight",
                                       "ffn_gate_tid2eid.weight",
                                       "altup",
                                       "laurel",
                                       "per_layer_model_proj",
                                       "token_types.weight",
                                       "ssm_conv1d",
                                       "shortconv.conv",
                                       "indexer.k_proj",
                                       "indexer.q_proj",
                                       "time_mix_first",
                                       "time_mix_w0",
                                       "time_mix_w1",
                                       "time_mix_w2",
                                       "time_mix_v0",
                                       "time_mix_v1",
                                       "time_mix_v2",
                                       "time_mix_a0",
                                       "time_mix_a1",
                                       "time_mix_a2",
                                       "time_mix_g1",
                                       "time_mix_g2",
                                       "time_mix_decay_w",
                                       "time_mix_lerp_fused",
                                       "attn_rel_b.weight",
                                       "sam.pos_embd",
                                       "sam.neck.",
                                       "sam.net_",
                                       ".rel_pos",
                                       ".patch_embd",
                                       ".patch_merger",
                                       "a.rvq.codebook",
                                       "mm.a.code_embd"};
  return quantized_by_default(name, shape) &&
         std::none_of(std::begin(kept), std::end(kept),
                      [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

/// Decides, tensor by tensor, and finds patterns that matched nothing.
class selection {
 public:
  using default_rule = bool (*)(std::string_view name, std::span<const std::size_t> shape);

  /// `bits_for` are REGEX=BITS, of which the first that matches counts; bits are in 2..8. `by_default` decides where
  /// nothing is included by name. Throws bad_input, naming the option.
  selection(const std::string& include, const std::string& exclude, int bits, const std::vector<std::string>& bits_for,
            default_rule by_default = quantized_by_default)
      : by_default_(by_default), bits_(bits) {
    if (!include.empty()) {
      include_.emplace(include, "--include");
    }
    if (!exclude.empty()) {
      exclude_.emplace(exclude, "--exclude");
    }
    for (const std::string& text : bits_for) {
      const std::size_t equals = text.rfind('=');
      if (equals == std::string::npos) {
        throw bad_input(mismatch_message("--bits-for", "REGEX=BITS", "\"" + text + "\""));
      }
      const auto wanted = static_cast<int>(parse_number(text.substr(equals + 1), "--bits-for", 2, 8));
      widths_.push_back({name_pattern(text.substr(0, equals), "--bits-for"), wanted});
    }
  }

  /// The bits of a tensor, or nothing where it stays as it is: without --include what is quantized by default, else
  /// whatever matches and has two or more dimensions.
  std::optional<int> operator()(const std::string& name, const tensor_shape& shape) {
    const bool included = include_ ? shape.size() >= 2 && include_->matches(name) : by_default_(name, shape);
    const bool excluded = exclude_ && exclude_->matches(name);
    includes_any_ = includes_any_ || included;
    excludes_any_ = excludes_any_ || excluded;
    if (!included || excluded) {
      return std::nullopt;
    }
    rounds_any_ = true;
    int bits = bits_;
    for (std::size_t i = widths_.size(); i-- > 0;) {
      if (widths_[i].pattern.matches(name)) {
        bits = widths_[i].bits;
        widths_[i].matched = true;
      }
    }
    return bits;
  }

  /// After all tensors: throws bad_input where a pattern matched none, or nothing is left to round.
  void expect_matches() const {
    const auto unmatched = [](const std::string& option, const name_pattern& pattern, const char* what) {
      throw bad_input(mismatch_message(option + " \"" + pattern.text + "\"", what, "none of that name"));
    };
    if (include_ && !includes_any_) {
      unmatched("--include", *include_, "at least one tensor of two or more dimensions with weights");
    }
    if (exclude_ && !excludes_any_) {
      unmatched("--exclude", *exclude_, "at least one tensor");
    }
    for (const width& current : widths_) {
      if (!current.matched) {
        unmatched("--bits-for", current.pattern, "at least one rounded tensor");
      }
    }
    if (!rounds_any_) {
      throw bad_input(mismatch_message("tensors to round", "at least one (see --include)", "none"));
    }
  }

 private:
  struct width {
    name_pattern pattern;
    int bits;
    bool matched = false;
  };

  default_rule by_default_;
  std::optional<name_pattern> include_;
  std::optional<name_pattern> exclude_;
  int bits_;
  std::vector<width> widths_;
  bool includes_any_ = false;
  bool excludes_any_ = false;
  bool rounds_any_ = false;
};

}  // namespace pluria::examples
