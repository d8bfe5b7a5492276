// SPDX-License-Identifier: MIT
#pragma once
// The memory of a mapped file, given back while it is mapped: a program that runs once through files larger than memory
// stays as small as what it looks at. The bytes stay where they are, and come from the file again when they are used.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pluria {

/// Lets go of `count` bytes of `mapped` from `first` on, and up to 64 KiB around them: the system brings that much with
/// every page that is touched. `mapped` must lie in a `mapped_file`; other threads may read it meanwhile. Does nothing
/// where the range is empty or the system does not know how.
inline void release_pages(std::span<const std::byte> mapped, std::size_t first, std::size_t count) noexcept {
#ifdef MADV_DONTNEED
  constexpr std::uintptr_t around = 1U << 16;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped.data());
  first = std::min(first, mapped.size());
  count = std::min(count, mapped.size() - first);
  if (count == 0) {
    return;
  }
  // A mapping consists of whole pages, so that the first and the last may be rounded outwards, but nothing beyond them.
  const std::uintptr_t lowest = begin / page * page;
  const std::uintptr_t highest = (begin + mapped.size() + page - 1) / page * page;
  const std::uintptr_t low = std::max(lowest, (begin + first) / around * around);
  const std::uintptr_t high = std::min(highest, (begin + first + count + around - 1) / around * around);
  // Advice: a refusal changes nothing but the memory that is taken.
  [[maybe_unused]] const int ignored = ::madvise(reinterpret_cast<void*>(low), high - low, MADV_DONTNEED);
#endif
}

}  // namespace pluria
