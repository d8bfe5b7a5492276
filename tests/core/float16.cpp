// SPDX-License-Identifier: MIT

#include <pluria/core/float16.hpp>
#include <support/catch.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace {

using pluria::float_from_bfloat16;
using pluria::float_from_half;

// The value of a format with this many exponent and mantissa bits, out of its definition.
float value_of(std::uint32_t bits, int exponent_bits, int mantissa_bits) {
  const std::uint32_t mantissa = bits & ((1U << mantissa_bits) - 1);
  const int exponent = static_cast<int>(bits >> mantissa_bits & ((1U << exponent_bits) - 1));
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const bool negative = (bits >> (exponent_bits + mantissa_bits) & 1U) != 0;
  double magnitude = 0;
  if (exponent == 2 * bias + 1) {
    magnitude = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  } else {
    magnitude = std::ldexp(mantissa + (1U << mantissa_bits), exponent - bias - mantissa_bits);
  }
  return static_cast<float>(std::copysign(magnitude, negative ? -1.0 : 1.0));
}

bool same(float a, float b) {
  return std::isnan(a) ? std::isnan(b) && std::signbit(a) == std::signbit(b)
                       : std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

static_assert(float_from_half(0x3c00) == 1.0F && float_from_half(0xc000) == -2.0F);
static_assert(float_from_half(0x0001) == 0x1p-24F && float_from_half(0x7bff) == 65504.0F);
static_assert(float_from_bfloat16(0x3f80) == 1.0F);

TEST_CASE("every binary16 pattern has the value of its definition", "[core]") {
  std::uint32_t wrong = 0;
  for (std::uint32_t bits = 0; bits <= 0xffffU; ++bits) {
    wrong += same(float_from_half(static_cast<std::uint16_t>(bits)), value_of(bits, 5, 10)) ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("every bfloat16 pattern has the value of its definition", "[core]") {
  std::uint32_t wrong = 0;
  for (std::uint32_t bits = 0; bits <= 0xffffU; ++bits) {
    wrong += same(float_from_bfloat16(static_cast<std::uint16_t>(bits)), value_of(bits, 8, 7)) ? 0 : 1;
  }
  CHECK(wrong == 0);
}

}  // namespace
