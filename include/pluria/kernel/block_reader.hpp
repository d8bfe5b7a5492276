// SPDX-License-Identifier: MIT
#pragma once
// Reads the weights of a tensor in blocks of 128, puts them on the grid and gives each, split (split_block.hpp), to a
// packer (member_packers.hpp): conversion to float, granules, tails and padding, and where the next weights come from.

#include <pluria/core/lanes.hpp>
#include <pluria/core/widen.hpp>
#include <pluria/kernel/split_block.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace pluria::detail {

// A thread reads its blocks from several places by turns, a block at each, and asks for weights ahead of the block
// at hand, into the second-level cache. The machine's own prefetchers run at most 20 lines ahead of a place and stop at
// every 4 KiB page: too little where a block takes 25 ns and memory 100. From DRAM one INT-4 member takes, in units of
// the time of four places with requests: one place without 1.7, with requests into the first-level cache 1.3 (they
// occupy its few fill buffers), into the second 1.2; four places without requests 1.4.
inline constexpr std::size_t reading_places = 4;
inline constexpr std::ptrdiff_t prefetch_bytes = 4096;

// Reads the blocks of a tensor, puts them on the grid and gives them to the packer.
template <number_system N, class Arch>
class block_reader {
 public:
  using split = split_block<N::bits, Arch>;

  block_reader(const tensor& weights, const tensor_grid<N>& grid)
      : bytes_(weights.bytes()), type_(weights.type()), columns_(weights.columns()), grid_(grid) {
    for (std::size_t column = 0; column < blocks_per_row(columns_) * block_size; column += 16) {
      places_.push_back(grid.map.index(0, std::min(column, columns_ - 1)));
    }
  }

  /// Consecutive blocks that are still to be read.
  struct run {
    std::uint64_t number = 0;  // of the next one
    std::uint64_t end = 0;
    std::size_t row = 0;
    std::size_t column = 0;
  };

  /// Blocks first, first + 1, ..., end - 1.
  run blocks(std::uint64_t first, std::uint64_t end) const {
    const std::size_t in_row = std::max<std::size_t>(1, blocks_per_row(columns_));
    return {first, end, first / in_row, first % in_row * block_size};
  }

  /// Reads all blocks of some runs, by turns.
  template <class Packer>
  void operator()(std::span<run> runs, const Packer& pack) const {
    for (bool is_left = true; is_left;) {
      // Blocks that are full and of one granule, as a rule all of a row, go through one loop.
      std::size_t alike = alike_blocks(runs.front());
      for (const run& other : runs) {
        alike = std::min(alike, alike_blocks(other));
      }
      if (alike > 0) {
        read_alike(runs, alike, pack);
      }
      is_left = false;
      for (run& next : runs) {
        if (next.number < next.end && alike_blocks(next) == 0) {
          read_part(next, pack);
        } else if (next.number < next.end && alike == 0) {
          read_alike(std::span(&next, 1), 1, pack);
        }
        is_left = is_left || next.number < next.end;
      }
    }
  }

 private:
  using floats = lanes::floats<Arch>;
  using block_weights = std::array<float, block_size>;

  // How many blocks from the next one on are full, of its granule and of its run.
  std::size_t alike_blocks(const run& from) const {
    const std::size_t full = (grid_.map.run_end(from.column) - from.column) / block_size;
    return std::min<std::uint64_t>(full, from.end - from.number);
  }

  void skip(run& from, std::size_t blocks) const {
    from.number += blocks;
    from.column += blocks * block_size;
    if (from.column >= columns_) {
      from.column = 0;
      ++from.row;
    }
  }

