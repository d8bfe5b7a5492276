// SPDX-License-Identifier: MIT
#pragma once
// Text on a terminal, shaded by how sensitive each token is to the rounding of the weights: the mutual information of
// token and member (metrics/uncertainty.hpp), in steps of about sqrt(10), the same for every model and number format,
// so that pictures can be compared. It is at most log S.

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace pluria::examples {

/// One shade, from `least` nats on: colours of the 256 that terminals have, 16 + 36 red + 6 green + blue, each in 0..5.
struct shade {
  double least = 0.0;
  int background = 0;
  int text = 0;
};

/// Least first. Below them nothing is shaded, and a terminal keeps its own colours; text and background of a shade are
/// both set, so that it can be read on a dark terminal and on a light one. Each is darker than the one before, so that
/// their order is seen without seeing their hue.
inline constexpr std::array<shade, 4> shades{{{0.01, 229, 16}, {0.03, 222, 16}, {0.1, 208, 16}, {0.3, 160, 231}}};

/// The shade of a token, or null where it has none.
constexpr const shade* shade_of(double mutual_information) noexcept {
  const shade* found = nullptr;
  for (const shade& candidate : shades) {
    if (mutual_information >= candidate.least) {
      found = &candidate;
    }
  }
  return found;
}

/// The text in the shade of its mutual information, and the terminal's own colours after it.
inline std::string shaded(std::string_view text, double mutual_information) {
  const shade* const found = shade_of(mutual_information);
  return found == nullptr ? std::string(text)
                          : fmt::format("\x1b[38;5;{};48;5;{}m{}\x1b[0m", found->text, found->background, text);
}

/// One line: what the shades mean, each in itself.
inline std::string shading_legend() {
  std::string line = fmt::format("sensitivity to rounding (mutual information of token and member, nats):  < {} ",
                                 shades.front().least);
  for (std::size_t i = 0; i < shades.size(); ++i) {
    const std::string range = i + 1 < shades.size() ? fmt::format(" {} - {} ", shades[i].least, shades[i + 1].least)
                                                    : fmt::format(" >= {} ", shades[i].least);
    line += shaded(range, shades[i].least);
  }
  return line;
}

}  // namespace pluria::examples
