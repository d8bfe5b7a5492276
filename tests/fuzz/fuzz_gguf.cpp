// SPDX-License-Identifier: MIT
// Any bytes are either a GGUF file, all of whose tensors can be read or copied into another one, or refused with
// bad_input.

#include <pluria/io/gguf.hpp>
#include <pluria/io/gguf_writer.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  try {
    const pluria::gguf_checkpoint model = pluria::parse_gguf(std::as_bytes(std::span(input, size)), nullptr, "input");
    std::size_t total = 0;
    std::vector<pluria::ggml_type> types;
    for (const pluria::gguf_tensor& tensor : model.tensors()) {
      if (tensor.has_weights()) {
        tensor.weights().to_floats();
      }
      total += tensor.bytes().size();
      types.push_back(tensor.type());
    }
    if (total > size) {
      std::abort();
    }
    // A copy is a file again, with the same tensors.
    const pluria::gguf_plan plan(model, types, pluria::ggml_type::f32);
    std::string copy = plan.header();
    copy.resize(plan.file_bytes());
    const pluria::gguf_checkpoint read = pluria::parse_gguf(std::as_bytes(std::span(copy)), nullptr, "copy");
    for (std::size_t i = 0; i < types.size(); ++i) {
      if (read.tensors()[i].name() != model.tensors()[i].name() || read.tensors()[i].type() != types[i] ||
          read.tensors()[i].shape() != model.tensors()[i].shape()) {
        std::abort();
      }
    }
  } catch (const pluria::bad_input&) {
  }
  return 0;
}
