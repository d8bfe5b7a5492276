// SPDX-License-Identifier: MIT
#pragma once
// One member of a tensor in b bits per weight: the codes in the packed layout (packing.hpp) and the grid they are on,
// which all members of the tensor share.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace pluria {

template <number_system N>
class packed_tensor {
 public:
  using number = N;
  using block = packed_block<N::bits>;

  /// Room for the codes, which are unspecified until a kernel fills the blocks. Throws precondition_error without a
  /// grid.
  explicit packed_tensor(std::shared_ptr<const tensor_grid<N>> grid)
      : grid_((require(grid != nullptr, "packed_tensor: a grid is needed"), std::move(grid))),
        words_(rows() * blocks_in_row() * block::words) {}

  std::size_t rows() const noexcept { return grid_->map.rows(); }
  std::size_t columns() const noexcept { return grid_->map.columns(); }
  std::size_t blocks_in_row() const noexcept { return blocks_per_row(columns()); }
  const tensor_grid<N>& grid() const noexcept { return *grid_; }

  /// The words of block `index` of row `row`.
  std::span<const std::uint32_t, block::words> words(std::size_t row, std::size_t index) const noexcept {
    return std::span<const std::uint32_t, block::words>(&words_[(row * blocks_in_row() + index) * block::words],
                                                        block::words);
  }
  std::span<std::uint32_t, block::words> words(std::size_t row, std::size_t index) noexcept {
    return std::span<std::uint32_t, block::words>(&words_[(row * blocks_in_row() + index) * block::words],
                                                  block::words);
  }

  /// All words, row after row: what a file stores.
  std::span<const std::uint32_t> words() const noexcept { return words_; }
  std::uint32_t* data() noexcept { return words_.data(); }

  /// The code of one weight.
  std::int32_t code(std::size_t row, std::size_t column) const noexcept {
    const std::uint32_t stored = block::at(words(row, column / block_size), column % block_size);
    return static_cast<std::int32_t>(stored) + N::min_code;
  }

  /// The value of one weight.
  float value(std::size_t row, std::size_t column) const noexcept {
    return N::decode(code(row, column), grid_->at(row, column));
  }

  /// The values of a row, `columns()` of them. Throws precondition_error for another number.
  void decode_row(std::size_t row, std::span<float> values) const {
    require(row < rows() && values.size() == columns(), "packed_tensor: a row has as many values as columns");
    for (std::size_t first = 0; first < columns(); first += block_size) {
      std::array<std::uint32_t, block_size> stored;
      block::unpack(words(row, first / block_size), stored);
      const std::size_t end = std::min(first + block_size, columns());
      for (std::size_t column = first; column < end;) {
        const typename N::granule& granule = grid_->at(row, column);
        const std::size_t run_end = std::min(end, grid_->map.run_end(column));
        for (; column < run_end; ++column) {
          values[column] = N::decode(static_cast<std::int32_t>(stored[column - first]) + N::min_code, granule);
        }
      }
    }
  }

  /// Bits of the codes, padding included, and of the granules.
  std::size_t code_bits() const noexcept { return 32 * words_.size(); }
  std::size_t granule_bits() const noexcept { return grid_->granule_bits(); }

  friend bool operator==(const packed_tensor& a, const packed_tensor& b) {
    return a.words_ == b.words_ && *a.grid_ == *b.grid_;
  }

 private:
  std::shared_ptr<const tensor_grid<N>> grid_;
  aligned_vector<std::uint32_t> words_;
};

}  // namespace pluria
