// SPDX-License-Identifier: MIT
#pragma once
// How codes and bits lie where products read 16 rows at once: in tiles of 16 rows and 32 columns. A register of 16
// lanes has one lane for each row, four neighbouring columns a lane, so that the products of a tile add up in their
// lanes, and every input is loaded for all rows; nothing is summed across a register, and nothing goes to memory and
// back but once a tile and member.
//
// Element (r, 16 h + 4 a + c) of a tile (r < 16, h < 2, a < 4, c < 4) is
//  - in a field of 4 bits, 256 bytes: the lower (h = 0) or upper half of byte 64 a + 4 r + c;
//  - in a plane of single bits, 64 bytes: bit 4 r + c of the 64-bit word 2 a + h, bytes from the lowest up.
// b-bit codes are floor(b / 4) fields and b mod 4 planes, those with the high bits first.

#include <cstddef>
#include <cstdint>

namespace pluria {

struct row_tile {
  static constexpr std::size_t rows = 16;
  static constexpr std::size_t columns = 32;
  static constexpr std::size_t field_words = 64;
  static constexpr std::size_t plane_words = 16;

  /// The 4 bits of an element in a field.
  static constexpr std::uint32_t nibble(const std::uint32_t* field, std::size_t row, std::size_t column) noexcept {
    return field[16 * (column / 4 % 4) + row] >> (8 * (column % 4) + 4 * (column / 16)) & 15U;
  }
  /// The bit of an element in a plane.
  static constexpr std::uint32_t bit(const std::uint32_t* plane, std::size_t row, std::size_t column) noexcept {
    return plane[4 * (column / 4 % 4) + 2 * (column / 16) + row / 8] >> (4 * (row % 8) + column % 4) & 1U;
  }
};

/// The b-bit codes of a tile.
template <int Bits>
requires(Bits >= 1 && Bits <= 8) struct tile_codes {
  static constexpr std::size_t fields = Bits / 4;
  static constexpr std::size_t planes = Bits % 4;
  static constexpr std::size_t words = row_tile::field_words * fields + row_tile::plane_words * planes;

  static constexpr const std::uint32_t* field(const std::uint32_t* tile, std::size_t number) noexcept {
    return tile + row_tile::field_words * number;
  }
  static constexpr const std::uint32_t* plane(const std::uint32_t* tile, std::size_t number) noexcept {
    return tile + row_tile::field_words * fields + row_tile::plane_words * number;
  }

  /// The definition: the code of one element.
  static constexpr std::uint32_t at(const std::uint32_t* tile, std::size_t row, std::size_t column) noexcept {
    std::uint32_t code = 0;
    for (std::size_t number = 0; number < fields; ++number) {
      code = code << 4 | row_tile::nibble(field(tile, number), row, column);
    }
    for (std::size_t number = 0; number < planes; ++number) {
      code = code << 1 | row_tile::bit(plane(tile, number), row, column);
    }
    return code;
  }
};

}  // namespace pluria
