// SPDX-License-Identifier: MIT
#pragma once
// What happens to every tensor of a checkpoint: which are rounded, to how many bits, and what that makes of its size.

#include <pluria/member/any_quantizer.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "selection.hpp"
#include "source_checkpoint.hpp"

namespace pluria::examples {

/// One tensor of a shard.
struct planned_tensor {
  const tensor* source = nullptr;
  std::optional<any_quantizer> quantizer;  ///< none: it stays as it is
  dtype stored{};                          ///< of members
};

class sampling_plan {
 public:
  /// Makes quantizers by make(bits, granularity). With `as_float32`, rounded tensors are stored as F32. Throws
  /// bad_input where a pattern matches no tensor, or nothing is left to round.
  template <class Make>
  sampling_plan(const source_checkpoint& source, selection select, const std::string& granularity, bool as_float32,
                Make&& make) {
    std::map<int, any_quantizer> quantizers;
    for (const safetensors_shard& shard : source.shards()) {
      std::vector<planned_tensor>& tensors = shards_.emplace_back();
      for (const tensor& current : shard.weights.tensors()) {
        planned_tensor planned{&current, std::nullopt, current.type()};
        const bool has_weights = is_weight_type(current.type()) && current.size() > 0;
        if (const auto bits = has_weights ? select(current.name(), current.shape()) : std::nullopt) {
          auto found = quantizers.find(*bits);
          if (found == quantizers.end()) {
            found = quantizers.emplace(*bits, make(*bits, granularity)).first;
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
    select.expect_matches();
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
