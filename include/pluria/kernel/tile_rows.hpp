// SPDX-License-Identifier: MIT
#pragma once
// From rows to tiles (tensor/row_tiles.hpp) and back: kernels that sample work on blocks of a row, and so do products
// that decode weights; what lies in memory are tiles.

#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/transposed.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/row_tiles.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria::detail {

// How far ahead of a tile memory is asked for, 8 KB, into second-level cache: the first level would have lost it again
// before it is read.
inline constexpr std::size_t words_ahead = 2048;

using words_of_rows = std::array<std::uint32_t, 16 * row_tile::rows>;

// The planes of a member, or of two: 4 words of each of 16 rows, word by word.
using plane_columns = std::array<std::array<std::uint32_t, 4 * row_tile::rows>, 2>;

// Calls work(offset, lines) for every four words whose bits change places together, a batch of rows at once: lines are
// where word 2 h + p of a member alone, or word 2 h + b (b < 2) of member p of two, is for line 2 p + h; `offset` is
// where they belong in the planes of all four tiles.
template <class Arch, class Work>
PLURIA_INLINE void for_each_plane_line(bool is_alone, plane_columns& columns, Work&& work) {
  for (std::size_t b = 0; b < (is_alone ? 1U : 2U); ++b) {
    for (std::size_t row = 0; row < row_tile::rows; row += lanes::words<Arch>::size) {
      std::array<std::uint32_t*, 4> lines;
      for (std::size_t p = 0; p < 2; ++p) {
        for (std::size_t h = 0; h < 2; ++h) {
          auto& of_member = columns[is_alone ? 0 : p];
          lines[2 * p + h] = of_member.data() + row_tile::rows * (2 * h + (is_alone ? p : b)) + row;
        }
      }
      work(row_tile::plane_words * b + row, lines);
    }
  }
}

// Planes of members, each 4 words of 16 rows, `row_words` apart, to four tiles.
template <class Arch>
void tiles_of_planes(const std::uint32_t* rows, std::size_t row_words, std::size_t members, std::uint32_t* tiles,
                     std::size_t tile_words) {
  using words = lanes::words<Arch>;
  alignas(64) plane_columns columns;
  for (std::size_t m = 0; m < members; m += 2) {
    const bool is_alone = row_tile::is_alone(members, m);
    for (std::size_t p = 0; p < (is_alone ? 1U : 2U); ++p) {
      lanes::columns_of_rows(rows + 4 * (m + p), row_words, columns[p].data(), row_tile::rows);
    }
    for_each_plane_line<Arch>(is_alone, columns, [&](std::size_t offset, const auto& lines) PLURIA_INLINE_LAMBDA {
      std::array<words, 4> bits;
      lanes::unrolled<4>([&](auto i) PLURIA_INLINE_LAMBDA { bits[i] = words::load_aligned(lines[i]); });
      lanes::tiles_of_bits(bits);
      lanes::unrolled<4>([&](auto i) PLURIA_INLINE_LAMBDA {
        bits[i].store_aligned(tiles + row_tile::plane_words * m + i * tile_words + offset);
      });
    });
  }
}

// The inverse.
template <class Arch>
void rows_of_planes(const std::uint32_t* tiles, std::size_t tile_words, std::size_t members, std::uint32_t* rows,
                    std::size_t row_words) {
  using words = lanes::words<Arch>;
  alignas(64) plane_columns columns;
  for (std::size_t m = 0; m < members; m += 2) {
    const bool is_alone = row_tile::is_alone(members, m);
    for_each_plane_line<Arch>(is_alone, columns, [&](std::size_t offset, const auto& lines) PLURIA_INLINE_LAMBDA {
      std::array<words, 4> bits;
      lanes::unrolled<4>([&](auto i) PLURIA_INLINE_LAMBDA {
        bits[i] = words::load_aligned(tiles + row_tile::plane_words * m + i * tile_words + offset);
      });
      lanes::rows_of_bits(bits);
      lanes::unrolled<4>([&](auto i) PLURIA_INLINE_LAMBDA { bits[i].store_aligned(lines[i]); });
    });
    for (std::size_t p = 0; p < (is_alone ? 1U : 2U); ++p) {
      lanes::rows_of_columns(columns[p].data(), row_tile::rows, rows + 4 * (m + p), row_words);
    }
  }
}

