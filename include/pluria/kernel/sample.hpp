// SPDX-License-Identifier: MIT
#pragma once
// Weights to packed codes: the one place in the library where weights are rounded. One pass over the weights for any
// number of members: a 128-element block is split into floors and fractions once (split_block.hpp) and stays in
// registers while every member compares its dithers with the fractions and adds the outcome to the floors. The scalar
// definition is `member_code`; the lanes compute the same integers on every ISA (tests/kernel/sample.cpp,
// tests/golden).

#include <pluria/core/error.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/core/widen.hpp>
#include <pluria/kernel/split_block.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/random/address.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/packed_tensor.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

namespace pluria {

template <class R>
inline constexpr bool is_bernoulli = false;
template <class Generator>
inline constexpr bool is_bernoulli<basic_bernoulli<Generator>> = true;

/// How positions become codes.
template <class R>
concept rounding_method = std::same_as<R, nearest> || is_bernoulli<R>;

/// The definition of a rounded weight: the code of one position. `block` is the running number of the 128-element block
/// within the tensor, `element` the place in it; nearest looks at neither.
inline std::int32_t member_code(const nearest&, std::int32_t position, std::uint64_t, std::uint64_t, std::uint32_t,
                                std::uint64_t) {
  return nearest::code(position);
}
template <class Generator>
std::int32_t member_code(const basic_bernoulli<Generator>& rounding, std::int32_t position, std::uint64_t tensor_hash,
                         std::uint64_t block, std::uint32_t element, std::uint64_t member) {
  const std::uint32_t dither = rounding.dither(tensor_hash, block, element, member);
  return basic_bernoulli<Generator>::code(position, static_cast<std::int32_t>(dither));
}

namespace detail {

// From this many bytes on, more than second-level caches hold, what a pass of stochastic rounding writes is stored past
// the caches, if blocks are whole lines: 4 and 8 bits.
inline constexpr std::size_t past_cache_bytes = std::size_t{1} << 22;

// The members that one pass over the weights packs: for each, its first block.
struct packed_blocks {
  std::span<std::uint32_t* const> members;
  bool past_cache = false;
};

template <int Bits>
std::uint32_t* block_at(std::uint32_t* first, std::uint64_t number) noexcept {
  return first + number * packed_block<Bits>::words;
}

// 16 outputs of the generator, slice after slice.
template <class Split, class Generator>
PLURIA_INLINE auto outputs_from(std::uint64_t first, const basic_stream<Generator>& random) noexcept {
  using words = typename Split::words;
  const words numbers = lanes::numbers<typename words::arch_type>();
  std::array<std::array<words, 4>, Split::slices> result;
  if constexpr (Split::slices == 1) {
    result[0] = random.lanes_from(first, numbers);
  } else {
    constexpr auto width = static_cast<std::uint32_t>(Split::width);
    const lanes::twin<words> twin_numbers(numbers, numbers + words(width));
    lanes::unrolled<Split::slices / 2>([&](auto pair) PLURIA_INLINE_LAMBDA {
      const auto twins = random.lanes_from(first + 2 * width * pair, twin_numbers);
      lanes::unrolled<4>([&](auto word) PLURIA_INLINE_LAMBDA {
        result[2 * pair][word] = twins[word].first;
        result[2 * pair + 1][word] = twins[word].second;
      });
    });
  }
  return result;
}

// What a rounding method does with a position before its floor is taken, and with a split block.
template <class Split>
struct nearest_packer {
  packed_blocks out;

  template <class Ints>
  PLURIA_INLINE static Ints position(const Ints& position) {
    return nearest::raised(position);
  }
  PLURIA_INLINE void operator()(const Split& block, std::uint64_t number) const {
    for (std::uint32_t* member : out.members) {
      block.pack_floors(block_at<Split::bits>(member, number));
    }
  }
};

template <class Split, class Generator>
struct independent_packer {
  packed_blocks out;
  basic_stream<Generator> random;  // of the first member

