// SPDX-License-Identifier: MIT
#pragma once
// The scales of a block of 128 columns in the order in which products meet its elements (kernel_place), and those of
// tiles of 16 rows. Granules are multiples of 16 columns, so that every run of 16 has one.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/bytes.hpp>
#include <pluria/core/float16.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/widen.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/row_tiles.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace pluria::detail {

// Whether all columns of a row share a granule.
inline bool has_row_granules(const granule_map& map) {
  return map.columns() == 0 || map.run_end(0) == map.columns();
}

// Whether the runs of 16 columns that lie at the same place in the two halves of a block share one: granules of 32, the
// usual ones, and their multiples.
inline bool has_paired_granules(const granule_map& map) {
  return has_row_granules(map) || map.run_end(0) % 32 == 0;
}

// A batch of scales, as they are stored.
template <class Arch>
PLURIA_INLINE lanes::floats<Arch> scale_batch(const float* scales) noexcept {
  return lanes::floats<Arch>::load_unaligned(scales);
}
template <class Arch>
PLURIA_INLINE lanes::floats<Arch> scale_batch(const float16* scales) noexcept {
  return lanes::floats_from_half<Arch>(reinterpret_cast<const std::byte*>(scales));
}

// What shares a scale: rows, multiples of 32 columns, or of 16.
enum class granule_width { row, group, run };

// The scales of the eight runs of 16 columns of a block, spread over the batches of its two halves: run 2 i + half is
// that of the places 4 i + c of every 16, and of the words 4 a + i. Behind the last column they do not matter, as the
// inputs are 0 there.
template <factored_system N>
class block_scales {
  using granule = typename N::granule;
  using stored_scale = decltype(granule::scale);
  static constexpr bool is_float = std::same_as<stored_scale, float> && sizeof(granule) == sizeof(float);
  static constexpr bool is_float16 = std::same_as<stored_scale, float16> && sizeof(granule) == sizeof(float16);

 public:
  explicit block_scales(const tensor_grid<N>& grid) : grid_(&grid) {
    const granule_map& map = grid.map;
    for (std::size_t column = 0; column < blocks_per_row(map.columns()) * block_size; column += 16) {
      places_.push_back(static_cast<std::uint32_t>(map.index(0, std::min(column, map.columns() - 1))));
    }
    one_per_row_ = has_row_granules(map);
    // Groups of 32, the usual ones: four granules that are nothing but scales are the four scales of both halves.
    whole_blocks_ = map.columns() >= 64 && map.run_end(0) == 32 && (is_float || is_float16) && !map.is_in_tiles()
                        ? map.columns() / block_size
                        : 0;
  }

  // Where a row has one.
  PLURIA_INLINE float of_row(std::size_t row) const { return first(row)->scale; }

  // Asks for the scales of a block ahead: they come from memory too, and a row's follow each other in few lines.
  PLURIA_INLINE void request(std::size_t row, std::size_t index) const {
    lanes::request_line(first(row) + places_[8 * index]);
  }

  template <class Arch>
  PLURIA_INLINE std::array<lanes::floats<Arch>, 2> by_words(std::size_t row, std::size_t index) const {
    const granule* const of_row = first(row);
    if constexpr (is_float) {
      if (index < whole_blocks_) {
        const auto scales = lanes::repeated<4, Arch>(reinterpret_cast<const std::uint32_t*>(of_row + 4 * index));
        return {lanes::as<float>(scales), lanes::as<float>(scales)};
      }
    } else if constexpr (is_float16) {
      if (index < whole_blocks_) {
        const auto scales = lanes::repeated_from_half<Arch>(reinterpret_cast<const std::byte*>(of_row + 4 * index));
        return {scales, scales};
      }
    }
    alignas(64) std::array<std::array<float, 4>, 2> runs;
    read(of_row, index, runs);
    const auto spread = [](const std::array<float, 4>& four) {
      return lanes::as<float>(lanes::repeated<4, Arch>(reinterpret_cast<const std::uint32_t*>(four.data())));
    };
    return {spread(runs[0]), spread(runs[1])};
  }

  // What the scales of tiles are read as.
  using tile_scale = std::conditional_t<std::same_as<stored_scale, float16>, float16, float>;

  // Of 16 rows from `row` on, which begins a tile: 16 scales of each group of 32 columns, or of each run of 16, in all
  // blocks. They lie so in a grid in tiles, if it has as many granules; else they are gathered in `space`.
  template <granule_width Width>
  const tile_scale* of_tiles(std::size_t row, aligned_vector<tile_scale>& space) const {
    constexpr std::size_t in_block = Width == granule_width::run ? 8 : 4;
    const granule_map& map = grid_->map;
    const std::size_t count = places_.size() / 8 * in_block;
    if constexpr (is_float || is_float16) {
      if (map.is_in_tiles() && map.per_row() == count) {
        return reinterpret_cast<const tile_scale*>(first(row));
      }
    }
    space.resize(row_tile::rows * count);
    for (std::size_t r = 0; r < row_tile::rows; ++r) {
      const granule* const own = first(std::min(row + r, map.rows() - 1));
      for (std::size_t n = 0; n < count; ++n) {
        space[row_tile::rows * n + r] = own[places_[8 / in_block * n]].scale;
      }
    }
    return space.data();
  }

  // The batches of 16 places of each half.
  template <class Arch>
  PLURIA_INLINE auto by_places(std::size_t row, std::size_t index) const {
    using floats = lanes::floats<Arch>;
    std::array<std::array<floats, 16 / floats::size>, 2> result;
    const granule* const of_row = first(row);
    if (one_per_row_) {
      for (auto& half : result) {
        half.fill(floats(of_row->scale));
      }
      return result;
    }
    std::array<std::array<float, 4>, 2> runs;
    if (index < whole_blocks_) {
      for (std::size_t run = 0; run < 4; ++run) {
        runs[0][run] = of_row[4 * index + run].scale;
      }
      runs[1] = runs[0];
    } else {
      read(of_row, index, runs);
    }
    // Place 4 i + c is of run i.
    alignas(4) static constexpr std::array<std::uint16_t, 8> of_run{0x000f, 0, 0x00f0, 0, 0x0f00, 0, 0xf000, 0};
    for (std::size_t half = 0; half < 2; ++half) {
      for (std::size_t slice = 0; slice < result[half].size(); ++slice) {
        constexpr std::size_t runs_in_batch = floats::size / 4;
        floats scales(runs[half][slice * runs_in_batch]);
        for (std::size_t run = 1; run < runs_in_batch; ++run) {
          scales = lanes::choose(&of_run[2 * run], 0, floats(runs[half][slice * runs_in_batch + run]), scales);
        }
        result[half][slice] = scales;
      }
    }
    return result;
  }

 private:
  void read(const granule* of_row, std::size_t index, std::array<std::array<float, 4>, 2>& runs) const {
    const std::uint32_t* places = places_.data() + 8 * index;
    for (std::size_t run = 0; run < 8; ++run) {
      runs[run % 2][run / 2] = of_row[places[run]].scale;
    }
  }

  PLURIA_INLINE const granule* first(std::size_t row) const {
    return grid_->granules.data() + grid_->map.row_begin(row);
  }

  const tensor_grid<N>* grid_;
  std::vector<std::uint32_t> places_;  // behind a row's first granule, one for each 16 columns
  bool one_per_row_ = true;
  std::size_t whole_blocks_ = 0;
};

}  // namespace pluria::detail
