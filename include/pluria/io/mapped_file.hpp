// SPDX-License-Identifier: MIT
#pragma once
// A file's bytes, mapped read-only (POSIX mmap): nothing is read before it is used, and whatever is not used costs no
// memory. The mapping lives as long as any copy of its owner: tensors hold one each.

#include <pluria/core/error.hpp>
#include <pluria/io/file_error.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <utility>

namespace pluria {

/// The bytes of a regular file. A regular value: copies share the mapping.
class mapped_file {
 public:
  /// Maps the whole file; an empty one has no bytes. Throws bad_input, with path and reason, when it cannot be opened
  /// or is no regular file. A file that is shortened in place while it is mapped ends the program (SIGBUS); replacing
  /// it by another of the same name, as `replaced_file` does, is safe.
  static mapped_file open(const std::filesystem::path& path) {
    // Without O_NONBLOCK a named pipe would wait here for its writer, before it can be refused.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
      throw file_error(path, "open", errno);
    }
    const closing guard{descriptor};
    struct stat status {};
    if (::fstat(descriptor, &status) != 0) {
      throw file_error(path, "read", errno);
    }
    if (!S_ISREG(status.st_mode)) {
      throw bad_input(mismatch_message(path.string(), "a regular file",
                                       S_ISDIR(status.st_mode) ? "a directory" : "a device or pipe"));
    }
    if (status.st_size == 0) {
      return {};
    }
    if (static_cast<unsigned long long>(status.st_size) > std::numeric_limits<std::size_t>::max()) {
      throw file_error(path, "map", EFBIG);
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address == MAP_FAILED) {
      throw file_error(path, "map", errno);
    }
    // Should the allocation of the reference count fail, shared_ptr calls the deleter itself.
    std::shared_ptr<const void> owner(address, [size](void* mapped) { ::munmap(mapped, size); });
    return {{static_cast<const std::byte*>(address), size}, std::move(owner)};
  }

  /// The whole file.
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// What keeps the bytes mapped; null for an empty file.
  const std::shared_ptr<const void>& owner() const noexcept { return owner_; }

 private:
  struct closing {
    int descriptor;
    ~closing() { ::close(descriptor); }
  };

  mapped_file() = default;
  mapped_file(std::span<const std::byte> bytes, std::shared_ptr<const void> owner)
      : bytes_(bytes), owner_(std::move(owner)) {}

  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
};

}  // namespace pluria
