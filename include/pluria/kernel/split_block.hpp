// SPDX-License-Identifier: MIT
#pragma once
// A block of 128 weights halfway between positions and codes, in registers. Every member's code is the floor of the
// position or one more, so a block is split once into its floors, packed, and its fractions; a member then only adds,
// to the packed floors, one bit where its fraction is above 65535 - dither:
//
//   (position + dither) >> 16  ==  floor + (fraction > 65535 - dither)
//
// Lanes: elements e and e + 64 share a 32-bit word, e in its lower half, which is where their codes stand in a 4-bit
// field, and where their random bits stand in a word of 16-bit decisions (random/address.hpp). So everything behind the
// positions runs on 16-bit lanes, two weights to a word: comparing and adding costs 2 operations for 32 weights on
// AVX-512, where adding the dither to 32-bit positions, shifting, masking and packing takes 9.
//
// Form: the codes of a block as words, before the fields are cut. Up to 4 bits, the code of element 16 q + lane
// (q = 0..7) stands at bits 4 q of word `lane`: 16 words, a 4-bit field as it is stored. 8 bits take two such sets of
// words, even and odd q, at bits 8 floor(q / 2): the 8-bit field. 3, 5, 6 and 7 bits are a form for every field of
// theirs, and the added bit is carried from the lower to the higher one.

#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/tensor/packing.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria::detail {

/// In batches of `Arch`: slices of `width` of the 16 words of a form.
template <int Bits, class Arch>
class split_block {
 public:
  using words = lanes::words<Arch>;
  using halves = lanes::halves<Arch>;
  static constexpr int bits = Bits;
  static constexpr std::size_t width = words::size;
  static constexpr std::size_t slices = 16 / width;
  static_assert(width <= 16 && 16 % width == 0, "the bit addresses are laid out for 4, 8 or 16 lanes");

  /// One batch for each of the elements 16 q + lane and 64 + 16 q + lane, q = 0..3, of every slice.
  using bounds = std::array<std::array<halves, 4>, slices>;

