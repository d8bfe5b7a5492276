// SPDX-License-Identifier: MIT
#pragma once
// A tensor's positions kept to F fractional bits, b + F bits per weight, out of which any number of members are drawn
// on the fly (rounding/fixed_point.hpp):
//
//   code of member k = (code.fraction + dither_k) >> F
//
// with the position rounded to F bits, ties to even: a weight goes up with a probability that is a multiple of 2^-F, at
// most 2^-(F+1) from its own. INT-4 with F = 4 is one byte per weight for any number of members.
//
// Layout: row after row; in a row, for each block of 128 columns, the codes below (floors) as packing.hpp lays out
// b-bit codes, then the fractions as it lays out F-bit ones. Two fields, not one of b + F bits, so that 8 bits and more
// take no layout of their own.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace pluria {

template <number_system N, int FractionBits = 4>
class fixed_point_tensor {
  static_assert(FractionBits >= 1 && FractionBits <= 8, "fixed_point_tensor keeps 1 to 8 fractional bits");

 public:
  using number = N;
  using block = packed_block<N::bits>;
  using fraction_block = packed_block<FractionBits>;
  static constexpr int fraction_bits = FractionBits;
  static constexpr std::size_t block_words = block::words + fraction_block::words;

  /// Room for the positions, which are unspecified until a kernel fills the blocks. Throws precondition_error without a
  /// grid.
  explicit fixed_point_tensor(std::shared_ptr<const tensor_grid<N>> grid)
      : grid_((require(grid != nullptr, "fixed_point_tensor: a grid is needed"), std::move(grid))),
        words_(rows() * blocks_in_row() * block_words) {}

  std::size_t rows() const noexcept { return grid_->map.rows(); }
  std::size_t columns() const noexcept { return grid_->map.columns(); }
  std::size_t blocks_in_row() const noexcept { return blocks_per_row(columns()); }
  const tensor_grid<N>& grid() const noexcept { return *grid_; }

  /// The floors of block `index` of row `row`, and its fractions.
  std::span<const std::uint32_t, block::words> floors(std::size_t row, std::size_t index) const noexcept {
    return std::span<const std::uint32_t, block::words>(block_at(row, index), block::words);
  }
  std::span<const std::uint32_t, fraction_block::words> fractions(std::size_t row, std::size_t index) const noexcept {
    return std::span<const std::uint32_t, fraction_block::words>(block_at(row, index) + block::words,
                                                                 fraction_block::words);
  }

  /// All words, block after block.
  std::span<const std::uint32_t> words() const noexcept { return words_; }
  std::uint32_t* data() noexcept { return words_.data(); }

  /// 2^F times the position of one weight.
  std::int32_t code(std::size_t row, std::size_t column) const noexcept {
    const std::size_t index = column / block_size;
    const auto floor =
        static_cast<std::int32_t>(block::at(floors(row, index), column % block_size)) + std::int32_t{N::min_code};
    const auto fraction = static_cast<std::int32_t>(fraction_block::at(fractions(row, index), column % block_size));
    return floor * (1 << FractionBits) + fraction;
  }

  /// Bits of the positions, padding included, and of the granules.
  std::size_t code_bits() const noexcept { return 32 * words_.size(); }
  std::size_t granule_bits() const noexcept { return grid_->granule_bits(); }

  friend bool operator==(const fixed_point_tensor& a, const fixed_point_tensor& b) {
    return a.words_ == b.words_ && *a.grid_ == *b.grid_;
  }

 private:
  const std::uint32_t* block_at(std::size_t row, std::size_t index) const noexcept {
    return words_.data() + (row * blocks_in_row() + index) * block_words;
  }

  std::shared_ptr<const tensor_grid<N>> grid_;
  aligned_vector<std::uint32_t> words_;
};

}  // namespace pluria
