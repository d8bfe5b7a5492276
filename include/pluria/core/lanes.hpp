// SPDX-License-Identifier: MIT
#pragma once
// The few lane operations that number systems and roundings are written in, with one name for a single value and for an
// xsimd batch, so that the scalar form is the definition and the vector form the same text; and what xsimd has no word
// for. A batch of 32-bit words is also a batch of twice as many 16-bit halves.

#include <pluria/core/ieee.hpp>

#include <xsimd/xsimd.hpp>

#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

// For functions that work on registers: g++ at -O3 leaves a call, and so a trip through memory, around as few as 13
// rounds of the generator (2.7 times slower on AVX2).
#if defined(__GNUC__)
#define PLURIA_INLINE [[gnu::always_inline]] inline
#define PLURIA_INLINE_LAMBDA __attribute__((always_inline))
#else
#define PLURIA_INLINE inline
#define PLURIA_INLINE_LAMBDA
#endif

namespace pluria::lanes {

template <class Arch>
using halves = xsimd::batch<std::uint16_t, Arch>;
template <class Arch>
using words = xsimd::batch<std::uint32_t, Arch>;
template <class Arch>
using ints = xsimd::batch<std::int32_t, Arch>;
template <class Arch>
using floats = xsimd::batch<float, Arch>;

// x86 with vectors for conditions: SSE2 to AVX2.
template <class Arch>
inline constexpr bool has_signed_order = XSIMD_WITH_SSE2 &&
                                         sizeof(typename xsimd::batch_bool<std::uint16_t, Arch>::register_type) ==
                                             sizeof(halves<Arch>);

/// The integer nearest to `value`, ties to even; |value| < 2^31. Not on 32-bit NEON, where xsimd 8.1 rounds ties away
/// from zero; 64-bit NEON has the instruction.
PLURIA_INLINE std::int32_t round_half_even(float value) noexcept {
  return static_cast<std::int32_t>(std::nearbyint(value));
}

template <class Arch>
PLURIA_INLINE ints<Arch> round_half_even(const floats<Arch>& value) noexcept {
  return xsimd::nearbyint_as_int(value);
}

/// The integer that is left of `value` without its fraction; |value| < 2^31.
PLURIA_INLINE std::int32_t truncated(float value) noexcept {
  return static_cast<std::int32_t>(value);
}

template <class Arch>
PLURIA_INLINE ints<Arch> truncated(const floats<Arch>& value) noexcept {
  return xsimd::to_int(value);
}

/// `value` limited to [low, high].
PLURIA_INLINE float clamp(float value, float low, float high) noexcept {
  const float raised = value < low ? low : value;
  return high < raised ? high : raised;
}

template <class Arch>
PLURIA_INLINE floats<Arch> clamp(const floats<Arch>& value, float low, float high) noexcept {
  return xsimd::min(xsimd::max(value, floats<Arch>(low)), floats<Arch>(high));
}

/// `value`, but at most `high`.
PLURIA_INLINE float at_most(float value, float high) noexcept {
  return high < value ? high : value;
}

template <class Arch>
PLURIA_INLINE floats<Arch> at_most(const floats<Arch>& value, float high) noexcept {
  return xsimd::min(value, floats<Arch>(high));
}

/// `value`, but at least `low`.
PLURIA_INLINE float at_least(float value, float low) noexcept {
  return value < low ? low : value;
}

template <class Arch>
PLURIA_INLINE floats<Arch> at_least(const floats<Arch>& value, float low) noexcept {
  return xsimd::max(value, floats<Arch>(low));
}

/// |value|.
PLURIA_INLINE float magnitude(float value) noexcept {
  return std::abs(value);
}

template <class Arch>
PLURIA_INLINE floats<Arch> magnitude(const floats<Arch>& value) noexcept {
  return xsimd::abs(value);
}

/// Shifts to the left and brings the bits that leave back in on the right; 0 < Count < 32. xsimd 8.1 has no rotate;
/// compilers fold the three operations into one where the machine has it.
template <int Count, class Word>
PLURIA_INLINE Word rotate_left(const Word& word) noexcept {
  return (word << Count) | (word >> (32 - Count));
}

/// The same bits in lanes of another width.
template <class To, class From, class Arch>
PLURIA_INLINE xsimd::batch<To, Arch> as(const xsimd::batch<From, Arch>& lanes) noexcept {
  using result = xsimd::batch<To, Arch>;
  // xsimd 8 and 9 are given the batch, later ones its value type.
  if constexpr (requires {
                  { xsimd::bitwise_cast<To>(lanes) } -> std::same_as<result>;
                }) {
    return xsimd::bitwise_cast<To>(lanes);
  } else {
    return xsimd::bitwise_cast<result>(lanes);
  }
}

/// The bits of a single value as another type of its size.
template <class To, class From>
requires std::is_arithmetic_v<From> PLURIA_INLINE To as(From value)
noexcept {
  return std::bit_cast<To>(value);
}

/// value / 2^Count, rounded half to even; 0 < Count < 31, value + 2^(Count - 1) < 2^31. std::int32_t or a batch of it.
template <int Count, class Int>
PLURIA_INLINE Int shift_half_even(const Int& value) noexcept {
  const Int odd = (value >> Count) & Int(1);
  return (value + Int((1 << (Count - 1)) - 1) + odd) >> Count;
}

/// `value`, negated where the sign bit of `sign` is set. std::int32_t and float, or batches of them.
template <class Int, class Float>
PLURIA_INLINE Int with_sign_of(const Int& value, const Float& sign) noexcept {
  const Int ones_if_negative = as<std::int32_t>(sign) >> 31;
  return (value ^ ones_if_negative) - ones_if_negative;
}

/// `yes` where a condition on lanes holds, else `no`; integers of 16 and 32 bits.
//
// xsimd::select; that of xsimd 8.1 for integers does not compile for AVX-512 unless it is optimized.
template <class Arch, class Int>
PLURIA_INLINE xsimd::batch<Int, Arch> where(const xsimd::batch_bool<Int, Arch>& condition,
                                            const xsimd::batch<Int, Arch>& yes,
                                            const xsimd::batch<Int, Arch>& no) noexcept {
#if defined(__AVX512BW__)
  if constexpr (sizeof(yes) == 64 && sizeof(Int) == 2) {
    return _mm512_mask_blend_epi16(static_cast<__mmask32>(condition.data), no.data, yes.data);
  } else if constexpr (sizeof(yes) == 64) {
    static_assert(sizeof(Int) == 4);
    return _mm512_mask_blend_epi32(static_cast<__mmask16>(condition.data), no.data, yes.data);
  } else
#endif
  {
    return xsimd::select(condition, yes, no);
  }
}

/// `yes` where value >= bound, else `no`.
PLURIA_INLINE float where_at_least(float value, float bound, float yes, float no) noexcept {
  return value >= bound ? yes : no;
}

template <class Arch>
PLURIA_INLINE floats<Arch> where_at_least(const floats<Arch>& value, const floats<Arch>& bound, const floats<Arch>& yes,
                                          const floats<Arch>& no) noexcept {
  return xsimd::select(value >= bound, yes, no);
}

/// `sum`, plus `step` where value >= bound.
PLURIA_INLINE std::int32_t add_where_at_least(std::int32_t sum, float value, float bound, std::int32_t step) noexcept {
  return value >= bound ? sum + step : sum;
}

// xsimd 8.1 has no conditions on floats for integers. With AVX-512 they add, in one operation; elsewhere on x86 they
// are all ones in their lanes, and mask; and choosing moves bits, whatever they mean.
template <class Arch>
PLURIA_INLINE ints<Arch> add_where_at_least(const ints<Arch>& sum, const floats<Arch>& value, const floats<Arch>& bound,
                                            std::int32_t step) noexcept {
#if defined(__AVX512F__)
  if constexpr (ints<Arch>::size == 16) {
    return _mm512_mask_add_epi32(sum.data, _mm512_cmp_ps_mask(value.data, bound.data, _CMP_GE_OQ), sum.data,
                                 ints<Arch>(step).data);
  }
#endif
  if constexpr (has_signed_order<Arch>) {
    return sum + (as<std::int32_t>(floats<Arch>((value >= bound).data)) & ints<Arch>(step));
  } else {
    return as<std::int32_t>(where_at_least(value, bound, as<float>(sum + ints<Arch>(step)), as<float>(sum)));
  }
}

/// `work(std::integral_constant)` for 0, 1, ..., Count - 1: a loop that is unrolled at every optimization level, so
/// that arrays of batches stay in registers.
template <std::size_t Count, class Work>
PLURIA_INLINE void unrolled(Work&& work) {
  [&]<std::size_t... Index>(std::index_sequence<Index...>) PLURIA_INLINE_LAMBDA {
    (work(std::integral_constant<std::size_t, Index>{}), ...);
  }
  (std::make_index_sequence<Count>{});
}

/// 0, 1, 2, ...
template <class Arch>
words<Arch> numbers() noexcept {
  alignas(64) std::uint32_t values[words<Arch>::size];
  for (std::size_t lane = 0; lane < words<Arch>::size; ++lane) {
    values[lane] = static_cast<std::uint32_t>(lane);
  }
  return words<Arch>::load_unaligned(values);
}

/// Two batches that take every step together: two chains of dependent operations in flight, where one leaves the
/// machine waiting. What the generator needs of a word.
template <class Batch>
struct twin {
  Batch first, second;

