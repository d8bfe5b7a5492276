// SPDX-License-Identifier: MIT
#pragma once
// Whether weights on a grid move, for loops over millions of granules.

#include <pluria/number/concept.hpp>
#include <support/batches.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace support {

/// In how many lanes the value of a code does not have the position of the code; all codes of the granule are in lanes.
template <pluria::factored_system N>
std::size_t moved_codes(const typename N::granule& granule) {
  constexpr std::size_t codes = static_cast<std::size_t>(N::max_code - N::min_code) + 1;
  constexpr std::size_t padded = (codes + lanes - 1) / lanes * lanes;
  // Lanes behind the last code repeat it.
  static const auto units = [] {
    std::array<float, padded> all{};
    for (std::size_t i = 0; i < padded; ++i) {
      all[i] = N::unit(N::min_code + static_cast<std::int32_t>(std::min(i, codes - 1)));
    }
    return all;
  }();
  static const auto positions = [] {
    std::array<std::int32_t, padded> all{};
    for (std::size_t i = 0; i < padded; ++i) {
      all[i] = 65536 * (N::min_code + static_cast<std::int32_t>(std::min(i, codes - 1)));
    }
    return all;
  }();
  auto wrong = ints(0);
  for (std::size_t first = 0; first < padded; first += lanes) {
    const floats values = floats(static_cast<float>(granule.scale)) * floats::load_unaligned(&units[first]);
    wrong = wrong | (N::position(values, granule) ^ ints::load_unaligned(&positions[first]));
  }
  const auto differences = lanes_of(wrong);
  return static_cast<std::size_t>(std::count_if(differences.begin(), differences.end(), [](auto d) { return d != 0; }));
}

}  // namespace support
