// SPDX-License-Identifier: MIT
#pragma once
// Small blocks of weights with a scale in a narrow type. The stored scale makes the grid, so that stochastic rounding
// is unbiased on it.
//
//   MX     blocks of 32, scale 2^e with e = floor(log2 max|w|) - emax, where emax is the exponent of the element's
//          largest value (OCP Microscaling Formats, version 1.0, section 6.3): MXFP8, MXFP6, MXFP4, MXINT8
//   NVFP4  blocks of 16 of FP4-E2M1, scale t * s: t = max|tensor| / (6 * 448) in float32 for the whole tensor, s the
//          E4M3 number nearest to max|w| / 6 / t (NVIDIA, "Pretraining Large Language Models with NVFP4",
//          arXiv 2509.25149)
//
// Scales as prescribed may leave a block's largest weights beyond the outermost codes: they are clamped. A covering
// scale is the next one up where that would happen.

#include <pluria/core/error.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/magnitude.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/symmetric_int.hpp>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

namespace pluria {

/// A block's scale: as its format prescribes it, or the next one up where a weight would saturate.
enum class block_scale { prescribed, covering };

/// A power of two in one byte, E8M0: 2^(code - 127), times 2^-FractionBits. Codes are 0 to 254; 255 is NaN there, and
/// not a scale.
template <int FractionBits>
class e8m0 {
 public:
  constexpr e8m0() = default;
  static constexpr e8m0 of_bits(std::uint8_t code) noexcept {
    e8m0 value;
    value.code_ = code;
    return value;
  }
  /// 2^exponent.
  static constexpr e8m0 of_exponent(int exponent) noexcept {
    return of_bits(static_cast<std::uint8_t>(exponent + FractionBits + 127));
  }

  constexpr std::uint8_t bits() const noexcept { return code_; }
  // NOLINTNEXTLINE(google-explicit-constructor): every e8m0 is a float
  constexpr operator float() const noexcept {
    // The float's exponent field; below 1 the value is a subnormal float.
    const int exponent = code_ - FractionBits;
    return std::bit_cast<float>(exponent > 0 ? exponent << 23 : (1 << 22) >> -exponent);
  }
  friend bool operator==(const e8m0&, const e8m0&) = default;

 private:
  std::uint8_t code_ = 127 + FractionBits;
};

namespace detail {

// floor(log2 value) of a normal float above zero; -127 for zero and subnormal ones.
constexpr int exponent_of(float value) noexcept {
  return (std::bit_cast<std::int32_t>(value) >> 23) - 127;
}

}  // namespace detail

/// OCP MX. As prescribed, weights beyond Element's largest value times the scale saturate; there are some up to the
/// next power of two: magnitudes of 6 to 8 scales in MXFP4, 7.5 to 8 and 28 to 32 in MXFP6, 448 to 512 and 57344 to
/// 65536 in MXFP8, 127 to 128 steps in MXINT8.
template <factored_system Element, block_scale Scale = block_scale::prescribed>
struct mx {
  static constexpr int bits = Element::bits;
  static constexpr std::int32_t max_code = Element::max_code;
  // In MXINT8 -128 is left unused, as OCP recommends.
  static constexpr std::int32_t min_code = Element::min_code;
  static constexpr bool is_uniform = scaled_system<Element>;
  static constexpr bool saturates = Scale == block_scale::prescribed;

  /// How many weights share a scale in the format.
  static constexpr std::size_t block = 32;

  // An integer element is code * 2^-(bits - 2), from -2 to 2: that factor is the scale's here, so that the scale is the
  // distance of two grid points.
  static constexpr int fraction_bits = is_uniform ? bits - 2 : 0;
  static constexpr int largest_exponent = detail::exponent_of(Element::unit(max_code));

  struct granule {
    e8m0<fraction_bits> scale;  ///< at least 2^-110 where it is fitted
    friend bool operator==(const granule&, const granule&) = default;
  };
  static constexpr int granule_bits = 8;

  /// MXFP4, MXINT8; MXFP6-E2M3, where the format has several of these bits.
  static std::string name() {
    const std::string element = is_uniform                        ? "INT" + std::to_string(bits)
                                : std::same_as<Element, fp4_e2m1> ? "FP4"
                                                                  : Element::name();
    return "MX" + element + (saturates ? "" : "-covering");
  }

  /// Above this, the next scale up would have values beyond the largest float.
  static constexpr float largest_weight =
      saturates ? std::numeric_limits<float>::max()
                : Element::unit(max_code) * e8m0<fraction_bits>::of_exponent(127 - largest_exponent);

  /// The granule of the (finite) weights. The floor 2^-110 is that of Element's scales; zeros and the empty span have
  /// it. A covering scale throws bad_input for weights above largest_weight.
  static granule fit(std::span<const float> weights) {
    const float largest = largest_magnitude(weights);
    const int exponent = std::max(detail::exponent_of(largest) - largest_exponent, -110);
    const granule prescribed{e8m0<fraction_bits>::of_exponent(exponent)};
    if (saturates || largest <= decode(max_code, prescribed)) {
      return prescribed;
    }
    if (largest > largest_weight) {
      throw bad_input(
          mismatch_message(name(), "magnitudes of at most " + std::to_string(largest_weight), std::to_string(largest)));
    }
    return {e8m0<fraction_bits>::of_exponent(exponent + 1)};
  }

