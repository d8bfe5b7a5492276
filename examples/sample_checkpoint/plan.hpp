// SPDX-License-Identifier: MIT
#pragma once
// What happens to every tensor of a checkpoint: which are rounded, to how many bits, and what that makes of its size.

#include <pluria/core/error.hpp>
#include <pluria/member/any_quantizer.hpp>
#include <pluria/quantize/rule.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "source_checkpoint.hpp"

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

/// Which tensors are rounded, and how. Patterns are searched in names.
struct selection {
  std::optional<name_pattern> include;  ///< none: what is quantized by default
  std::optional<name_pattern> exclude;
  int bits = 5;
  std::vector<std::pair<name_pattern, int>> bits_for;  ///< the first that matches
  std::string granularity = "channel";
};

/// One tensor of a shard.
struct planned_tensor {
  const tensor* source = nullptr;
  std::optional<any_quantizer> quantizer;  ///< none: it stays as it is
  dtype stored{};                          ///< of members
};

class sampling_plan {
 public:
  /// Makes quantizers by make(bits, granularity). With `as_float32`, rounded tensors are stored as F32. Throws
  /// bad_input where a pattern matches no tensor that could be rounded, or nothing is left to round.
  template <class Make>
  sampling_plan(const source_checkpoint& source, const selection& selected, bool as_float32, Make&& make) {
    std::map<int, any_quantizer> quantizers;
    std::vector<std::size_t> matches(selected.bits_for.size(), 0);
    bool includes_any = false;
    bool excludes_any = false;
    for (const source_shard& shard : source.shards()) {
      std::vector<planned_tensor>& tensors = shards_.emplace_back();
      for (const tensor& current : shard.weights.tensors()) {
        planned_tensor planned{&current, std::nullopt, current.type()};
        const bool is_matrix = is_weight_type(current.type()) && current.shape().size() >= 2 && current.size() > 0;
        const bool included = is_matrix && (selected.include ? selected.include->matches(current.name())
                                                             : quantized_by_default(current.name(), current.shape()));
        const bool excluded = selected.exclude && selected.exclude->matches(current.name());
        includes_any = includes_any || included;
        excludes_any = excludes_any || excluded;
        if (included && !excluded) {
          int bits = selected.bits;
          for (std::size_t i = selected.bits_for.size(); i-- > 0;) {
            if (selected.bits_for[i].first.matches(current.name())) {
              bits = selected.bits_for[i].second;
              ++matches[i];
            }
          }
          auto found = quantizers.find(bits);
          if (found == quantizers.end()) {
            found = quantizers.emplace(bits, make(bits, selected.granularity)).first;
          }
          planned.quantizer = found->second;
          planned.stored = as_float32 ? dtype::f32 : current.type();
          rounded_ += current.size();
          systems_.insert(planned.quantizer->system());
        }
        member_bytes_ += current.size() * size_of(planned.stored);
        tensors.push_back(std::move(planned));
      }
    }
    const auto unmatched = [](const std::string& option, const name_pattern& pattern, const char* what) {
      throw bad_input(mismatch_message(option + " \"" + pattern.text + "\"", what, "none of that name"));
    };
    if (selected.include && !includes_any) {
      unmatched("--include", *selected.include, "at least one tensor of two or more dimensions, F32, F16 or BF16");
    }
    if (selected.exclude && !excludes_any) {
      unmatched("--exclude", *selected.exclude, "at least one tensor");
    }
    for (std::size_t i = 0; i < matches.size(); ++i) {
      if (matches[i] == 0) {
        unmatched("--bits-for", selected.bits_for[i].first, "at least one rounded tensor");
      }
    }
    if (rounded_ == 0) {
      throw bad_input(mismatch_message("tensors to round", "at least one (see --include)", "none"));
    }
  }

  /// In the order of the source's shards and their tensors.
  const std::vector<std::vector<planned_tensor>>& shards() const noexcept { return shards_; }
  std::size_t rounded_weights() const noexcept { return rounded_; }
  std::size_t member_bytes() const noexcept { return member_bytes_; }  ///< of one member as it is written
  const std::set<std::string>& systems() const noexcept { return systems_; }

  /// Whether grid values are stored in fewer digits than a float has.
  bool has_narrow(dtype type) const {
    return std::any_of(shards_.begin(), shards_.end(), [&](const std::vector<planned_tensor>& tensors) {
      return std::any_of(tensors.begin(), tensors.end(),
                         [&](const planned_tensor& planned) { return planned.quantizer && planned.stored == type; });
    });
  }

 private:
  std::vector<std::vector<planned_tensor>> shards_;
  std::set<std::string> systems_;
  std::size_t rounded_ = 0;
  std::size_t member_bytes_ = 0;
};

}  // namespace pluria::examples
