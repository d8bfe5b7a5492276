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

// One block of 16 rows, as packed codes and planes in kernel_place's order, `row_words` apart, to its four tiles.
template <int Bits, class Arch>
void tile_block(const std::uint32_t* rows, std::size_t row_words, std::size_t members, std::uint32_t* tiles) {
  using words = lanes::words<Arch>;
  using codes = tile_codes<Bits>;
  using unpacked = unpacked_block<Arch>;
  const std::size_t tile_words = codes::words + members * row_tile::plane_words;
  const words low(0x0f0f0f0fU);
  alignas(64) std::array<words_of_rows, codes::fields> fields;
  alignas(64) std::array<std::array<std::byte, 16 * row_tile::rows>, codes::planes> planes;
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
      for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
        lanes::store_bits_where_above(bytes[half][slice] & bit, words(0U),
                                      &planes[number][16 * row + 8 * half + unpacked::width / 2 * slice]);
      });
    });
  }
  lanes::unrolled<codes::fields>([&](auto number) PLURIA_INLINE_LAMBDA {
    lanes::tiles_of_words(fields[number].data(), tiles + row_tile::field_words * number, tile_words);
  });
  auto* const planes_of_tiles = reinterpret_cast<std::byte*>(tiles + row_tile::field_words * codes::fields);
  lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
    lanes::tiles_of_bits(planes[number].data(), 16, planes_of_tiles + 64 * number, 4 * tile_words);
  });
  for (std::size_t member = 0; member < members; ++member) {
    lanes::tiles_of_bits(
        reinterpret_cast<const std::byte*>(rows + packed_block<Bits>::words + 4 * member), 4 * row_words,
        reinterpret_cast<std::byte*>(tiles + codes::words + row_tile::plane_words * member), 4 * tile_words);
  }
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
  alignas(64) std::array<std::array<std::byte, 16 * row_tile::rows>, codes::planes> bits;
  lanes::unrolled<codes::fields>([&](auto number) PLURIA_INLINE_LAMBDA {
    lanes::rows_of_words(tiles + row_tile::field_words * number, tile_words, fields[number].data());
  });
  const auto* const planes_of_tiles = reinterpret_cast<const std::byte*>(tiles + row_tile::field_words * codes::fields);
  lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
    lanes::rows_of_bits(planes_of_tiles + 64 * number, 4 * tile_words, bits[number].data(), 16);
  });
  for (std::size_t row = 0; row < row_tile::rows; ++row) {
    for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
      words bytes(0U);
      lanes::unrolled<codes::fields>([&](auto number) PLURIA_INLINE_LAMBDA {
        const words both = words::load_aligned(&fields[number][16 * row + unpacked::width * slice]);
        bytes = (bytes << 4) | ((half == 0 ? both : both >> 4) & low);
      });
      lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
        bytes =
            lanes::plus_bits(words(bytes + bytes), &bits[number][16 * row + 8 * half + unpacked::width / 2 * slice]);
      });
      bytes.store_aligned(out.floors + row * out.floor_words + 16 * half + unpacked::width * slice);
    });
  }
  for (std::size_t member = 0; member < members; ++member) {
    lanes::rows_of_bits(reinterpret_cast<const std::byte*>(tiles + codes::words + row_tile::plane_words * member),
                        4 * tile_words, reinterpret_cast<std::byte*>(out.planes + 4 * member), 4 * out.plane_words);
  }
}

}  // namespace pluria::detail