// One block of 16 rows, as packed codes and planes in kernel_place's order, `row_words` apart, to its four tiles.
template <int Bits, class Arch>
void tile_block(const std::uint32_t* rows, std::size_t row_words, std::size_t members, std::uint32_t* tiles) {
  using words = lanes::words<Arch>;
  using codes = tile_codes<Bits>;
  using unpacked = unpacked_block<Arch>;
  const std::size_t tile_words = codes::words + members * row_tile::plane_words;
  const words low(0x0f0f0f0fU);
  alignas(64) std::array<words_of_rows, codes::fields> fields;
  alignas(64) std::array<std::array<std::uint32_t, 4 * row_tile::rows>, codes::planes> planes;
  for (std::size_t row = 0; row < row_tile::rows; ++row) {
    const auto bytes = unpack<Bits, Arch>(rows + row * row_words);
    lanes::unrolled<codes::fields>([&](auto number) PLURIA_INLINE_LAMBDA {
      constexpr int shift = Bits - 4 * (static_cast<int>(number) + 1);
      lanes::unrolled<unpacked::slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
        const words both = ((bytes[0][slice] >> shift) & low) | (((bytes[1][slice] >> shift) & low) << 4);
        both.store_aligned(&fields[number][16 * row + unpacked::width * slice]);
      });
    });
    lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
      const words bit(0x01010101U << (codes::planes - 1 - number));
      auto* const plane = reinterpret_cast<std::byte*>(&planes[number][4 * row]);
      for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
        lanes::store_bits_where_above(bytes[half][slice] & bit, words(0U),
                                      plane + 8 * half + unpacked::width / 2 * slice);
      });
    });
  }
  lanes::unrolled<codes::fields>([&](auto number) PLURIA_INLINE_LAMBDA {
    for (std::size_t a = 0; a < 4; ++a) {
      lanes::columns_of_rows(fields[number].data() + 4 * a, 16, tiles + row_tile::field_words * number + 16 * a,
                             tile_words);
    }
  });
  std::uint32_t* const planes_of_tiles = tiles + row_tile::field_words * codes::fields;
  lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
    tiles_of_planes<Arch>(planes[number].data(), 4, 1, planes_of_tiles + row_tile::plane_words * number, tile_words);
  });
  tiles_of_planes<Arch>(rows + packed_block<Bits>::words, row_words, members, tiles + codes::words, tile_words);
}

// Where 16 rows of a block go: of each the floors, 128 bytes in kernel_place's order, and the members' planes, 16 bytes
// each; how far the rows are apart, in words.
struct row_places {
  std::uint32_t* floors;
  std::size_t floor_words;
  std::uint32_t* planes;
  std::size_t plane_words;
};

// The inverse, for what multiplies by rows.
template <int Bits, class Arch>
void rows_of_tiles(const std::uint32_t* tiles, std::size_t members, const row_places& out) {
  using words = lanes::words<Arch>;
  using codes = tile_codes<Bits>;
  using unpacked = unpacked_block<Arch>;
  const std::size_t tile_words = codes::words + members * row_tile::plane_words;
  const words low(0x0f0f0f0fU);
  alignas(64) std::array<words_of_rows, codes::fields> fields;
  alignas(64) std::array<std::array<std::uint32_t, 4 * row_tile::rows>, codes::planes> planes;
  lanes::unrolled<codes::fields>([&](auto number) PLURIA_INLINE_LAMBDA {
    for (std::size_t a = 0; a < 4; ++a) {
      lanes::rows_of_columns(tiles + row_tile::field_words * number + 16 * a, tile_words, fields[number].data() + 4 * a,
                             16);
    }
  });
  const std::uint32_t* const planes_of_tiles = tiles + row_tile::field_words * codes::fields;
  lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
    rows_of_planes<Arch>(planes_of_tiles + row_tile::plane_words * number, tile_words, 1, planes[number].data(), 4);
  });
  for (std::size_t row = 0; row < row_tile::rows; ++row) {
    for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
      words bytes(0U);
      lanes::unrolled<codes::fields>([&](auto number) PLURIA_INLINE_LAMBDA {
        const words both = words::load_aligned(&fields[number][16 * row + unpacked::width * slice]);
        bytes = (bytes << 4) | ((half == 0 ? both : both >> 4) & low);
      });
      lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
        const auto* const plane = reinterpret_cast<const std::byte*>(&planes[number][4 * row]);
        bytes = lanes::plus_bits(words(bytes + bytes), plane + 8 * half + unpacked::width / 2 * slice);
      });
      bytes.store_aligned(out.floors + row * out.floor_words + 16 * half + unpacked::width * slice);
    });
  }
  rows_of_planes<Arch>(tiles + codes::words, tile_words, members, out.planes, out.plane_words);
}

}  // namespace pluria::detail
