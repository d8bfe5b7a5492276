// SPDX-License-Identifier: MIT
// Any bytes are either an array, all of whose bytes can be read, or refused with bad_input.

#include <pluria/io/npy.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  try {
    const pluria::tensor array = pluria::parse_npy(std::as_bytes(std::span(input, size)), nullptr, "input", "array");
    if (pluria::is_weight_type(array.type())) {
      array.to_floats();
    }
  } catch (const pluria::bad_input&) {
  }
  return 0;
}
