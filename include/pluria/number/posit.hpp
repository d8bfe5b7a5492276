// SPDX-License-Identifier: MIT
#pragma once
// Posits (Standard for Posit Arithmetic, 2022): a pattern is a sign, a regime of equal bits up to the first different
// one, es exponent bits and a fraction; bits beyond the last are zeros. Precision tapers with the distance from 1.
// Patterns read as two's complement are in the order of their values: the code is the pattern. -2^(b-1), which is not a
// real, is left out; the negative of a pattern has the negative value. For positive ones
//
//   value = 2^(2^es * r + e) * (1 + f),   r = k - 1 for a regime of k ones, -k for k zeros

#include <pluria/core/magnitude.hpp>
#include <pluria/number/codebook.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace pluria {

namespace detail {

constexpr float power_of_two(int exponent) noexcept {
  float power = 1.0F;
  for (int left = exponent < 0 ? -exponent : exponent; left > 0; --left) {
    power *= exponent < 0 ? 0.5F : 2.0F;
  }
  return power;
}

// The value of a positive pattern.
constexpr float posit_value(std::int32_t pattern, int bits, int exponent_size) noexcept {
  int place = bits - 2;  // of the next bit
  const auto next = [&] {
    const int bit = place < 0 ? 0 : pattern >> place & 1;
    --place;
    return bit;
  };
  const int first = next();
  int regime = first == 1 ? 0 : -1;
  for (bool goes_on = true; goes_on;) {
    goes_on = place >= 0 && next() == first;
    regime += goes_on ? (first == 1 ? 1 : -1) : 0;
  }
  int exponent = 0;
  for (int bit = 0; bit < exponent_size; ++bit) {
    exponent = 2 * exponent + next();
  }
  float significand = 1.0F;
  float weight = 0.5F;
  while (place >= 0) {
    significand += weight * static_cast<float>(next());
    weight *= 0.5F;
  }
  return power_of_two(regime * (1 << exponent_size) + exponent) * significand;
}

}  // namespace detail

/// Posits of 2 to 8 bits with an exponent of ExponentSize bits, 2 in the standard.
template <int Bits, int ExponentSize>
struct posit_table {
  static_assert(Bits >= 2 && Bits <= 8, "posit takes 2 to 8 bits");
  static_assert(ExponentSize >= 1 && ExponentSize <= 3, "posit takes exponents of 1 to 3 bits");

  static std::string name() {
    return "posit-" + std::to_string(Bits) + (ExponentSize == 2 ? "" : "-es" + std::to_string(ExponentSize));
  }

  static constexpr std::int32_t max_code = (1 << (Bits - 1)) - 1;
  static constexpr std::int32_t min_code = -max_code;

  static constexpr auto values = [] {
    std::array<float, 2 * max_code + 1> all{};
    for (std::int32_t code = 1; code <= max_code; ++code) {
      const float value = detail::posit_value(code, Bits, ExponentSize);
      all[static_cast<std::size_t>(max_code + code)] = value;
      all[static_cast<std::size_t>(max_code - code)] = -value;
    }
    return all;
  }();

  /// The extreme weights lie at 2^(2^es) at most, where there is such a value: from there down to 2^(-2^es) regimes are
  /// shortest and steps finest. With the extremes at the largest posit nearly all weights would share its last step, a
  /// factor of 2^(2^es) wide. The price: values beyond are not used.
  static constexpr float largest = std::min(detail::power_of_two(1 << ExponentSize), values.back());
  static constexpr float_extremes reach{-largest, largest};
};

template <int Bits, int ExponentSize = 2>
using posit = scaled_codebook<posit_table<Bits, ExponentSize>>;

static_assert(factored_system<posit<2>> && factored_system<posit<3>> && factored_system<posit<4>> &&
              factored_system<posit<5>> && factored_system<posit<6>> && factored_system<posit<7>> &&
              factored_system<posit<8>>);

}  // namespace pluria
