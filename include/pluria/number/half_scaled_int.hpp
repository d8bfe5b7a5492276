// SPDX-License-Identifier: MIT
#pragma once
// Integers whose scale is stored as a float16: the grids of block formats such as ggml's, on which every reader of the
// format puts exactly the values that were rounded here. value = d * code; d is the float16 of smallest magnitude for
// which no weight clips, so that stochastic rounding on the stored scale is unbiased.
//
//   full_range_int<b>      codes -2^(b-1)..2^(b-1) - 1; d has the sign that puts the weight of largest magnitude on the
//                          side with one code more: extreme <= 2^(b-1) |d|, opposite sign <= (2^(b-1) - 1) |d|
//   half_symmetric_int<b>  codes -q..q with q = 2^(b-1) - 1, and d > 0: all magnitudes <= q d
//
// On ggml's own scale (quantize_row_q4_0_ref and _q5_0_ref in ggml-quants.c) weights may clip, and the rounding of
// those is biased; saturated_weights (quantize/saturation.hpp) counts them:
//
//   ggml_full_range_int<b>  full_range_int with d = float16(extreme / -2^(b-1)), 2^-24 at least: of the other sign
//   clips
//                           what lies beyond (2^(b-1) - 1) |d|, and where d was rounded down the extreme itself does,
//                           by 2^-11 of it at most, or more where d is a subnormal float16

#include <pluria/core/error.hpp>
#include <pluria/core/float16.hpp>
#include <pluria/core/magnitude.hpp>
#include <pluria/number/concept.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>

namespace pluria {

/// Which float16 is the scale: the smallest that covers all weights, or the one nearest to what puts the weight of
/// largest magnitude on the lowest code.
enum class half_scale : bool { covering, of_extreme };

template <int Bits, std::int32_t MinCode, half_scale Scale = half_scale::covering>
struct half_scaled_int {
  static_assert(Bits >= 2 && Bits <= 8, "half_scaled_int takes 2 to 8 bits");

  static constexpr int bits = Bits;
  static constexpr std::int32_t max_code = (1 << (Bits - 1)) - 1;
  static constexpr std::int32_t min_code = MinCode;
  static constexpr bool is_symmetric = min_code == -max_code;
  static_assert(is_symmetric || min_code == -max_code - 1,
                "half_scaled_int has the codes of Bits bits, or all but one");
  static constexpr bool saturates = Scale == half_scale::of_extreme;
  static_assert(!saturates || !is_symmetric, "the scale of the extreme is that of a full range");

  struct granule {
    float16 scale =
        float16::of_bits(1);  ///< not zero, 2^-24 at least; negative in a full range where the extreme is positive
    friend bool operator==(const granule&, const granule&) = default;
  };
  static constexpr int granule_bits = 16;

  /// Weights of at most this magnitude fit, whatever their signs: the largest float16 times max_code, or the lowest
  /// code where the others may clip.
  static constexpr float largest_weight = static_cast<float>(saturates ? -min_code : max_code) * 65504.0F;

  static std::string name() {
    return (saturates ? "ggml-full-range-INT-" : (is_symmetric ? "half-INT-" : "full-range-INT-")) +
           std::to_string(Bits);
  }

  /// The granule that covers the (finite) weights with the smallest |scale|; of two extremes of one size the negative
  /// one gets the additional code. Or that of the extreme: of several of one size the first decides, as in ggml. The
  /// smallest scale is 2^-24, the smallest float16; also that of the empty span and of zeros, whose codes are all 0.
  /// Throws bad_input where no float16 is large enough.
  static granule fit(std::span<const float> weights) {
    return saturates ? fit_extreme(first_extreme(weights)) : fit_covering(extremes(weights));
  }

  /// The position of a float, or of every lane of a batch; weights beyond the outermost codes are clamped to them. By
  /// the reciprocal, as symmetric_int: no weight on its grid moves, for any float16 (tests/number).
  template <class Float>
  PLURIA_INLINE static auto position(const Float& weight, const granule& granule) noexcept {
    constexpr auto low = 65536.0F * static_cast<float>(min_code);
    constexpr auto high = 65536.0F * static_cast<float>(max_code);
    return lanes::round_half_even(lanes::clamp(Float(weight * Float(65536.0F / granule.scale)), low, high));
  }

