// SPDX-License-Identifier: MIT

#include <pluria/core/float16.hpp>
#include <support/catch.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace {

using pluria::bfloat16_from_float;
using pluria::float16;
using pluria::float_from_bfloat16;
using pluria::float_from_half;
using pluria::half_from_float;

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

// Around every finite pattern p >= 0: its own value, the midpoint to the next, and the floats beside that midpoint.
template <class FromFloat>
std::uint32_t wrongly_rounded(int exponent_bits, int mantissa_bits, FromFloat&& from_float) {
  const std::uint32_t infinity = ((1U << exponent_bits) - 1) << mantissa_bits;
  const std::uint32_t sign = 1U << (exponent_bits + mantissa_bits);
  std::uint32_t wrong = 0;
  const auto expect = [&](float value, std::uint32_t pattern) {
    wrong += from_float(value) == pattern ? 0 : 1;
    wrong += from_float(-value) == (pattern | sign) ? 0 : 1;
  };
  for (std::uint32_t pattern = 0; pattern < infinity; ++pattern) {
    const float value = value_of(pattern, exponent_bits, mantissa_bits);
    // The step above the largest is that below it.
    const double step = pattern + 1 < infinity ? double{value_of(pattern + 1, exponent_bits, mantissa_bits)} - value
                                               : double{value} - value_of(pattern - 1, exponent_bits, mantissa_bits);
    const auto middle = static_cast<float>(value + step / 2);
    expect(value, pattern);
    expect(middle, pattern + pattern % 2);
    expect(std::nextafter(middle, 0.0F), pattern);
    expect(std::nextafter(middle, std::numeric_limits<float>::infinity()), pattern + 1);
  }
  expect(std::numeric_limits<float>::infinity(), infinity);
  expect(std::numeric_limits<float>::max(), infinity);
  return wrong;
}

TEST_CASE("floats become the nearest binary16, ties to even", "[core]") {
  CHECK(wrongly_rounded(5, 10, [](float value) { return half_from_float(value); }) == 0);
  CHECK(half_from_float(65519.996F) == 0x7bff);
  CHECK(half_from_float(65520.0F) == 0x7c00);
  CHECK(half_from_float(0x1p-149F) == 0);
}

TEST_CASE("floats become the nearest bfloat16, ties to even", "[core]") {
  CHECK(wrongly_rounded(8, 7, [](float value) { return bfloat16_from_float(value); }) == 0);
}

TEST_CASE("a stored binary16 takes two bytes and reads as a float", "[core]") {
  static_assert(sizeof(pluria::float16) == 2);
  CHECK(float16::of_bits(0xbc00) == -1.0F);
  CHECK(float16::of_bits(1) == 0x1p-24F);
  CHECK(float16(-1.0F).bits() == 0xbc00);
  CHECK(float16(1.0F + 0x1p-12F).bits() == 0x3c00);
  CHECK(float16(1.0F) == float16::of_bits(0x3c00));
  CHECK_FALSE(float16::of_bits(0x8000) == float16());  // bits, as a regular type has it; both read as zero
}

TEST_CASE("every binary16 and bfloat16 comes back from its float, NaN quiet", "[core]") {
  std::uint32_t wrong = 0;
  for (std::uint32_t bits = 0; bits <= 0xffffU; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    const float half = float_from_half(pattern);
    const float bfloat16 = float_from_bfloat16(pattern);
    wrong += half_from_float(half) == (std::isnan(half) ? pattern | 0x0200 : pattern) ? 0 : 1;
    wrong += bfloat16_from_float(bfloat16) == (std::isnan(bfloat16) ? pattern | 0x0040 : pattern) ? 0 : 1;
  }
  CHECK(wrong == 0);
  // Whose payload is all in the bits that go.
  CHECK(half_from_float(std::bit_cast<float>(0xff800001U)) == 0xfe00);
  CHECK(bfloat16_from_float(std::bit_cast<float>(0x7f800001U)) == 0x7fc0);
}

}  // namespace
