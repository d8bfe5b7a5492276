// SPDX-License-Identifier: MIT
#pragma once
// Weights made from integers, so that they are the same floats on every machine.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace support {

/// A well-mixed 32-bit integer for every index (the finalizer of MurmurHash3, a bijection).
constexpr std::uint32_t mixed(std::uint32_t index) noexcept {
  index ^= index >> 16;
  index *= 0x85ebca6bU;
  index ^= index >> 13;
  index *= 0xc2b2ae35U;
  index ^= index >> 16;
  return index;
}

/// Weight `index`: the sum of three 16-bit integers, so roughly bell-shaped, mean 0, magnitude below `scale`.
constexpr float integer_weight(std::uint32_t index, float scale = 1.0F) noexcept {
  std::int32_t sum = -3 * 32768;
  for (std::uint32_t part = 0; part < 3; ++part) {
    sum += static_cast<std::int32_t>(mixed(3 * index + part + 1) >> 16);
  }
  return static_cast<float>(sum) / 98304.0F * scale;
}

inline std::vector<float> integer_weights(std::size_t count, float scale = 1.0F, std::uint32_t first = 0) {
  std::vector<float> weights(count);
  for (std::size_t i = 0; i < count; ++i) {
    weights[i] = integer_weight(first + static_cast<std::uint32_t>(i), scale);
  }
  return weights;
}

}  // namespace support
