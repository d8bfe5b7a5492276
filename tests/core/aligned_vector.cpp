// SPDX-License-Identifier: MIT

#include <pluria/core/aligned_vector.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <utility>

namespace {

using pluria::aligned_vector;

TEST_CASE("an aligned vector begins at a cache line, of any size", "[core]") {
  for (const std::size_t size : {1U, 3U, 16U, 1000U, 100000U}) {
    const aligned_vector<std::uint32_t> words(size);
    CHECK(words.size() == size);
    CHECK(reinterpret_cast<std::uintptr_t>(words.data()) % 64 == 0);
  }
}

TEST_CASE("an aligned vector is a vector", "[core]") {
  aligned_vector<std::uint32_t> words(5, 7U);
  words.push_back(8);
  const aligned_vector<std::uint32_t> copy = words;
  CHECK(copy == words);
  CHECK(copy.back() == 8);
  CHECK(copy.front() == 7);
  const aligned_vector<std::uint32_t> moved = std::move(words);
  CHECK(moved == copy);
}

TEST_CASE("more elements than bytes are refused", "[core]") {
  pluria::line_allocator<std::uint32_t> allocator;
  CHECK_THROWS_AS(allocator.allocate(std::numeric_limits<std::size_t>::max() / 2), std::bad_array_new_length);
}

}  // namespace
