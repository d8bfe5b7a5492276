// SPDX-License-Identifier: MIT
#pragma once
// IEEE binary16 and bfloat16 bit patterns as floats, and floats as the nearest of them (ties to even). Every value of
// both is a float, so the way there is exact. Branch-free on purpose: the loops that call them vectorize on every ISA,
// also where there is no conversion instruction.

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

/// The nearest bfloat16; infinity from half a step above the largest on. NaN stays NaN, and quiet.
constexpr std::uint16_t bfloat16_from_float(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const bool is_nan = (bits & 0x7fffffffU) > 0x7f800000U;
  const std::uint32_t nearest = bits + 0x7fffU + (bits >> 16 & 1U);
  return static_cast<std::uint16_t>((is_nan ? bits | 0x00400000U : nearest) >> 16);
}

/// The nearest binary16, subnormals included; infinity from 65520 on. NaN stays NaN, and quiet.
constexpr std::uint16_t half_from_float(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  // Normal numbers: correct the bias, 15 - 127, and round 13 bits away; a carry out of the largest is infinity.
  const std::uint32_t normal = (magnitude - (112U << 23) + 0xfffU + (magnitude >> 13 & 1U)) >> 13;
  // Below 2^-14: a sum with 0.5, whose last bit is 2^-24, rounds.
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude < 0x38800000U ? magnitude : 0U) + 0.5F) - 0x3f000000U;
  const std::uint32_t beyond = magnitude > 0x7f800000U ? 0x7e00U | (magnitude >> 13 & 0x3ffU) : 0x7c00U;
  const std::uint32_t finite = magnitude < 0x38800000U ? subnormal : normal;
  return static_cast<std::uint16_t>(sign | (magnitude >= 0x47800000U ? beyond : finite));
}

/// A binary16 value, as it is stored: two bytes that read as a float.
class float16 {
 public:
  constexpr float16() = default;
  /// The nearest; see half_from_float.
  constexpr explicit float16(float value) noexcept : bits_(half_from_float(value)) {}
  static constexpr float16 of_bits(std::uint16_t bits) noexcept {
    float16 value;
    value.bits_ = bits;
    return value;
  }

  constexpr std::uint16_t bits() const noexcept { return bits_; }
  // NOLINTNEXTLINE(google-explicit-constructor): every float16 is a float
  constexpr operator float() const noexcept { return float_from_half(bits_); }
  friend bool operator==(const float16&, const float16&) = default;

 private:
  std::uint16_t bits_ = 0;
};

}  // namespace pluria