  /// `work(slice, q)` for each of them.
  template <class Work>
  PLURIA_INLINE static void for_each_batch(Work&& work) {
    lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
      lanes::unrolled<4>([&](auto q) PLURIA_INLINE_LAMBDA { work(slice, q); });
    });
  }

  /// `position_of(e)` gives the positions of elements e, e + 1, ..., a batch.
  template <class PositionOf>
  PLURIA_INLINE split_block(PositionOf&& position_of, std::int32_t min_code) {
    lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
      std::array<halves, forms> placed = zeros();
      lanes::unrolled<4>([&](auto q) PLURIA_INLINE_LAMBDA {
        const words low = lanes::as<std::uint32_t>(position_of(16 * q + width * slice));
        const words high = lanes::as<std::uint32_t>(position_of(64 + 16 * q + width * slice));
        fractions_[slice][q] = lanes::ordered(lanes::lower_halves(low, high));
        place<q>(lanes::upper_halves(low, high), min_code, placed);
      });
      lanes::unrolled<forms>(
          [&](auto form) PLURIA_INLINE_LAMBDA { floors_[slice][form] = lanes::as<std::uint32_t>(placed[form]); });
    });
  }

  /// Whether a packed block is whole cache lines, so that it may be stored past the caches.
  static constexpr bool is_whole_lines = Bits == 4 || Bits == 8;

  /// Packs a member, of which `below` holds 65535 - dither, `ordered`; past the caches where `is_whole_lines`, if asked
  /// to.
  PLURIA_INLINE void pack(const bounds& below, std::uint32_t* out, bool past_cache) const {
    uncut_forms uncut;
    lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
      std::array<halves, forms> ups = zeros();
      lanes::unrolled<4>([&](auto q) PLURIA_INLINE_LAMBDA {
        halves& form = ups[form_of(q)];
        form = lanes::add_where_greater(form, fractions_[slice][q], below[slice][q], std::uint16_t{1U << shift_of(q)});
      });
      if constexpr (packed::field_count > 1) {
        carry<slice>(lanes::as<std::uint32_t>(ups.front()), out, uncut);
      } else {
        lanes::unrolled<forms>([&](auto form) PLURIA_INLINE_LAMBDA {
          const words sum = floors_[slice][form] + lanes::as<std::uint32_t>(ups[form]);
          if (is_whole_lines && past_cache) {
            lanes::store_past_cache(sum, out + 16 * form + width * slice);
          } else {
            store<slice, form>(sum, out, uncut);
          }
        });
      }
    });
    cut(uncut, out);
  }

  /// The plane of a member, of which `below` holds 65535 - dither, `ordered`: one bit for each element, set where the
  /// member goes up, in kernel_place's order; 4 words.
  PLURIA_INLINE void pack_plane(const bounds& below, std::uint32_t* out) const {
    auto* bytes = reinterpret_cast<std::byte*>(out);
    lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
      halves ups(std::uint16_t{0});
      lanes::unrolled<4>([&](auto q) PLURIA_INLINE_LAMBDA {
        ups = lanes::add_where_greater(ups, fractions_[slice][q], below[slice][q], std::uint16_t{1U << (4 * q)});
      });
      const words nibbles = lanes::as<std::uint32_t>(ups);
      const words ones(0x01010101U);
      const words none(0U);
      lanes::store_bits_where_above(lanes::transposed_quarters(nibbles & ones), none, bytes + width / 2 * slice);
      lanes::store_bits_where_above(lanes::transposed_quarters((nibbles >> 4) & ones), none,
                                    bytes + 8 + width / 2 * slice);
    });
  }

  /// Packs the upper F bits of the fractions, as codes of F bits.
  template <int F>
  PLURIA_INLINE void pack_fractions(std::uint32_t* out) const {
    split_block<F, Arch> block;
    block.set_floors([&](auto slice, auto q)
                         PLURIA_INLINE_LAMBDA { return lanes::ordered(fractions_[slice][q]) >> (16 - F); });
    block.pack_floors(out);
  }

  /// Packs the floors: a member that never goes up.
  PLURIA_INLINE void pack_floors(std::uint32_t* out) const {
    uncut_forms uncut;
    lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
      lanes::unrolled<forms>([&](auto form)
                                 PLURIA_INLINE_LAMBDA { store<slice, form>(floors_[slice][form], out, uncut); });
    });
    cut(uncut, out);
  }

 private:
  template <int, class>
  friend class split_block;
  using packed = packed_block<Bits>;

  split_block() = default;

  // Codes from 0 up for elements 16 q + lane and 64 + 16 q + lane, no fractions.
  template <class FloorsOf>
  PLURIA_INLINE void set_floors(FloorsOf&& floors_of) {
    lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
      std::array<halves, forms> placed = zeros();
      lanes::unrolled<4>([&](auto q) PLURIA_INLINE_LAMBDA { place<q>(floors_of(slice, q), 0, placed); });
      lanes::unrolled<forms>(
          [&](auto form) PLURIA_INLINE_LAMBDA { floors_[slice][form] = lanes::as<std::uint32_t>(placed[form]); });
    });
  }
  static constexpr std::size_t forms = Bits == 8 ? 2 : packed::field_count;

  // Forms of which fields are still to be cut, in memory.
  struct alignas(64) uncut_forms {
    std::array<std::array<std::uint32_t, 16>, forms> words;
  };

  // Where the code of element 16 q + lane, q < 4, stands in its half of a word.
  static constexpr std::size_t form_of(std::size_t q) { return Bits == 8 ? q % 2 : 0; }
  static constexpr int shift_of(std::size_t q) { return static_cast<int>(Bits == 8 ? 8 * (q / 2) : 4 * q); }

  PLURIA_INLINE static std::array<halves, forms> zeros() {
    std::array<halves, forms> result;
    lanes::unrolled<forms>([&](auto form) PLURIA_INLINE_LAMBDA { result[form] = halves(std::uint16_t{0}); });
    return result;
  }

  // Adds the codes of elements 16 q + lane and 64 + 16 q + lane to the forms.
  template <std::size_t Q>
  PLURIA_INLINE static void place(const halves& floors, std::int32_t min_code, std::array<halves, forms>& placed) {
    if constexpr (packed::field_count == 1) {
      halves& form = placed[form_of(Q)];
      form = form + (floors << shift_of(Q));
      if constexpr (Q == 3) {
        // Modulo 2^16, so that min_code may be subtracted from all codes of a lane at once.
        const halves all(static_cast<std::uint16_t>(min_code * (Bits == 8 ? 0x0101 : 0x1111)));
        lanes::unrolled<forms>([&](auto f) PLURIA_INLINE_LAMBDA { placed[f] = placed[f] - all; });
      }
    } else {
      const halves stored = floors - halves(static_cast<std::uint16_t>(min_code));
      lanes::unrolled<forms>([&](auto f) PLURIA_INLINE_LAMBDA {
        constexpr packed_field field = packed::fields[f];
        constexpr int left = 4 * static_cast<int>(Q) - static_cast<int>(field.shift);
        const halves mask(static_cast<std::uint16_t>(field.mask() << 4 * Q));
        if constexpr (left < 0) {
          placed[f] = placed[f] | ((stored >> -left) & mask);
        } else {
          placed[f] = placed[f] | ((stored << left) & mask);
        }
      });
    }
  }

  // Adds one bit per code to the lowest field and what overflows there to the next; a code never outgrows the highest.
  template <std::size_t Slice>
  PLURIA_INLINE void carry(const words& ups, std::uint32_t* out, uncut_forms& uncut) const {
    words carried = ups;
    lanes::unrolled<packed::field_count>([&](auto reversed) PLURIA_INLINE_LAMBDA {
      constexpr std::size_t f = packed::field_count - 1 - reversed;
      constexpr packed_field field = packed::fields[f];
      const words sum = floors_[Slice][f] + carried;
      if constexpr (f == 0) {
        store<Slice, 0>(sum, out, uncut);
      } else {
        store<Slice, f>(sum & words(field.mask() * 0x11111111U), out, uncut);
        carried = (sum >> static_cast<int>(field.width)) & words(0x11111111U);
      }
    });
  }

  template <std::size_t Slice, std::size_t Form>
  PLURIA_INLINE static void store(const words& codes, std::uint32_t* out, uncut_forms& uncut) {
    constexpr packed_field field = packed::fields[Bits == 8 ? 0 : Form];
    if constexpr (field.width >= 4) {
      codes.store_unaligned(out + field.first_word + 16 * (Bits == 8 ? Form : 0) + width * Slice);
    } else {
      codes.store_aligned(&uncut.words[Form][width * Slice]);
    }
  }

  // A 2-bit or 1-bit field has fewer words than the form that its codes wait in: the lower half of every 4 bits of 16
  // words becomes all bits of 8, or one in four bits becomes all bits of 4. Compilers turn these loops into batches.
  PLURIA_INLINE static void cut(const uncut_forms& uncut, std::uint32_t* out) {
    lanes::unrolled<packed::field_count>([&](auto f) PLURIA_INLINE_LAMBDA {
      constexpr packed_field field = packed::fields[f];
      if constexpr (field.width == 2) {
        const auto& form = uncut.words[f];
        for (std::size_t word = 0; word < 8; ++word) {
          out[field.first_word + word] = form[word] | form[8 + word] << 2;
        }
      } else if constexpr (field.width == 1) {
        const auto& form = uncut.words[f];
        for (std::size_t word = 0; word < 4; ++word) {
          out[field.first_word + word] = form[word] | form[4 + word] << 1 | form[8 + word] << 2 | form[12 + word] << 3;
        }
      }
    });
  }

  std::array<std::array<halves, 4>, slices> fractions_;  // `ordered`
  std::array<std::array<words, forms>, slices> floors_;  // code - min_code
};

}  // namespace pluria::detail