  template <class Ints>
  PLURIA_INLINE static Ints position(const Ints& position) {
    return position;
  }
  PLURIA_INLINE void operator()(const Split& block, std::uint64_t number) const {
    auto own = random;
    for (std::uint32_t* member : out.members) {
      const auto bits = outputs_from<Split>(16 * number, own);
      typename Split::bounds below;
      Split::for_each_batch([&](auto slice, auto q) PLURIA_INLINE_LAMBDA {
        below[slice][q] = lanes::ordered(lanes::as<std::uint16_t>(bits[slice][q]));
      });
      block.pack(below, block_at<Split::bits>(member, number), out.past_cache);
      ++own.member;
    }
  }
};

template <class Split, class Generator>
struct lattice_packer {
  packed_blocks out;
  basic_bernoulli<Generator> rounding;
  basic_stream<Generator> random;  // of the lattice block of the first member
  std::uint32_t place;             // of the first member in its lattice block

  template <class Ints>
  PLURIA_INLINE static Ints position(const Ints& position) {
    return position;
  }
  PLURIA_INLINE void operator()(const Split& block, std::uint64_t number) const {
    using halves = typename Split::halves;
    auto own = random;
    std::uint32_t first_place = place;
    for (std::size_t m = 0; m < out.members.size(); ++own.member, first_place = 0) {
      const auto low = outputs_from<Split>(32 * number, own);
      const auto high = outputs_from<Split>(32 * number + 16, own);
      // 65535 - dither of a member, and how much more the dither of the next one is.
      typename Split::bounds below;
      typename Split::bounds steps;
      Split::for_each_batch([&](auto slice, auto q) PLURIA_INLINE_LAMBDA {
        steps[slice][q] = rounding.lattice_step(lanes::upper_halves(low[slice][q], high[slice][q]));
        const halves dither = lanes::lower_halves(low[slice][q], high[slice][q]) +
                              steps[slice][q] * halves(static_cast<std::uint16_t>(first_place));
        below[slice][q] = lanes::ordered(~dither);
      });
      const std::size_t end = std::min<std::size_t>(out.members.size(), m + rounding.coupling.block() - first_place);
      for (; m < end; ++m) {
        block.pack(below, block_at<Split::bits>(out.members[m], number), out.past_cache);
        Split::for_each_batch([&](auto slice, auto q)
                                  PLURIA_INLINE_LAMBDA { below[slice][q] = below[slice][q] - steps[slice][q]; });
      }
    }
  }
};

// A thread reads its blocks from several places by turns, a block at each, and asks for weights ahead of the block
// at hand, into the second-level cache. The machine's own prefetchers run at most 20 lines ahead of a place and stop at
// every 4 KiB page: too little where a block takes 25 ns and memory 100. From DRAM one INT-4 member takes, in units of
// the time of four places with requests: one place without 1.7, with requests into the first-level cache 1.3 (they
// occupy its few fill buffers), into the second 1.2; four places without requests 1.4.
inline constexpr std::size_t places = 4;
inline constexpr std::ptrdiff_t prefetch_bytes = 4096;

// Reads the blocks of a tensor, puts them on the grid and gives them to the packer.
template <number_system N, class Arch>
class block_reader {
 public:
  using split = split_block<N::bits, Arch>;

  block_reader(const tensor& weights, const tensor_grid<N>& grid)
      : bytes_(weights.bytes()), type_(weights.type()), columns_(weights.columns()), grid_(grid) {}

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
  using ints = lanes::ints<Arch>;
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
    std::array<place, places> at;
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

