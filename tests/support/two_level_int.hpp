// SPDX-License-Identifier: MIT
#pragma once
// A number system of two levels, small enough to be followed by hand: INT-4 whose scales are multiples of one that the
// tensor shares.

#include <pluria/core/magnitude.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/number/symmetric_int.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

namespace support {

/// The shared scale is 1/16 of the tensor's largest magnitude over 7; a granule's is the smallest multiple of it that
/// covers, 1 at least. Weights of magnitudes up to 1000.
struct two_level_int : pluria::symmetric_int<4> {
  static constexpr int granule_bits = 4;
  static constexpr int tensor_scale_bits = 32;
  static constexpr float largest_weight = 1000.0F;
  static std::string name() { return "two-level-INT-4"; }

  static float tensor_scale(float largest) { return std::max(largest / (16.0F * max_code), 0x1p-100F); }
  static granule fit(std::span<const float> weights, float shared) {
    const float multiple = std::ceil(pluria::largest_magnitude(weights) / (shared * max_code) * (1.0F - 0x1p-20F));
    return {shared * std::max(multiple, 1.0F)};
  }
  static granule fit(std::span<const float> weights) {
    return fit(weights, tensor_scale(pluria::largest_magnitude(weights)));
  }
};

static_assert(pluria::two_level_system<two_level_int> && pluria::bounded_system<two_level_int>);

}  // namespace support