  static constexpr bool is_uniform = true;
  static constexpr float unit(std::int32_t code) noexcept { return static_cast<float>(code); }

  static float decode(std::int32_t code, const granule& granule) noexcept { return granule.scale * unit(code); }

 private:
  static granule fit_covering(const float_extremes& reach) {
    const auto [lowest, highest] = reach;
    const bool is_negative = !is_symmetric && highest > -lowest;
    const float at_min_code = is_negative ? highest : -lowest;
    const float at_max_code = is_negative ? -lowest : highest;
    // A float16 has 11 bits and codes have 8: these products are exact in float, and so is the comparison.
    const auto covers = [&](std::uint16_t half) {
      const float scale = float_from_half(half);
      return at_min_code <= scale * static_cast<float>(-min_code) &&
             at_max_code <= scale * static_cast<float>(max_code);
    };
    // The quotients are rounded, twice; rounding is monotone, so what comes out is never above the smallest float16
    // that covers, and the one above it does. 0 stands first, so that -0 does not come out.
    const float quotient =
        std::max({0.0F, at_min_code / static_cast<float>(-min_code), at_max_code / static_cast<float>(max_code)});
    std::uint16_t half = std::max<std::uint16_t>(1, half_from_float(quotient));
    while (half < infinite_half && !covers(half)) {
      ++half;
    }
    if (half >= infinite_half) {
      refuse(lowest, highest);
    }
    return {float16::of_bits(static_cast<std::uint16_t>(half | (is_negative ? 0x8000U : 0U)))};
  }

  static granule fit_extreme(float extreme) {
    const std::uint16_t half = half_from_float(std::abs(extreme) / static_cast<float>(-min_code));
    if (half >= infinite_half) {
      refuse(std::min(extreme, 0.0F), std::max(extreme, 0.0F));
    }
    return {float16::of_bits(
        static_cast<std::uint16_t>(std::max<std::uint16_t>(1, half) | (extreme > 0.0F ? 0x8000U : 0U)))};
  }

  [[noreturn]] static void refuse(float lowest, float highest) {
    throw bad_input(mismatch_message(name(),
                                     "weights that a float16 scale covers, " + std::to_string(min_code * 65504) +
                                         " to " + std::to_string(max_code * 65504) +
                                         (is_symmetric ? "" : " or the reverse"),
                                     std::to_string(lowest) + " to " + std::to_string(highest)));
  }

  static constexpr std::uint16_t infinite_half = 0x7c00;
};

/// All codes of `Bits` bits, two's complement, times a float16 that may be negative.
template <int Bits>
using full_range_int = half_scaled_int<Bits, -(1 << (Bits - 1))>;

/// As many codes on both sides of zero, times a positive float16.
template <int Bits>
using half_symmetric_int = half_scaled_int<Bits, 1 - (1 << (Bits - 1))>;

/// All codes of `Bits` bits, times the float16 that ggml would store.
template <int Bits>
using ggml_full_range_int = half_scaled_int<Bits, -(1 << (Bits - 1)), half_scale::of_extreme>;

static_assert(number_system<full_range_int<2>> && number_system<full_range_int<4>> &&
              number_system<full_range_int<5>> && number_system<full_range_int<8>>);
static_assert(number_system<half_symmetric_int<2>> && number_system<half_symmetric_int<8>>);
static_assert(scaled_system<full_range_int<4>> && bounded_system<full_range_int<4>> &&
              !saturating_system<full_range_int<4>>);
static_assert(scaled_system<ggml_full_range_int<4>> && bounded_system<ggml_full_range_int<4>> &&
              saturating_system<ggml_full_range_int<4>> && saturating_system<ggml_full_range_int<5>>);

}  // namespace pluria
