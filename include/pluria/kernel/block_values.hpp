// SPDX-License-Identifier: MIT
#pragma once
// What the codes of a block are worth, in the order in which products meet its elements (kernel_place):
//
//   scaled systems    scale * code, in lanes
//   factored systems  scale * unit(code), the unit looked up in one table for all granules
//   others            looked up in a table for each granule, made when its row or group is met
//
// Tables have one entry more than codes: behind planes, the value of code + 1 is looked up whether it is chosen or not.

#include <pluria/core/lanes.hpp>
#include <pluria/core/widen.hpp>
#include <pluria/kernel/block_scales.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/row_tiles.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace pluria::detail {

// A value for every stored code, code - min_code.
template <number_system N>
using value_table = std::array<float, (std::size_t{1} << N::bits) + 1>;

template <number_system N, class ValueOf>
constexpr value_table<N> table_of(ValueOf&& value_of) {
  value_table<N> table{};
  for (std::size_t stored = 0; stored < table.size(); ++stored) {
    table[stored] = value_of(std::min(N::min_code + static_cast<std::int32_t>(stored), N::max_code));
  }
  return table;
}

// The values of 128 codes, and with `WithNext` those of the codes one above; at<Step>(half, batch) is a batch of them.
template <bool WithNext, class Arch>
struct looked_up_values {
  using floats = lanes::floats<Arch>;
  alignas(64) std::array<std::array<float, block_size>, WithNext ? 2 : 1> values;

  template <std::size_t Step>
  PLURIA_INLINE floats at(std::size_t half, std::size_t batch) const {
    return floats::load_aligned(&values[Step][64 * half + floats::size * batch]);
  }
};

template <number_system N, class Arch>
class block_values {
  using floats = lanes::floats<Arch>;

 public:
  explicit block_values(const tensor_grid<N>& grid) : grid_(&grid), in_row_(blocks_per_row(grid.map.columns())) {
    for (std::size_t column = 0; column < in_row_ * block_size; column += 16) {
      places_.push_back(grid.map.index(0, std::min(column, grid.map.columns() - 1)));
    }
    made_.fill(std::numeric_limits<std::size_t>::max());
    tables_.resize(made_.size());
  }

  // Of the block at `row` and `index`; `codes` holds code - min_code in kernel_place's order.
  template <bool WithNext>
  looked_up_values<WithNext, Arch> of_block(std::size_t row, std::size_t index, const std::uint8_t* codes) {
    looked_up_values<WithNext, Arch> result;
    for (std::size_t run = 0; run < 8; ++run) {
      const std::size_t granule = grid_->map.row_begin(row) + places_[8 * index + run];
      const value_table<N>& table = table_of_granule(granule, row % row_tile::rows * 8 + run);
      for (std::size_t a = 0; a < 4; ++a) {
        const std::size_t first = run % 2 * 64 + 16 * a + run / 2 * 4;
        for (std::size_t place = first; place < first + 4; ++place) {
          result.values[0][place] = table[codes[place]];
          if constexpr (WithNext) {
            result.values[1][place] = table[codes[place] + 1U];
          }
        }
      }
    }
    return result;
  }

 private:
  // Rows of a panel are met by turns: each of their runs keeps its table until it meets another granule.
  const value_table<N>& table_of_granule(std::size_t granule, std::size_t slot) {
    if (has_row_granules(grid_->map)) {
      slot = slot / 8 * 8;
    }
    if (made_[slot] != granule) {
      made_[slot] = granule;
      tables_[slot] = table_of<N>([&](std::int32_t code) { return N::decode(code, grid_->granules[granule]); });
    }
    return tables_[slot];
  }

  const tensor_grid<N>* grid_;
  std::size_t in_row_;
  std::vector<std::size_t> places_;                     // behind a row's first granule, one for each 16 columns
  std::array<std::size_t, 8 * row_tile::rows> made_{};  // the granule of each table
  std::vector<value_table<N>> tables_;
};

template <factored_system N, class Arch>
class block_values<N, Arch> {
  using floats = lanes::floats<Arch>;

 public:
  explicit block_values(const tensor_grid<N>& grid) : scales_(grid) {}

  template <bool WithNext>
  struct values {
    using scale_batches = decltype(std::declval<block_scales<N>>().template by_places<Arch>(0, 0));
    looked_up_values<WithNext, Arch> units;
    scale_batches scales;

    template <std::size_t Step>
    PLURIA_INLINE floats at(std::size_t half, std::size_t batch) const {
      return scales[half][batch % scales[half].size()] * units.template at<Step>(half, batch);
    }
  };

  template <bool WithNext>
  values<WithNext> of_block(std::size_t row, std::size_t index, const std::uint8_t* codes) const {
    values<WithNext> result;
    for (std::size_t place = 0; place < block_size; ++place) {
      result.units.values[0][place] = units[codes[place]];
      if constexpr (WithNext) {
        result.units.values[1][place] = units[codes[place] + 1U];
      }
    }
    result.scales = scales_.template by_places<Arch>(row, index);
    return result;
  }

 private:
  static constexpr value_table<N> units = table_of<N>([](std::int32_t code) { return N::unit(code); });
  block_scales<N> scales_;
};

template <scaled_system N, class Arch>
class block_values<N, Arch> {
  using floats = lanes::floats<Arch>;

 public:
  explicit block_values(const tensor_grid<N>& grid) : scales_(grid) {}

  struct values {
    using scale_batches = decltype(std::declval<block_scales<N>>().template by_places<Arch>(0, 0));
    const std::uint8_t* codes;
    scale_batches scales;

    template <std::size_t Step>
    PLURIA_INLINE floats at(std::size_t half, std::size_t batch) const {
      const floats code = lanes::floats_from_bytes<Arch>(codes + 64 * half + floats::size * batch) +
                          floats(static_cast<float>(N::min_code + static_cast<std::int32_t>(Step)));
      return scales[half][batch % scales[half].size()] * code;
    }
  };

  template <bool WithNext>
  PLURIA_INLINE values of_block(std::size_t row, std::size_t index, const std::uint8_t* codes) const {
    return {codes, scales_.template by_places<Arch>(row, index)};
  }

 private:
  block_scales<N> scales_;
};

}  // namespace pluria::detail
