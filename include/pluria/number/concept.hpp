// SPDX-License-Identifier: MIT
#pragma once
// What a low-precision number system is: an ordered set of grid points, numbered by consecutive integer codes in the
// order of their values, and for every weight its position among them. Sampling, packing, storage and kernels are
// written once on this concept and know of no particular system.
//
// A position is a 32-bit fixed-point integer with 16 fractional bits: 65536 * (code below) + round_half_even(65536 *
// fraction). Every rounding of a weight is integer arithmetic on its position (see rounding/).

#include <pluria/core/lanes.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>

namespace pluria {

/// A number system with codes min_code..max_code of `bits` bits. The `granule` is what a group of weights shares: a
/// scale, a scale and zero point, a table. Laws, each a typed test in tests/laws:
///  - fit(weights) gives a granule whose grid covers all the (finite) weights, unless the system is a
///  saturating_system; the empty span and all zeros are allowed;
///  - position(w, g) lies in [65536 * min_code, 65536 * max_code] and does not decrease with w, nor increase where the
///  scale is negative;
///  - decode(code, g) strictly increases with code, or decreases for a granule with a negative scale;
///  - a weight on its grid never moves: position(decode(code, g), g) == 65536 * code for every code;
///  - position gives a float and every lane of a batch the same integer;
///  - storing the codes costs granule_bits per granule.
template <class N>
concept number_system = std::regular<typename N::granule> &&(N::bits >= 1) && (N::bits <= 8) &&
                        (N::max_code - N::min_code < (1 << N::bits)) &&
                        requires(std::span<const float> weights, float weight, xsimd::batch<float> lanes,
                                 std::int32_t code, const typename N::granule& granule) {
  { N::name() } -> std::convertible_to<std::string>;
  { N::granule_bits } -> std::convertible_to<int>;
  { N::fit(weights) } -> std::same_as<typename N::granule>;
  { N::position(weight, granule) } -> std::same_as<std::int32_t>;
  { N::position(lanes, granule) } -> std::same_as<xsimd::batch<std::int32_t>>;
  { N::decode(code, granule) } -> std::same_as<float>;
};

/// A number system whose values are its granule's scale times what the code alone says, so that products can look the
/// code up in one table for all granules. Law: decode(code, g) == g.scale * unit(code), rounded once.
template <class N>
concept factored_system = number_system<N> && requires(std::int32_t code, const typename N::granule& granule) {
  { granule.scale } -> std::convertible_to<float>;
  { N::unit(code) } -> std::same_as<float>;
};

/// A number system whose values are multiples of its granule's scale, so that products can be summed in codes. Law:
/// unit(code) == code.
template <class N>
concept scaled_system = factored_system<N> && N::is_uniform;

/// A number system that reaches only so far: where scales are stored in a narrow type, weights of a magnitude above
/// largest_weight may have no grid. Law: fit takes all weights up to it.
template <class N>
concept bounded_system = number_system<N> && requires {
  { N::largest_weight } -> std::convertible_to<float>;
};

/// A number system whose fit may leave weights beyond the outermost grid points, as some formats prescribe: they are
/// clamped, so that their rounding is biased, and are counted (quantize/saturation.hpp).
template <class N>
concept saturating_system = number_system<N> && N::saturates;

/// A number system whose granules are relative to a scale that the whole tensor shares: tensor_scale(the largest
/// magnitude in the tensor), stored once in tensor_scale_bits. Law: fit(weights) == fit(weights, tensor_scale(their
/// largest magnitude)).
template <class N>
concept two_level_system = number_system<N> && requires(std::span<const float> weights, float value) {
  { N::tensor_scale(value) } -> std::same_as<float>;
  { N::fit(weights, value) } -> std::same_as<typename N::granule>;
  { N::tensor_scale_bits } -> std::convertible_to<int>;
};

/// The code whose value is nearest to zero (the lower one of two): what padding is filled with.
template <number_system N>
std::int32_t code_nearest_zero(const typename N::granule& granule) noexcept {
  // Values increase with the code or, where a scale is negative, decrease: the sign changes once.
  const float direction = N::decode(N::min_code, granule) < N::decode(N::max_code, granule) ? 1.0F : -1.0F;
  std::int32_t below = N::min_code;  // the highest code whose value is not beyond zero, if there is one
  for (std::int32_t above = N::max_code + 1; above - below > 1;) {
    const std::int32_t middle = below + (above - below) / 2;
    (direction * N::decode(middle, granule) <= 0.0F ? below : above) = middle;
  }
  const bool has_next = below < N::max_code;
  return has_next && std::abs(N::decode(below + 1, granule)) < std::abs(N::decode(below, granule)) ? below + 1 : below;
}

}  // namespace pluria
