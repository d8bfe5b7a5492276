// SPDX-License-Identifier: MIT
// Any bytes are either a checkpoint, all of whose bytes can be read, or refused with bad_input.

#include <pluria/io/safetensors.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  try {
    const pluria::checkpoint weights =
        pluria::parse_safetensors(std::as_bytes(std::span(input, size)), nullptr, "input");
    std::size_t total = 0;
    for (const pluria::tensor& weight : weights.tensors()) {
      if (pluria::is_weight_type(weight.type())) {
        weight.to_floats();
      }
      total += weight.bytes().size();
    }
    // What was accepted has no holes: the tensors are all that follows the header.
    if (total > size) {
      std::abort();
    }
  } catch (const pluria::bad_input&) {
  }
  return 0;
}
