// SPDX-License-Identifier: MIT
#pragma once
// The idx format of the MNIST files (http://yann.lecun.com/exdb/mnist/), plain or packed by gzip (RFC 1952):
//   0, 0, element type, number of dimensions, each dimension in 32 big-endian bits, the elements, last dimension
//   fastest.
// Only unsigned bytes, type 0x08, are read: images and labels.

#include <pluria/core/error.hpp>
#include <pluria/io/mapped_file.hpp>
#include <pluria/io/unpacked_bytes.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace pluria {

/// Bytes of an idx file, last dimension fastest.
struct idx_array {
  tensor_shape shape;
  std::vector<std::uint8_t> values;
};

/// The array in the bytes of an idx file, plain or packed by gzip; `file` is what messages name. Throws bad_input for
/// anything but 1 to 4 dimensions of unsigned bytes, for truncated or corrupt data, and for bytes left over. Memory
/// grows with the bytes that are there, not with those that a header claims.
inline idx_array parse_idx(std::span<const std::byte> bytes, const std::string& file) {
  unpacked_bytes source(bytes, file);
  std::array<std::uint8_t, 4> word{};
  const auto read_word = [&](const std::string& what) {
    if (const std::size_t found = source.read(word); found != word.size()) {
      throw bad_input(mismatch_message(file, "the 4 bytes " + what, std::to_string(found) + " of them"));
    }
  };

  read_word("0, 0, type, dimensions of an idx file");
  if (word[0] != 0 || word[1] != 0) {
    throw bad_input(mismatch_message(file, "an idx file that begins with the bytes 0, 0",
                                     std::to_string(word[0]) + ", " + std::to_string(word[1])));
  }
  if (word[2] != 0x08) {
    throw bad_input(mismatch_message(file, "element type 8 (unsigned bytes)", "type " + std::to_string(word[2])));
  }
  if (word[3] < 1 || word[3] > 4) {
    throw bad_input(mismatch_message(file, "1 to 4 dimensions", std::to_string(word[3])));
  }
  idx_array array{tensor_shape(word[3]), {}};
  for (std::size_t i = 0; i < array.shape.size(); ++i) {
    read_word("of dimension " + std::to_string(i));
    array.shape[i] = std::size_t{word[0]} << 24 | std::size_t{word[1]} << 16 | std::size_t{word[2]} << 8 | word[3];
  }

  const std::size_t count = element_count(array.shape, file);
  constexpr std::size_t chunk = 1U << 20;
  while (array.values.size() < count) {
    const std::size_t first = array.values.size();
    array.values.resize(first + std::min(chunk, count - first));
    const std::size_t found = source.read(std::span(array.values).subspan(first));
    if (first + found < array.values.size()) {
      throw bad_input(mismatch_message(file, std::to_string(count) + " bytes for the shape " + to_string(array.shape),
                                       std::to_string(first + found)));
    }
  }
  // Reading on is also what makes zlib verify the checksum at the end.
  if (source.read(std::span(word).first(1)) != 0) {
    throw bad_input(
        mismatch_message(file, std::to_string(count) + " bytes for the shape " + to_string(array.shape), "more"));
  }
  return array;
}

/// The array in an idx file, plain or packed by gzip. Throws bad_input when the file cannot be opened; see `parse_idx`.
inline idx_array load_idx(const std::filesystem::path& path) {
  return parse_idx(mapped_file::open(path).bytes(), path.string());
}

}  // namespace pluria
