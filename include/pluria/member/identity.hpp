// SPDX-License-Identifier: MIT
#pragma once
// What makes a member the one it is: everything that its bits depend on besides the weights. It is written into the
// metadata of whatever is exported, under names that begin with "pluria.".

#include <pluria/random/address.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>

namespace pluria {

/// A rounding chosen at run time.
using any_rounding = std::variant<nearest, bernoulli>;

/// Metadata: names and texts.
using text_map = std::map<std::string, std::string>;

class member_identity {
 public:
  /// The number systems ("INT-5"), granularities ("channel") and scales ("absmax") of the rounded tensors.
  member_identity(const any_rounding& rounding, const std::set<std::string>& systems,
                  const std::set<std::string>& granularities, const std::set<std::string>& scales = {"absmax"})
      : is_numbered_(std::holds_alternative<bernoulli>(rounding)) {
    common_["pluria.stream"] = std::to_string(stream_version) + ", threefry4x32-" + std::to_string(generator::rounds);
    common_["pluria.system"] = joined(systems);
    common_["pluria.granularity"] = joined(granularities);
    common_["pluria.scale"] = joined(scales);
    if (const auto* bsr = std::get_if<bernoulli>(&rounding)) {
      common_["pluria.rounding"] = "bernoulli";
      common_["pluria.seed"] = std::to_string(bsr->seed);
      common_["pluria.coupling"] = bsr->coupling.name();
    } else {
      common_["pluria.rounding"] = "nearest";
    }
  }

  /// The metadata of member k of a checkpoint that has this one. What the source says of itself, if it is a member
  /// too, is not true of this one.
  text_map metadata(std::uint64_t k, text_map of_source) const {
    std::erase_if(of_source, [](const auto& entry) { return entry.first.starts_with("pluria."); });
    for (const auto& [key, value] : common_) {
      of_source[key] = value;
    }
    if (is_numbered_) {
      of_source["pluria.member"] = std::to_string(k);
    }
    return of_source;
  }

 private:
  static std::string joined(const std::set<std::string>& names) {
    std::string text;
    for (const std::string& name : names) {
      text += (text.empty() ? "" : " ") + name;
    }
    return text;
  }

  text_map common_;
  bool is_numbered_;
};

}  // namespace pluria
