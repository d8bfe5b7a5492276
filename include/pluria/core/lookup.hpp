// SPDX-License-Identifier: MIT
#pragma once
// A table of floats looked up by every lane of a batch: 4 to 16 entries, and 32 with AVX-512, in registers, larger ones
// by gathers. xsimd 8.1 has neither; the portable twin (`_one_by_one`) is what it means, and what runs elsewhere.

#include <pluria/core/lanes.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>

namespace pluria::lanes {

/// table[index]: of `Size` floats, a power of two from 4 on, of any alignment; 0 <= index < Size.
template <std::size_t Size>
PLURIA_INLINE float looked_up(const float* table, std::int32_t index) noexcept {
  return table[index];
}

template <std::size_t Size, class Arch>
floats<Arch> looked_up_one_by_one(const float* table, const ints<Arch>& indices) noexcept {
  std::int32_t index[ints<Arch>::size];
  indices.store_unaligned(index);
  float values[floats<Arch>::size];
  for (std::size_t lane = 0; lane < floats<Arch>::size; ++lane) {
    values[lane] = table[index[lane]];
  }
  return floats<Arch>::load_unaligned(values);
}

template <std::size_t Size, class Arch>
PLURIA_INLINE floats<Arch> looked_up(const float* table, const ints<Arch>& indices) noexcept {
  static_assert(std::has_single_bit(Size) && Size >= 4);
#if defined(__AVX512F__)
  if constexpr (floats<Arch>::size == 16) {
    if constexpr (Size == 4) {
      return _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(table)), indices.data);
    } else if constexpr (Size == 8) {
      const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table));
      return _mm512_permutexvar_ps(indices.data, _mm512_castsi512_ps(_mm512_broadcast_i64x4(all)));
    } else if constexpr (Size == 16) {
      return _mm512_permutexvar_ps(indices.data, _mm512_loadu_ps(table));
    } else if constexpr (Size == 32) {
      return _mm512_permutex2var_ps(_mm512_loadu_ps(table), indices.data, _mm512_loadu_ps(table + 16));
    } else {
      return _mm512_i32gather_ps(indices.data, table, 4);
    }
  }
#endif
#if defined(__AVX2__)
  if constexpr (floats<Arch>::size == 8) {
    if constexpr (Size == 4) {
      return _mm256_permutevar_ps(_mm256_broadcast_ps(reinterpret_cast<const __m128*>(table)), indices.data);
    } else if constexpr (Size == 8) {
      return _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), indices.data);
    } else if constexpr (Size == 16) {
      // The blend looks at the sign: the bit of 8 moves there.
      return _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), indices.data),
                              _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), indices.data),
                              _mm256_castsi256_ps(_mm256_slli_epi32(indices.data, 28)));
    } else {
      return _mm256_i32gather_ps(table, indices.data, 4);
    }
  }
#endif
  return looked_up_one_by_one<Size>(table, indices);
}

}  // namespace pluria::lanes
