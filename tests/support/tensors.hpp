// SPDX-License-Identifier: MIT
#pragma once
// Tensors of every weight type out of floats, and what an exception says.

#include <pluria/tensor/checkpoint.hpp>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// The half of a float, its magnitude rounded down; infinities and NaN stay what they are, |value| < 65536 else.
inline std::uint16_t half_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  if (!std::isfinite(value)) {
    return static_cast<std::uint16_t>(sign | 0x7c00U | (std::isnan(value) ? 1U : 0U));
  }
  const float magnitude = std::abs(value);
  if (magnitude < 0x1p-14F) {
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(magnitude * 0x1p24F));
  }
  return static_cast<std::uint16_t>(sign | ((bits & 0x7fffffffU) - 0x38000000U) >> 13);
}

/// A tensor of F32, F16 or BF16, magnitudes rounded down to the type. Its bytes begin at an odd address, as in a file.
inline pluria::tensor make_tensor(pluria::dtype type, std::string name, pluria::tensor_shape shape,
                                  std::span<const float> values, std::string file = {}) {
  const std::size_t size = pluria::size_of(type);
  auto bytes = std::make_shared<std::vector<std::byte>>(1 + values.size() * size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    const std::uint32_t stored =
        type == pluria::dtype::f16 ? half_bits(values[i]) : (type == pluria::dtype::bf16 ? bits >> 16 : bits);
    std::memcpy(bytes->data() + 1 + i * size, &stored, size);
  }
  const std::span<const std::byte> all(*bytes);
  return {std::move(name), type, std::move(shape), all.subspan(1), std::move(bytes), std::move(file)};
}

/// The text of the exception of type Error that `call` throws, or "no error".
template <class Error, class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace support
