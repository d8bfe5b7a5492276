// SPDX-License-Identifier: MIT
#pragma once
// Files that may be packed by gzip (RFC 1952), read as if they were not: data sets and texts are handed on that way.

#include <pluria/core/error.hpp>
#include <pluria/io/mapped_file.hpp>

#include <zlib.h>

#include <algorithm>
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

/// Bytes of a file in their order, unpacked where they begin as gzip does.
class unpacked_bytes {
 public:
  /// `bytes` must outlive the reading; `file` is what messages name.
  unpacked_bytes(std::span<const std::byte> bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {
    packed_ = bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
    // 15: the largest window; 16: a gzip header and a checksum, which zlib verifies.
    if (packed_ && inflateInit2(&stream_, 15 + 16) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  unpacked_bytes(const unpacked_bytes&) = delete;
  unpacked_bytes& operator=(const unpacked_bytes&) = delete;
  ~unpacked_bytes() {
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
  std::string file_;
  z_stream stream_{};
  bool packed_ = false;
  bool ended_ = false;
};

/// All bytes of a file, unpacked where they begin as gzip does. Throws bad_input when it cannot be opened, and when
/// gzip data is truncated or corrupt.
inline std::vector<std::uint8_t> load_unpacked(const std::filesystem::path& path) {
  const mapped_file file = mapped_file::open(path);
  unpacked_bytes source(file.bytes(), path.string());
  std::vector<std::uint8_t> all;
  constexpr std::size_t chunk = 1U << 20;
  for (std::size_t found = chunk; found == chunk;) {
    const std::size_t first = all.size();
    all.resize(first + chunk);
    found = source.read(std::span(all).subspan(first));
    all.resize(first + found);
  }
  return all;
}

}  // namespace pluria
