// SPDX-License-Identifier: MIT
#pragma once
// Batches of 32-bit words seen as bytes, four to a word, the lowest first, and single bits for them: what members'
// codes are made of. Their products: dot_sums.hpp. xsimd has no word for any of it, so each is a named function with a
// portable twin (`_one_by_one`), which is what it means and what runs where there is no instruction for it.

#include <pluria/core/lanes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pluria::lanes {

// A batch and its bytes in memory, for the portable twins.
template <class Arch>
struct stored_bytes {
  alignas(64) std::uint8_t at[4 * words<Arch>::size];

  explicit stored_bytes(const words<Arch>& lanes) noexcept {
    lanes.store_aligned(reinterpret_cast<std::uint32_t*>(at));
  }
  words<Arch> load() const noexcept { return words<Arch>::load_aligned(reinterpret_cast<const std::uint32_t*>(at)); }
};

/// `Count` words from memory of any alignment, again and again until the batch is full; Count is a batch or a part of
/// it.
template <std::size_t Count, class Arch>
words<Arch> repeated_one_by_one(const std::uint32_t* source) noexcept {
  std::uint32_t values[words<Arch>::size];
  for (std::size_t lane = 0; lane < words<Arch>::size; ++lane) {
    values[lane] = source[lane % Count];
  }
  return words<Arch>::load_unaligned(values);
}

template <std::size_t Count, class Arch>
PLURIA_INLINE words<Arch> repeated(const std::uint32_t* source) noexcept {
  static_assert(words<Arch>::size % Count == 0 && Count >= 4);
#if defined(__AVX512F__)
  if constexpr (words<Arch>::size == 16 && Count == 8) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)));
  }
  if constexpr (words<Arch>::size == 16 && Count == 4) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)));
  }
#endif
#if defined(__AVX2__)
  if constexpr (words<Arch>::size == 8 && Count == 4) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)));
  }
#endif
  if constexpr (words<Arch>::size == Count) {
    return words<Arch>::load_unaligned(source);
  } else {
    return repeated_one_by_one<Count, Arch>(source);
  }
}

/// Every quarter of 16 bytes, a 4 x 4 matrix, transposed: byte 4 i + c becomes byte 4 c + i.
template <class Arch>
words<Arch> transposed_quarters_one_by_one(const words<Arch>& lanes) noexcept {
  const stored_bytes<Arch> from(lanes);
  stored_bytes<Arch> to(lanes);
  for (std::size_t byte = 0; byte < sizeof(from.at); ++byte) {
    to.at[byte / 16 * 16 + 4 * (byte % 4) + byte / 4 % 4] = from.at[byte];
  }
  return to.load();
}

template <class Arch>
PLURIA_INLINE words<Arch> transposed_quarters(const words<Arch>& lanes) noexcept {
#if defined(__AVX512BW__)
  if constexpr (words<Arch>::size == 16) {
    return _mm512_shuffle_epi8(lanes.data, _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400));
  }
#endif
#if defined(__AVX2__)
  if constexpr (words<Arch>::size == 8) {
    return _mm256_shuffle_epi8(lanes.data, _mm256_set_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400, 0x0f0b0703,
                                                            0x0e0a0602, 0x0d090501, 0x0c080400));
  }
#endif
#if defined(__SSSE3__)
  if constexpr (words<Arch>::size == 4) {
    return _mm_shuffle_epi8(lanes.data, _mm_set_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400));
  }
#endif
  return transposed_quarters_one_by_one(lanes);
}

/// One bit for every byte of a batch, in the order of the bytes, lowest bit first: set where `a` is above `b`,
/// unsigned. Writes words<Arch>::size / 2 bytes to `bits`, of any alignment.
template <class Arch>
void store_bits_where_above_one_by_one(const words<Arch>& a, const words<Arch>& b, void* bits) noexcept {
  const stored_bytes<Arch> left(a);
  const stored_bytes<Arch> right(b);
  auto* out = static_cast<std::uint8_t*>(bits);
  for (std::size_t byte = 0; byte < sizeof(left.at); byte += 8) {
    std::uint32_t eight = 0;
    for (std::size_t bit = 0; bit < 8; ++bit) {
      eight |= (left.at[byte + bit] > right.at[byte + bit] ? 1U : 0U) << bit;
    }
    out[byte / 8] = static_cast<std::uint8_t>(eight);
  }
}

