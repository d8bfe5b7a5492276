// SPDX-License-Identifier: MIT
#pragma once
// Which random bits belong to which weight and member. Randomness is addressed, never consumed: a decision's bits are a
// pure function of seed, tensor name, weight, member and purpose, so that member k is the same alone or among others,
// in any order, on any ISA, thread or rank.
//
//   key      word 0, 1   the 64-bit seed, low word first
//            word 2, 3   the 64-bit FNV-1a hash of the tensor's name, low word first
//   counter  word 0, 1   the running number of the 4-word output within the tensor, low word first
//            word 2      the member (independent), or the block of L members (lattice)
//            word 3      bits 0..7 purpose, 8..15 log2 L (0: independent), 16..31 stream version
//
// Outputs are numbered along the 128-element blocks of the packed layout (tensor/packing.hpp): a block owns 16
// consecutive outputs (128 decisions of 16 bits) or 32 (128 words). Consecutive outputs go to consecutive lanes, and
// word w of the 16 outputs of a group to 16 consecutive weights, so nothing is ever transposed:
//
//   16 bits per decision   element e: output 16 * block + e % 16, word e / 16 % 4, low half if e < 64, else high
//   32 bits per decision   element e: output 32 * block + 16 * (e / 64) + e % 16, word e / 16 % 4
//
//   8 bits per decision    rounding/fixed_point.hpp: two blocks of a row share 16 outputs
//
// A word of 16-bit decisions thus serves elements e and e + 64, which share a 32-bit word of a 4-bit field as well, in
// the same halves: two decisions are made, and land in the packed code, without leaving their lane.
//
// Period: 2^59 blocks per tensor, more than 64-bit sizes can address, and 2^32 members (or blocks of members);
// exceeding that is an error. Bootstrap resamples are addressed likewise, the resample in place of the member; token t
// of a text that a language model continues has output number t.

#include <pluria/core/error.hpp>
#include <pluria/random/threefry.hpp>

#include <array>
#include <cstdint>
#include <string_view>

namespace pluria {

/// The generator of every random bit in the library, unless a template parameter says otherwise. 13 rounds: 12 are the
/// fewest that pass BigCrush (Salmon et al., SC'11, table 2), the battery in tests/random/battery.cpp refuses 8 and
/// passes 9, and 13 passed an established battery on this very stream (recorded there). 20 rounds, a margin that
/// cryptography wants, take 1.3 times as long for one member in cache.
using generator = threefry4x32<13>;

/// Changes whenever the same identity would give other bits.
inline constexpr std::uint32_t stream_version = 2;

/// What random bits are used for; two purposes never share a counter.
enum class purpose : std::uint32_t {
  rounding = 1,
  lattice = 2,
  fixed_point = 3,
  gaussian = 4,
  bootstrap = 5,
  token = 6
};

/// The 64-bit FNV-1a hash of a tensor's name.
constexpr std::uint64_t name_hash(std::string_view name) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char character : name) {
    hash = (hash ^ static_cast<unsigned char>(character)) * 0x00000100000001b3U;
  }
  return hash;
}

/// All random bits of one seed, tensor name, purpose, variant (log2 L) and member, addressed by output number.
template <class Generator = generator>
struct basic_stream {
  std::array<std::uint32_t, 4> key{};
  std::uint32_t member = 0;
  std::uint32_t tag = 0;  ///< counter word 3

  /// Throws precondition_error when `member_block` is not below 2^32.
  basic_stream(std::uint64_t seed, std::uint64_t tensor_hash, purpose use, std::uint32_t variant,
               std::uint64_t member_block)
      : key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
            static_cast<std::uint32_t>(tensor_hash), static_cast<std::uint32_t>(tensor_hash >> 32)},
        member(static_cast<std::uint32_t>(member_block)),
        tag(static_cast<std::uint32_t>(use) | variant << 8 | stream_version << 16) {
    require(member_block >> 32 == 0, "the number of a member, or of its block, must be below 2^32");
  }

  /// The four words of output number `output`.
  std::array<std::uint32_t, 4> operator()(std::uint64_t output) const noexcept {
    return Generator::template generate<std::uint32_t>(
        {static_cast<std::uint32_t>(output), static_cast<std::uint32_t>(output >> 32), member, tag}, key);
  }

  /// Outputs `first`, first + 1, ..., one per lane; first is a multiple of the number of lanes, so no carry can occur.
  template <class Word>
  PLURIA_INLINE std::array<Word, 4> lanes_from(std::uint64_t first, const Word& lane_numbers) const noexcept {
    return Generator::template generate<Word>(
        {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(first >> 32), member, tag}, lane_numbers, key);
  }
};

using stream = basic_stream<>;

/// The 16 bits that decide element `element` (0..127) of 128-element block `block`.
template <class Generator>
std::uint32_t decision_bits_16(const basic_stream<Generator>& random, std::uint64_t block,
                               std::uint32_t element) noexcept {
  const std::uint32_t word = random(16 * block + element % 16)[element / 16 % 4];
  return element < 64 ? word & 0xffffU : word >> 16;
}

/// The 32 bits that belong to element `element` (0..127) of 128-element block `block`.
template <class Generator>
std::uint32_t decision_bits_32(const basic_stream<Generator>& random, std::uint64_t block,
                               std::uint32_t element) noexcept {
  return random(32 * block + 16 * (element / 64) + element % 16)[element / 16 % 4];
}

}  // namespace pluria
