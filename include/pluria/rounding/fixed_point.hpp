// SPDX-License-Identifier: MIT
#pragma once
// Bernoulli rounding of a position that was kept to F fractional bits (tensor/fixed_point_tensor.hpp):
//
//   code of member k = (code + dither_k) >> F,   dither_k uniform on 0..2^F - 1,
//
// exact to 2^-F of a step: the fraction r / 2^F goes up with probability r / 2^F. A weight and member (independent), or
// a weight and block of L <= 2^F members (lattice), own one random byte: its upper F bits are B, what is left of it
// chooses the lattice's step, and
//
//   dither_k = B,   or   B + A * (k mod L) mod 2^F,   A = (2 * rest + 1) * 2^F / L.
//
// As for bernoulli.hpp's lattice, any odd multiplier spreads the L dithers over the L equal intervals, and B shifts
// them all alike. A block's weights draw from 2^(8-F) multipliers; F = 4 with L = 16 has all eight that differ.

#include <pluria/core/error.hpp>
#include <pluria/random/address.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/tensor/packing.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>

namespace pluria {

template <int F>
struct fixed_point {
  static_assert(F >= 1 && F <= 8, "fixed_point keeps 1 to 8 fractional bits");
  static constexpr std::uint32_t rest_mask = (1U << (8 - F)) - 1;

  /// A position whose upper bits, down to F fractional ones, are those of `position` rounded half to even; the others
  /// are noise. std::int32_t or a batch of it.
  template <class Int>
  static constexpr Int raised(const Int& position) noexcept {
    const Int odd = (position >> (16 - F)) & Int(1);
    return position + Int((1 << (15 - F)) - 1) + odd;
  }

  /// 2^F times a position, rounded half to even.
  static constexpr std::int32_t code(std::int32_t position) noexcept { return raised(position) >> (16 - F); }

  /// Throws precondition_error where a lattice has more members than dithers.
  static void check(const coupling& coupled) {
    require(coupled.block() <= (1U << F), "fixed_point: a lattice has at most 2^F members, F the fractional bits");
  }

  /// The random bytes of member `member` of the tensor with this name hash, or of the block of members it belongs to.
  /// Throws as `check` and basic_stream.
  template <class Generator>
  static basic_stream<Generator> bits(const basic_bernoulli<Generator>& rounding, std::uint64_t tensor_hash,
                                      std::uint64_t member) {
    check(rounding.coupling);
    return {rounding.seed, tensor_hash, purpose::fixed_point,
            static_cast<std::uint32_t>(std::countr_zero(rounding.coupling.block())),
            member / rounding.coupling.block()};
  }

  /// The byte of element `element` of block `index` of a row: two blocks of a row own 16 outputs of the generator, the
  /// first of them words 0 and 1, the second 2 and 3, in the order that kernels meet the elements.
  template <class Generator>
  static std::uint32_t byte(const basic_stream<Generator>& random, std::uint64_t row, std::uint64_t blocks_in_row,
                            std::uint64_t index, std::size_t element) noexcept {
    const std::size_t place = kernel_place(element);
    const std::uint64_t pair = row * ((blocks_in_row + 1) / 2) + index / 2;
    return random(16 * pair + place / 4 % 16)[2 * (index % 2) + place / 64] >> (8 * (place % 4)) & 0xffU;
  }

  /// The dither, 0..2^F - 1, of member `member` out of its weight's byte.
  static constexpr std::uint32_t dither(std::uint32_t byte, const coupling& coupled, std::uint64_t member) noexcept {
    const std::uint32_t step = (2 * (byte & rest_mask) + 1) << (F - std::countr_zero(coupled.block()));
    const auto place = static_cast<std::uint32_t>(member % coupled.block());
    return ((byte >> (8 - F)) + (coupled.is_independent() ? 0 : step * place)) & ((1U << F) - 1);
  }
};

}  // namespace pluria
