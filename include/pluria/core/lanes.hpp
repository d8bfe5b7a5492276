// SPDX-License-Identifier: MIT
#pragma once
// The few lane operations that number systems are written in, with one name for a single float and for an xsimd batch,
// so that the scalar form is the definition and the vector form the same text.

#include <pluria/core/ieee.hpp>

#include <xsimd/xsimd.hpp>

#include <cmath>
#include <cstdint>

namespace pluria::lanes {

/// The integer nearest to `value`, ties to even; |value| < 2^31.
inline std::int32_t round_half_even(float value) noexcept {
  return static_cast<std::int32_t>(std::nearbyint(value));
}

template <class Arch>
xsimd::batch<std::int32_t, Arch> round_half_even(const xsimd::batch<float, Arch>& value) noexcept {
  return xsimd::nearbyint_as_int(value);
}

/// `value` limited to [low, high].
inline float clamp(float value, float low, float high) noexcept {
  const float raised = value < low ? low : value;
  return high < raised ? high : raised;
}

template <class Arch>
xsimd::batch<float, Arch> clamp(const xsimd::batch<float, Arch>& value, float low, float high) noexcept {
  using batch = xsimd::batch<float, Arch>;
  return xsimd::min(xsimd::max(value, batch(low)), batch(high));
}

/// Shifts to the left and brings the bits that leave back in on the right; 0 < Count < 32. xsimd 8.1 has no rotate;
/// compilers fold the three operations into one where the machine has it.
template <int Count, class Word>
Word rotate_left(const Word& word) noexcept {
  return (word << Count) | (word >> (32 - Count));
}

}  // namespace pluria::lanes
