// SPDX-License-Identifier: MIT
#pragma once
// How codes and bits lie where products read 16 rows at once: in tiles of 16 rows and 32 columns. A register of 16
// lanes has one lane for each row, four neighbouring columns a lane, so that the products of a tile add up in their
// lanes, and every input is loaded for all rows; nothing is summed across a register, and nothing goes to memory and
// back but once a tile and member.
//
// Element (r, 16 h + 4 a + c) of a tile (r < 16, h < 2, a < 4, c < 4) is
//  - in a field of 4 bits, 256 bytes: the lower (h = 0) or upper half of byte 64 a + 4 r + c;
//  - in a plane of single bits, 64 bytes: bit 4 h + 2 (a mod 2) + floor(a / 2) of byte 4 r + c;
//  - in the planes of two members, 128 bytes: bit 4 h + 2 (a mod 2) + p of byte 64 floor(a / 2) + 4 r + c, p = 0 for
//  the
//    first of them and 1 for the second: both bits come to a lane together.
// b-bit codes are floor(b / 4) fields and b mod 4 planes, those with the high bits first. Members are planes by twos;
// of an odd number the last has one for itself.

#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria {

struct row_tile {
  static constexpr std::size_t rows = 16;
  static constexpr std::size_t columns = 32;
  static constexpr std::size_t field_words = 64;
  static constexpr std::size_t plane_words = 16;  // of each member, in the planes of two, too
  using plane = std::array<std::uint32_t, plane_words>;

  /// The 4 bits of an element in a field.
  static constexpr std::uint32_t nibble(const std::uint32_t* field, std::size_t row, std::size_t column) noexcept {
    return field[16 * (column / 4 % 4) + row] >> (8 * (column % 4) + 4 * (column / 16)) & 15U;
  }
  /// The bit of an element in a plane.
  static constexpr std::uint32_t bit(const std::uint32_t* plane, std::size_t row, std::size_t column) noexcept {
    return plane[row] >> (place_in_word(column) + column / 8 % 2) & 1U;
  }
  /// The bit of an element in one of `members` members, whose planes begin at `planes`.
  static constexpr std::uint32_t bit(const std::uint32_t* planes, std::size_t members, std::size_t member,
                                     std::size_t row, std::size_t column) noexcept {
    const std::uint32_t* const own = planes + plane_words * (member - member % 2);
    if (is_alone(members, member)) {
      return bit(own, row, column);
    }
    return own[plane_words * (column / 8 % 2) + row] >> (place_in_word(column) + member % 2) & 1U;
  }

  /// Whether a member has a plane for itself.
  static constexpr bool is_alone(std::size_t members, std::size_t member) noexcept {
    return member % 2 == 0 && member + 1 == members;
  }

  /// The plane of one of `members` members as it is alone.
  static constexpr plane plane_of(const std::uint32_t* planes, std::size_t members, std::size_t member) noexcept {
    const std::uint32_t* const own = planes + plane_words * (member - member % 2);
    plane result{};
    for (std::size_t row = 0; row < rows; ++row) {
      result[row] = is_alone(members, member)
                        ? own[row]
                        : every_other(own[row] >> member % 2) | every_other(own[plane_words + row] >> member % 2) << 1;
    }
    return result;
  }

  /// Writes the planes of two members.
  static constexpr void store_pair(const plane& first, const plane& second, std::uint32_t* pair) noexcept {
    for (std::size_t upper = 0; upper < 2; ++upper) {
      for (std::size_t row = 0; row < rows; ++row) {
        pair[plane_words * upper + row] = every_other(first[row] >> upper) | every_other(second[row] >> upper) << 1;
      }
    }
  }

 private:
  static constexpr std::size_t place_in_word(std::size_t column) noexcept {
    return 8 * (column % 4) + 4 * (column / 16) + 2 * (column / 4 % 2);
  }
  static constexpr std::uint32_t every_other(std::uint32_t bits) noexcept { return bits & 0x55555555U; }
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
