// SPDX-License-Identifier: MIT
#pragma once
// Fixed-point positions once more, in whole numbers and without shifts of negative ones.

#include <cstdint>

namespace support {

/// 2^F times a position of 16 fractional bits, to the nearest whole number, ties to even.
constexpr std::int32_t naive_fixed_point(std::int32_t position, int fraction_bits) noexcept {
  const std::int32_t unit = 65536 / (1 << fraction_bits);
  std::int32_t below = position / unit;
  if (position % unit < 0) {
    --below;
  }
  const std::int32_t rest = position - below * unit;
  const bool goes_up = 2 * rest > unit || (2 * rest == unit && below % 2 != 0);
  return goes_up ? below + 1 : below;
}

}  // namespace support
