// SPDX-License-Identifier: MIT
#pragma once
// What an independent implementation says of small floats: tests/number/reference.

#include <support/catch.hpp>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace support {

/// A format's lines of minifloat_values.txt that begin with `kind`: the numbers behind both words.
inline std::vector<std::vector<std::uint32_t>> minifloat_reference(const std::string& kind, const std::string& format) {
  std::ifstream file(PLURIA_SOURCE_DIR "/tests/number/reference/minifloat_values.txt");
  REQUIRE(file);
  std::vector<std::vector<std::uint32_t>> lines;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string first;
    std::string second;
    fields >> first >> second >> std::hex;
    if (first == kind && second == format) {
      lines.emplace_back();
      for (std::uint32_t number = 0; fields >> number;) {
        lines.back().push_back(number);
      }
    }
  }
  return lines;
}

}  // namespace support
