// SPDX-License-Identifier: MIT
#pragma once
// IEEE binary16 and bfloat16 bit patterns as floats. Every value of both is a float, so the conversions are exact.
// Branch-free on purpose: the loops that call them vectorize on every ISA, also where there is no conversion
// instruction.

#include <pluria/core/ieee.hpp>

#include <bit>
#include <cstdint>

namespace pluria {

/// The value of a bfloat16 bit pattern: the upper half of a float's.
constexpr float float_from_bfloat16(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// The value of a binary16 bit pattern, subnormals, infinities and NaN included.
constexpr float float_from_half(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7fffU;
  // Normal numbers: move exponent and mantissa into place and correct the bias, 127 - 15; infinity and NaN get it
  // twice.
  const std::uint32_t normal = (magnitude << 13) + (112U << 23) + (magnitude >= 0x7c00U ? 112U << 23 : 0U);
  // Subnormals: the integer magnitude in units of 2^-24, an exact product.
  const auto subnormal =
      std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F);
  return std::bit_cast<float>(sign | (magnitude < 0x0400U ? subnormal : normal));
}

}  // namespace pluria
