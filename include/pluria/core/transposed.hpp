// SPDX-License-Identifier: MIT
#pragma once
// 16 rows to where a lane for each row finds them, and back: the order of tensor/row_tiles.hpp. First the words of rows
// become words of lanes, then bits change places inside of a lane, and among four words of it.

#include <pluria/core/lanes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria::lanes {

// Exchanges the bits of `low` that stand `Distance` higher than those that `mask` shows with these of `high`.
template <int Distance, class Word>
PLURIA_INLINE void exchange(Word& low, Word& high, std::uint32_t mask) noexcept {
  const Word moved = ((low >> Distance) ^ high) & Word(mask);
  high = high ^ moved;
  low = low ^ (moved << Distance);
}

// The same within one word.
template <int Distance, class Word>
PLURIA_INLINE void exchange(Word& word, std::uint32_t mask) noexcept {
  const Word moved = ((word >> Distance) ^ word) & Word(mask);
  word = word ^ moved ^ (moved << Distance);
}

/// Bit 16 a + 4 i + c of word 2 p + h (p, h, a < 2; i, c < 4) to bit 8 c + 4 h + 2 a + p of word i. A word is a lane,
/// or a batch of them.
//
// The bits of a place's number, and those of a word's, change places by twos: p with the upper bit of i, h with the
// lower one, then a with the upper bit of c and p with the lower one.
template <class Word>
PLURIA_INLINE void tiles_of_bits(std::array<Word, 4>& lines) noexcept {
  for (std::size_t h = 0; h < 2; ++h) {
    exchange<8>(lines[h], lines[2 + h], 0x00ff00ffU);
  }
  for (std::size_t p = 0; p < 2; ++p) {
    exchange<4>(lines[2 * p], lines[2 * p + 1], 0x0f0f0f0fU);
  }
  for (Word& line : lines) {
    exchange<14>(line, 0x0000ccccU);
    exchange<7>(line, 0x00aa00aaU);
  }
}

/// The inverse.
template <class Word>
PLURIA_INLINE void rows_of_bits(std::array<Word, 4>& lines) noexcept {
  for (Word& line : lines) {
    exchange<7>(line, 0x00aa00aaU);
    exchange<14>(line, 0x0000ccccU);
  }
  for (std::size_t p = 0; p < 2; ++p) {
    exchange<4>(lines[2 * p], lines[2 * p + 1], 0x0f0f0f0fU);
  }
  for (std::size_t h = 0; h < 2; ++h) {
    exchange<8>(lines[h], lines[2 + h], 0x00ff00ffU);
  }
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

/// The first four words of 16 rows, `stride` words apart, word by word: 16 each, `column_stride` words apart.
inline void columns_of_rows_one_by_one(const std::uint32_t* rows, std::size_t stride, std::uint32_t* columns,
                                       std::size_t column_stride) noexcept {
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t row = 0; row < 16; ++row) {
      columns[i * column_stride + row] = rows[row * stride + i];
    }
  }
}

PLURIA_INLINE void columns_of_rows(const std::uint32_t* rows, std::size_t stride, std::uint32_t* columns,
                                   std::size_t column_stride) noexcept {
#if defined(__SSE2__)
  for (std::size_t row = 0; row < 16; row += 4) {
    const fours four = transposed_fours(rows + row * stride, stride);
    for (std::size_t i = 0; i < 4; ++i) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(columns + i * column_stride + row), four.of[i]);
    }
  }
#else
  columns_of_rows_one_by_one(rows, stride, columns, column_stride);
#endif
}

/// The inverse.
inline void rows_of_columns_one_by_one(const std::uint32_t* columns, std::size_t column_stride, std::uint32_t* rows,
                                       std::size_t stride) noexcept {
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t i = 0; i < 4; ++i) {
      rows[row * stride + i] = columns[i * column_stride + row];
    }
  }
}

PLURIA_INLINE void rows_of_columns(const std::uint32_t* columns, std::size_t column_stride, std::uint32_t* rows,
                                   std::size_t stride) noexcept {
#if defined(__SSE2__)
  for (std::size_t row = 0; row < 16; row += 4) {
    const fours four = transposed_fours(columns + row, column_stride);
    for (std::size_t r = 0; r < 4; ++r) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(rows + (row + r) * stride), four.of[r]);
    }
  }
#else
  rows_of_columns_one_by_one(columns, column_stride, rows, stride);
#endif
}

}  // namespace pluria::lanes
