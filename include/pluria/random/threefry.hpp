// SPDX-License-Identifier: MIT
#pragma once
// Threefry4x32: a counter-based generator, so a stateless function of counter and key (Salmon, Moraes, Dror & Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC'11). Additions, rotations and exclusive-ors of 32-bit words only:
// the same text runs on one word and on the lanes of an xsimd batch, and gives the same bits.

#include <pluria/core/lanes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace pluria {

/// Four words out of four words of counter and four of key. `Word` is std::uint32_t or a batch of it; a batch evaluates
/// one counter per lane. Checked against the published vectors for 13 and 20 rounds
/// (tests/random/threefry_vectors.txt).
template <int Rounds = 20>
struct threefry4x32 {
  static_assert(Rounds >= 12 && Rounds <= 72, "fewer than 12 rounds of Threefry4x32 fail statistical tests");
  static constexpr int rounds = Rounds;

  template <class Word>
  PLURIA_INLINE static std::array<Word, 4> generate(std::array<Word, 4> counter,
                                                    const std::array<std::uint32_t, 4>& key) noexcept {
    const key_schedule keys = schedule(key);
    std::array<Word, 4>& x = counter;
    for (std::size_t i = 0; i < 4; ++i) {
      x[i] = x[i] + Word(keys[i]);
    }
    mix_rounds<0>(x, keys, std::make_integer_sequence<int, Rounds>{});
    return x;
  }

  /// generate({counter[0] + lane_numbers, counter[1], counter[2], counter[3]}, key), for counters whose lanes differ in
  /// the first word only: what the first two rounds do to the other words is done once, not in every lane (9 of about
  /// 94 operations in 13 rounds).
  template <class Word>
  PLURIA_INLINE static std::array<Word, 4> generate(const std::array<std::uint32_t, 4>& counter,
                                                    const Word& lane_numbers,
                                                    const std::array<std::uint32_t, 4>& key) noexcept {
    const key_schedule keys = schedule(key);
    std::uint32_t x1 = counter[1] + keys[1];
    std::uint32_t x2 = counter[2] + keys[2];
    std::uint32_t x3 = counter[3] + keys[3];
    std::array<Word, 4> x;
    // Round 0.
    x[0] = lane_numbers + Word(counter[0] + keys[0] + x1);
    x[1] = Word(lanes::rotate_left<rotations[0][0]>(x1)) ^ x[0];
    x2 = x2 + x3;
    x3 = lanes::rotate_left<rotations[0][1]>(x3) ^ x2;
    // Round 1.
    x[0] = x[0] + Word(x3);
    x[3] = Word(lanes::rotate_left<rotations[1][0]>(x3)) ^ x[0];
    x[2] = Word(x2) + x[1];
    x[1] = lanes::rotate_left<rotations[1][1]>(x[1]) ^ x[2];
    mix_rounds<2>(x, keys, std::make_integer_sequence<int, Rounds - 2>{});
    return x;
  }

 private:
  using key_schedule = std::array<std::uint32_t, 5>;

  static constexpr std::array<std::array<int, 2>, 8> rotations{
      {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}}};

  // The fifth key word is the parity of the others, C240 of the Threefish specification truncated to 32 bits.
  PLURIA_INLINE static key_schedule schedule(const std::array<std::uint32_t, 4>& key) noexcept {
    return {key[0], key[1], key[2], key[3], 0x1bd11bdaU ^ key[0] ^ key[1] ^ key[2] ^ key[3]};
  }

  template <int Round, class Word>
  PLURIA_INLINE static void mix(std::array<Word, 4>& x, const key_schedule& keys) noexcept {
    constexpr std::array<int, 2> rotation = rotations[Round % 8];
    // Even rounds mix words (0,1) and (2,3), odd rounds (0,3) and (2,1): the permutation of the paper, unrolled.
    constexpr std::size_t first = Round % 2 == 0 ? 1 : 3;
    constexpr std::size_t second = Round % 2 == 0 ? 3 : 1;
    x[0] = x[0] + x[first];
    x[first] = lanes::rotate_left<rotation[0]>(x[first]) ^ x[0];
    x[2] = x[2] + x[second];
    x[second] = lanes::rotate_left<rotation[1]>(x[second]) ^ x[2];
    if constexpr (Round % 4 == 3) {
      constexpr std::size_t injection = (Round + 1) / 4;
      for (std::size_t i = 0; i < 4; ++i) {
        x[i] = x[i] + Word(keys[(injection + i) % 5] + (i == 3 ? static_cast<std::uint32_t>(injection) : 0U));
      }
    }
  }

  template <int First, class Word, int... Round>
  PLURIA_INLINE static void mix_rounds(std::array<Word, 4>& x, const key_schedule& keys,
                                       std::integer_sequence<int, Round...>) noexcept {
    (mix<First + Round>(x, keys), ...);
  }
};

}  // namespace pluria
