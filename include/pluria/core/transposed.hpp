// SPDX-License-Identifier: MIT
#pragma once
// 16 rows of 128 bits, or of 16 words, to where a lane for each row finds them, and back: the order of
// tensor/row_tiles.hpp. With AVX-512 a plane of bits takes a quarter of the time of the loops.

#include <pluria/core/lanes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pluria::lanes {

// Rows of 128 bits each are 8 x 8 matrices of bytes, four of them: for both halves and for even and odd i (bit
// 64 h + 16 a + 4 i + c), two rows share a byte. Tiles hold the transposed ones.
struct bit_matrices {
  std::array<std::array<std::uint64_t, 4>, 8> lines;

  // Bytes of eight lines, in each of the four matrices.
  PLURIA_INLINE void transpose() noexcept {
    swap_blocks<4>(0x00000000ffffffffU);
    swap_blocks<2>(0x0000ffff0000ffffU);
    swap_blocks<1>(0x00ff00ff00ff00ffU);
  }

 private:
  template <std::size_t Distance>
  PLURIA_INLINE void swap_blocks(std::uint64_t low) noexcept {
    for (std::size_t line = 0; line < 8; ++line) {
      if ((line & Distance) == 0) {
        for (std::size_t matrix = 0; matrix < 4; ++matrix) {
          std::uint64_t& upper = lines[line][matrix];
          std::uint64_t& lower = lines[line + Distance][matrix];
          const std::uint64_t moved = (upper >> (8 * Distance) ^ lower) & low;
          upper ^= moved << (8 * Distance);
          lower ^= moved;
        }
      }
    }
  }
};

inline constexpr std::uint64_t low_nibbles = 0x0f0f0f0f0f0f0f0fU;

// Where the word of a transposed line goes: line 2 a + i / 2, matrix 2 h + i % 2.
template <class Work>
PLURIA_INLINE void for_each_plane_word(Work&& work) {
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t a = 0; a < 4; ++a) {
      for (std::size_t half = 0; half < 2; ++half) {
        work(i, 2 * a + half, 2 * a + i / 2, 2 * half + i % 2);
      }
    }
  }
}

/// 128 bits of each of 16 rows, `stride` bytes apart, to 64 bytes in each of four tiles, `tile_stride` bytes apart.
inline void tiles_of_bits_one_by_one(const std::byte* rows, std::size_t stride, std::byte* tiles,
                                     std::size_t tile_stride) noexcept {
  bit_matrices matrices;
  for (std::size_t pair = 0; pair < 8; ++pair) {
    std::array<std::uint64_t, 2> even;
    std::array<std::uint64_t, 2> odd;
    std::memcpy(even.data(), rows + 2 * pair * stride, 16);
    std::memcpy(odd.data(), rows + (2 * pair + 1) * stride, 16);
    for (std::size_t half = 0; half < 2; ++half) {
      matrices.lines[pair][2 * half] = (even[half] & low_nibbles) | (odd[half] & low_nibbles) << 4;
      matrices.lines[pair][2 * half + 1] = (even[half] >> 4 & low_nibbles) | (odd[half] & ~low_nibbles);
    }
  }
  matrices.transpose();
  for_each_plane_word([&](std::size_t i, std::size_t word, std::size_t line, std::size_t matrix) PLURIA_INLINE_LAMBDA {
    std::memcpy(tiles + i * tile_stride + 8 * word, &matrices.lines[line][matrix], 8);
  });
}

#if defined(__AVX512BW__)
// Byte i of lane j becomes byte j of lane i, in an 8 x 8 matrix of bytes.
PLURIA_INLINE __m512i transposed_bytes(const __m512i& lines) noexcept {
  // Pairs of bytes of two neighbouring lanes, then pairs from all four quarters.
  const __m512i pairs = _mm512_shuffle_epi8(
      lines, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15)));
  alignas(64) static constexpr std::array<std::uint16_t, 32> from = [] {
    std::array<std::uint16_t, 32> places{};
    for (std::size_t line = 0; line < 8; ++line) {
      for (std::size_t quarter = 0; quarter < 4; ++quarter) {
        places[4 * line + quarter] = static_cast<std::uint16_t>(8 * quarter + line);
      }
    }
    return places;
  }();
  return _mm512_permutexvar_epi16(_mm512_load_si512(from.data()), pairs);
}
#endif

