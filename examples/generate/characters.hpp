// SPDX-License-Identifier: MIT
#pragma once
// Characters of UTF-8 out of bytes that come one by one, as tokens of a byte model do, and bytes that are none.
// A terminal shows a character only when all its bytes follow each other, without colours in between.

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria::examples {

/// A character, or a single byte that is not part of one.
struct character {
  std::string bytes;
  bool is_utf8 = true;
  double value = 0.0;  ///< the largest that came with its bytes

  friend bool operator==(const character&, const character&) = default;
};

/// "\x1b": what stands for bytes that cannot be shown.
inline std::string escaped(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  }
  return text;
}

/// Whether a terminal would obey it, not show it: U+0000..U+001F, U+007F..U+009F.
inline bool is_control(const character& shown) {
  const auto first = static_cast<unsigned char>(shown.bytes[0]);
  return shown.is_utf8 &&
         (first < 0x20 || first == 0x7f || (first == 0xc2 && static_cast<unsigned char>(shown.bytes[1]) < 0xa0));
}

class character_assembler {
 public:
  /// Takes a byte with a value. The characters that are complete now: none while one is under way.
  std::vector<character> add(char byte, double value) {
    std::vector<character> complete;
    pending_ += byte;
    values_.push_back(value);
    state now = state_of(pending_);
    if (now == state::none && pending_.size() > 1) {
      // What came before was cut off by this byte, which may begin a character.
      pending_.pop_back();
      values_.pop_back();
      complete = finish();
      pending_ = byte;
      values_ = {value};
      now = state_of(pending_);
    }
    if (now != state::partial) {
      complete.push_back(
          {std::exchange(pending_, {}), now == state::whole, *std::max_element(values_.begin(), values_.end())});
      values_.clear();
    }
    return complete;
  }

  /// What is left of a character that was cut off, byte by byte.
  std::vector<character> finish() {
    std::vector<character> rest;
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      rest.push_back({std::string(1, pending_[i]), false, values_[i]});
    }
    pending_.clear();
    values_.clear();
    return rest;
  }

 private:
  enum class state { none, partial, whole };

  // The well-formed sequences of the Unicode Standard, table 3-7.
  static state state_of(std::string_view bytes) noexcept {
    const auto first = static_cast<unsigned char>(bytes[0]);
    if (first < 0x80) {
      return state::whole;
    }
    const std::size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    for (std::size_t i = 1; i < bytes.size(); ++i) {
      const auto byte = static_cast<unsigned char>(bytes[i]);
      // No longer forms of shorter ones, no surrogates, nothing beyond U+10FFFF: all seen in the second byte.
      const unsigned char low = i > 1 ? 0x80 : first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
      const unsigned char high = i > 1 ? 0xbf : first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
      if (byte < low || byte > high) {
        return state::none;
      }
    }
    return length == 0 ? state::none : bytes.size() == length ? state::whole : state::partial;
  }

  std::string pending_;
  std::vector<double> values_;  // of its bytes
};

/// Bytes as valid UTF-8: those that are part of no character as "\xNN".
inline std::string to_utf8(std::string_view bytes) {
  std::string text;
  const auto append = [&](const std::vector<character>& complete) {
    for (const character& current : complete) {
      text += current.is_utf8 ? current.bytes : escaped(current.bytes);
    }
  };
  character_assembler assembler;
  for (const char byte : bytes) {
    append(assembler.add(byte, 0.0));
  }
  append(assembler.finish());
  return text;
}

}  // namespace pluria::examples
