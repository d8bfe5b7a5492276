// SPDX-License-Identifier: MIT
#pragma once
// The packed layout once more, one bit at a time, out of its description.

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

}  // namespace support
