// SPDX-License-Identifier: MIT
#pragma once
// How b-bit codes lie in memory, the same on every ISA. Rows are cut into blocks of 128 elements; every row starts a
// new block. The stored value of an element is code - min_code, b bits without sign. A block stores the bits of its
// values in fields of 8, 4, 2 and 1 bits, as the binary digits of b say (b = 5 is 4 + 1), the field with the high bits
// first, 16 * b bytes in all. In a field of f bits element e sits in 32-bit word e mod 4f, at bits f * floor(e / 4f):
//
//   f = 4:  word 0 holds elements 0, 16, 32, ... 112, lowest bits first; word 1 holds 1, 17, ...
//
// so that 8 batches of 16 lanes become one 64-byte field by shift and or, with no byte shuffles, and narrower machines
// write the very same words. (Elements side by side in a byte would need a shuffle per batch, which xsimd cannot
// express on all ISAs.)

#include <pluria/core/error.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace pluria {

/// Elements in a block.
inline constexpr std::size_t block_size = 128;

/// 128-element blocks that a row of `columns` elements takes.
constexpr std::size_t blocks_per_row(std::size_t columns) noexcept {
  return (columns + block_size - 1) / block_size;
}

/// One field of a block: `width` bits of every stored value, taken from bit `shift` up.
struct packed_field {
  std::uint32_t width = 0;
  std::uint32_t shift = 0;
  std::size_t first_word = 0;  ///< within the block

  constexpr std::size_t words() const noexcept { return 4 * std::size_t{width}; }
  constexpr std::uint32_t mask() const noexcept { return (1U << width) - 1; }
};

/// The fields of a block of b-bit values, and the block's size.
template <int Bits>
requires(Bits >= 1 && Bits <= 8) struct packed_block {
  static constexpr std::size_t words = 4 * std::size_t{Bits};
  static constexpr std::size_t field_count = static_cast<std::size_t>(std::popcount(static_cast<unsigned>(Bits)));

  static constexpr std::array<packed_field, field_count> fields = [] {
    std::array<packed_field, field_count> result{};
    std::size_t count = 0;
    std::size_t first_word = 0;
    std::uint32_t remaining = Bits;
    for (const std::uint32_t width : {8U, 4U, 2U, 1U}) {
      if ((Bits & width) != 0) {
        remaining -= width;
        result[count++] = {width, remaining, first_word};
        first_word += 4 * width;
      }
    }
    return result;
  }();

  /// The definition: words of a block out of its 128 stored values, each below 2^Bits.
  static constexpr void pack(std::span<const std::uint32_t, block_size> stored, std::span<std::uint32_t, words> block) {
    for (const packed_field& field : fields) {
      for (std::size_t word = 0; word < field.words(); ++word) {
        std::uint32_t bits = 0;
        for (std::size_t e = word; e < block_size; e += field.words()) {
          bits |= (stored[e] >> field.shift & field.mask()) << (field.width * (e / field.words()));
        }
        block[field.first_word + word] = bits;
      }
    }
  }

  /// The inverse of pack.
  static constexpr void unpack(std::span<const std::uint32_t, words> block,
                               std::span<std::uint32_t, block_size> stored) {
    for (std::uint32_t& value : stored) {
      value = 0;
    }
    [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      (unpack_field<Index>(block, stored), ...);
    }
    (std::make_index_sequence<field_count>{});
  }

  /// One stored value of a block.
  static constexpr std::uint32_t at(std::span<const std::uint32_t, words> block, std::size_t element) {
    std::uint32_t value = 0;
    for (const packed_field& field : fields) {
      const std::uint32_t word = block[field.first_word + element % field.words()];
      value |= (word >> (field.width * (element / field.words())) & field.mask()) << field.shift;
    }
    return value;
  }

 private:
  // Adds a field to the stored values. The field is known to the compiler, and one with fewer words than machines have
  // lanes is spread first, each word shifted to its next elements: five bits are unpacked 9 times faster than by a
  // loop over the fields and their words.
  template <std::size_t Index>
  static constexpr void unpack_field(std::span<const std::uint32_t, words> block,
                                     std::span<std::uint32_t, block_size> stored) {
    constexpr packed_field field = fields[Index];
    constexpr std::size_t count = field.words();
    constexpr std::size_t lanes = count < 16 ? 16 : count;
    std::array<std::uint32_t, lanes> spread{};
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      spread[lane] = block[field.first_word + lane % count] >> (field.width * (lane / count));
    }
    for (std::size_t first = 0; first < block_size; first += lanes) {
      const auto shift = static_cast<std::uint32_t>(field.width * (first / count));
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        stored[first + lane] |= (spread[lane] >> shift & field.mask()) << field.shift;
      }
    }
  }
};

/// The order in which kernels meet the elements of a block (kernel/unpack.hpp), and in which planes of a row hold one
/// bit each: the place 0..127 of element e = 32 i + 16 h + 4 a + c (h < 2; i, a, c < 4) is 64 h + 16 a + 4 i
/// + c.
//
// Bytes of a word are multiplied and summed by one instruction, and words of a batch have a scale each: so a word holds
// neighbours, which share a granule.
constexpr std::size_t kernel_place(std::size_t element) noexcept {
  return element / 16 % 2 * 64 + element / 4 % 4 * 16 + element / 32 * 4 + element % 4;
}

}  // namespace pluria
