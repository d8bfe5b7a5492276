// SPDX-License-Identifier: MIT
// What generate shows on a terminal: shades that can be read, and whole characters.

#include "../../examples/generate/shading.hpp"

#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../../examples/generate/characters.hpp"

namespace {

using namespace pluria::examples;

// Relative luminance of one of a terminal's 256 colours (WCAG 2.1), from 16 on: a cube of six levels.
double luminance(int colour) {
  constexpr int levels[] = {0, 95, 135, 175, 215, 255};
  const auto linear = [&](int level) {
    const double value = levels[level] / 255.0;
    return value <= 0.03928 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
  };
  const int place = colour - 16;
  return 0.2126 * linear(place / 36) + 0.7152 * linear(place / 6 % 6) + 0.0722 * linear(place % 6);
}

std::vector<character> characters_of(const std::string& bytes, double value = 0.0) {
  std::vector<character> all;
  character_assembler assembler;
  for (const char byte : bytes) {
    for (character& complete : assembler.add(byte, value)) {
      all.push_back(std::move(complete));
    }
  }
  for (character& rest : assembler.finish()) {
    all.push_back(std::move(rest));
  }
  return all;
}

std::string encoded(std::uint32_t point) {
  const auto byte = [](std::uint32_t value) { return static_cast<char>(static_cast<unsigned char>(value)); };
  const auto tail = [&](int shift) { return byte(0x80U | (point >> shift & 0x3fU)); };
  if (point < 0x80) {
    return {byte(point)};
  }
  if (point < 0x800) {
    return {byte(0xc0U | point >> 6), tail(0)};
  }
  if (point < 0x10000) {
    return {byte(0xe0U | point >> 12), tail(6), tail(0)};
  }
  return {byte(0xf0U | point >> 18), tail(12), tail(6), tail(0)};
}

// Whether nlohmann's JSON, which refuses anything else, takes it for UTF-8.
bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

TEST_CASE("every shade can be read, and is darker than the one before", "[examples]") {
  double lighter = 1.0;
  double least = 0.0;
  for (const shade& current : shades) {
    const double background = luminance(current.background);
    const double text = luminance(current.text);
    // WCAG 2.1, 1.4.3.
    CHECK((std::max(background, text) + 0.05) / (std::min(background, text) + 0.05) >= 4.5);
    CHECK(background < lighter);
    CHECK(current.least > least);
    lighter = background;
    least = current.least;
  }
}

TEST_CASE("a token has the last shade that it reaches, or none", "[examples]") {
  CHECK(shade_of(0.0) == nullptr);
  CHECK(shade_of(-1e-17) == nullptr);
  for (std::size_t i = 0; i < shades.size(); ++i) {
    CHECK(shade_of(shades[i].least) == &shades[i]);
    CHECK(shade_of(std::nextafter(shades[i].least, 0.0)) == (i == 0 ? nullptr : &shades[i - 1]));
  }
  CHECK(shade_of(5.5) == &shades.back());
  CHECK(shaded("a", 0.0) == "a");
  CHECK(shaded("a", 0.02) == "\x1b[38;5;16;48;5;229ma\x1b[0m");
  CHECK(shaded("a", 1.0) == "\x1b[38;5;231;48;5;160ma\x1b[0m");
}

TEST_CASE("the legend shows every shade with its range in one line", "[examples]") {
  const std::string legend = shading_legend();
  CHECK(legend.find('\n') == std::string::npos);
  CHECK(legend.find("sensitivity to rounding") != std::string::npos);
  CHECK(legend.find(" < 0.01 ") != std::string::npos);
  CHECK(legend.find(shaded(" 0.01 - 0.03 ", 0.01)) != std::string::npos);
  CHECK(legend.find(shaded(" 0.03 - 0.1 ", 0.03)) != std::string::npos);
  CHECK(legend.find(shaded(" 0.1 - 0.3 ", 0.1)) != std::string::npos);
  CHECK(legend.find(shaded(" >= 0.3 ", 0.3)) != std::string::npos);
}

TEST_CASE("every code point comes out of its bytes, whole, when the last of them is there", "[examples]") {
  std::size_t wrong = 0;
  for (std::uint32_t point = 0; point <= 0x10ffff; point += support::stride(37)) {
    if (point >= 0xd800 && point < 0xe000) {
      continue;
    }
    const std::string bytes = encoded(point);
    character_assembler assembler;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::vector<character> complete = assembler.add(bytes[i], 0.0);
      const bool is_right = i + 1 < bytes.size()
                                ? complete.empty()
                                : complete.size() == 1 && complete[0].bytes == bytes && complete[0].is_utf8;
      wrong += is_right ? 0U : 1U;
    }
    wrong += assembler.finish().empty() ? 0U : 1U;
  }
  CHECK(wrong == 0);
}

