// SPDX-License-Identifier: MIT
#pragma once
// Up to 64 members of a tensor in b + S bits per weight. Every member's code of a weight is the code below it or the
// one above, so members differ by one bit from a floor that they share:
//
//   code of member k = floor + bit k
//
// Layout, made to be read once and in one direction by the products of all members (kernel/matvec.hpp): row after row;
// in a row, for each block of 128 columns, the floors as packing.hpp lays out b-bit codes (INT-4: 64 bytes), then for
// each member a plane of 128 bits in kernel_place's order (16 bytes). Ten INT-4 members are 14 bits per weight, in 224
// bytes for 128 columns. Separate planes would need S + 1 places in memory to be read at once.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace pluria {

template <number_system N>
class shared_floor_tensor {
 public:
  using number = N;
  using block = packed_block<N::bits>;
  static constexpr std::size_t max_members = 64;
  static constexpr std::size_t plane_words = block_size / 32;

  /// Room for `members` members, 1..64, else precondition_error; what they are is unspecified until a kernel fills the
  /// blocks. Throws precondition_error without a grid.
  shared_floor_tensor(std::shared_ptr<const tensor_grid<N>> grid, std::size_t members)
      : grid_((require(grid != nullptr, "shared_floor_tensor: a grid is needed"), std::move(grid))), members_(members) {
    require(members >= 1 && members <= max_members, "shared_floor_tensor: 1 to 64 members");
    words_.resize(rows() * blocks_in_row() * block_words());
  }

  std::size_t rows() const noexcept { return grid_->map.rows(); }
  std::size_t columns() const noexcept { return grid_->map.columns(); }
  std::size_t members() const noexcept { return members_; }
  std::size_t blocks_in_row() const noexcept { return blocks_per_row(columns()); }
  const tensor_grid<N>& grid() const noexcept { return *grid_; }
  const std::shared_ptr<const tensor_grid<N>>& shared_grid() const noexcept { return grid_; }

  /// The words of a block: floors, then planes.
  std::size_t block_words() const noexcept { return block::words + members_ * plane_words; }

  /// The floors of block `index` of row `row`.
  std::span<const std::uint32_t, block::words> floors(std::size_t row, std::size_t index) const noexcept {
    return std::span<const std::uint32_t, block::words>(block_at(row, index), block::words);
  }
  /// The plane of a member in that block.
  std::span<const std::uint32_t, plane_words> plane(std::size_t row, std::size_t index,
                                                    std::size_t member) const noexcept {
    return std::span<const std::uint32_t, plane_words>(block_at(row, index) + block::words + member * plane_words,
                                                       plane_words);
  }

  /// All words, block after block.
  std::span<const std::uint32_t> words() const noexcept { return words_; }
  std::uint32_t* data() noexcept { return words_.data(); }

  /// The code of one weight in one member.
  std::int32_t code(std::size_t member, std::size_t row, std::size_t column) const noexcept {
    const std::size_t place = kernel_place(column % block_size);
    const std::uint32_t up = plane(row, column / block_size, member)[place / 32] >> place % 32 & 1U;
    const std::uint32_t floor = block::at(floors(row, column / block_size), column % block_size);
    return static_cast<std::int32_t>(floor + up) + N::min_code;
  }

  /// The members of both, those of `first` first. Throws precondition_error unless they share a grid and their floors,
  /// as members of one tensor do, and are 64 at most.
  static shared_floor_tensor joined(const shared_floor_tensor& first, const shared_floor_tensor& second) {
    require(first.grid_ == second.grid_ || *first.grid_ == *second.grid_, "shared_floor_tensor: members share a grid");
    require(first.members_ + second.members_ <= max_members, "shared_floor_tensor: 64 members at most");
    shared_floor_tensor both(first.grid_, first.members_ + second.members_);
    const std::size_t blocks = first.rows() * first.blocks_in_row();
    for (std::size_t number = 0; number < blocks; ++number) {
      const std::uint32_t* a = first.words_.data() + number * first.block_words();
      const std::uint32_t* b = second.words_.data() + number * second.block_words();
      require(std::equal(a, a + block::words, b), "shared_floor_tensor: members of one tensor share their floors");
      std::uint32_t* end = std::copy_n(a, first.block_words(), both.words_.data() + number * both.block_words());
      std::copy_n(b + block::words, second.members_ * plane_words, end);
    }
    return both;
  }

  /// Bits of floors and planes, padding included, and of the granules.
  std::size_t code_bits() const noexcept { return 32 * words_.size(); }
  std::size_t granule_bits() const noexcept { return grid_->granule_bits(); }

  friend bool operator==(const shared_floor_tensor& a, const shared_floor_tensor& b) {
    return a.members_ == b.members_ && a.words_ == b.words_ && *a.grid_ == *b.grid_;
  }

 private:
  const std::uint32_t* block_at(std::size_t row, std::size_t index) const noexcept {
    return words_.data() + (row * blocks_in_row() + index) * block_words();
  }

  std::shared_ptr<const tensor_grid<N>> grid_;
  std::size_t members_;
  aligned_vector<std::uint32_t> words_;
};

}  // namespace pluria
