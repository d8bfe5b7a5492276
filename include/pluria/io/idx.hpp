// SPDX-License-Identifier: MIT
#pragma once
// The idx format of the MNIST files (http://yann.lecun.com/exdb/mnist/), plain or packed by gzip (RFC 1952):
//   0, 0, element type, number of dimensions, each dimension in 32 big-endian bits, the elements, last dimension
//   fastest.
// Only unsigned bytes, type 0x08, are read: images and labels.

#include <pluria/core/error.hpp>
#include <pluria/io/mapped_file.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pluria {

/// Bytes of an idx file, last dimension fastest.
struct idx_array {
  tensor_shape shape;
  std::vector<std::uint8_t> values;
};

namespace detail {

/// Bytes of a file in their order, unpacked where they begin as gzip does.
class idx_bytes {
 public:
  idx_bytes(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {
    packed_ = bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
    // 15: the largest window; 16: a gzip header and a checksum, which zlib verifies.
    if (packed_ && inflateInit2(&stream_, 15 + 16) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  idx_bytes(const idx_bytes&) = delete;
  idx_bytes& operator=(const idx_bytes&) = delete;
  ~idx_bytes() {
    if (packed_) {
      inflateEnd(&stream_);
    }
  }

  /// Fills `target` from the front; fewer bytes are returned only at the end. Throws bad_input when gzip data is
  /// truncated or corrupt.
  std::size_t read(std::span<std::uint8_t> target) {
    if (packed_) {
      return unpack(target);
    }
    const std::size_t count = std::min(target.size(), bytes_.size());
    if (count != 0) {
      std::memcpy(target.data(), bytes_.data(), count);
      bytes_ = bytes_.subspan(count);
    }
    return count;
  }

 private:
  std::size_t unpack(std::span<std::uint8_t> target) {
    constexpr std::size_t most = 1U << 30;  // zlib counts in unsigned int
    std::size_t done = 0;
    while (done < target.size() && !ended_) {
      const auto input = static_cast<uInt>(std::min(bytes_.size(), most));
      const auto space = static_cast<uInt>(std::min(target.size() - done, most));
      // zlib only reads there, but its struct takes no pointer to const unless compiled with ZLIB_CONST.
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes_.data()));
      stream_.avail_in = input;
      stream_.next_out = target.data() + done;
      stream_.avail_out = space;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      bytes_ = bytes_.subspan(input - stream_.avail_in);
      done += space - stream_.avail_out;
      switch (status) {
        case Z_OK:
          break;
        case Z_STREAM_END:  // another member may follow: gzip files may be concatenated
          ended_ = bytes_.empty();
          inflateReset(&stream_);
          break;
        case Z_BUF_ERROR:
          throw bad_input(file_ + ": expected more gzip data, found the end of the file (truncated?)");
        case Z_MEM_ERROR:
          throw std::bad_alloc();
        default:
          throw bad_input(
              mismatch_message(file_, "intact gzip data", stream_.msg == nullptr ? "an error" : stream_.msg));
      }
    }
    return done;
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
  z_stream stream_{};
  bool packed_ = false;
  bool ended_ = false;
};

}  // namespace detail

/// The array in the bytes of an idx file, plain or packed by gzip; `file` is what messages name. Throws bad_input for
/// anything but 1 to 4 dimensions of unsigned bytes, for truncated or corrupt data, and for bytes left over. Memory
/// grows with the bytes that are there, not with those that a header claims.
inline idx_array parse_idx(std::span<const std::byte> bytes, const std::string& file) {
  detail::idx_bytes source(bytes, file);
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
