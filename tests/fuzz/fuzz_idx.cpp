// SPDX-License-Identifier: MIT
// Any bytes, plain or gzip, are either an array of the size that its shape says or refused with bad_input.

#include <pluria/io/idx.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  try {
    const pluria::idx_array array = pluria::parse_idx(std::as_bytes(std::span(input, size)), "input");
    std::size_t count = 1;
    for (const std::size_t extent : array.shape) {
      count *= extent;
    }
    if (array.values.size() != count) {
      std::abort();
    }
  } catch (const pluria::bad_input&) {
  }
  return 0;
}
