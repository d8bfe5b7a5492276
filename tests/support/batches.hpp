// SPDX-License-Identifier: MIT
#pragma once
// xsimd batches as arrays, for comparisons lane by lane.

#include <xsimd/xsimd.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>

namespace support {

using floats = xsimd::batch<float>;
using ints = xsimd::batch<std::int32_t>;
using words = xsimd::batch<std::uint32_t>;
inline constexpr std::size_t lanes = floats::size;

template <class Batch>
std::array<typename Batch::value_type, Batch::size> lanes_of(const Batch& batch) {
  std::array<typename Batch::value_type, Batch::size> values{};
  batch.store_unaligned(values.data());
  return values;
}

/// 0, 1, 2, ...
inline words lane_numbers() {
  std::array<std::uint32_t, words::size> numbers{};
  std::iota(numbers.begin(), numbers.end(), 0U);
  return words::load_unaligned(numbers.data());
}

}  // namespace support
