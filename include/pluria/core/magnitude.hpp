// SPDX-License-Identifier: MIT
#pragma once
// The largest magnitude among floats, and with it whether all of them are finite, and the extremes, with zero or
// without: in one pass without branches, over the bits, whose order is that of magnitudes and which compilers compare
// in batches. A maximum of floats they would not reorder.

#include <pluria/core/ieee.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

namespace pluria {

/// max |value|, 0 for none. Where a value is infinite or NaN, so is the result: the largest pattern among them.
inline float largest_magnitude(std::span<const float> values) noexcept {
  std::uint32_t largest = 0;
  for (const float value : values) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & 0x7fffffffU);
  }
  return std::bit_cast<float>(largest);
}

/// The lowest and the highest of values.
struct float_extremes {
  float lowest = 0.0F;
  float highest = 0.0F;
};

/// The extremes of (finite) values and zero: none, or values on one side only, have 0 on the other.
inline float_extremes extremes(std::span<const float> values) noexcept {
  // As integers with sign all floats below zero are below zero; without sign they are above all others, the lowest one
  // on top.
  std::int32_t highest = 0;
  std::uint32_t lowest = 0x80000000U;
  for (const float value : values) {
    highest = std::max(highest, std::bit_cast<std::int32_t>(value));
    lowest = std::max(lowest, std::bit_cast<std::uint32_t>(value));
  }
  return {std::bit_cast<float>(lowest) + 0.0F, std::bit_cast<float>(highest)};
}

/// The extremes of (finite) values alone; 0 and 0 for none. Among zeros -0 is the lowest.
inline float_extremes own_extremes(std::span<const float> values) noexcept {
  if (values.empty()) {
    return {};
  }
  // Below zero a larger pattern is a lower float: with all bits but the sign flipped, patterns are in the order of
  // floats.
  const auto flipped = [](std::int32_t bits) { return bits ^ (bits >> 31 & 0x7fffffff); };
  std::int32_t lowest = std::numeric_limits<std::int32_t>::max();
  std::int32_t highest = std::numeric_limits<std::int32_t>::min();
  for (const float value : values) {
    const std::int32_t bits = flipped(std::bit_cast<std::int32_t>(value));
    lowest = std::min(lowest, bits);
    highest = std::max(highest, bits);
  }
  return {std::bit_cast<float>(flipped(lowest)), std::bit_cast<float>(flipped(highest))};
}

/// The one of largest magnitude among (finite) values, with its sign: the first of several; 0 for none.
inline float first_extreme(std::span<const float> values) noexcept {
  const auto [lowest, highest] = extremes(values);
  if (highest != -lowest || highest == 0.0F) {
    return highest > -lowest ? highest : lowest;
  }
  return *std::find_if(values.begin(), values.end(),
                       [largest = highest](float value) { return std::abs(value) == largest; });
}

}  // namespace pluria
