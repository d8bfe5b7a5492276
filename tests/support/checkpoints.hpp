// SPDX-License-Identifier: MIT
#pragma once
// A small checkpoint of every kind of tensor: quantized by default or kept, of all weight types and of integers.

#include <pluria/tensor/checkpoint.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// "a.weight" F32 [3, 129], "b.weight" F16 [2, 2, 5, 5], "c.weight" BF16 [4, 64], "d.weight" F32 [0, 4], "a.bias" F16,
/// "wte.weight" F32 [4, 16] and "steps" I32, in file order or reversed.
inline pluria::checkpoint make_checkpoint(bool reversed = false) {
  using pluria::dtype;
  const auto steps = std::make_shared<const std::vector<std::byte>>(8);
  std::vector<pluria::tensor> tensors;
  const auto add = [&](dtype type, const char* name, pluria::tensor_shape shape) {
    const std::size_t size = pluria::element_count(shape, name);
    const std::vector<float> values = integer_weights(size, 1.0F, static_cast<std::uint32_t>(1000 * tensors.size()));
    tensors.push_back(make_tensor(type, name, std::move(shape), values, "net.safetensors"));
  };
  add(dtype::f32, "a.weight", {3, 129});
  add(dtype::f16, "b.weight", {2, 2, 5, 5});
  add(dtype::bf16, "c.weight", {4, 64});
  add(dtype::f32, "d.weight", {0, 4});
  add(dtype::f16, "a.bias", {3});
  add(dtype::f32, "wte.weight", {4, 16});
  tensors.emplace_back("steps", dtype::i32, pluria::tensor_shape{2}, *steps, steps, "net.safetensors");
  if (reversed) {
    std::reverse(tensors.begin(), tensors.end());
  }
  pluria::checkpoint made("net.safetensors", {{"format", "pt"}, {"num_heads", "2"}});
  for (pluria::tensor& current : tensors) {
    made.add(std::move(current));
  }
  return made;
}

}  // namespace support
