// SPDX-License-Identifier: MIT
#pragma once
// A packed block of 128 codes to bytes in registers, in the order that products meet the elements (kernel_place). The
// packed words already hold the bytes of even and of odd q (element 16 q + lane); all that is moved is a 4 x 4 matrix
// of bytes in every quarter of 16, so that the four bytes of a word are neighbours.

#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/tensor/packing.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria::detail {

/// code - min_code of 128 elements, a byte each: places 64 half + 4 width slice and up are bytes[half][slice].
template <class Arch>
struct unpacked_block {
  using words = lanes::words<Arch>;
  static constexpr std::size_t width = words::size;
  static constexpr std::size_t slices = 16 / width;
  static_assert(width <= 16 && 16 % width == 0, "blocks are laid out for 4, 8 or 16 lanes");
  using bytes = std::array<std::array<words, slices>, 2>;
};

// The words of a slice of a field's form (split_block.hpp): the code of element 16 q + lane at bits 4 q.
template <std::uint32_t Width, class Arch>
PLURIA_INLINE lanes::words<Arch> form_of_field(const std::uint32_t* field, std::size_t slice) noexcept {
  using words = lanes::words<Arch>;
  constexpr std::size_t width = words::size;
  if constexpr (Width == 4) {
    return words::load_unaligned(field + width * slice);
  } else {
    // A narrower field has fewer words than a form has lanes: lane l is word l % (4 Width), shifted.
    constexpr std::size_t count = 4 * std::size_t{Width};
    constexpr std::size_t loaded = count < width ? count : width;
    const words numbers = lanes::numbers<Arch>() + words(static_cast<std::uint32_t>(width * slice));
    const words shifts = (numbers >> (Width == 2 ? 3 : 2)) * words(Width);
    const words all = lanes::repeated<loaded, Arch>(field + width * slice % count);
    return (all >> shifts) & words(Width == 2 ? 0x33333333U : 0x11111111U);
  }
}

/// The bytes of a block of b-bit codes.
template <int Bits, class Arch>
PLURIA_INLINE typename unpacked_block<Arch>::bytes unpack(const std::uint32_t* block) noexcept {
  using words = lanes::words<Arch>;
  using unpacked = unpacked_block<Arch>;
  using packed = packed_block<Bits>;
  typename unpacked::bytes result;
  lanes::unrolled<unpacked::slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
    std::array<words, 2> halves{words(0U), words(0U)};
    lanes::unrolled<packed::field_count>([&](auto f) PLURIA_INLINE_LAMBDA {
      constexpr packed_field field = packed::fields[f];
      const std::uint32_t* source = block + field.first_word;
      if constexpr (field.width == 8) {
        halves[0] = words::load_unaligned(source + unpacked::width * slice);
        halves[1] = words::load_unaligned(source + 16 + unpacked::width * slice);
      } else {
        const words form = form_of_field<field.width, Arch>(source, slice);
        const words low(0x0f0f0f0fU);
        halves[0] = halves[0] | ((form & low) << static_cast<int>(field.shift));
        halves[1] = halves[1] | (((form >> 4) & low) << static_cast<int>(field.shift));
      }
    });
    lanes::unrolled<2>([&](auto half)
                           PLURIA_INLINE_LAMBDA { result[half][slice] = lanes::transposed_quarters(halves[half]); });
  });
  return result;
}

// work(half, slice) for all batches of bytes of a block.
template <class Arch, class Work>
PLURIA_INLINE void for_each_byte_batch(Work&& work) {
  lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
    lanes::unrolled<unpacked_block<Arch>::slices>([&](auto slice) PLURIA_INLINE_LAMBDA { work(half, slice); });
  });
}

// 128 bytes at a multiple of 64, in their order.
template <class Arch>
PLURIA_INLINE typename unpacked_block<Arch>::bytes load_bytes(const std::uint32_t* values) noexcept {
  typename unpacked_block<Arch>::bytes result;
  for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
    result[half][slice] =
        unpacked_block<Arch>::words::load_aligned(values + 16 * half + unpacked_block<Arch>::width * slice);
  });
  return result;
}

// All bytes of a block, 128 of them, to a multiple of 64.
template <class Arch>
PLURIA_INLINE void store_bytes(const typename unpacked_block<Arch>::bytes& bytes, std::uint8_t* out) noexcept {
  for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
    bytes[half][slice].store_aligned(
        reinterpret_cast<std::uint32_t*>(out + 64 * half + 4 * unpacked_block<Arch>::width * slice));
  });
}

}  // namespace pluria::detail
