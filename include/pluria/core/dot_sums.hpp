// SPDX-License-Identifier: MIT
#pragma once
// Sums of a few products of bytes (plus_dot of bytes.hpp), in the form in which a machine adds them fastest.

#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria::lanes {

template <class Arch>
inline constexpr bool has_byte_dot =
#if defined(__AVX512VNNI__)
    words<Arch>::size == 16;
#else
    false;
#endif

/// A sum that up to 8 products of bytes are added to, lane by lane; codes are below 2^Bits.
//
// With VNNI an instruction adds to 32 bits: where there is little else to do meanwhile, `Chains` sums do not wait for
// each other. Without it the products of codes of 4 bits are summed in 16 bits, which hold eight times two of them:
// 16 * 15 * 127 = 30480. With AVX2 alone eight INT-4 members take .86 of the time (from memory, Zen 4).
template <int Bits, class Arch, std::size_t Chains = 1>
class dot_sum {
 public:
  static constexpr std::size_t most_products = 8;

  PLURIA_INLINE explicit dot_sum(const ints<Arch>& first) noexcept {
    chains_.fill(ints<Arch>(0));
    chains_[0] = first;
  }

  /// Adds the products of four bytes of each lane, as plus_dot.
  template <std::size_t Number>
  PLURIA_INLINE void add(const words<Arch>& codes, const words<Arch>& values) noexcept {
    if constexpr (in_halves) {
      halves_ = as<std::uint32_t>(as<std::int16_t>(halves_) + as<std::int16_t>(byte_pair_sums(codes, values)));
    } else {
      chains_[Number % Chains] = plus_dot<Bits>(chains_[Number % Chains], codes, values);
    }
  }

  PLURIA_INLINE ints<Arch> total() const noexcept {
    ints<Arch> sum = chains_[0];
    unrolled<Chains - 1>([&](auto n) PLURIA_INLINE_LAMBDA { sum = sum + chains_[n + 1]; });
    if constexpr (in_halves) {
      sum = sum + half_pair_sums(halves_, words<Arch>(0x00010001U));
    }
    return sum;
  }

 private:
  static constexpr bool in_halves = Bits <= 4 && has_pair_sums<Arch> && !has_byte_dot<Arch>;

  std::array<ints<Arch>, Chains> chains_;
  words<Arch> halves_ = words<Arch>(0U);  // braces would be a list of lanes
};

}  // namespace pluria::lanes