  twin() = default;
  PLURIA_INLINE twin(const Batch& a, const Batch& b) noexcept : first(a), second(b) {}
  PLURIA_INLINE explicit twin(std::uint32_t word) noexcept : first(word), second(word) {}

  PLURIA_INLINE friend twin operator+(const twin& a, const twin& b) noexcept {
    return {a.first + b.first, a.second + b.second};
  }
  PLURIA_INLINE friend twin operator^(const twin& a, const twin& b) noexcept {
    return {a.first ^ b.first, a.second ^ b.second};
  }
  PLURIA_INLINE friend twin operator|(const twin& a, const twin& b) noexcept {
    return {a.first | b.first, a.second | b.second};
  }
  PLURIA_INLINE friend twin operator<<(const twin& a, int count) noexcept {
    return {a.first << count, a.second << count};
  }
  PLURIA_INLINE friend twin operator>>(const twin& a, int count) noexcept {
    return {a.first >> count, a.second >> count};
  }
};

/// a * b + c, rounded once on architectures that say they can (AVX-512, and AVX2 with FMA3), twice elsewhere.
//
// xsimd 8.1 multiplies and adds on AVX-512, which g++ contracts and clang does not.
template <class Arch>
PLURIA_INLINE floats<Arch> multiply_add(const floats<Arch>& a, const floats<Arch>& b, const floats<Arch>& c) noexcept {
#if defined(__AVX512F__)
  if constexpr (floats<Arch>::size == 16) {
    return _mm512_fmadd_ps(a.data, b.data, c.data);
  }
#endif
  return xsimd::fma(a, b, c);
}

/// The lower halves of two words side by side, that of `low` first.
template <class Arch>
PLURIA_INLINE halves<Arch> lower_halves(const words<Arch>& low, const words<Arch>& high) noexcept {
  return as<std::uint16_t>((low & words<Arch>(0xffffU)) | (high << 16));
}

/// The upper halves of two words side by side, that of `low` first.
template <class Arch>
PLURIA_INLINE halves<Arch> upper_halves(const words<Arch>& low, const words<Arch>& high) noexcept {
  return as<std::uint16_t>((low >> 16) | (high & words<Arch>(0xffff0000U)));
}

/// Stores a batch at a multiple of its size past the caches, where the machine can, so that the line is not first read
/// from memory: for results larger than the caches, whose lines are written whole. Before another thread reads them
/// comes `fence_past_cache`. Eight members of a large tensor take 0.9 of the time, 32 members 0.66. The portable twin,
/// and what runs elsewhere, is an ordinary store: the same bits.
//
// xsimd 8.1 has no word for it.
template <class Arch>
PLURIA_INLINE void store_past_cache(const words<Arch>& values, std::uint32_t* place) noexcept {
#if defined(__AVX512F__)
  if constexpr (words<Arch>::size == 16) {
    return _mm512_stream_si512(reinterpret_cast<__m512i*>(place), values.data);
  }
#endif
#if defined(__AVX__)
  if constexpr (words<Arch>::size == 8) {
    return _mm256_stream_si256(reinterpret_cast<__m256i*>(place), values.data);
  }
#endif
#if defined(__SSE2__)
  if constexpr (words<Arch>::size == 4) {
    return _mm_stream_si128(reinterpret_cast<__m128i*>(place), values.data);
  }
#endif
  values.store_aligned(place);
}

/// Asks for the line at `place`, into the second-level cache where the machine can.
PLURIA_INLINE void request_line([[maybe_unused]] const void* place) noexcept {
#if defined(__GNUC__)
  __builtin_prefetch(place, 0, 2);
#endif
}

/// Makes what store_past_cache stored visible before what this thread stores from here on.
inline void fence_past_cache() noexcept {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/// What add_where_greater compares: unsigned halves in the form that the machine has an order for.
//
// Before AVX-512 x86 compares signed lanes only; with the sign bits flipped their order is that of unsigned ones. xsimd
// 8.1 flips at every comparison, and compares 256 bits in two parts.
template <class Arch>
PLURIA_INLINE halves<Arch> ordered(const halves<Arch>& lanes) noexcept {
  return has_signed_order<Arch> ? lanes ^ halves<Arch>(std::uint16_t{0x8000}) : lanes;
}

/// `sum`, plus `bits` in the lanes where a > b; a and b as `ordered` gives them. (Adding where a condition holds is one
/// instruction with AVX-512; elsewhere conditions are all ones in their lanes, and mask.)
template <class Arch>
PLURIA_INLINE halves<Arch> add_where_greater(const halves<Arch>& sum, const halves<Arch>& a, const halves<Arch>& b,
                                             std::uint16_t bits) noexcept {
  if constexpr (has_signed_order<Arch>) {
    const auto greater = as<std::int16_t>(a) > as<std::int16_t>(b);
    return sum + (halves<Arch>(greater.data) & halves<Arch>(bits));
  } else {
    return where<Arch>(a > b, halves<Arch>(sum + halves<Arch>(bits)), sum);
  }
}

}  // namespace pluria::lanes
