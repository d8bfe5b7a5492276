// SPDX-License-Identifier: MIT
#pragma once
// Up to 64 members of a tensor in b + S bits per weight. Every member's code of a weight is the code below it or the
// one above, so members differ by one bit from a floor that they share:
//
//   code of member k = floor + bit k
//
// Layout, made to be read once and in one direction by the products of all members (kernel/tile_products.hpp): 16 rows
// after the other; of these, 32 columns after the other; of these 512 elements the floors, 64 b bytes, then 64 bytes of
// planes for each member, both as row_tiles.hpp lays them out. Ten INT-4 members are 14 bits per weight, in 896
// bytes for a tile. Separate planes would need S + 1 places in memory to be read at once. Rows are padded to 16 with
// words of 0, columns to 128 with weights of 0. Granules lie in tiles, too.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/row_tiles.hpp>
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
  using floors = tile_codes<N::bits>;
  static constexpr std::size_t max_members = 64;
  static constexpr std::size_t tiles_in_block = block_size / row_tile::columns;

  /// Room for `members` members, 1..64, else precondition_error; what they are is unspecified until a kernel fills the
  /// tiles, the rows behind the last one, too. Throws precondition_error without a grid. One whose granules lie row by
  /// row is copied.
  shared_floor_tensor(std::shared_ptr<const tensor_grid<N>> grid, std::size_t members)
      : grid_(in_tiles(std::move(grid))), members_(members) {
    require(members >= 1 && members <= max_members, "shared_floor_tensor: 1 to 64 members");
    words_.resize(panels() * tiles_in_panel() * tile_words());
  }

  std::size_t rows() const noexcept { return grid_->map.rows(); }
  std::size_t columns() const noexcept { return grid_->map.columns(); }
  std::size_t members() const noexcept { return members_; }
  std::size_t blocks_in_row() const noexcept { return blocks_per_row(columns()); }
  /// With its granules in tiles.
  const tensor_grid<N>& grid() const noexcept { return *grid_; }
  const std::shared_ptr<const tensor_grid<N>>& shared_grid() const noexcept { return grid_; }

  /// 16 rows each; the last is padded.
  std::size_t panels() const noexcept { return (rows() + row_tile::rows - 1) / row_tile::rows; }
  std::size_t tiles_in_panel() const noexcept { return blocks_in_row() * tiles_in_block; }
  /// The words of a tile: floors, then planes.
  std::size_t tile_words() const noexcept { return floors::words + members_ * row_tile::plane_words; }

  /// Tile `index` of the rows from 16 * panel on.
  std::span<const std::uint32_t> tile(std::size_t panel, std::size_t index) const noexcept {
    return std::span(words_).subspan((panel * tiles_in_panel() + index) * tile_words(), tile_words());
  }

  /// All words, tile after tile.
  std::span<const std::uint32_t> words() const noexcept { return words_; }
  std::uint32_t* data() noexcept { return words_.data(); }

  /// The code of one weight in one member.
  std::int32_t code(std::size_t member, std::size_t row, std::size_t column) const noexcept {
    const auto words = tile(row / row_tile::rows, column / row_tile::columns);
    const std::size_t r = row % row_tile::rows;
    const std::size_t c = column % row_tile::columns;
    const std::uint32_t floor = floors::at(words.data(), r, c);
    const std::uint32_t up = row_tile::bit(words.data() + floors::words, members_, member, r, c);
    return static_cast<std::int32_t>(floor + up) + N::min_code;
  }

  /// The members of both, those of `first` first. Throws precondition_error unless they share a grid and their floors,
  /// as members of one tensor do, and are 64 at most.
  static shared_floor_tensor joined(const shared_floor_tensor& first, const shared_floor_tensor& second) {
    require(first.grid_ == second.grid_ || *first.grid_ == *second.grid_, "shared_floor_tensor: members share a grid");
    require(first.members_ + second.members_ <= max_members, "shared_floor_tensor: 64 members at most");
    shared_floor_tensor both(first.grid_, first.members_ + second.members_);
    const std::size_t tiles = first.panels() * first.tiles_in_panel();
    for (std::size_t number = 0; number < tiles; ++number) {
      const std::uint32_t* a = first.words_.data() + number * first.tile_words();
      const std::uint32_t* b = second.words_.data() + number * second.tile_words();
      require(std::equal(a, a + floors::words, b), "shared_floor_tensor: members of one tensor share their floors");
      const auto plane = [&](std::size_t member) {
        return member < first.members_
                   ? row_tile::plane_of(a + floors::words, first.members_, member)
                   : row_tile::plane_of(b + floors::words, second.members_, member - first.members_);
      };
      std::uint32_t* planes = std::copy_n(a, floors::words, both.words_.data() + number * both.tile_words());
      for (std::size_t m = 0; m < both.members_; m += 2, planes += 2 * row_tile::plane_words) {
        if (row_tile::is_alone(both.members_, m)) {
          std::ranges::copy(plane(m), planes);
        } else {
          row_tile::store_pair(plane(m), plane(m + 1), planes);
        }
      }
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
  static std::shared_ptr<const tensor_grid<N>> in_tiles(std::shared_ptr<const tensor_grid<N>> grid) {
    require(grid != nullptr, "shared_floor_tensor: a grid is needed");
    const bool is_ready = grid->map == grid->map.in_tiles();
    return is_ready ? std::move(grid) : std::make_shared<const tensor_grid<N>>(grid->in_tiles());
  }

  std::shared_ptr<const tensor_grid<N>> grid_;
  std::size_t members_;
  aligned_vector<std::uint32_t> words_;
};

}  // namespace pluria