TEST_CASE("bytes that are no UTF-8 come out one by one", "[examples]") {
  // Bytes that begin nothing, longer forms, surrogates, beyond U+10FFFF.
  for (const char* bytes :
       {"\x80", "\xff", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80"}) {
    const std::string text(bytes);
    const std::vector<character> found = characters_of(text);
    CHECK(found.size() == text.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK_FALSE(found[i].is_utf8);
      CHECK(found[i].bytes == text.substr(i, 1));
    }
  }
  // A character that is cut off, by another one and by the end.
  CHECK(characters_of("\xe2\x82z\xe2\x82") ==
        std::vector<character>{
            {"\xe2", false, 0.0}, {"\x82", false, 0.0}, {"z", true, 0.0}, {"\xe2", false, 0.0}, {"\x82", false, 0.0}});
  CHECK(characters_of("\xc3\xc3\xa9") == std::vector<character>{{"\xc3", false, 0.0}, {"\xc3\xa9", true, 0.0}});
}

TEST_CASE("any bytes stay what they are, and become valid UTF-8", "[examples]") {
  std::size_t wrong = 0;
  std::size_t escapes = 0;
  for (std::uint32_t number = 0; number < 2000; ++number) {
    std::string bytes;
    for (std::uint32_t i = 0; i < 40; ++i) {
      // Half of them from 0x80 on, those that begin characters often.
      const std::uint32_t random = support::mixed(100 * number + i);
      bytes += static_cast<char>(random % 4 == 0 ? 0xc0U | random >> 27 : random >> 24);
    }
    std::string together;
    for (const character& current : characters_of(bytes)) {
      together += current.bytes;
      wrong += is_utf8(current.bytes) == current.is_utf8 ? 0U : 1U;
    }
    wrong += together == bytes ? 0U : 1U;
    wrong += is_utf8(to_utf8(bytes)) ? 0U : 1U;
    escapes += is_utf8(bytes) ? 0U : 1U;
  }
  CHECK(wrong == 0);
  CHECK(escapes > 1000);
  CHECK(to_utf8("caf\xc3\xa9 \xff\n") == "caf\xc3\xa9 \\xff\n");
}

TEST_CASE("a character has the largest value of its bytes", "[examples]") {
  character_assembler assembler;
  CHECK(assembler.add('\xe2', 0.1).empty());
  CHECK(assembler.add('\x82', 0.3).empty());
  CHECK(assembler.add('\xac', 0.2) == std::vector<character>{{"\xe2\x82\xac", true, 0.3}});
  CHECK(assembler.add('a', 0.05) == std::vector<character>{{"a", true, 0.05}});
  CHECK(assembler.add('\xe2', 0.4).empty());
  CHECK(assembler.add('b', 0.2) == std::vector<character>{{"\xe2", false, 0.4}, {"b", true, 0.2}});
}

TEST_CASE("what a terminal would obey is known: both ranges of control characters", "[examples]") {
  for (std::uint32_t point = 0; point < 0x200; ++point) {
    INFO(point);
    const bool expected = point < 0x20 || (point >= 0x7f && point < 0xa0);
    CHECK(is_control({encoded(point), true, 0.0}) == expected);
  }
  CHECK_FALSE(is_control({"\xc2", false, 0.0}));
  CHECK(escaped("\x1b\xff") == "\\x1b\\xff");
}

}  // namespace
