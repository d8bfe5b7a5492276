// SPDX-License-Identifier: MIT
#pragma once
// What evaluations ask of a checkpoint as a whole.

#include <pluria/member/any_quantizer.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>

namespace pluria::examples {

inline std::size_t parameters_of(const checkpoint& weights) {
  std::size_t count = 0;
  for (const tensor& current : weights.tensors()) {
    count += current.size();
  }
  return count;
}

inline std::size_t bytes_of(const checkpoint& weights) {
  std::size_t bytes = 0;
  for (const tensor& current : weights.tensors()) {
    bytes += current.bytes().size();
  }
  return bytes;
}

/// Throws bad_input, naming tensor and index, for a weight that is NaN or infinite, whether it is to be rounded or not.
inline void check_finite_weights(const checkpoint& weights) {
  for (const tensor& current : weights.tensors()) {
    if (is_weight_type(current.type())) {
      check_finite(current, current.to_floats(), 0);
    }
  }
}

}  // namespace pluria::examples