template <class Arch>
PLURIA_INLINE void store_bits_where_above(const words<Arch>& a, const words<Arch>& b, void* bits) noexcept {
#if defined(__AVX512BW__)
  if constexpr (words<Arch>::size == 16) {
    const std::uint64_t above = _cvtmask64_u64(_mm512_cmpgt_epu8_mask(a.data, b.data));
    std::memcpy(bits, &above, sizeof(above));
    return;
  }
#endif
#if defined(__AVX2__)
  if constexpr (words<Arch>::size == 8) {
    const auto above =
        ~static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(a.data, b.data), b.data)));
    std::memcpy(bits, &above, sizeof(above));
    return;
  }
#endif
#if defined(__SSE2__)
  if constexpr (words<Arch>::size == 4) {
    const auto above =
        static_cast<std::uint16_t>(~_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(a.data, b.data), b.data)));
    std::memcpy(bits, &above, sizeof(above));
    return;
  }
#endif
  store_bits_where_above_one_by_one(a, b, bits);
}

/// The bytes of `lanes`, each plus one where its bit is set, in the order of store_bits_where_above; no byte is 255.
/// Reads words<Arch>::size / 2 bytes at `bits`, of any alignment.
template <class Arch>
words<Arch> plus_bits_one_by_one(const words<Arch>& lanes, const void* bits) noexcept {
  stored_bytes<Arch> bytes(lanes);
  const auto* set = static_cast<const std::uint8_t*>(bits);
  for (std::size_t byte = 0; byte < sizeof(bytes.at); ++byte) {
    bytes.at[byte] = static_cast<std::uint8_t>(bytes.at[byte] + (set[byte / 8] >> byte % 8 & 1));
  }
  return bytes.load();
}

template <class Arch>
PLURIA_INLINE words<Arch> plus_bits(const words<Arch>& lanes, const void* bits) noexcept {
#if defined(__AVX512BW__)
  if constexpr (words<Arch>::size == 16) {
    std::uint64_t set;
    std::memcpy(&set, bits, sizeof(set));
    return _mm512_mask_add_epi8(lanes.data, _cvtu64_mask64(set), lanes.data, _mm512_set1_epi8(1));
  }
#endif
#if defined(__AVX2__)
  if constexpr (words<Arch>::size == 8) {
    std::uint32_t set;
    std::memcpy(&set, bits, sizeof(set));
    const __m256i which = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
    const __m256i spread = _mm256_shuffle_epi8(
        _mm256_set1_epi32(static_cast<int>(set)),
        _mm256_set_epi32(0x03030303, 0x03030303, 0x02020202, 0x02020202, 0x01010101, 0x01010101, 0, 0));
    return _mm256_sub_epi8(lanes.data, _mm256_cmpeq_epi8(_mm256_and_si256(spread, which), which));
  }
#endif
#if defined(__SSSE3__)
  if constexpr (words<Arch>::size == 4) {
    std::uint16_t set;
    std::memcpy(&set, bits, sizeof(set));
    const __m128i which = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
    const __m128i spread = _mm_shuffle_epi8(_mm_cvtsi32_si128(set), _mm_set_epi32(0x01010101, 0x01010101, 0, 0));
    return _mm_sub_epi8(lanes.data, _mm_cmpeq_epi8(_mm_and_si128(spread, which), which));
  }
#endif
  return plus_bits_one_by_one(lanes, bits);
}

/// The bytes of `lanes`, each plus bit `Place` of its byte in `bits`; no byte is 255.
template <int Place, class Arch>
PLURIA_INLINE words<Arch> plus_bit(const words<Arch>& lanes, const words<Arch>& bits) noexcept {
  static_assert(Place >= 0 && Place < 8);
#if defined(__AVX512BW__)
  if constexpr (words<Arch>::size == 16) {
    const __mmask64 set = _mm512_test_epi8_mask(bits.data, _mm512_set1_epi8(static_cast<char>(1U << Place)));
    return _mm512_mask_add_epi8(lanes.data, set, lanes.data, _mm512_set1_epi8(1));
  }
#endif
  return lanes + ((bits >> Place) & words<Arch>(0x01010101U));
}

#if defined(__AVX512VBMI__)
// Byte i, as an index of a code and two bits above it: the code plus one of them.
template <int Place>
inline constexpr auto plus_one_of_two = [] {
  struct {
    alignas(64) std::uint8_t at[64];
  } table{};
  for (std::size_t i = 0; i < 64; ++i) {
    table.at[i] = static_cast<std::uint8_t>(i % 16 + (i >> Place & 1U));
  }
  return table;
}();
#endif

