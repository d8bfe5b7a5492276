// SPDX-License-Identifier: MIT
#pragma once
// Round to nearest (RTN), the deterministic baseline: ties to even, on the position. It equals rounding w / scale half
// to even except where the fraction lies within 2^-16 of one half, the resolution of a position.

#include <cstdint>

namespace pluria {

struct nearest {
  friend bool operator==(const nearest&, const nearest&) = default;

  /// A position whose floor is the code of `position`; std::int32_t or a batch of it.
  template <class Int>
  static constexpr Int raised(const Int& position) noexcept {
    const Int odd = (position >> 16) & Int(1);
    return position + Int(0x7fff) + odd;
  }

  /// The code for a position.
  static constexpr std::int32_t code(std::int32_t position) noexcept { return raised(position) >> 16; }
};

}  // namespace pluria
