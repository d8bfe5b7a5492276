// SPDX-License-Identifier: MIT
#pragma once
// Sums of rows of float32 or float16 with weights: both products of attention, where a cache keeps keys and values as
// they are read here. Rows become floats in registers: converted ahead for a matrix product of floats, the machine
// waits for memory while it converts, and memory for the machine while it multiplies (twice the time for one token
// after 2048 others).

#include <pluria/core/error.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/widen.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <xsimd/xsimd.hpp>

#include <array>
#include <cstddef>
#include <type_traits>

namespace pluria {

/// Rows are filled up to multiples of so many values, those of the largest batch.
inline constexpr std::size_t row_multiple = 16;

/// `count` rows of `width` values of float32 or float16, one after the other.
struct stored_rows {
  const std::byte* values = nullptr;
  dtype type = dtype::f32;
  std::size_t count = 0;
  std::size_t width = 0;  ///< a multiple of row_multiple
};

/// Rows of floats that begin `stride` apart.
template <class Float>
struct strided_rows {
  Float* values = nullptr;
  std::size_t stride = 0;

  Float* row(std::size_t index) const noexcept { return values + index * stride; }
};

namespace detail {

// How far ahead rows are asked for, behind the end too, where nothing is read: the machine's own requests stop at every
// page and where a block ends. With this a token after 2048 others takes 0.7 of the time.
inline constexpr std::size_t bytes_ahead = 4096;

// The sums of some queries, in some batches from column `first` on.
template <std::size_t Queries, std::size_t Batches, dtype Type, class Arch>
PLURIA_INLINE void add_weighted_tile(const stored_rows& rows, std::size_t first, strided_rows<const float> weights,
                                     strided_rows<float> sums) noexcept {
  using floats = lanes::floats<Arch>;
  std::array<floats, Queries * Batches> totals;
  lanes::unrolled<Queries * Batches>([&](auto n) PLURIA_INLINE_LAMBDA {
    totals[n] = floats::load_unaligned(sums.row(n / Batches) + first + n % Batches * floats::size);
  });
  for (std::size_t r = 0; r < rows.count; ++r) {
    const std::byte* const row = rows.values + (r * rows.width + first) * size_of(Type);
    lanes::unrolled<(Batches * floats::size * size_of(Type) + 63) / 64>(
        [&](auto line) PLURIA_INLINE_LAMBDA { lanes::request_line(row + bytes_ahead + 64 * line); });
    std::array<floats, Batches> values;
    lanes::unrolled<Batches>([&](auto b) PLURIA_INLINE_LAMBDA {
      if constexpr (Type == dtype::f16) {
        values[b] = lanes::floats_from_half<Arch>(row + 2 * floats::size * b);
      } else {
        values[b] = floats::load_unaligned(reinterpret_cast<const float*>(row) + floats::size * b);
      }
    });
    lanes::unrolled<Queries>([&](auto q) PLURIA_INLINE_LAMBDA {
      const floats weight(weights.row(q)[r]);
      lanes::unrolled<Batches>([&](auto b) PLURIA_INLINE_LAMBDA {
        floats& total = totals[q * Batches + b];
        total = lanes::multiply_add<Arch>(weight, values[b], total);
      });
    });
  }
  lanes::unrolled<Queries * Batches>([&](auto n) PLURIA_INLINE_LAMBDA {
    totals[n].store_unaligned(sums.row(n / Batches) + first + n % Batches * floats::size);
  });
}

template <std::size_t Queries, dtype Type, class Arch>
void add_weighted_columns(const stored_rows& rows, strided_rows<const float> weights,
                          strided_rows<float> sums) noexcept {
  constexpr std::size_t lanes_at_once = lanes::floats<Arch>::size;
  // Four queries and four batches fill half of 32 registers, four and two half of 16; fewer than eight sums would wait
  // for each other.
  constexpr std::size_t most = lanes_at_once == 16 ? 4 : 2;
  std::size_t first = 0;
  const auto add_batches = [&](auto batches) PLURIA_INLINE_LAMBDA {
    for (; first + batches * lanes_at_once <= rows.width; first += batches * lanes_at_once) {
      add_weighted_tile<Queries, batches, Type, Arch>(rows, first, weights, sums);
    }
  };
  add_batches(std::integral_constant<std::size_t, most>{});
  add_batches(std::integral_constant<std::size_t, most / 2>{});
  add_batches(std::integral_constant<std::size_t, 1>{});
}

template <dtype Type, class Arch>
void add_weighted_rows(const stored_rows& rows, std::size_t count, strided_rows<const float> weights,
                       strided_rows<float> sums) noexcept {
  std::size_t q = 0;
  for (; q + 4 <= count; q += 4) {
    add_weighted_columns<4, Type, Arch>(rows, {weights.row(q), weights.stride}, {sums.row(q), sums.stride});
  }
  for (; q < count; ++q) {
    add_weighted_columns<1, Type, Arch>(rows, {weights.row(q), weights.stride}, {sums.row(q), sums.stride});
  }
}

}  // namespace detail

/// sums.row(q) += the sum over r of weights.row(q)[r] * row r, in the order of the rows, for every q below `count`.
/// Throws precondition_error for rows of another type or width.
template <class Arch = xsimd::default_arch>
void add_weighted_rows(const stored_rows& rows, std::size_t count, strided_rows<const float> weights,
                       strided_rows<float> sums) {
  require((rows.type == dtype::f32 || rows.type == dtype::f16) && rows.width % row_multiple == 0,
          "add_weighted_rows: rows of float32 or float16 in whole batches");
  if (rows.type == dtype::f16) {
    detail::add_weighted_rows<dtype::f16, Arch>(rows, count, weights, sums);
  } else {
    detail::add_weighted_rows<dtype::f32, Arch>(rows, count, weights, sums);
  }
}

}  // namespace pluria