  // A block with several granules or a tail, by way of its positions; behind the row's end stands that of the padding.
  template <class Packer>
  void read_part(run& from, const Packer& pack) const {
    const std::size_t row = from.row;
    const std::size_t column = from.column;
    const std::size_t filled = std::min(block_size, columns_ - column);
    alignas(64) std::array<std::byte, block_size * sizeof(float)> bytes{};
    std::memcpy(bytes.data(), bytes_.data() + (row * columns_ + column) * size_of(type_), filled * size_of(type_));
    alignas(64) block_weights weights;
    if (type_ == dtype::f32) {
      std::memcpy(weights.data(), bytes.data(), sizeof(weights));
    } else {
      widen(bytes.data(), weights);
    }
    alignas(64) std::array<std::int32_t, block_size> positions;
    for (std::size_t e = 0; e < filled;) {
      const typename N::granule& granule = grid_.at(row, column + e);
      const std::size_t end = std::min(filled, grid_.map.run_end(column + e) - column);
      // A run ends at a multiple of 16 or at the end of the row, behind which lies padding.
      for (; e < end; e += floats::size) {
        N::position(floats::load_aligned(&weights[e]), granule).store_aligned(&positions[e]);
      }
    }
    if (filled < block_size) {
      const std::int32_t padding = code_nearest_zero<N>(grid_.at(row, column + filled - 1)) * 65536;
      std::fill(positions.begin() + static_cast<std::ptrdiff_t>(filled), positions.end(), padding);
    }
    pack(split([&](std::size_t e) PLURIA_INLINE_LAMBDA { return pack.position(ints::load_aligned(&positions[e])); },
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
};

}  // namespace detail

/// Fills `members` with members first, first + 1, ... of a tensor, in one pass over its weights; with `nearest` all are
/// the same. The tensor's name and the number of a member decide its bits, nothing else does: not the other members,
/// not the number of threads (0: all), not `Arch`, the xsimd architecture. Throws bad_input for tensors that are not
/// F32, F16 or BF16, precondition_error when the members are not on one grid of the tensor's size. Weights must be
/// finite, as quantizer::fit checks.
template <number_system N, rounding_method R, class Arch = xsimd::default_arch>
void sample_into(std::span<packed_tensor<N>> members, const tensor& weights, const R& rounding, std::uint64_t first,
                 int threads = 1) {
  weights.expect_weights();
  if (members.empty()) {
    return;
  }
  const tensor_grid<N>& grid = members.front().grid();
  require(grid.map.rows() == weights.rows() && grid.map.columns() == weights.columns(),
          "sample: the grid must have the tensor's rows and columns");
  std::vector<std::uint32_t*> places;
  for (packed_tensor<N>& member : members) {
    require(&member.grid() == &grid, "sample: the members must share one grid");
    places.push_back(member.data());
  }
  const detail::packed_blocks packed{places,
                                     members.size() * members.front().words().size_bytes() >= detail::past_cache_bytes};

  using reader = detail::block_reader<N, Arch>;
  const reader read(weights, grid);
  const auto sample_with = [&](const auto& pack) {
    const std::uint64_t blocks = weights.rows() * blocks_per_row(weights.columns());
    const auto per_thread = blocks / static_cast<std::size_t>(thread_count(threads)) + 1;
    const std::uint64_t at_once = std::clamp<std::uint64_t>(per_thread, 64, 4096);
    parallel_for<division::dealt>((blocks + at_once - 1) / at_once, threads, [&](std::size_t part) {
      const std::uint64_t begin = part * at_once;
      const std::uint64_t count = std::min(blocks - begin, at_once);
      std::array<typename reader::run, detail::places> runs;
      for (std::size_t place = 0; place < runs.size(); ++place) {
        runs[place] = read.blocks(begin + count * place / runs.size(), begin + count * (place + 1) / runs.size());
      }
      read(std::span(runs), pack);
      lanes::fence_past_cache();
    });
  };
  using split = typename reader::split;
  if constexpr (std::same_as<R, nearest>) {
    sample_with(detail::nearest_packer<split>{packed});
  } else {
    using generator_type = typename R::generator_type;
    const std::uint64_t hash = name_hash(weights.name());
    rounding.bits(hash, first + members.size() - 1);  // the last one's: refused here if it is beyond the period
    const auto random = rounding.bits(hash, first);
    if (rounding.coupling.is_independent()) {
      sample_with(detail::independent_packer<split, generator_type>{packed, random});
    } else {
      const auto place = static_cast<std::uint32_t>(first % rounding.coupling.block());
      sample_with(detail::lattice_packer<split, generator_type>{packed, rounding, random, place});
    }
  }
}

/// Members first, first + 1, ..., first + count - 1 of a tensor on a grid; see sample_into.
template <number_system N, rounding_method R, class Arch = xsimd::default_arch>
std::vector<packed_tensor<N>> sample(const tensor& weights, std::shared_ptr<const tensor_grid<N>> grid,
                                     const R& rounding, std::uint64_t first, std::size_t count, int threads = 1) {
  require(grid != nullptr, "sample: a grid is needed");
  std::vector<packed_tensor<N>> members;
  members.reserve(count);
  for (std::size_t m = 0; m < count; ++m) {
    members.emplace_back(grid);
  }
  sample_into<N, R, Arch>(members, weights, rounding, first, threads);
  return members;
}

}  // namespace pluria