  /// Element's position on the stored scale.
  template <class Float>
  PLURIA_INLINE static auto position(const Float& weight, const granule& granule) noexcept {
    return Element::position(weight, typename Element::granule{granule.scale});
  }

  static constexpr float unit(std::int32_t code) noexcept { return Element::unit(code); }

  static float decode(std::int32_t code, const granule& granule) noexcept { return granule.scale * unit(code); }
};

/// NVFP4. As prescribed, a block's largest weights saturate where its scale is rounded down: up to a 16th beyond the
/// outermost value, up to half where the scale is a subnormal E4M3 number.
template <block_scale Scale>
struct two_level_fp4 {
  static constexpr int bits = fp4_e2m1::bits;
  static constexpr std::int32_t max_code = fp4_e2m1::max_code;
  static constexpr std::int32_t min_code = fp4_e2m1::min_code;
  static constexpr bool saturates = Scale == block_scale::prescribed;

  /// How many weights share a scale in the format.
  static constexpr std::size_t block = 16;

  // In memory a granule is the product of both scales, which makes the grid. The format stores the byte of the block's
  // scale, and the tensor's once; that is what the numbers of bits count.
  struct granule {
    float scale = 1.0F;  ///< at least 2^-110
    friend bool operator==(const granule&, const granule&) = default;
  };
  static constexpr int granule_bits = 8;
  static constexpr int tensor_scale_bits = 32;

  static std::string name() { return saturates ? "NVFP4" : "NVFP4-covering"; }

  /// With which the largest scale of a block, 448, puts the tensor's largest magnitude on the outermost code; for no
  /// float is that value rounded to infinity. The floor 2^-101 times the smallest scale of a block, 2^-9, is that of a
  /// minifloat's scales.
  static float tensor_scale(float largest) noexcept {
    return std::max(largest / (largest_unit * fp8_e4m3::unit(fp8_e4m3::max_code)), 0x1p-101F);
  }

  /// The granule of a block in a tensor of its own.
  static granule fit(std::span<const float> weights) noexcept {
    return fit(weights, tensor_scale(largest_magnitude(weights)));
  }

  /// The granule of a block of (finite) weights in a tensor of this scale. A block's scale is at least the smallest
  /// E4M3 number, 2^-9: with 0 there would be no grid.
  static granule fit(std::span<const float> weights, float tensor_scale) noexcept {
    const float largest = largest_magnitude(weights);
    const float scale = largest / largest_unit / tensor_scale;
    // The code below or, where the position is rounded to it, the next; and not the last.
    std::int32_t code = std::min(fp8_e4m3::position(scale, {}) >> 16, fp8_e4m3::max_code - 1);
    if constexpr (saturates) {
      const float midpoint = 0.5F * (fp8_e4m3::unit(code) + fp8_e4m3::unit(code + 1));
      code += scale > midpoint || (scale == midpoint && code % 2 == 1) ? 1 : 0;
    } else {
      code += outermost(code, tensor_scale) < largest ? 1 : 0;
    }
    return {fp8_e4m3::unit(std::max(code, 1)) * tensor_scale};
  }

  /// FP4's position on the stored scale.
  template <class Float>
  PLURIA_INLINE static auto position(const Float& weight, const granule& granule) noexcept {
    return fp4_e2m1::position(weight, {granule.scale});
  }

  static constexpr float unit(std::int32_t code) noexcept { return fp4_e2m1::unit(code); }

  static float decode(std::int32_t code, const granule& granule) noexcept { return granule.scale * unit(code); }

 private:
  static constexpr float largest_unit = fp4_e2m1::unit(fp4_e2m1::max_code);

  static float outermost(std::int32_t scale_code, float tensor_scale) noexcept {
    return decode(max_code, {fp8_e4m3::unit(scale_code) * tensor_scale});
  }
};

using mxfp8_e4m3 = mx<fp8_e4m3>;
using mxfp8_e5m2 = mx<fp8_e5m2>;
using mxfp6_e2m3 = mx<fp6_e2m3>;
using mxfp6_e3m2 = mx<fp6_e3m2>;
using mxfp4 = mx<fp4_e2m1>;
using mxint8 = mx<symmetric_int<8>>;
using nvfp4 = two_level_fp4<block_scale::prescribed>;
using nvfp4_covering = two_level_fp4<block_scale::covering>;

/// MX of these elements on covering scales.
template <factored_system Element>
using mx_covering = mx<Element, block_scale::covering>;

static_assert(factored_system<mxfp8_e4m3> && factored_system<mxfp8_e5m2> && factored_system<mxfp6_e2m3> &&
              factored_system<mxfp6_e3m2> && factored_system<mxfp4> && scaled_system<mxint8> && factored_system<nvfp4>);
static_assert(saturating_system<mxfp4> && saturating_system<mxint8> && saturating_system<nvfp4>);
static_assert(!saturating_system<mx_covering<fp4_e2m1>> && bounded_system<mx_covering<fp4_e2m1>>);
static_assert(two_level_system<nvfp4> && two_level_system<nvfp4_covering> && !saturating_system<nvfp4_covering>);

}  // namespace pluria
