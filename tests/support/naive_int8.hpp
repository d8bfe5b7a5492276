// SPDX-License-Identifier: MIT
#pragma once
// A token as int8 once more, one value at a time: symmetric, absmax, to nearest, ties to even without the machine's own
// rounding.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace support {

struct naive_int8 {
  float scale = 0.0F;
  std::vector<std::int8_t> codes;

  explicit naive_int8(std::span<const float> token) {
    float largest = 0.0F;
    for (const float value : token) {
      largest = std::max(largest, std::abs(value));
    }
    scale = std::max(largest / 127.0F, 0x1p-110F);
    if (std::isinf(scale * 127.0F)) {
      scale = std::nextafter(scale, 0.0F);
    }
    const float inverse = 1.0F / scale;
    for (const float value : token) {
      const float steps = value * inverse;
      const double magnitude = std::min(std::abs(static_cast<double>(steps)), 127.0);
      const double below = std::floor(magnitude);
      const double rest = magnitude - below;
      const auto floor = static_cast<int>(below);
      const int rounded = floor + (rest > 0.5 || (rest == 0.5 && floor % 2 != 0) ? 1 : 0);
      codes.push_back(static_cast<std::int8_t>(steps < 0 ? -rounded : rounded));
    }
  }
};

}  // namespace support