  // The packer by value: behind a reference it might change with every word that is stored.
  template <class Packer>
  void read_alike(std::span<run> runs, std::size_t count, const Packer pack) const {
    struct place {
      const std::byte* weights;
      const typename N::granule* granule;
      std::uint64_t number;
    };
    const std::size_t size = size_of(type_);
    const std::byte* last = bytes_.data() + bytes_.size() - block_size * size;
    std::array<place, reading_places> at;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      at[i] = {bytes_.data() + (runs[i].row * columns_ + runs[i].column) * size, &grid_.at(runs[i].row, runs[i].column),
               runs[i].number};
      skip(runs[i], count);
    }
    alignas(64) block_weights widened;
    // One loop, not two: what is the same in all blocks is then set up once, not once a turn.
    for (std::size_t turn = 0, left = count * runs.size(); left > 0;
         --left, turn = turn + 1 == runs.size() ? 0 : turn + 1) {
      place& current = at[turn];
      const std::byte* ahead = current.weights + std::min<std::ptrdiff_t>(prefetch_bytes, last - current.weights);
      prefetch<2 * block_size>(ahead);
      // Of any alignment: only ever given to unaligned loads.
      const auto* values = reinterpret_cast<const float*>(current.weights);
      if (size == sizeof(float)) {
        prefetch<2 * block_size>(ahead + 2 * block_size);
      } else {
        widen(current.weights, widened);
        values = widened.data();
      }
      const typename N::granule& granule = *current.granule;
      pack(split(
               [&](std::size_t e) PLURIA_INLINE_LAMBDA {
                 return pack.position(N::position(floats::load_unaligned(values + e), granule));
               },
               N::min_code),
           current.number);
      current.weights += block_size * size;
      ++current.number;
    }
  }

  // A block with several granules or a tail. Behind the row's end stands the value of the padding: what is on its grid
  // does not move.
  template <class Packer>
  void read_part(run& from, const Packer& pack) const {
    const std::size_t row = from.row;
    const std::size_t column = from.column;
    const std::size_t filled = std::min(block_size, columns_ - column);
    const std::byte* const source = bytes_.data() + (row * columns_ + column) * size_of(type_);
    alignas(64) block_weights weights;
    const auto* values = reinterpret_cast<const float*>(source);  // only ever given to unaligned loads
    if (filled < block_size) {
      alignas(64) std::array<std::byte, block_size * sizeof(float)> bytes{};
      std::memcpy(bytes.data(), source, filled * size_of(type_));
      if (type_ == dtype::f32) {
        std::memcpy(weights.data(), bytes.data(), sizeof(weights));
      } else {
        widen(bytes.data(), weights);
      }
      const typename N::granule& last = grid_.at(row, column + filled - 1);
      std::fill(weights.begin() + static_cast<std::ptrdiff_t>(filled), weights.end(),
                N::decode(code_nearest_zero<N>(last), last));
      values = weights.data();
    } else if (type_ != dtype::f32) {
      widen(source, weights);
      values = weights.data();
    }
    const typename N::granule* const of_row = grid_.granules.data() + grid_.map.row_begin(row);
    const std::size_t* const places = places_.data() + column / 16;
    pack(split(
             [&](std::size_t e) PLURIA_INLINE_LAMBDA {
               return pack.position(N::position(floats::load_unaligned(values + e), of_row[places[e / 16]]));
             },
             N::min_code),
         from.number);
    skip(from, 1);
  }

  template <std::size_t Bytes>
  PLURIA_INLINE static void prefetch(const std::byte* first) {
    lanes::unrolled<Bytes / 64>([&](auto line) PLURIA_INLINE_LAMBDA { lanes::request_line(first + 64 * line); });
  }

  void widen(const std::byte* source, block_weights& weights) const {
    const auto each = [&](auto load) {
      for (std::size_t e = 0; e < block_size; e += floats::size) {
        load(source + 2 * e).store_aligned(&weights[e]);
      }
    };
    if (type_ == dtype::f16) {
      each([](const std::byte* at) { return lanes::floats_from_half<Arch>(at); });
    } else {
      each([](const std::byte* at) { return lanes::floats_from_bfloat16<Arch>(at); });
    }
  }

  std::span<const std::byte> bytes_;
  dtype type_;
  std::size_t columns_;
  const tensor_grid<N>& grid_;
  std::vector<std::size_t>
      places_;  // behind a row's first granule, one for each 16 columns: they are multiples of them
};

}  // namespace pluria::detail
