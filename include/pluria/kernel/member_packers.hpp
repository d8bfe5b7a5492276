// SPDX-License-Identifier: MIT
#pragma once
// What the rounding methods do with a split block: round to nearest stores its floors, Bernoulli rounding makes every
// member's dithers from its random bits and packs it. A packer is given block after block, in any order, and writes all
// members of a pass, to where and in which form its `out` says: packed codes, or planes over a shared floor. Where a
// block's bits come from is random/address.hpp's matter.

#include <pluria/core/lanes.hpp>
#include <pluria/kernel/split_block.hpp>
#include <pluria/random/address.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/fixed_point.hpp>
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

// The members that one pass over the weights packs, each for itself: where each begins, with block number `first`.
struct packed_blocks {
  std::span<std::uint32_t* const> members;
  std::uint64_t first = 0;
  bool past_cache = false;

  std::size_t size() const noexcept { return members.size(); }
  template <int Bits>
  PLURIA_INLINE std::uint32_t* at(std::size_t member, std::uint64_t number) const {
    return members[member] + (number - first) * packed_block<Bits>::words;
  }
  template <class Split>
  PLURIA_INLINE void begin(const Split&, std::uint64_t) const {}
  template <class Split>
  PLURIA_INLINE void write(const Split& block, const typename Split::bounds& below, std::size_t member,
                           std::uint64_t number) const {
    block.pack(below, at<Split::bits>(member, number), past_cache);
  }
};

// Blocks of members over a shared floor, row after row as they are sampled: floors, then a plane for each member, from
// block number `first` on.
struct shared_floor_blocks {
  std::uint32_t* place;
  std::size_t members;
  std::uint64_t first = 0;

  std::size_t size() const noexcept { return members; }
  template <class Split>
  PLURIA_INLINE std::uint32_t* at(std::uint64_t number) const {
    return place + (number - first) * (packed_block<Split::bits>::words + 4 * members);
  }
  template <class Split>
  PLURIA_INLINE void begin(const Split& block, std::uint64_t number) const {
    block.pack_floors(at<Split>(number));
  }
  template <class Split>
  PLURIA_INLINE void write(const Split& block, const typename Split::bounds& below, std::size_t member,
                           std::uint64_t number) const {
    block.pack_plane(below, at<Split>(number) + packed_block<Split::bits>::words + 4 * member);
  }
};

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
    for (std::size_t m = 0; m < out.size(); ++m) {
      block.pack_floors(out.template at<Split::bits>(m, number));
    }
  }
};

// The blocks of a fixed_point_tensor: what is left of a position when only F bits of its fraction are kept.
template <class Split, int F>
struct fixed_point_packer {
  std::uint32_t* first;

  template <class Ints>
  PLURIA_INLINE static Ints position(const Ints& position) {
    return fixed_point<F>::raised(position);
  }
  PLURIA_INLINE void operator()(const Split& block, std::uint64_t number) const {
    constexpr std::size_t floors = packed_block<Split::bits>::words;
    std::uint32_t* place = first + number * (floors + packed_block<F>::words);
    block.pack_floors(place);
    block.template pack_fractions<F>(place + floors);
  }
};

template <class Split, class Generator, class Out = packed_blocks>
struct independent_packer {
  Out out;
  basic_stream<Generator> random;  // of the first member

  template <class Ints>
  PLURIA_INLINE static Ints position(const Ints& position) {
    return position;
  }
  PLURIA_INLINE void operator()(const Split& block, std::uint64_t number) const {
    auto own = random;
    out.begin(block, number);
    for (std::size_t m = 0; m < out.size(); ++m) {
      const auto bits = outputs_from<Split>(16 * number, own);
      typename Split::bounds below;
      Split::for_each_batch([&](auto slice, auto q) PLURIA_INLINE_LAMBDA {
        below[slice][q] = lanes::ordered(lanes::as<std::uint16_t>(bits[slice][q]));
      });
      out.write(block, below, m, number);
      ++own.member;
    }
  }
};

template <class Split, class Generator, class Out = packed_blocks>
struct lattice_packer {
  Out out;
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
    out.begin(block, number);
    for (std::size_t m = 0; m < out.size(); ++own.member, first_place = 0) {
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
      const std::size_t end = std::min<std::size_t>(out.size(), m + rounding.coupling.block() - first_place);
      for (; m < end; ++m) {
        out.write(block, below, m, number);
        Split::for_each_batch([&](auto slice, auto q)
                                  PLURIA_INLINE_LAMBDA { below[slice][q] = below[slice][q] - steps[slice][q]; });
      }
    }
  }
};

}  // namespace pluria::detail
