// SPDX-License-Identifier: MIT
#pragma once
// Threefry4x32 once more, out of its description (Salmon et al., SC'11, section 4.2) and by loops, for any number of
// rounds, too few among them: what the statistical battery must refuse.

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace support {

template <int Rounds>
struct naive_threefry4x32 {
  static constexpr int rounds = Rounds;

  template <class Word>
  static std::array<Word, 4> generate(std::array<Word, 4> x, const std::array<std::uint32_t, 4>& key) {
    constexpr int rotations[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}};
    const std::uint32_t keys[5] = {key[0], key[1], key[2], key[3], 0x1bd11bdaU ^ key[0] ^ key[1] ^ key[2] ^ key[3]};
    for (std::size_t i = 0; i < 4; ++i) {
      x[i] = x[i] + Word(keys[i]);
    }
    for (int round = 0; round < Rounds; ++round) {
      for (std::size_t pair = 0; pair < 2; ++pair) {
        const int count = rotations[round % 8][pair];
        Word& a = x[2 * pair];
        Word& b = x[2 * pair + 1];
        a = a + b;
        b = ((b << count) | (b >> (32 - count))) ^ a;
      }
      std::swap(x[1], x[3]);
      if (round % 4 == 3) {
        const auto injection = static_cast<std::uint32_t>(round / 4 + 1);
        for (std::uint32_t i = 0; i < 4; ++i) {
          x[i] = x[i] + Word(keys[(injection + i) % 5] + (i == 3 ? injection : 0U));
        }
      }
    }
    // The words change places after every round; a generator that leaves them where they are gives them in this order
    // after an odd number.
    if (Rounds % 2 != 0) {
      std::swap(x[1], x[3]);
    }
    return x;
  }
};

}  // namespace support
