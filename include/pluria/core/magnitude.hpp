// SPDX-License-Identifier: MIT
#pragma once
// The largest magnitude among floats, and with it whether all of them are finite: in one pass without branches, over
// the bits, whose order is that of magnitudes and which compilers compare in batches. A maximum of floats they would
// not reorder.

#include <pluria/core/ieee.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
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

}  // namespace pluria
