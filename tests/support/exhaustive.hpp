// SPDX-License-Identifier: MIT
#pragma once
// How thoroughly loops over millions of cases go: completely in optimized builds, elsewhere with a stride.

#include <cstdint>

namespace support {

inline constexpr bool exhaustive = PLURIA_EXHAUSTIVE;

/// 1, or `otherwise`, which should be odd so that all residues of powers of two are met.
constexpr std::uint32_t stride(std::uint32_t otherwise) noexcept {
  return exhaustive ? 1 : otherwise;
}

}  // namespace support