PLURIA_INLINE void tiles_of_bits(const std::byte* rows, std::size_t stride, std::byte* tiles,
                                 std::size_t tile_stride) noexcept {
#if defined(__AVX512BW__)
  // Rows 0, 2, ... 14 and 1, 3, ... 15 of a half are eight 64-bit lanes each.
  const auto load = [&](std::size_t row) PLURIA_INLINE_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + row * stride));
  };
  const auto four = [&](std::size_t row) PLURIA_INLINE_LAMBDA {
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(load(row)), load(row + 4), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(load(row + 8)), load(row + 12), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  };
  const __m512i nibbles = _mm512_set1_epi8(0x0f);
  __m512i words[2][2];  // of a half, even and odd i: lane 2 a + i / 2
  for (std::size_t half = 0; half < 2; ++half) {
    const auto lanes_of = [&](const __m512i& first, const __m512i& second) PLURIA_INLINE_LAMBDA {
      return half == 0 ? _mm512_unpacklo_epi64(first, second) : _mm512_unpackhi_epi64(first, second);
    };
    const __m512i even = lanes_of(four(0), four(2));
    const __m512i odd = lanes_of(four(1), four(3));
    words[half][0] = transposed_bytes(_mm512_ternarylogic_epi64(nibbles, even, _mm512_slli_epi64(odd, 4), 0xca));
    words[half][1] = transposed_bytes(_mm512_ternarylogic_epi64(nibbles, _mm512_srli_epi64(even, 4), odd, 0xca));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    // Lanes 2 a + i / 2 of both halves become lanes 2 a and 2 a + 1.
    const __m512i from =
        i < 2 ? _mm512_setr_epi64(0, 8, 2, 10, 4, 12, 6, 14) : _mm512_setr_epi64(1, 9, 3, 11, 5, 13, 7, 15);
    _mm512_storeu_si512(tiles + i * tile_stride, _mm512_permutex2var_epi64(words[0][i % 2], from, words[1][i % 2]));
  }
#else
  tiles_of_bits_one_by_one(rows, stride, tiles, tile_stride);
#endif
}

/// The inverse.
inline void rows_of_bits_one_by_one(const std::byte* tiles, std::size_t tile_stride, std::byte* rows,
                                    std::size_t stride) noexcept {
  bit_matrices matrices;
  for_each_plane_word([&](std::size_t i, std::size_t word, std::size_t line, std::size_t matrix) PLURIA_INLINE_LAMBDA {
    std::memcpy(&matrices.lines[line][matrix], tiles + i * tile_stride + 8 * word, 8);
  });
  matrices.transpose();
  for (std::size_t pair = 0; pair < 8; ++pair) {
    std::array<std::uint64_t, 2> even;
    std::array<std::uint64_t, 2> odd;
    for (std::size_t half = 0; half < 2; ++half) {
      const std::uint64_t low = matrices.lines[pair][2 * half];
      const std::uint64_t high = matrices.lines[pair][2 * half + 1];
      even[half] = (low & low_nibbles) | (high & low_nibbles) << 4;
      odd[half] = (low >> 4 & low_nibbles) | (high & ~low_nibbles);
    }
    std::memcpy(rows + 2 * pair * stride, even.data(), 16);
    std::memcpy(rows + (2 * pair + 1) * stride, odd.data(), 16);
  }
}

