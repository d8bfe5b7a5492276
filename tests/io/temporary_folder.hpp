// SPDX-License-Identifier: MIT
#pragma once
// What the tests of `io` share: a folder of their own, whole files as strings, the text of an expected `bad_input`, and
// the committed hostile files.

#include <pluria/core/error.hpp>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace pluria::test {

/// A new folder that disappears with its object.
class temporary_folder {
 public:
  temporary_folder() {
    // mkdtemp wants six of them, and puts the name in their place.
    std::string name = (std::filesystem::temp_directory_path() / ("pluria-test-" + std::string(6, 'X'))).string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw std::runtime_error("cannot make a temporary folder");
    }
    path_ = name;
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  /// The names of the files in it, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      found.push_back(entry.path().filename().string());
    }
    std::sort(found.begin(), found.end());
    return found;
  }

 private:
  std::filesystem::path path_;
};

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    throw std::runtime_error("cannot read " + path.string());
  }
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// The text of the bad_input that `call` throws; empty when it throws nothing. Other exceptions pass.
template <class Call>
std::string refusal(Call&& call) {
  try {
    call();
  } catch (const bad_input& error) {
    return error.what();
  }
  return {};
}

/// Whether a message holds all of these parts.
inline bool mentions(std::string_view message, std::initializer_list<std::string_view> parts) {
  return std::all_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return message.find(part) != std::string_view::npos; });
}

/// The hostile files committed for a format, sorted.
inline std::vector<std::filesystem::path> hostile_files(std::string_view format) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(PLURIA_SOURCE_DIR) / "tests" /
                                                               "io" / "hostile" / format)) {
    found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace pluria::test
