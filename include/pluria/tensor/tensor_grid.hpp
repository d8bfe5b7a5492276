// SPDX-License-Identifier: MIT
#pragma once
// The grid of one tensor: its granules, and which of them each weight belongs to. A granule covers the whole tensor,
// one row (output channel), or a group of neighbours along the input axis.

#include <pluria/core/error.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/row_tiles.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace pluria {

/// The part of a rows x columns tensor that shares a granule. Groups are multiples of 16 columns, so that no batch of
/// lanes straddles two; the last group of a row may be shorter.
///
/// Granules lie row by row, or in tiles: those of 16 rows side by side, group after group, the rows padded to 16. So
/// the products of a shared floor meet them, 16 rows at once, and read them like its codes, in one direction.
class granule_map {
 public:
  granule_map() = default;

  /// One granule for all.
  static granule_map whole(std::size_t rows, std::size_t columns) { return {rows, columns, 0, 0}; }

  /// A granule per row and `group` columns; a group of at least `columns` is the whole row. Throws precondition_error
  /// unless `group` is a positive multiple of 16 or covers the row.
  static granule_map groups(std::size_t rows, std::size_t columns, std::size_t group) {
    require(group >= columns || (group > 0 && group % 16 == 0), "a group of weights must be a positive multiple of 16");
    // Group 0 stands for the whole tensor, so that of a row without columns is 1; no sum, so that none overflows.
    const std::size_t size = group == 0 ? 1 : group;
    return {rows, columns, columns / size + (columns % size == 0 ? 0 : 1), size};
  }

  std::size_t rows() const noexcept { return rows_; }
  std::size_t columns() const noexcept { return columns_; }

  /// The number of granules, with those that pad tiles.
  std::size_t size() const noexcept { return is_whole() ? 1 : (rows_ + side_ - 1) / side_ * side_ * per_row_; }

  /// The granule of a weight.
  std::size_t index(std::size_t row, std::size_t column) const noexcept {
    return row_begin(row) + (per_row_ <= 1 ? 0 : side_ * (column / group_));
  }

  /// The first granule of a row: that of another column is as far behind it as index(0, column).
  std::size_t row_begin(std::size_t row) const noexcept {
    const std::size_t beside = row & (side_ - 1);
    return (row - beside) * per_row_ + beside;
  }

  /// The first column behind `column` that belongs to another granule of the row, or the row's end.
  std::size_t run_end(std::size_t column) const noexcept {
    if (per_row_ <= 1) {
      return columns_;
    }
    const std::size_t end = (column / group_ + 1) * group_;
    return end < columns_ ? end : columns_;
  }

  bool is_whole() const noexcept { return group_ == 0; }

  /// The granules of a row; 0 where one is that of all rows.
  std::size_t per_row() const noexcept { return per_row_; }

  /// The same granules row by row, of `count` rows: a tensor's only granule is that of all its rows.
  granule_map part(std::size_t count) const { return {count, columns_, per_row_, group_}; }

  /// The same granules in tiles; one for each row, or for all, lie as they did.
  granule_map in_tiles() const {
    granule_map tiles = *this;
    tiles.side_ = per_row_ <= 1 ? 1 : row_tile::rows;
    return tiles;
  }
  bool is_in_tiles() const noexcept { return side_ == row_tile::rows; }

  friend bool operator==(const granule_map&, const granule_map&) = default;

 private:
  granule_map(std::size_t rows, std::size_t columns, std::size_t per_row, std::size_t group)
      : rows_(rows), columns_(columns), per_row_(per_row), group_(group) {}

  std::size_t rows_ = 0;
  std::size_t columns_ = 0;
  std::size_t per_row_ = 0;
  std::size_t group_ = 0;  // 0: one granule for the whole tensor
  std::size_t side_ = 1;   // the rows whose granules lie side by side, a power of two
};

/// A tensor's granules in the order of `map`.
template <number_system N>
struct tensor_grid {
  granule_map map;
  std::vector<typename N::granule> granules;

  tensor_grid() = default;
  /// Throws precondition_error when there are not as many granules as the map has.
  tensor_grid(granule_map placed, std::vector<typename N::granule> stored)
      : map(std::move(placed)), granules(std::move(stored)) {
    require(granules.size() == map.size(), "tensor_grid: as many granules as the map has");
  }

  const typename N::granule& at(std::size_t row, std::size_t column) const noexcept {
    return granules[map.index(row, column)];
  }

  /// The grid of rows first, ..., first + count - 1, row by row. Throws precondition_error beyond the last row.
  tensor_grid part(std::size_t first, std::size_t count) const {
    require(first <= map.rows() && count <= map.rows() - first, "tensor_grid: a part's rows must be rows of the grid");
    return placed(map.part(count), first);
  }

  /// The same grid with its granules in tiles, padded with granule{}.
  tensor_grid in_tiles() const { return map.is_in_tiles() ? *this : placed(map.in_tiles(), 0); }

  /// What storing so many granules takes, and the scale that they share where the system has one.
  static std::size_t granule_bits(std::size_t count) noexcept {
    std::size_t shared = 0;
    if constexpr (two_level_system<N>) {
      shared = N::tensor_scale_bits;
    }
    return static_cast<std::size_t>(N::granule_bits) * count + shared;
  }
  std::size_t granule_bits() const noexcept { return granule_bits(granules.size()); }

  friend bool operator==(const tensor_grid&, const tensor_grid&) = default;

 private:
  // The granules of rows from `first` on, as `other` lays them out.
  tensor_grid placed(const granule_map& other, std::size_t first) const {
    if (map.is_whole()) {
      return {other, granules};
    }
    std::vector<typename N::granule> moved(other.size());
    for (std::size_t row = 0; row < other.rows(); ++row) {
      for (std::size_t column = 0; column < map.columns(); column = map.run_end(column)) {
        moved[other.index(row, column)] = at(first + row, column);
      }
    }
    return {other, std::move(moved)};
  }
};

}  // namespace pluria