PLURIA_INLINE void rows_of_bits(const std::byte* tiles, std::size_t tile_stride, std::byte* rows,
                                std::size_t stride) noexcept {
#if defined(__AVX512BW__)
  const auto load = [&](std::size_t i) PLURIA_INLINE_LAMBDA { return _mm512_loadu_si512(tiles + i * tile_stride); };
  const __m512i nibbles = _mm512_set1_epi8(0x0f);
  __m512i lines[2][2];  // of a half, even and odd rows: lane pair
  for (std::size_t half = 0; half < 2; ++half) {
    // Lanes 2 a + half of tiles i and i + 2 become lanes 2 a and 2 a + 1.
    const __m512i from =
        half == 0 ? _mm512_setr_epi64(0, 8, 2, 10, 4, 12, 6, 14) : _mm512_setr_epi64(1, 9, 3, 11, 5, 13, 7, 15);
    const __m512i even = transposed_bytes(_mm512_permutex2var_epi64(load(0), from, load(2)));
    const __m512i odd = transposed_bytes(_mm512_permutex2var_epi64(load(1), from, load(3)));
    lines[half][0] = _mm512_ternarylogic_epi64(nibbles, even, _mm512_slli_epi64(odd, 4), 0xca);
    lines[half][1] = _mm512_ternarylogic_epi64(nibbles, _mm512_srli_epi64(even, 4), odd, 0xca);
  }
  for (std::size_t odd = 0; odd < 2; ++odd) {
    for (std::size_t upper = 0; upper < 2; ++upper) {
      const __m512i both = upper == 0 ? _mm512_unpacklo_epi64(lines[0][odd], lines[1][odd])
                                      : _mm512_unpackhi_epi64(lines[0][odd], lines[1][odd]);
      std::byte* const first = rows + (2 * upper + odd) * stride;
      _mm_storeu_si128(reinterpret_cast<__m128i*>(first), _mm512_castsi512_si128(both));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(first + 4 * stride), _mm512_extracti32x4_epi32(both, 1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(first + 8 * stride), _mm512_extracti32x4_epi32(both, 2));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(first + 12 * stride), _mm512_extracti32x4_epi32(both, 3));
    }
  }
#else
  rows_of_bits_one_by_one(tiles, tile_stride, rows, stride);
#endif
}

#if defined(__SSE2__)
// A 4 x 4 matrix of words, lines `stride` words apart, column by column.
struct fours {
  __m128i of[4];
};

PLURIA_INLINE fours transposed_fours(const std::uint32_t* lines, std::size_t stride) noexcept {
  const auto load = [&](std::size_t line) PLURIA_INLINE_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(lines + line * stride));
  };
  const __m128i low = _mm_unpacklo_epi32(load(0), load(1));
  const __m128i high = _mm_unpackhi_epi32(load(0), load(1));
  const __m128i next_low = _mm_unpacklo_epi32(load(2), load(3));
  const __m128i next_high = _mm_unpackhi_epi32(load(2), load(3));
  return {{_mm_unpacklo_epi64(low, next_low), _mm_unpackhi_epi64(low, next_low), _mm_unpacklo_epi64(high, next_high),
           _mm_unpackhi_epi64(high, next_high)}};
}
#endif

/// Words 4 a + i of 16 rows, 16 each, to word 16 a + row of tile i; tiles are `tile_words` apart.
inline void tiles_of_words_one_by_one(const std::uint32_t* rows, std::uint32_t* tiles,
                                      std::size_t tile_words) noexcept {
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t a = 0; a < 4; ++a) {
      for (std::size_t row = 0; row < 16; ++row) {
        tiles[i * tile_words + 16 * a + row] = rows[16 * row + 4 * a + i];
      }
    }
  }
}

PLURIA_INLINE void tiles_of_words(const std::uint32_t* rows, std::uint32_t* tiles, std::size_t tile_words) noexcept {
#if defined(__SSE2__)
  for (std::size_t a = 0; a < 4; ++a) {
    for (std::size_t row = 0; row < 16; row += 4) {
      const fours columns = transposed_fours(rows + 16 * row + 4 * a, 16);
      for (std::size_t i = 0; i < 4; ++i) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(tiles + i * tile_words + 16 * a + row), columns.of[i]);
      }
    }
  }
#else
  tiles_of_words_one_by_one(rows, tiles, tile_words);
#endif
}

/// The inverse.
inline void rows_of_words_one_by_one(const std::uint32_t* tiles, std::size_t tile_words, std::uint32_t* rows) noexcept {
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t a = 0; a < 4; ++a) {
      for (std::size_t i = 0; i < 4; ++i) {
        rows[16 * row + 4 * a + i] = tiles[i * tile_words + 16 * a + row];
      }
    }
  }
}

PLURIA_INLINE void rows_of_words(const std::uint32_t* tiles, std::size_t tile_words, std::uint32_t* rows) noexcept {
#if defined(__SSE2__)
  for (std::size_t row = 0; row < 16; row += 4) {
    for (std::size_t a = 0; a < 4; ++a) {
      const fours lines = transposed_fours(tiles + 16 * a + row, tile_words);
      for (std::size_t r = 0; r < 4; ++r) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(rows + 16 * (row + r) + 4 * a), lines.of[r]);
      }
    }
  }
#else
  rows_of_words_one_by_one(tiles, tile_words, rows);
#endif
}

}  // namespace pluria::lanes
