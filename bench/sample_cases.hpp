// SPDX-License-Identifier: MIT
#pragma once
// What the benchmarks of the sampling kernel run on: a tensor of made weights and members of it, in memory that exists.
// A work rounds all weights once, into all members.

#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/random/threefry.hpp>
#include <pluria/rounding/bernoulli.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cases.hpp"

namespace bench {

inline constexpr std::size_t in_cache = std::size_t{1} << 16;   // 256 KiB of float32: second-level cache
inline constexpr std::size_t in_memory = std::size_t{1} << 24;  // 64 MiB
inline constexpr std::size_t columns = 4096;

/// The weights of one type and size.
class turning_weights {
 public:
  turning_weights(dtype type, std::size_t count)
      : copies_(made_tensor(type, count / columns, columns),
                count == in_cache ? 1 : beyond_caches / (count * size_of(type)), copy_of) {}

  const tensor& next() { return copies_.next(); }
  const float* next_floats() { return floats_of(next()); }

 private:
  turning<tensor> copies_;
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

/// Our kernel: `members` of them in one pass, per output channel or in the blocks of the format.
template <number_system number, class Arch = xsimd::default_arch, class R>
work sampling_of(dtype type, std::size_t count, const R& rounding, std::size_t members = 1, int threads = 1) {
  const auto weights = weights_of(type, count);
  // The grids of one size are made once, and so is the room for the members.
  static std::map<std::pair<dtype, std::size_t>, std::shared_ptr<const tensor_grid<number>>> grids;
  static std::map<std::pair<dtype, std::size_t>, std::shared_ptr<std::vector<packed_tensor<number>>>> rooms;
  auto& grid = grids[{type, count}];
  if (!grid) {
    if constexpr (requires { number::block; }) {
      grid = std::make_shared<const tensor_grid<number>>(
          quantizer<number, per_group>{per_group(number::block)}.fit(weights->next()));
    } else {
      grid = std::make_shared<const tensor_grid<number>>(quantizer<number>{}.fit(weights->next()));
    }
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

/// The same of symmetric INT-b.
template <int Bits, class Arch = xsimd::default_arch, class R>
work sampling(dtype type, std::size_t count, const R& rounding, std::size_t members = 1, int threads = 1) {
  return sampling_of<symmetric_int<Bits>, Arch>(type, count, rounding, members, threads);
}

/// INT-4 from float32 by the kernel for AVX2, in a file compiled for x86-64-v3; empty where there is none.
work sampling_for_avx2(std::size_t count);

}  // namespace bench
