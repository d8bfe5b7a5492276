// SPDX-License-Identifier: MIT
#pragma once
// What an ensemble of rounded members takes: bits per rounded weight and bytes in all, granules and padding included,
// and the activations and caches of its members. Granules, and the tensors that are not rounded, are stored once and
// shared by all members.

#include <pluria/kernel/any_members.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/key_value_cache.hpp>

#include <cstddef>

namespace pluria {

struct ensemble_budget {
  std::size_t members = 0;
  double bits_per_weight = 0.0;  ///< codes and granules, over the rounded weights; NaN when there are none
  std::size_t total_bytes = 0;   ///< kept tensors included
};

/// `members` members in a form of storage: codes of b * S, b + S or b + 4 bits per weight, S the members, plus padding
/// and granules.
inline ensemble_budget storage_budget(const rounded_members::storage& storage, storage_form form, std::size_t members) {
  std::size_t bits = members * storage.code_bits + storage.granule_bits;
  if (form == storage_form::shared_floor) {
    bits = storage.tiled_code_bits + members * storage.tiled_weights + storage.tiled_granule_bits;
  } else if (form == storage_form::fixed_point) {
    bits = storage.code_bits + 4 * storage.padded_weights + storage.granule_bits;
  }
  return {members, static_cast<double>(bits) / static_cast<double>(storage.weights),
          (bits + 7) / 8 + storage.kept_bytes};
}

/// Bytes of the float activations of `members` members that go through a layer together: `tokens` rows of `width` each.
/// Members share weights, not activations: S members have S times those of one model.
constexpr std::size_t activation_bytes(std::size_t members, std::size_t tokens, std::size_t width) noexcept {
  return members * tokens * width * sizeof(float);
}

/// Bytes of the keys and values of `batch` sequences, of as many positions each as `sizes` says
/// (nn/key_value_cache.hpp). Members share weights, not caches: for long sequences these are what S members cost.
constexpr std::size_t cache_bytes(const cache_sizes& sizes, cache_type type, std::size_t batch = 1) noexcept {
  return batch * key_value_cache::bytes_of(sizes, type);
}

}  // namespace pluria
