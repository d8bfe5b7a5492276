// SPDX-License-Identifier: MIT
#pragma once
// Rules as JSON: which tensors of a checkpoint are rounded, and how.
//
//   {"default": {"system": "INT-4", "granularity": "channel"},
//    "tensors": {"blocks.0.attn.qkv.weight": {"system": "INT-6", "range": "mse:nearest"}, "head.weight": "keep"}}
//
// The default holds for tensors that are not named and quantized by default; without one they stay. A granularity that
// is left out is the number system's own, or the channel; a range is absmax.

#include <pluria/member/any_quantizer.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "number_systems.hpp"

namespace pluria::examples {

class rule_file {
 public:
  using decision = pluria::rule::decision;
  /// Makes a quantizer as quantizer_named does; granularity and range are empty where the file does not say.
  using quantizer_maker =
      std::function<any_quantizer(std::string_view system, std::string_view granularity, std::string_view range)>;

  /// A rule that is to be written: the default, and decisions by name.
  rule_file(decision by_default, std::vector<std::pair<std::string, decision>> tensors)
      : by_default_(std::move(by_default)), tensors_(std::move(tensors)) {}

  /// Reads a rule. Throws bad_input, naming file and key, for whatever has not the form above.
  explicit rule_file(std::filesystem::path path, const quantizer_maker& make = quantizer_named);

  /// The name of the file, without its type.
  std::string name() const { return path_.stem().string(); }

  pluria::rule rule() const;

  /// Throws bad_input, naming file and tensor, where the rule names one that the checkpoint has not, or wants one
  /// rounded that cannot be.
  void expect_tensors(const checkpoint& weights) const;

  /// What the file of the rule holds.
  std::string text() const;

 private:
  std::string where(const std::string& name) const;

  std::filesystem::path path_;
  decision by_default_;
  std::vector<std::pair<std::string, decision>> tensors_;
};

}  // namespace pluria::examples