/// plus_bit<Place> and plus_bit<Place + 1> of codes below 2^Bits.
//
// With AVX-512 VBMI up to 4 bits: both sums are looked up, under a code and two bits. On Zen 4 masks are made where
// products of bytes are, which are the limit: from memory eight INT-4 members take .84 of the time.
template <int Bits, int Place, class Arch>
PLURIA_INLINE std::array<words<Arch>, 2> plus_two_bits(const words<Arch>& codes, const words<Arch>& bits) noexcept {
#if defined(__AVX512VBMI__)
  if constexpr (words<Arch>::size == 16 && Bits <= 4) {
    const words<Arch> moved = Place <= 4 ? bits << (Place <= 4 ? 4 - Place : 0) : bits >> (Place <= 4 ? 0 : Place - 4);
    // (moved & mask) | codes, into the register of `moved`: codes are needed again.
    const __m512i index = _mm512_ternarylogic_epi32(moved.data, _mm512_set1_epi8(0x30), codes.data, 0xea);
    return {words<Arch>(_mm512_permutexvar_epi8(index, _mm512_load_si512(plus_one_of_two<4>.at))),
            words<Arch>(_mm512_permutexvar_epi8(index, _mm512_load_si512(plus_one_of_two<5>.at)))};
  }
#endif
  return {plus_bit<Place>(codes, bits), plus_bit<Place + 1>(codes, bits)};
}

/// As many bytes as a batch has lanes, without sign, as floats.
template <class Arch>
floats<Arch> floats_from_bytes_one_by_one(const std::uint8_t* bytes) noexcept {
  float values[floats<Arch>::size];
  for (std::size_t lane = 0; lane < floats<Arch>::size; ++lane) {
    values[lane] = static_cast<float>(bytes[lane]);
  }
  return floats<Arch>::load_unaligned(values);
}

template <class Arch>
PLURIA_INLINE floats<Arch> floats_from_bytes(const std::uint8_t* bytes) noexcept {
#if defined(__AVX512F__)
  if constexpr (floats<Arch>::size == 16) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))));
  }
#endif
#if defined(__AVX2__)
  if constexpr (floats<Arch>::size == 8) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes))));
  }
#endif
#if defined(__SSE4_1__)
  if constexpr (floats<Arch>::size == 4) {
    std::int32_t four;
    std::memcpy(&four, bytes, sizeof(four));
    return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
  }
#endif
  return floats_from_bytes_one_by_one<Arch>(bytes);
}

/// Lane by lane `set` where the lane's bit is set, else `clear`: bits first, first + 1, ... of `bits`, the lowest bit
/// of a byte first; `first` is a multiple of 4, and of 8 with 8 lanes and more; the bits are whole 32-bit words.
template <class Arch>
PLURIA_INLINE floats<Arch> choose(const void* bits, std::size_t first, const floats<Arch>& set,
                                  const floats<Arch>& clear) noexcept {
  const auto* bytes = static_cast<const std::uint8_t*>(bits) + first / 8;
#if defined(__AVX512F__)
  if constexpr (floats<Arch>::size == 16) {
    std::uint16_t sixteen;
    std::memcpy(&sixteen, bytes, sizeof(sixteen));
    return _mm512_mask_blend_ps(static_cast<__mmask16>(sixteen), clear.data, set.data);
  }
#endif
#if defined(__AVX2__)
  if constexpr (floats<Arch>::size == 8) {
    // Every lane's bit moves to its sign, which is what the choice looks at.
    std::uint32_t word;
    std::memcpy(&word, static_cast<const std::uint8_t*>(bits) + first / 32 * 4, sizeof(word));
    const __m256i distance = _mm256_sub_epi32(_mm256_set1_epi32(31 - static_cast<int>(first % 32)),
                                              _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
    const __m256i signs = _mm256_sllv_epi32(_mm256_set1_epi32(static_cast<int>(word)), distance);
    return _mm256_blendv_ps(clear.data, set.data, _mm256_castsi256_ps(signs));
  }
#endif
  alignas(64) std::uint32_t which[floats<Arch>::size];
  for (std::size_t lane = 0; lane < floats<Arch>::size; ++lane) {
    which[lane] = 1U << lane;
  }
  std::uint32_t some = *bytes;
  if constexpr (floats<Arch>::size > 8) {
    some |= static_cast<std::uint32_t>(bytes[1]) << 8;
  }
  const auto lane_bits = words<Arch>::load_aligned(which);
  const auto is_set = (words<Arch>(some >> first % 8) & lane_bits) == lane_bits;
  return as<float>(where<Arch>(is_set, as<std::uint32_t>(set), as<std::uint32_t>(clear)));
}

}  // namespace pluria::lanes
