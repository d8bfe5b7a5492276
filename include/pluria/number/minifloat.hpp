// SPDX-License-Identifier: MIT
#pragma once
// Small floating-point numbers, FP<bits>-E<e>M<m>, times a float: sign, e exponent bits with bias 2^(e-1) - 1, m
// mantissa bits, subnormals, no infinities; scale = max(max|w| / largest value, 2^-110). FP8 as in OCP OFP8 (revision
// 1.0), FP6 and FP4 as in OCP Microscaling Formats (version 1.0).
//
// Codes are in the order of their values: sign * pattern of the magnitude, so there is one zero, code 0; that of -0 is
// no code.

#include <pluria/core/lanes.hpp>
#include <pluria/core/magnitude.hpp>
#include <pluria/number/concept.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>

namespace pluria {

template <int ExponentBits, int MantissaBits>
struct minifloat {
  static_assert(ExponentBits >= 1 && ExponentBits <= 5, "minifloat takes 1 to 5 exponent bits");
  static_assert(MantissaBits >= 0 && 1 + ExponentBits + MantissaBits <= 8, "minifloat takes 2 to 8 bits");

  static constexpr int bits = 1 + ExponentBits + MantissaBits;
  static constexpr int bias = (1 << (ExponentBits - 1)) - 1;

  // All patterns are numbers but in the two formats of OFP8: S.1111.111 is E4M3's NaN, and E5M2 has IEEE's infinities
  // and NaNs at exponent 31.
  static constexpr std::int32_t max_code = ExponentBits == 4 && MantissaBits == 3   ? 0x7e
                                           : ExponentBits == 5 && MantissaBits == 2 ? 0x7b
                                                                                    : (1 << (bits - 1)) - 1;
  static constexpr std::int32_t min_code = -max_code;

  struct granule {
    float scale = 1.0F;  ///< what the value 1 of the format stands for, at least 2^-110
    friend bool operator==(const granule&, const granule&) = default;
  };
  static constexpr int granule_bits = 32;

  /// FP4-E2M1.
  static std::string name() {
    return "FP" + std::to_string(bits) + "-E" + std::to_string(ExponentBits) + "M" + std::to_string(MantissaBits);
  }

  /// The granule whose outermost codes are the largest magnitude among the (finite) weights. The floor 2^-110 covers
  /// granules that are all zero, or so small that 1 / scale would be infinite; times the smallest unit of 8 bits,
  /// 2^-16, it is still a normal float.
  static granule fit(std::span<const float> weights) noexcept {
    constexpr float largest_unit = unit(max_code);
    const float scale = std::max(largest_magnitude(weights) / largest_unit, 0x1p-110F);
    // The quotient, rounded up, may put the outermost value beyond the largest float.
    return {std::isinf(scale * largest_unit) ? std::nextafter(scale, 0.0F) : scale};
  }

  /// The position of a float, or of every lane of a batch; weights beyond the outermost codes are clamped to them.
  //
  // Within a binade the bits of a float are linear in its value: less those of the smallest normal number n, and
  // without the lowest 7 - m, those of 2v are the position of v = |w| / scale where v >= n. Where v < n the format's
  // steps are those of [n, 2n), and it is the bits of v + n. With v + max(v, n) both are one sum.
  //
  // The reciprocal, one division per granule, is exact enough: on the grid v is within one unit in the last place, and
  // at least one bit is rounded away, half to even, so that no weight there moves, for any scale (tests/number goes
  // through all 2^23 mantissas). Between product and sum stands the limit: nothing here can be contracted into a fused
  // operation that would round differently. One member from cache takes 1.4 times as long as with symmetric_int<4> on
  // AVX-512, 1.25 times on AVX2.
  template <class Float>
  PLURIA_INLINE static auto position(const Float& weight, const granule& granule) noexcept {
    constexpr float largest = unit(max_code);
    constexpr int shift = 7 - MantissaBits;
    const Float v = lanes::at_most(Float(lanes::magnitude(weight) * Float(1.0F / granule.scale)), largest);
    const auto pattern = lanes::as<std::int32_t>(Float(v + lanes::at_least(v, smallest_normal)));
    const auto above_normal = pattern - decltype(pattern)(std::bit_cast<std::int32_t>(smallest_normal));
    return lanes::with_sign_of(lanes::shift_half_even<shift>(above_normal), weight);
  }

  /// The value of the format, exactly.
  static constexpr float unit(std::int32_t code) noexcept {
    const std::int32_t magnitude = code < 0 ? -code : code;
    // Normal numbers: move exponent and mantissa into place and correct the bias.
    const float normal = std::bit_cast<float>((magnitude << (23 - MantissaBits)) + ((127 - bias) << 23));
    const float subnormal = smallest_normal / (1 << MantissaBits) * static_cast<float>(magnitude);
    const float value = magnitude >> MantissaBits == 0 ? subnormal : normal;
    return code < 0 ? -value : value;
  }

  static float decode(std::int32_t code, const granule& granule) noexcept { return granule.scale * unit(code); }

 private:
  static constexpr float smallest_normal = std::bit_cast<float>((128 - bias) << 23);  // 2^(1 - bias)
};

using fp8_e4m3 = minifloat<4, 3>;
using fp8_e5m2 = minifloat<5, 2>;
using fp6_e2m3 = minifloat<2, 3>;
using fp6_e3m2 = minifloat<3, 2>;
using fp4_e2m1 = minifloat<2, 1>;

static_assert(factored_system<fp8_e4m3> && factored_system<fp8_e5m2> && factored_system<fp6_e2m3> &&
              factored_system<fp6_e3m2> && factored_system<fp4_e2m1>);
static_assert(factored_system<minifloat<1, 0>> && factored_system<minifloat<2, 0>> && factored_system<minifloat<1, 6>>);
static_assert(!scaled_system<fp4_e2m1> && !saturating_system<fp4_e2m1>);

}  // namespace pluria
