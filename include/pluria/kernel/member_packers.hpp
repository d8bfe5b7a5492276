// SPDX-License-Identifier: MIT
#pragma once
// What the rounding methods do with a split block: round to nearest stores its floors, Bernoulli rounding makes every
// member's dithers from its random bits and packs it. A packer is given block after block, in any order, and writes all
// members of a pass; where a block's bits come from is random/address.hpp's matter.

#include <pluria/core/lanes.hpp>
#include <pluria/kernel/split_block.hpp>
#include <pluria/random/address.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/packing.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pluria::detail {

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

}  // namespace pluria::detail
