// SPDX-License-Identifier: MIT
#pragma once
// What all benchmarks run on: made weights, in as many copies that take turns as it takes to come from where they
// should come from.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace bench {

using namespace pluria;

/// One run over all weights.
using work = std::function<void()>;
using make_work = std::function<work()>;

/// So many bytes come from memory, whatever the last-level cache (480 MiB here).
inline constexpr std::size_t beyond_caches = std::size_t{1} << 30;

/// Weight i: the sum of three hashed 16-bit integers, roughly bell-shaped, magnitude below 0.05.
inline float made_weight(std::uint32_t i) {
  std::int32_t sum = -3 * 32768;
  for (std::uint32_t part = 0; part < 3; ++part) {
    std::uint32_t x = 3 * i + part + 1;
    x = (x ^ x >> 16) * 0x85ebca6bU;
    x = (x ^ x >> 13) * 0xc2b2ae35U;
    sum += static_cast<std::int32_t>((x ^ x >> 16) >> 16);
  }
  return static_cast<float>(sum) * (0.05F / 98304.0F);
}

/// Made weights, float32 or bfloat16.
inline tensor made_tensor(dtype type, std::size_t rows, std::size_t columns) {
  const auto bytes = std::make_shared<aligned_vector<std::byte>>(rows * columns * size_of(type));
  for (std::uint32_t i = 0; i < rows * columns; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(made_weight(i));
    const std::uint32_t stored = type == dtype::f32 ? bits : bits >> 16;
    std::memcpy(bytes->data() + i * size_of(type), &stored, size_of(type));
  }
  return {"weights", type, {rows, columns}, std::span<const std::byte>(*bytes), bytes};
}

/// The same weights in memory of their own.
inline tensor copy_of(const tensor& original) {
  const auto bytes = std::make_shared<aligned_vector<std::byte>>(original.bytes().begin(), original.bytes().end());
  return {original.name(), original.type(), original.shape(), std::span<const std::byte>(*bytes), bytes};
}

/// Copies of one thing that take turns; `copy` makes one in memory of its own.
template <class T>
class turning {
 public:
  template <class Copy>
  turning(T first, std::size_t copies, Copy&& copy) {
    copies_.reserve(copies);
    copies_.push_back(std::move(first));
    while (copies_.size() < copies) {
      copies_.push_back(copy(copies_.front()));
    }
  }

  const T& first() const { return copies_.front(); }
  const T& next() { return copies_[turn_++ % copies_.size()]; }

 private:
  std::vector<T> copies_;
  std::size_t turn_ = 0;
};

/// The float32 weights of a tensor of them.
inline const float* floats_of(const tensor& weights) {
  return reinterpret_cast<const float*>(weights.bytes().data());
}

}  // namespace bench
