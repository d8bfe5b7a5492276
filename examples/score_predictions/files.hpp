// SPDX-License-Identifier: MIT
#pragma once
// The files that patterns name, in an order that does not depend on the shell: numbers in names count as numbers.

#include <pluria/core/error.hpp>

#include <glob.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace pluria::examples {

/// Whether `a` comes before `b`: runs of digits are compared as numbers, everything else byte by byte, so that
/// "logits-9.npy" comes before "logits-10.npy". Names that differ in leading zeros alone are compared byte by byte.
inline bool comes_before(std::string_view a, std::string_view b) {
  const auto is_digit = [](char character) { return std::isdigit(static_cast<unsigned char>(character)) != 0; };
  const auto number_at = [&](std::string_view text, std::size_t first) {
    std::size_t last = first;
    while (last < text.size() && is_digit(text[last])) {
      ++last;
    }
    return text.substr(first, last - first);
  };
  const auto without_zeros = [](std::string_view number) {
    return number.substr(std::min(number.find_first_not_of('0'), number.size()));
  };
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) {
        return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
      }
      ++i;
      ++j;
      continue;
    }
    const std::string_view of_a = number_at(a, i);
    const std::string_view of_b = number_at(b, j);
    const std::string_view digits_a = without_zeros(of_a);
    const std::string_view digits_b = without_zeros(of_b);
    if (digits_a.size() != digits_b.size()) {
      return digits_a.size() < digits_b.size();
    }
    if (digits_a != digits_b) {
      return digits_a < digits_b;
    }
    i += of_a.size();
    j += of_b.size();
  }
  return i == a.size() && j == b.size() ? a < b : i == a.size();
}

/// The files that `patterns` (with *, ? and [...], or plain names) stand for, sorted by `comes_before`. Throws
/// bad_input, naming `option`, for a pattern that matches nothing and for a file that is named twice.
inline std::vector<std::string> matching_files(const std::vector<std::string>& patterns, const std::string& option) {
  std::vector<std::string> files;
  for (const std::string& pattern : patterns) {
    // A name may hold the characters of patterns.
    if (std::filesystem::exists(pattern)) {
      files.push_back(pattern);
      continue;
    }
    ::glob_t found{};
    const int failure = ::glob(pattern.c_str(), 0, nullptr, &found);
    files.insert(files.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
    ::globfree(&found);
    if (failure == GLOB_NOSPACE) {
      throw std::bad_alloc();
    }
    if (failure != 0) {
      throw bad_input(mismatch_message(option, "files named \"" + pattern + "\"", "none"));
    }
  }
  std::sort(files.begin(), files.end(), comes_before);
  const auto normal = [](const std::string& file) { return std::filesystem::path(file).lexically_normal(); };
  std::vector<std::filesystem::path> names;
  for (const std::string& file : files) {
    names.push_back(normal(file));
  }
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end()) {
    throw bad_input(mismatch_message(option, "every file once", "\"" + twice->string() + "\" twice"));
  }
  return files;
}

}  // namespace pluria::examples
