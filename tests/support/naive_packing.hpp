// SPDX-License-Identifier: MIT
#pragma once
// The packed layout once more, one bit at a time, out of its description.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace support {

/// The 4 * bits words of a block of 128 stored values.
inline std::vector<std::uint32_t> naive_block(std::size_t bits, std::span<const std::uint32_t, 128> stored) {
  std::vector<std::uint32_t> block(4 * bits, 0);
  for (std::size_t e = 0; e < 128; ++e) {
    std::size_t high = bits;      // the value's bits from here on are stored
    std::size_t field_begin = 0;  // in words
    for (const std::size_t f : {8U, 4U, 2U, 1U}) {
      if ((bits & f) == 0) {
        continue;
      }
      high -= f;
      for (std::size_t bit = 0; bit < f; ++bit) {
        const std::uint32_t set = stored[e] >> (high + bit) & 1U;
        block[field_begin + e % (4 * f)] |= set << (f * (e / (4 * f)) + bit);
      }
      field_begin += 4 * f;
    }
  }
  return block;
}

/// Where kernels meet element 32 i + 16 h + 4 a + c of a block.
constexpr std::size_t naive_place(std::size_t element) noexcept {
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::size_t a = 0; a < 4; ++a) {
        for (std::size_t c = 0; c < 4; ++c) {
          if (element == 32 * i + 16 * h + 4 * a + c) {
            return 64 * h + 16 * a + 4 * i + c;
          }
        }
      }
    }
  }
  return 128;
}

/// The 4 words of a plane: the bits of 128 elements, each at its naive_place.
inline std::array<std::uint32_t, 4> naive_plane(std::span<const std::uint32_t, 128> ups) {
  std::array<std::uint32_t, 4> plane{};
  for (std::size_t e = 0; e < 128; ++e) {
    plane[naive_place(e) / 32] |= ups[e] << naive_place(e) % 32;
  }
  return plane;
}

/// The 16 words of a plane of a tile: the bits of 16 rows and 32 columns.
using tile_values = std::array<std::array<std::uint32_t, 32>, 16>;

inline std::vector<std::uint32_t> naive_tile_plane(const tile_values& bits) {
  std::vector<std::uint32_t> plane(16, 0);
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::size_t a = 0; a < 4; ++a) {
        for (std::size_t c = 0; c < 4; ++c) {
          const std::size_t bit = 8 * (4 * row + c) + 4 * h + 2 * (a % 2) + a / 2;
          plane[bit / 32] |= (bits[row][16 * h + 4 * a + c] & 1U) << bit % 32;
        }
      }
    }
  }
  return plane;
}

/// The planes of members, 16 words each: by twos, and of an odd number the last as it is alone.
inline std::vector<std::uint32_t> naive_tile_planes(std::span<const tile_values> members) {
  std::vector<std::uint32_t> planes(16 * members.size(), 0);
  for (std::size_t m = 0; m < members.size(); ++m) {
    if (m % 2 == 0 && m + 1 == members.size()) {
      const std::vector<std::uint32_t> last = naive_tile_plane(members[m]);
      for (std::size_t word = 0; word < 16; ++word) {
        planes[16 * m + word] = last[word];
      }
      continue;
    }
    for (std::size_t row = 0; row < 16; ++row) {
      for (std::size_t h = 0; h < 2; ++h) {
        for (std::size_t a = 0; a < 4; ++a) {
          for (std::size_t c = 0; c < 4; ++c) {
            const std::size_t byte = 128 * (m / 2) + 64 * (a / 2) + 4 * row + c;
            const std::size_t bit = 8 * byte + 4 * h + 2 * (a % 2) + m % 2;
            planes[bit / 32] |= (members[m][row][16 * h + 4 * a + c] & 1U) << bit % 32;
          }
        }
      }
    }
  }
  return planes;
}

/// The 16 * bits words of a tile of stored values: fields of four bits, then planes, high bits first.
inline std::vector<std::uint32_t> naive_tile(std::size_t bits, const tile_values& stored) {
  std::vector<std::uint32_t> tile;
  std::size_t high = bits;
  for (; high >= 4; high -= 4) {
    std::array<std::uint8_t, 256> field{};
    for (std::size_t row = 0; row < 16; ++row) {
      for (std::size_t column = 0; column < 32; ++column) {
        const std::uint32_t nibble = stored[row][column] >> (high - 4) & 15U;
        field[64 * (column % 16 / 4) + 4 * row + column % 4] |= static_cast<std::uint8_t>(nibble << column / 16 * 4);
      }
    }
    for (std::size_t word = 0; word < 64; ++word) {
      tile.push_back(field[4 * word] | static_cast<std::uint32_t>(field[4 * word + 1]) << 8 |
                     static_cast<std::uint32_t>(field[4 * word + 2]) << 16 |
                     static_cast<std::uint32_t>(field[4 * word + 3]) << 24);
    }
  }
  for (; high > 0; --high) {
    tile_values plane = stored;
    for (auto& row : plane) {
      for (std::uint32_t& value : row) {
        value = value >> (high - 1) & 1U;
      }
    }
    const std::vector<std::uint32_t> bits_of_plane = naive_tile_plane(plane);
    tile.insert(tile.end(), bits_of_plane.begin(), bits_of_plane.end());
  }
  return tile;
}

}  // namespace support
