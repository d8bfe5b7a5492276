// SPDX-License-Identifier: MIT
#pragma once
// From rows to tiles (tensor/row_tiles.hpp) and back: kernels that sample work on blocks of a row, and so do products
// that decode weights; what lies in memory are tiles.

#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/row_tiles.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pluria::detail {

// The planes of 16 rows of a block, 128 bits each in kernel_place's order, are 8 x 8 matrices of bytes, four of them:
// for both halves of a block and for even and odd i (element 32 i + 16 h + 4 a + c), two rows share a byte. Tiles hold
// the transposed ones.
struct plane_matrices {
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

// One plane of 16 rows, 16 bytes each and `stride` bytes apart, to one plane in each of four tiles, `tile_stride` bytes
// apart.
PLURIA_INLINE void tile_plane(const std::byte* rows, std::size_t stride, std::byte* tiles, std::size_t tile_stride) {
  plane_matrices matrices;
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

// The inverse: rows of 16 bytes, `stride` bytes apart.
PLURIA_INLINE void rows_of_plane(const std::byte* tiles, std::size_t tile_stride, std::byte* rows, std::size_t stride) {
  plane_matrices matrices;
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

// A field of 16 rows, words 4 a + i of each, to words of the tiles and back.
PLURIA_INLINE void tile_field(const std::uint32_t* rows, std::uint32_t* tiles, std::size_t tile_words) {
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t a = 0; a < 4; ++a) {
      for (std::size_t row = 0; row < row_tile::rows; ++row) {
        tiles[i * tile_words + 16 * a + row] = rows[16 * row + 4 * a + i];
      }
    }
  }
}
PLURIA_INLINE void rows_of_field(const std::uint32_t* tiles, std::size_t tile_words, std::uint32_t* rows) {
  for (std::size_t row = 0; row < row_tile::rows; ++row) {
    for (std::size_t a = 0; a < 4; ++a) {
      for (std::size_t i = 0; i < 4; ++i) {
        rows[16 * row + 4 * a + i] = tiles[i * tile_words + 16 * a + row];
      }
    }
  }
}

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
    tile_field(fields[number].data(), tiles + row_tile::field_words * number, tile_words);
  });
  auto* const planes_of_tiles = reinterpret_cast<std::byte*>(tiles + row_tile::field_words * codes::fields);
  lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
    tile_plane(planes[number].data(), 16, planes_of_tiles + 64 * number, 4 * tile_words);
  });
  for (std::size_t member = 0; member < members; ++member) {
    tile_plane(reinterpret_cast<const std::byte*>(rows + packed_block<Bits>::words + 4 * member), 4 * row_words,
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
    rows_of_field(tiles + row_tile::field_words * number, tile_words, fields[number].data());
  });
  const auto* const planes_of_tiles = reinterpret_cast<const std::byte*>(tiles + row_tile::field_words * codes::fields);
  lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
    rows_of_plane(planes_of_tiles + 64 * number, 4 * tile_words, bits[number].data(), 16);
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
    rows_of_plane(reinterpret_cast<const std::byte*>(tiles + codes::words + row_tile::plane_words * member),
                  4 * tile_words, reinterpret_cast<std::byte*>(out.planes + 4 * member), 4 * out.plane_words);
  }
}

}  // namespace pluria::detail
