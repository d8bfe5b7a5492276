// SPDX-License-Identifier: MIT
#pragma once
// Weights in another dtype.

#include <pluria/core/error.hpp>
#include <pluria/core/float16.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pluria {

/// Writes values in a weight type, each to the nearest, ties to even; beyond the largest float16 or bfloat16 they are
/// infinite. `bytes` needs no alignment. Throws precondition_error for other dtypes, and unless the sizes agree.
inline void write_weights(std::span<const float> values, dtype type, std::span<std::byte> bytes) {
  require(is_weight_type(type), "write_weights: F32, F16 or BF16");
  require(bytes.size() == values.size() * size_of(type), "write_weights: as many bytes as the values take");
  if (type == dtype::f32) {
    if (!values.empty()) {
      std::memcpy(bytes.data(), values.data(), bytes.size());
    }
    return;
  }
  const auto store = [&](auto from_float) {
    // By way of an array, to which compilers convert in batches: bytes need no alignment.
    std::array<std::uint16_t, 1024> bits;
    for (std::size_t first = 0; first < values.size(); first += bits.size()) {
      const std::size_t count = std::min(bits.size(), values.size() - first);
      const float* const in = values.data() + first;
      for (std::size_t i = 0; i < count; ++i) {
        bits[i] = from_float(in[i]);
      }
      std::memcpy(bytes.data() + 2 * first, bits.data(), 2 * count);
    }
  };
  if (type == dtype::f16) {
    store([](float value) { return half_from_float(value); });
  } else {
    store([](float value) { return bfloat16_from_float(value); });
  }
}

/// The tensor in another weight type; itself where it has that type already. Throws bad_input where its elements are
/// not weights.
inline tensor converted(const tensor& from, dtype type) {
  if (from.type() == type) {
    return from;
  }
  const auto bytes = std::make_shared<std::vector<std::byte>>(from.size() * size_of(type));
  write_weights(from.to_floats(), type, *bytes);
  return {from.name(), type, from.shape(), *bytes, bytes, from.file()};
}

/// A checkpoint with all its weights in one type; what are not weights stays as it is.
inline checkpoint converted(const checkpoint& from, dtype type) {
  checkpoint result(from.file(), from.metadata());
  for (const tensor& current : from.tensors()) {
    result.add(is_weight_type(current.type()) ? converted(current, type) : current);
  }
  return result;
}

}  // namespace pluria
