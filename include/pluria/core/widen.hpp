// SPDX-License-Identifier: MIT
#pragma once
// 16-bit floats to floats, a batch at a time: the lanes of core/float16.hpp, from memory of any alignment.

#include <pluria/core/float16.hpp>
#include <pluria/core/lanes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

namespace pluria::lanes {

/// As many 16-bit values as a batch has 32-bit words, each in its word; the portable definition of `widened`.
template <class Arch>
words<Arch> widened_one_by_one(const std::byte* values) noexcept {
  std::uint16_t narrow[words<Arch>::size];
  std::memcpy(narrow, values, sizeof(narrow));
  std::uint32_t wide[words<Arch>::size];
  for (std::size_t lane = 0; lane < words<Arch>::size; ++lane) {
    wide[lane] = narrow[lane];
  }
  return words<Arch>::load_unaligned(wide);
}

/// As many 16-bit values as a batch has 32-bit words, each in its word.
//
// xsimd 8.1 has no widening load. x86 has one instruction for it; without it a bfloat16 tensor in second-level cache is
// rounded at 0.4 of the speed.
template <class Arch>
PLURIA_INLINE words<Arch> widened(const std::byte* values) noexcept {
  [[maybe_unused]] constexpr std::size_t size = words<Arch>::size;  // without SSE4.1
#if defined(__AVX512F__)
  if constexpr (size == 16) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
  }
#endif
#if defined(__AVX2__)
  if constexpr (size == 8) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
  }
#endif
#if defined(__SSE4_1__)
  if constexpr (size == 4) {
    return _mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(values)));
  }
#endif
  return widened_one_by_one<Arch>(values);
}

/// A batch of bfloat16 values.
template <class Arch>
PLURIA_INLINE floats<Arch> floats_from_bfloat16(const std::byte* values) noexcept {
  return as<float>(widened<Arch>(values) << 16);
}

/// A batch of binary16 values, subnormals, infinities and NaN included, by 32-bit integers: float_from_half, lane by
/// lane, and the portable definition of `floats_from_half`.
template <class Arch>
PLURIA_INLINE floats<Arch> floats_from_half_by_integers(const std::byte* values) noexcept {
  const words<Arch> bits = widened<Arch>(values);
  const ints<Arch> magnitude = as<std::int32_t>(bits & words<Arch>(0x7fffU));
  const ints<Arch> rebias(112 << 23);
  const ints<Arch> beyond = where<Arch>(magnitude >= ints<Arch>(0x7c00), rebias, ints<Arch>(0));
  const ints<Arch> normal = (magnitude << 13) + rebias + beyond;
  const ints<Arch> subnormal = as<std::int32_t>(floats<Arch>(xsimd::to_float(magnitude) * floats<Arch>(0x1p-24F)));
  const words<Arch> sign = (bits & words<Arch>(0x8000U)) << 16;
  return as<float>(sign | as<std::uint32_t>(where<Arch>(magnitude < ints<Arch>(0x0400), subnormal, normal)));
}

/// A batch of binary16 values, subnormals, infinities and NaN included.
//
// x86 has one instruction for it; without it a float16 tensor in second-level cache is rounded at 0.7 of the speed.
template <class Arch>
PLURIA_INLINE floats<Arch> floats_from_half(const std::byte* values) noexcept {
#if defined(__AVX512F__)
  if constexpr (floats<Arch>::size == 16) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
  } else
#endif
#if defined(__F16C__)
      if constexpr (floats<Arch>::size == 8) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
  } else
#endif
  {
    // Behind an else: xsimd 8.1's comparisons of integers do not compile for AVX-512 without optimization.
    return floats_from_half_by_integers<Arch>(values);
  }
}

/// Four binary16 values as floats, again and again until the batch is full.
template <class Arch>
floats<Arch> repeated_from_half_one_by_one(const std::byte* values) noexcept {
  std::array<std::uint16_t, 4> bits;
  std::memcpy(bits.data(), values, sizeof(bits));
  std::array<float, floats<Arch>::size> repeated;
  for (std::size_t lane = 0; lane < repeated.size(); ++lane) {
    repeated[lane] = float_from_half(bits[lane % 4]);
  }
  return floats<Arch>::load_unaligned(repeated.data());
}

template <class Arch>
PLURIA_INLINE floats<Arch> repeated_from_half(const std::byte* values) noexcept {
#if defined(__F16C__)
  if constexpr (floats<Arch>::size >= 8) {
    const __m128 four = _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(values)));
    if constexpr (floats<Arch>::size == 8) {
      return _mm256_broadcast_ps(&four);
    }
#if defined(__AVX512F__)
    if constexpr (floats<Arch>::size == 16) {
      return _mm512_broadcast_f32x4(four);
    }
#endif
  }
#endif
  return repeated_from_half_one_by_one<Arch>(values);
}

}  // namespace pluria::lanes
