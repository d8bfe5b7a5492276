// SPDX-License-Identifier: MIT
#pragma once
// The grid of a tensor with its number system erased, a block of 128 weights at a time: positions of weights and values
// of codes, which are all that drawing a member asks a number system for. What is written on it is compiled once, not
// once for each system; a call by pointer for 128 weights costs less than one of their positions.

#include <pluria/core/lanes.hpp>
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

class any_grid {
 public:
  /// Room for the weights, positions or stored codes of a block; a multiple of every batch.
  template <class Value>
  struct alignas(64) block : std::array<Value, block_size> {};

  // Arch is part of the type of what is made, so that files compiled for different ISAs link into one program.
  template <number_system N, class Arch = xsimd::default_arch>
  static any_grid of(std::shared_ptr<const tensor_grid<N>> grid) {
    any_grid erased;
    erased.map_ = grid->map;
    erased.bits_ = N::bits;
    erased.min_code_ = N::min_code;
    erased.granule_bits_ = grid->granule_bits();
    erased.tiled_granule_bits_ = tensor_grid<N>::granule_bits(grid->map.in_tiles().size());
    erased.positions_ = positions_of<N, Arch>;
    erased.values_ = values_of<N, Arch>;
    erased.grid_ = std::move(grid);
    return erased;
  }

  const granule_map& map() const noexcept { return map_; }
  int bits() const noexcept { return bits_; }
  std::int32_t min_code() const noexcept { return min_code_; }
  std::size_t granule_bits() const noexcept { return granule_bits_; }
  std::size_t tiled_granule_bits() const noexcept { return tiled_granule_bits_; }  ///< the same where they lie in tiles

  /// The positions of the first `count` weights of a block, which begins at a row's column; the rest of `positions` are
  /// of whatever stands in `weights`, or unspecified.
  void positions(std::size_t row, std::size_t column, std::size_t count, const block<float>& weights,
                 block<std::int32_t>& positions) const {
    positions_(grid_.get(), row, column, count, weights, positions);
  }

  /// The values of the first values.size() codes of a block, each stored as code - min_code.
  void values(std::size_t row, std::size_t column, const block<std::uint32_t>& stored, std::span<float> values) const {
    values_(grid_.get(), row, column, stored, values);
  }

 private:
  any_grid() = default;

  // work(granule, first, end) for each granule of the first `count` columns of a block.
  template <number_system N, class Work>
  static void for_each_run(const tensor_grid<N>& grid, std::size_t row, std::size_t column, std::size_t count,
                           Work&& work) {
    for (std::size_t e = 0; e < count;) {
      const std::size_t end = std::min(count, grid.map.run_end(column + e) - column);
      work(grid.at(row, column + e), e, end);
      e = end;
    }
  }

  template <number_system N, class Arch>
  static void positions_of(const void* grid, std::size_t row, std::size_t column, std::size_t count,
                           const block<float>& weights, block<std::int32_t>& positions) {
    using floats = lanes::floats<Arch>;
    for_each_run<N>(*static_cast<const tensor_grid<N>*>(grid), row, column, count,
                    [&](const typename N::granule& granule, std::size_t first, std::size_t end) {
                      // A granule ends at a multiple of 16 or at the end of the row.
                      for (std::size_t e = first; e < end; e += floats::size) {
                        N::position(floats::load_aligned(&weights[e]), granule).store_aligned(&positions[e]);
                      }
                    });
  }

  template <number_system N, class Arch>
  static void values_of(const void* grid, std::size_t row, std::size_t column, const block<std::uint32_t>& stored,
                        std::span<float> values) {
    for_each_run<N>(*static_cast<const tensor_grid<N>*>(grid), row, column, values.size(),
                    [&](const typename N::granule& granule, std::size_t first, std::size_t end) {
                      for (std::size_t e = first; e < end; ++e) {
                        values[e] = N::decode(static_cast<std::int32_t>(stored[e]) + N::min_code, granule);
                      }
                    });
  }

  granule_map map_;
  int bits_ = 0;
  std::int32_t min_code_ = 0;
  std::size_t granule_bits_ = 0;
  std::size_t tiled_granule_bits_ = 0;
  void (*positions_)(const void*, std::size_t, std::size_t, std::size_t, const block<float>&,
                     block<std::int32_t>&) = nullptr;
  void (*values_)(const void*, std::size_t, std::size_t, const block<std::uint32_t>&, std::span<float>) = nullptr;
  std::shared_ptr<const void> grid_;
};

}  // namespace pluria
