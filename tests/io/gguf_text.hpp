// SPDX-License-Identifier: MIT
#pragma once
// GGUF files out of their parts, as strings, for the tests of reader and writer.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace pluria::test {

/// A number's bytes.
template <class T>
std::string stored(T value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

/// A string with its length.
inline std::string stored_text(const std::string& text) {
  return stored(std::uint64_t{text.size()}) + text;
}

/// A tensor's entry in the header; `dimensions` as the file has them, innermost first.
inline std::string tensor_info(const std::string& name, const std::vector<std::uint64_t>& dimensions,
                               std::uint32_t type, std::uint64_t offset) {
  std::string text = stored_text(name) + stored(static_cast<std::uint32_t>(dimensions.size()));
  for (const std::uint64_t extent : dimensions) {
    text += stored(extent);
  }
  return text + stored(type) + stored(offset);
}

/// A file of version 3 out of whole entries; data begins at a multiple of `alignment` where there is any.
inline std::string gguf_text(const std::vector<std::string>& entries, const std::vector<std::string>& tensors,
                             const std::string& data, std::size_t alignment = 32) {
  std::string text =
      "GGUF" + stored(std::uint32_t{3}) + stored(std::uint64_t{tensors.size()}) + stored(std::uint64_t{entries.size()});
  for (const auto* parts : {&entries, &tensors}) {
    for (const std::string& part : *parts) {
      text += part;
    }
  }
  if (!data.empty()) {
    text.resize((text.size() + alignment - 1) / alignment * alignment);
  }
  return text + data;
}

}  // namespace pluria::test
