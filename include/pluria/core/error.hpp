// SPDX-License-Identifier: MIT
#pragma once
// The two kinds of run-time error. Data from outside (files, weights, labels) raises `bad_input`, whose text names the
// file, the tensor, the index, what was expected and what was found. A caller's mistake raises `precondition_error`.

#include <pluria/core/ieee.hpp>

#include <stdexcept>
#include <string>

namespace pluria {

/// Data from outside that cannot be used.
class bad_input : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A call that breaks a function's documented preconditions.
class precondition_error : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws `precondition_error` unless `holds`; stays on in release builds.
constexpr void require(bool holds, const char* sentence) {
  if (!holds) [[unlikely]] {
    throw precondition_error(sentence);
  }
}

/// The message of every mismatch: "<where>: expected <expected>, found <found>".
//
// Not `mismatch`: argument-dependent lookup finds std::mismatch, the better match for some mixtures of strings and
// literals.
inline std::string mismatch_message(const std::string& where, const std::string& expected, const std::string& found) {
  return where + ": expected " + expected + ", found " + found;
}

}  // namespace pluria
