// SPDX-License-Identifier: MIT
#pragma once
// Sums of 16 neighbours, which is what products keep side by side, for eight places at once. No template on the
// architecture: AVX2's are as fast as any.

#include <pluria/core/lanes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria::lanes {

/// The sums of 16 neighbours, for eight places `stride` apart, each a multiple of 64 bytes. No sum overflows.
inline std::array<std::int32_t, 8> sums_of_16_one_by_one(const std::int32_t* values, std::size_t stride) noexcept {
  std::array<std::int32_t, 8> sums{};
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t j = 0; j < 16; ++j) {
      sums[i] += values[i * stride + j];
    }
  }
  return sums;
}

PLURIA_INLINE std::array<std::int32_t, 8> sums_of_16(const std::int32_t* values, std::size_t stride) noexcept {
#if defined(__AVX2__)
  const auto halves = [&](std::size_t i) PLURIA_INLINE_LAMBDA {
    const auto* both = reinterpret_cast<const __m256i*>(values + i * stride);
    return _mm256_add_epi32(_mm256_load_si256(both), _mm256_load_si256(both + 1));
  };
  // In each 128 bits the sums of four places' four, and then both.
  const auto four = [&](std::size_t i) PLURIA_INLINE_LAMBDA {
    const __m256i sums =
        _mm256_hadd_epi32(_mm256_hadd_epi32(halves(i), halves(i + 1)), _mm256_hadd_epi32(halves(i + 2), halves(i + 3)));
    return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  };
  std::array<std::int32_t, 8> sums;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(sums.data()), four(0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(sums.data() + 4), four(4));
  return sums;
#else
  return sums_of_16_one_by_one(values, stride);
#endif
}

/// The same of floats, summed in one order on all machines: neighbours 8 apart, then 1, 2 and 4 apart.
inline std::array<float, 8> sums_of_16_one_by_one(const float* values, std::size_t stride) noexcept {
  std::array<float, 8> sums{};
  for (std::size_t i = 0; i < 8; ++i) {
    const float* const own = values + i * stride;
    std::array<float, 8> halves;
    for (std::size_t j = 0; j < 8; ++j) {
      halves[j] = own[j] + own[j + 8];
    }
    sums[i] = ((halves[0] + halves[1]) + (halves[2] + halves[3])) + ((halves[4] + halves[5]) + (halves[6] + halves[7]));
  }
  return sums;
}

PLURIA_INLINE std::array<float, 8> sums_of_16(const float* values, std::size_t stride) noexcept {
#if defined(__AVX2__)
  const auto halves = [&](std::size_t i) PLURIA_INLINE_LAMBDA {
    const float* const both = values + i * stride;
    return _mm256_add_ps(_mm256_load_ps(both), _mm256_load_ps(both + 8));
  };
  const auto four = [&](std::size_t i) PLURIA_INLINE_LAMBDA {
    const __m256 sums =
        _mm256_hadd_ps(_mm256_hadd_ps(halves(i), halves(i + 1)), _mm256_hadd_ps(halves(i + 2), halves(i + 3)));
    return _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
  };
  std::array<float, 8> sums;
  _mm_storeu_ps(sums.data(), four(0));
  _mm_storeu_ps(sums.data() + 4, four(4));
  return sums;
#else
  return sums_of_16_one_by_one(values, stride);
#endif
}

}  // namespace pluria::lanes
