// SPDX-License-Identifier: MIT
#pragma once
// Bytes for batches of any width, and batches back to bytes.

#include <pluria/core/bytes.hpp>
#include <support/architectures.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace support {

/// Up to 64 bytes that are the same for every width; bytes of all values, and the ends of every order, next to each
/// other.
inline std::array<std::uint8_t, 64> made_bytes(std::uint32_t seed) {
  constexpr std::uint8_t ends[] = {0, 1, 126, 127, 128, 129, 254, 255};
  std::array<std::uint8_t, 64> made{};
  for (std::uint32_t i = 0; i < made.size(); ++i) {
    const std::uint32_t random = mixed(64 * seed + i + 1);
    made[i] = seed % 2 == 0 ? static_cast<std::uint8_t>(random >> 8) : ends[random % 8];
  }
  return made;
}

template <class Arch>
pluria::lanes::words<Arch> loaded(const std::array<std::uint8_t, 64>& made) {
  std::array<std::uint32_t, 16> source{};
  std::memcpy(source.data(), made.data(), sizeof(source));
  return pluria::lanes::words<Arch>::load_unaligned(source.data());
}

template <class Arch>
std::array<std::uint8_t, 4 * pluria::lanes::words<Arch>::size> bytes_of(const pluria::lanes::words<Arch>& batch) {
  std::array<std::uint8_t, 4 * pluria::lanes::words<Arch>::size> stored{};
  const auto source = lanes_of(batch);
  std::memcpy(stored.data(), source.data(), sizeof(stored));
  return stored;
}

/// Calls `wrong(arch)` for every architecture and expects 0 of each.
template <class Wrong>
void expect_none(Wrong wrong) {
  CHECK(for_each_architecture([&](auto arch) {
          CAPTURE(decltype(arch)::name());
          CHECK(wrong(arch) == 0);
        }) >= 1);
}

}  // namespace support
