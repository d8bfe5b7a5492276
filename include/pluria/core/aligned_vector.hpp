// SPDX-License-Identifier: MIT
#pragma once
// A vector for what kernels fill: it begins at a cache line, so that a batch never straddles two, and is not written
// before it is filled, which would send it through memory once more.

#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace pluria {

/// Allocates at multiples of 64 bytes; elements that are constructed without a value are left uninitialized.
template <class T>
struct line_allocator {
  using value_type = T;
  static constexpr std::align_val_t alignment{64};

  line_allocator() = default;
  template <class U>  // NOLINTNEXTLINE(google-explicit-constructor): allocators convert
  constexpr line_allocator(const line_allocator<U>&) noexcept {}

  T* allocate(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) {
      throw std::bad_array_new_length();
    }
    return static_cast<T*>(::operator new(count * sizeof(T), alignment));
  }
  void deallocate(T* first, std::size_t) noexcept { ::operator delete(first, alignment); }

  template <class U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
  template <class U, class... Values>
  void construct(U* place, Values&&... values) {
    std::construct_at(place, std::forward<Values>(values)...);
  }

  friend bool operator==(const line_allocator&, const line_allocator&) = default;
};

template <class T>
using aligned_vector = std::vector<T, line_allocator<T>>;

}  // namespace pluria
