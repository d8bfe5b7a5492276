// SPDX-License-Identifier: MIT
#pragma once
// Affine uniform integers: codes -2^(b-1)..2^(b-1) - 1, value = offset + scale * code, from the lowest weight to the
// highest, so that nothing clips. The zero point, -offset / scale, is not rounded to an integer as in integer kernels
// (Jacob et al., "Quantization and Training of Neural Networks", CVPR 2018, section 2.1): one bit could then not hold
// weights of both signs, and other widths would clip or widen. The price: zero, as a rule, is not on the grid.

#include <pluria/core/magnitude.hpp>
#include <pluria/number/concept.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>

namespace pluria {

template <int Bits>
struct affine_int {
  static_assert(Bits >= 1 && Bits <= 8, "affine_int takes 1 to 8 bits");

  static constexpr int bits = Bits;
  // Centred on zero: with codes beyond 128 weights on the grid would move (tests/number/symmetric_int.cpp).
  static constexpr std::int32_t min_code = -(1 << (Bits - 1));
  static constexpr std::int32_t max_code = (1 << (Bits - 1)) - 1;

  struct granule {
    float scale = 1.0F;   ///< the distance of two grid points, at least 2^-110
    float offset = 0.0F;  ///< the value of code 0
    friend bool operator==(const granule&, const granule&) = default;
  };
  static constexpr int granule_bits = 64;

  /// Weights of at most this magnitude fit: their range, and differences among them, are finite.
  static constexpr float largest_weight = 0x1p126F;

  static std::string name() { return "affine-INT-" + std::to_string(Bits); }

  /// The granule whose outermost codes are the lowest and the highest of the (finite) weights, moved outwards to the
  /// next multiples of a `quantum`, two units in the last place of the largest magnitude. For equal weights, and none,
  /// the scale is the quantum.
  //
  // On multiples of the quantum everything about the grid is exact. Let 2^e <= max|w| < 2^(e+1) and the quantum be
  // 2^(e-22). In quanta, lowest and highest lie within +-2^23; so do they rounded to integers L and H; and with steps =
  // ceil((H - L) / (2^b - 1)) all values are integers from L to at most H + 2^b - 2, and steps * |code| is at most 2^24
  // (one bit: steps <= 2^24, |code| <= 1; else steps * 2^(b-1) <= 2/3 2^24 + 2^(b-1)). Integers up to 2^24 are floats:
  // offset, scale, scale * code and offset + scale * code are not rounded, nor is w - offset for w on the grid.
  static granule fit(std::span<const float> weights) noexcept {
    const auto [lowest, highest] = own_extremes(weights);
    const double quantum = quantum_of(std::max(std::abs(lowest), std::abs(highest)));
    // A power of two divides without rounding; what is a subnormal number of quanta still has a floor and a ceiling.
    const auto low = static_cast<std::int64_t>(std::floor(static_cast<double>(lowest) / quantum));
    const auto high = static_cast<std::int64_t>(std::ceil(static_cast<double>(highest) / quantum));
    constexpr std::int64_t cells = (1 << Bits) - 1;
    const std::int64_t steps = std::max<std::int64_t>(1, (high - low + cells - 1) / cells);
    return {static_cast<float>(static_cast<double>(steps) * quantum),
            static_cast<float>(static_cast<double>(low - steps * min_code) * quantum)};
  }

  /// The position of a float, or of every lane of a batch; weights beyond the outermost codes are clamped to them.
  //
  // No weight on its grid moves: w - offset is scale * code, exactly (see fit). The reciprocal is off by 2^-24 of
  // itself at most, which moves the product by at most |code| / 256, one half for code -128, less for the others; and
  // it lies where floats are at most one half apart, so that rounding it once more leaves it within one half of 65536 *
  // code, and a half goes to the even 65536 * code. A difference and then a product: nothing here can be contracted.
  template <class Float>
  PLURIA_INLINE static auto position(const Float& weight, const granule& granule) noexcept {
    constexpr auto low = 65536.0F * static_cast<float>(min_code);
    constexpr auto high = 65536.0F * static_cast<float>(max_code);
    const auto steps = Float((weight - Float(granule.offset)) * Float(65536.0F / granule.scale));
    return lanes::round_half_even(lanes::clamp(steps, low, high));
  }

  // Exact, so that a fused operation gives the same.
  static float decode(std::int32_t code, const granule& granule) noexcept {
    return granule.offset + granule.scale * static_cast<float>(code);
  }

 private:
  // 2^(e-22) for 2^e <= magnitude < 2^(e+1), and at least 2^-110, below which 65536 / scale would be infinite.
  static double quantum_of(float magnitude) noexcept {
    const float power = std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) & 0x7f800000U);
    return std::max(0x1p-22 * static_cast<double>(power), 0x1p-110);
  }
};

static_assert(number_system<affine_int<1>> && number_system<affine_int<2>> && number_system<affine_int<3>> &&
              number_system<affine_int<4>> && number_system<affine_int<5>> && number_system<affine_int<6>> &&
              number_system<affine_int<7>> && number_system<affine_int<8>>);
static_assert(bounded_system<affine_int<4>> && !factored_system<affine_int<4>>);

}  // namespace pluria
