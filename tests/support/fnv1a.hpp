// SPDX-License-Identifier: MIT
#pragma once
// FNV-1a over 32-bit words, bytes in little-endian order: digests of results that must be the same everywhere.

#include <cstdint>

namespace support {

class fnv1a {
 public:
  void add(std::uint32_t word) noexcept {
    for (int byte = 0; byte < 4; ++byte) {
      value_ = (value_ ^ (word >> 8 * byte & 0xffU)) * 0x00000100000001b3U;
    }
  }
  void add(std::int32_t word) noexcept { add(static_cast<std::uint32_t>(word)); }

  template <class Range>
  void add_all(const Range& range) noexcept {
    for (const auto word : range) {
      add(word);
    }
  }

  std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325U;
};

}  // namespace support
