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

TEST_CASE("a large aligned vector begins at a huge page, and is as long as any", "[core]") {
  constexpr std::size_t huge_page = pluria::line_allocator<std::uint32_t>::huge_page;
  for (const std::size_t bytes : {2 * huge_page - 4, 2 * huge_page, 3 * huge_page + 64}) {
    aligned_vector<std::uint32_t> words(bytes / 4, 1U);
    CAPTURE(bytes);
    CHECK((reinterpret_cast<std::uintptr_t>(words.data()) % huge_page == 0 || bytes < 2 * huge_page));
    words.back() = 2;
    words.resize(words.size() / 2);  // to a size with another alignment, in the same place
    words.shrink_to_fit();
    CHECK(reinterpret_cast<std::uintptr_t>(words.data()) % 64 == 0);
    CHECK(words.back() == 1);
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
