// SPDX-License-Identifier: MIT
#pragma once
// An output file that is either complete or not there: bytes go into a partial file beside the target, which takes the
// target's name when it is committed. Until then, and for ever if anything fails, the target keeps its old content.

#include <pluria/core/error.hpp>
#include <pluria/io/file_error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace pluria {

/// Writes a file beside its target and renames it when it is complete. Destroyed without `commit`, it removes what it
/// wrote. A target that is a link to a file is written through; one that is a device or pipe (/dev/null) is never
/// replaced and gets the bytes directly.
class replaced_file {
 public:
  /// Opens the partial file; an existing target lends it its permissions. Throws bad_input, naming the target, when it
  /// is a directory or cannot be written.
  explicit replaced_file(std::filesystem::path target) : target_(std::move(target)) {
    struct stat status {};
    const bool exists = ::stat(target_.c_str(), &status) == 0;
    if (exists && S_ISDIR(status.st_mode)) {
      throw bad_input(mismatch_message(target_.string(), "a file to write", "a directory"));
    }
    if (exists && !S_ISREG(status.st_mode)) {
      descriptor_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
      if (descriptor_ < 0) {
        throw file_error(target_, "write", errno);
      }
      return;
    }
    std::error_code unresolved;
    std::filesystem::path resolved = std::filesystem::canonical(target_, unresolved);
    destination_ = unresolved ? target_ : std::move(resolved);
    static std::atomic<std::uint64_t> counter = 0;
    do {
      partial_ = destination_;
      partial_ += "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".partial";
      descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (descriptor_ < 0 && errno == EEXIST);
    if (descriptor_ < 0) {
      const int code = errno;
      partial_.clear();
      throw file_error(target_, "write", code);
    }
    if (exists) {
      // File systems without permissions refuse; the content is what counts.
      [[maybe_unused]] const int ignored = ::fchmod(descriptor_, status.st_mode & 07777U);
    }
  }

  replaced_file(replaced_file&& other) noexcept
      : target_(std::move(other.target_)),
        destination_(std::move(other.destination_)),
        partial_(std::exchange(other.partial_, {})),
        buffer_(std::move(other.buffer_)),
        descriptor_(std::exchange(other.descriptor_, -1)) {}
  replaced_file& operator=(replaced_file&&) = delete;

  ~replaced_file() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
    if (!partial_.empty()) {
      ::unlink(partial_.c_str());
    }
  }

  /// The file that the commit replaces, as it was named.
  const std::filesystem::path& target() const noexcept { return target_; }

  /// Appends bytes. Throws bad_input, naming the target, when they cannot be written (disk full);
  /// precondition_error after the commit.
  void write(std::span<const std::byte> bytes) {
    require(descriptor_ >= 0, "replaced_file: writing after the commit");
    if (buffer_.size() + bytes.size() < buffer_bytes) {
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
      return;
    }
    flush();
    write_through(bytes);
  }

  /// Appends text.
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Makes the file complete: everything is on the disk before the name changes. Throws bad_input, naming the target,
  /// when that fails, and the target keeps its old content; precondition_error the second time.
  void commit() {
    require(descriptor_ >= 0, "replaced_file: committed twice");
    flush();
    // Errors of delayed writing show up here. Pipes and devices, and a few file systems, know no fsync.
    if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS) {
      throw file_error(target_, "write", errno);
    }
    if (::close(std::exchange(descriptor_, -1)) != 0) {
      throw file_error(target_, "write", errno);
    }
    if (!partial_.empty()) {
      if (::rename(partial_.c_str(), destination_.c_str()) != 0) {
        throw file_error(target_, "replace", errno);
      }
      partial_.clear();
    }
  }

 private:
  // Rows of ten floats come one by one; a system call for each would cost more than the forward pass that made it.
  static constexpr std::size_t buffer_bytes = 1U << 16;

  void flush() {
    write_through(buffer_);
    buffer_.clear();
  }

  void write_through(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      // In pieces that stay in cache: Linux wrote 64 MiB at once to ext4 with a sixth of the speed. Systems refuse more
      // than 2^31 bytes.
      const ::ssize_t written = ::write(descriptor_, bytes.data(), std::min<std::size_t>(bytes.size(), 1U << 20));
      if (written < 0 && errno == EINTR) {
        continue;
      }
      if (written < 0) {
        throw file_error(target_, "write", errno);
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  std::filesystem::path target_;
  std::filesystem::path destination_;  // the target with links resolved
  std::filesystem::path partial_;      // empty where there is nothing to remove
  std::vector<std::byte> buffer_;
  int descriptor_ = -1;
};

/// Writes a whole file at once, complete or not at all. Throws bad_input, naming the file, when it cannot be written.
inline void write_file(const std::filesystem::path& path, std::string_view content) {
  replaced_file file(path);
  file.write(content);
  file.commit();
}

}  // namespace pluria
