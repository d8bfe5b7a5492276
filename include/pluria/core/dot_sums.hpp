// SPDX-License-Identifier: MIT
#pragma once
// Sums of products of bytes, those of codes without sign and those of activations with, in the form in which a machine
// adds them fastest.

#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria::lanes {

/// sums + the products of each word's four bytes: those of `codes` without sign and below 2^Bits, those of `values`
/// with sign and not -128. No intermediate overflows; the sum may not.
template <int Bits, class Arch>
ints<Arch> plus_dot_one_by_one(const ints<Arch>& sums, const words<Arch>& codes, const words<Arch>& values) noexcept {
  const stored_bytes<Arch> left(codes);
  const stored_bytes<Arch> right(values);
  alignas(64) std::int32_t result[ints<Arch>::size];
  sums.store_aligned(result);
  for (std::size_t byte = 0; byte < sizeof(left.at); ++byte) {
    result[byte / 4] += left.at[byte] * static_cast<std::int8_t>(right.at[byte]);
  }
  return ints<Arch>::load_aligned(result);
}

// Where there are instructions for sums of products of two neighbours.
template <class Arch>
inline constexpr bool has_pair_sums =
#if defined(__AVX512BW__)
    words<Arch>::size == 16 ||
#endif
#if defined(__AVX2__)
    words<Arch>::size == 8 ||
#endif
#if defined(__SSSE3__)
    words<Arch>::size == 4 ||
#endif
    false;

// Sums of products of two neighbours: bytes without sign and bytes with, to 16 bits, which saturate.
template <class Arch>
PLURIA_INLINE words<Arch> byte_pair_sums([[maybe_unused]] const words<Arch>& codes,
                                         [[maybe_unused]] const words<Arch>& values) noexcept {
#if defined(__AVX512BW__)
  if constexpr (words<Arch>::size == 16) {
    return _mm512_maddubs_epi16(codes.data, values.data);
  }
#endif
#if defined(__AVX2__)
  if constexpr (words<Arch>::size == 8) {
    return _mm256_maddubs_epi16(codes.data, values.data);
  }
#endif
#if defined(__SSSE3__)
  if constexpr (words<Arch>::size == 4) {
    return _mm_maddubs_epi16(codes.data, values.data);
  }
#endif
}

// The same of 16-bit integers with sign, to 32 bits.
template <class Arch>
PLURIA_INLINE ints<Arch> half_pair_sums([[maybe_unused]] const words<Arch>& a,
                                        [[maybe_unused]] const words<Arch>& b) noexcept {
#if defined(__AVX512BW__)
  if constexpr (words<Arch>::size == 16) {
    return _mm512_madd_epi16(a.data, b.data);
  }
#endif
#if defined(__AVX2__)
  if constexpr (words<Arch>::size == 8) {
    return _mm256_madd_epi16(a.data, b.data);
  }
#endif
#if defined(__SSSE3__)
  if constexpr (words<Arch>::size == 4) {
    return _mm_madd_epi16(a.data, b.data);
  }
#endif
}

//
// VNNI has one instruction for it. Before it, products are summed in pairs to 16 bits, which codes of 8 bits overflow:
// those are widened first.
template <int Bits, class Arch>
PLURIA_INLINE ints<Arch> plus_dot(const ints<Arch>& sums, const words<Arch>& codes,
                                  const words<Arch>& values) noexcept {
  static_assert(Bits >= 1 && Bits <= 8);
#if defined(__AVX512VNNI__)
  if constexpr (ints<Arch>::size == 16) {
    return _mm512_dpbusd_epi32(sums.data, codes.data, values.data);
  }
#endif
  if constexpr (!has_pair_sums<Arch>) {
    return plus_dot_one_by_one<Bits>(sums, codes, values);
  } else if constexpr (Bits < 8) {
    return sums + half_pair_sums(byte_pair_sums(codes, values), words<Arch>(0x00010001U));
  } else {
    const auto signed_halves = as<std::int16_t>(values);
    const auto even = as<std::uint32_t>((signed_halves << 8) >> 8);
    const auto odd = as<std::uint32_t>(signed_halves >> 8);
    return sums + half_pair_sums(codes & words<Arch>(0x00ff00ffU), even) +
           half_pair_sums((codes >> 8) & words<Arch>(0x00ff00ffU), odd);
  }
}

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
