// SPDX-License-Identifier: MIT
#pragma once
// Symmetric uniform integers, INT-b: codes in [-qmax, qmax] with qmax = 2^(b-1) - 1, value = scale * code,
// scale = max(max|w| / qmax, 2^-110). The system of LPE-BSR (Nam & Lee, "Ex Uno Pluria", NeurIPS 2024, section 3).

#include <pluria/core/magnitude.hpp>
#include <pluria/number/concept.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>

namespace pluria {

template <int Bits>
struct symmetric_int {
  static_assert(Bits >= 2, "symmetric_int<1> has no code but zero: use 2 to 8 bits");
  static_assert(Bits <= 8, "symmetric_int takes 2 to 8 bits");

  static constexpr int bits = Bits;
  static constexpr std::int32_t max_code = (1 << (Bits - 1)) - 1;
  // -2^(b-1) is left unused: the grid is symmetric, so rounding stays unbiased at both ends.
  static constexpr std::int32_t min_code = -max_code;

  struct granule {
    float scale = 1.0F;  ///< the distance of two grid points, at least 2^-110
    friend bool operator==(const granule&, const granule&) = default;
  };
  static constexpr int granule_bits = 32;

  /// The literature's name: INT-4.
  static std::string name() { return "INT-" + std::to_string(Bits); }

  /// The granule whose outermost codes are the largest magnitude among the (finite) weights. The floor 2^-110 covers
  /// granules that are all zero, or so small that 65536 / scale would be infinite.
  static granule fit(std::span<const float> weights) noexcept {
    const float largest = largest_magnitude(weights);
    const float scale = std::max(largest / static_cast<float>(max_code), 0x1p-110F);
    // The quotient, rounded up, may put the outermost value beyond the largest float.
    return {std::isinf(scale * static_cast<float>(max_code)) ? std::nextafter(scale, 0.0F) : scale};
  }

  /// The position of a float, or of every lane of a batch; weights beyond the outermost codes are clamped to them.
  //
  // Multiplying by the reciprocal, one division per granule, is exact enough: no weight on its grid moves, for any
  // scale (tests/number/symmetric_int.cpp goes through all 2^23 mantissas). With a division per weight one member from
  // cache takes 1.35 times as long on AVX-512, 1.1 times on AVX2. 65536 in the reciprocal saves a second product; it is
  // a power of two, so the products are the same. Between product and conversion stands the clamp: nothing here can be
  // contracted into a fused operation that would round differently.
  template <class Float>
  PLURIA_INLINE static auto position(const Float& weight, const granule& granule) noexcept {
    constexpr auto limit = 65536.0F * static_cast<float>(max_code);
    return lanes::round_half_even(lanes::clamp(Float(weight * Float(65536.0F / granule.scale)), -limit, limit));
  }

  static constexpr bool is_uniform = true;
  static constexpr float unit(std::int32_t code) noexcept { return static_cast<float>(code); }

  static float decode(std::int32_t code, const granule& granule) noexcept { return granule.scale * unit(code); }
};

static_assert(scaled_system<symmetric_int<2>> && scaled_system<symmetric_int<3>> && scaled_system<symmetric_int<4>> &&
              scaled_system<symmetric_int<5>> && scaled_system<symmetric_int<6>> && scaled_system<symmetric_int<7>> &&
              scaled_system<symmetric_int<8>>);

}  // namespace pluria
