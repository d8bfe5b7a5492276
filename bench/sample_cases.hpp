// SPDX-License-Identifier: MIT
#pragma once
// What the benchmarks of the sampling kernel run on: a tensor of made weights, in as many copies as it takes to come
// from where it should come from, and members of it, in memory that exists.

#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/random/threefry.hpp>
#include <pluria/rounding/bernoulli.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace bench {

using namespace pluria;

/// One call rounds all weights once, into all members.
using work = std::function<void()>;

inline constexpr std::size_t in_cache = std::size_t{1} << 16;   // 256 KiB of float32: second-level cache
inline constexpr std::size_t in_memory = std::size_t{1} << 24;  // 64 MiB
inline constexpr std::size_t columns = 4096;

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

/// Copies of one tensor that take turns: one copy where it is to stay in cache, else so many that together they are
/// larger than any last-level cache.
class turning_weights {
 public:
  turning_weights(dtype type, std::size_t count) {
    const std::size_t bytes = count * size_of(type);
    aligned_vector<std::byte> first(bytes);
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(made_weight(i));
      const std::uint32_t stored = type == dtype::f32 ? bits : bits >> 16;
      std::memcpy(first.data() + i * size_of(type), &stored, size_of(type));
    }
    const std::size_t copies = count == in_cache ? 1 : (std::size_t{1} << 30) / bytes;
    for (std::size_t copy = 0; copy < copies; ++copy) {
      const auto owned = std::make_shared<const aligned_vector<std::byte>>(first);
      copies_.emplace_back("weights", type, tensor_shape{count / columns, columns}, std::span(*owned), owned);
    }
  }

  const tensor& next() { return copies_[turn_++ % copies_.size()]; }
  const float* next_floats() { return reinterpret_cast<const float*>(next().bytes().data()); }

 private:
  std::vector<tensor> copies_;
  std::size_t turn_ = 0;
};

/// The weights of a type and size, made when first asked for.
inline const std::shared_ptr<turning_weights>& weights_of(dtype type, std::size_t count) {
  static std::map<std::pair<dtype, std::size_t>, std::shared_ptr<turning_weights>> made;
  std::shared_ptr<turning_weights>& entry = made[{type, count}];
  if (!entry) {
    entry = std::make_shared<turning_weights>(type, count);
  }
  return entry;
}

/// Our kernel: per output channel, `members` of them in one pass.
template <int Bits, class Arch = xsimd::default_arch, class R>
work sampling(dtype type, std::size_t count, const R& rounding, std::size_t members = 1, int threads = 1) {
  using number = symmetric_int<Bits>;
  const auto weights = weights_of(type, count);
  // The grids of one size are made once, and so is the room for the members.
  static std::map<std::pair<dtype, std::size_t>, std::shared_ptr<const tensor_grid<number>>> grids;
  static std::map<std::pair<dtype, std::size_t>, std::shared_ptr<std::vector<packed_tensor<number>>>> rooms;
  auto& grid = grids[{type, count}];
  if (!grid) {
    grid = std::make_shared<const tensor_grid<number>>(quantizer<number>{}.fit(weights->next()));
  }
  auto& room = rooms[{type, count}];
  if (!room) {
    room = std::make_shared<std::vector<packed_tensor<number>>>();
  }
  while (room->size() < members) {
    room->emplace_back(grid);
    std::fill_n(room->back().data(), room->back().words().size(), 0U);  // the pages are there before the first run
  }
  return [weights, room = room, rounding, members, threads] {
    sample_into<number, R, Arch>(std::span(*room).first(members), weights->next(), rounding, 0, threads);
  };
}

/// INT-4 from float32 by the kernel for AVX2, in a file compiled for x86-64-v3; empty where there is none.
work sampling_for_avx2(std::size_t count);

}  // namespace bench
