// SPDX-License-Identifier: MIT
#pragma once
// Bernoulli stochastic rounding (BSR; Nam & Lee, "Ex Uno Pluria", NeurIPS 2024, section 3): a weight between two codes
// goes up with the probability of its fraction, so its expectation is the weight. On positions that is
//
//   code of member k = (position + dither_k) >> 16,   dither_k uniform on 0..65535.
//
// Probabilities are exact to 2^-16 of a step. How the dithers of different members depend on each other is the
// coupling. Independent: 16 fresh bits u per weight and member, what the paper does; dither = 65535 - u, so that the
// weight goes up where u is below its fraction. Lattice of L: members of a block of
// L use a randomly shifted lattice,
//
//   dither_k = B + A * (k mod L) mod 2^16,   A = (high half of the word | 1) * 65536 / L,   B = its low half,
//
// of one random word per weight. Each member alone is exactly BSR; together the L dithers fall one into each of L equal
// intervals, so floor or ceil of L * fraction members go up, and a weight's mean over the block is within 1/L of a step
// of it. Variance reduction only: the limit of many members is the same, members of a block are not exchangeable, and
// an incomplete block can be worse than independent members.

#include <pluria/core/error.hpp>
#include <pluria/random/address.hpp>

#include <bit>
#include <cstdint>
#include <string>

namespace pluria {

/// How members depend on each other.
class coupling {
 public:
  constexpr coupling() = default;  ///< independent
  /// Blocks of `block` members, a power of two in 1..256, else precondition_error.
  explicit constexpr coupling(std::uint32_t block) : block_(block) {
    require(block <= 256 && std::has_single_bit(block), "coupling: blocks hold a power of two of members, up to 256");
  }

  /// Members per block: 1 where they are independent.
  constexpr std::uint32_t block() const noexcept { return block_; }
  constexpr bool is_independent() const noexcept { return block_ == 1; }

  /// "independent" or "lattice:8".
  std::string name() const { return is_independent() ? "independent" : "lattice:" + std::to_string(block_); }

  friend bool operator==(const coupling&, const coupling&) = default;

 private:
  std::uint32_t block_ = 1;
};

inline constexpr coupling independent{};

/// Blocks of `members` lattice-coupled members; a power of two in 2..256, else precondition_error.
constexpr coupling lattice(std::uint32_t members) {
  require(members >= 2 && members <= 256 && std::has_single_bit(members),
          "lattice: the number of members in a block must be a power of two in 2..256");
  return coupling{members};
}

/// Bernoulli stochastic rounding with a seed: member k of a tensor is a pure function of (seed, name, coupling, k), and
/// of the generator.
template <class Generator = generator>
struct basic_bernoulli {
  using generator_type = Generator;
  std::uint64_t seed = 0;
  pluria::coupling coupling = independent;
  friend bool operator==(const basic_bernoulli&, const basic_bernoulli&) = default;

  /// The code for a position and a dither in 0..65535; std::int32_t or a batch of it.
  template <class Int>
  static constexpr Int code(const Int& position, const Int& dither) noexcept {
    return (position + dither) >> 16;
  }

  /// The random bits of member `member` of the tensor with this name hash, or of the block of members it belongs to.
  basic_stream<Generator> bits(std::uint64_t tensor_hash, std::uint64_t member) const {
    return {seed, tensor_hash, coupling.is_independent() ? purpose::rounding : purpose::lattice,
            static_cast<std::uint32_t>(std::countr_zero(coupling.block())), member / coupling.block()};
  }

  /// How far apart the dithers of successive members of a lattice block are, modulo 2^16, out of the upper half of the
  /// weight's word; std::uint32_t or a batch of 16-bit lanes.
  template <class Half>
  PLURIA_INLINE Half lattice_step(const Half& upper) const noexcept {
    return (upper | Half(std::uint16_t{1})) << (16 - std::countr_zero(coupling.block()));
  }

  /// The lattice's dither of member `member`, out of the word of its weight.
  std::uint32_t lattice_dither(std::uint32_t word, std::uint64_t member) const noexcept {
    return (word + lattice_step(word >> 16) * static_cast<std::uint32_t>(member % coupling.block())) & 0xffffU;
  }

  /// The definition: the dither of one weight, element `element` of 128-element block `block`, in member `member`.
  std::uint32_t dither(std::uint64_t tensor_hash, std::uint64_t block, std::uint32_t element,
                       std::uint64_t member) const {
    const basic_stream<Generator> random = bits(tensor_hash, member);
    return coupling.is_independent() ? 0xffffU - decision_bits_16(random, block, element)
                                     : lattice_dither(decision_bits_32(random, block, element), member);
  }
};

using bernoulli = basic_bernoulli<>;

}  // namespace pluria
