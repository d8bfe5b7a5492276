// SPDX-License-Identifier: MIT
#pragma once
// What an ensemble of rounded members takes: bits per rounded weight and bytes in all, granules and padding included.
// Granules, and the tensors that are not rounded, are stored once and shared by all members.

#include <pluria/member/rounded.hpp>

#include <cstddef>

namespace pluria {

struct ensemble_budget {
  std::size_t members = 0;
  double bits_per_weight = 0.0;  ///< codes and granules, over the rounded weights; NaN when there are none
  std::size_t total_bytes = 0;   ///< kept tensors included
};

/// Members stored as one packed_tensor each: S * b bits per weight, plus padding and granules.
inline ensemble_budget packed_budget(const rounded_members::storage& storage, std::size_t members) {
  const std::size_t bits = members * storage.code_bits + storage.granule_bits;
  return {members, static_cast<double>(bits) / static_cast<double>(storage.weights),
          (bits + 7) / 8 + storage.kept_bytes};
}

}  // namespace pluria
