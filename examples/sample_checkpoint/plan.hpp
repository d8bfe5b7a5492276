// SPDX-License-Identifier: MIT
#pragma once
// What happens to every tensor of a checkpoint: which are rounded, to which number systems, and what that makes of its
// size.

#include <pluria/member/any_quantizer.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/packing.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

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
  /// Rounds each tensor with weights by decide(tensor), an optional quantizer. With `as_float32`, rounded tensors are
  /// stored as F32.
  template <class Decide>
  sampling_plan(const source_checkpoint& source, bool as_float32, Decide&& decide) {
    for (const safetensors_shard& shard : source.shards()) {
      std::vector<planned_tensor>& tensors = shards_.emplace_back();
      for (const tensor& current : shard.weights.tensors()) {
        planned_tensor planned{&current, std::nullopt, current.type()};
        if (is_weight_type(current.type()) && current.size() > 0) {
          planned.quantizer = decide(current);
        }
        if (planned.quantizer) {
          planned.stored = as_float32 ? dtype::f32 : current.type();
          rounded_ += current.size();
          packed_bits_ += packed_bits(current, *planned.quantizer);
          systems_.insert(planned.quantizer->system());
          granularities_.insert(planned.quantizer->granularity_name());
          scales_.insert(planned.quantizer->scale_name());
        }
        member_bytes_ += current.size() * size_of(planned.stored);
        tensors.push_back(std::move(planned));
      }
    }
  }

  /// In the order of the source's shards and their tensors.
  const std::vector<std::vector<planned_tensor>>& shards() const noexcept { return shards_; }
  std::size_t rounded_weights() const noexcept { return rounded_; }
  std::size_t member_bytes() const noexcept { return member_bytes_; }  ///< of one member as it is written
  const std::set<std::string>& systems() const noexcept { return systems_; }
  const std::set<std::string>& granularities() const noexcept { return granularities_; }
  const std::set<std::string>& scales() const noexcept { return scales_; }

  /// Bits of codes and granules for each rounded weight, as the library stores one member: rows in whole blocks.
  double packed_bits_per_weight() const { return static_cast<double>(packed_bits_) / static_cast<double>(rounded_); }

  /// Whether grid values are stored in fewer digits than a float has.
  bool has_narrow(dtype type) const {
    return std::any_of(shards_.begin(), shards_.end(), [&](const std::vector<planned_tensor>& tensors) {
      return std::any_of(tensors.begin(), tensors.end(),
                         [&](const planned_tensor& planned) { return planned.quantizer && planned.stored == type; });
    });
  }

 private:
  static std::size_t packed_bits(const tensor& source, const any_quantizer& quantizer) {
    const std::size_t padded = source.rows() * blocks_per_row(source.columns()) * block_size;
    return padded * static_cast<std::size_t>(quantizer.bits()) + quantizer.granule_bits(source.shape());
  }

  std::vector<std::vector<planned_tensor>> shards_;
  std::set<std::string> systems_;
  std::set<std::string> granularities_;
  std::set<std::string> scales_;
  std::size_t rounded_ = 0;
  std::size_t packed_bits_ = 0;
  std::size_t member_bytes_ = 0;
};

}  // namespace pluria::examples
