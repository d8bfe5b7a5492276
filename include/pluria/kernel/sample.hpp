// SPDX-License-Identifier: MIT
#pragma once
// Weights to packed codes: the one place in the library where weights are rounded. One pass over the weights for any
// number of members: a 128-element block is read (block_reader.hpp), split into floors and fractions once
// (split_block.hpp) and stays in registers while every member compares its dithers with the fractions and adds the
// outcome to the floors (member_packers.hpp). The scalar definition is `member_code`; the lanes compute the same
// integers on every ISA (tests/kernel/sample.cpp, tests/golden). Members are written as packed codes of their own, as
// planes over a floor that they share, or not at all: as positions from which they are drawn later.

#include <pluria/core/error.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/kernel/block_reader.hpp>
#include <pluria/kernel/member_packers.hpp>
#include <pluria/kernel/tile_rows.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/random/address.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/fixed_point_tensor.hpp>
#include <pluria/tensor/packed_tensor.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/shared_floor_tensor.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace pluria {

template <class R>
inline constexpr bool is_bernoulli = false;
template <class Generator>
inline constexpr bool is_bernoulli<basic_bernoulli<Generator>> = true;

/// How positions become codes.
template <class R>
concept rounding_method = std::same_as<R, nearest> || is_bernoulli<R>;

/// The definition of a rounded weight: the code of one position. `block` is the running number of the 128-element block
/// within the tensor, `element` the place in it; nearest looks at neither.
inline std::int32_t member_code(const nearest&, std::int32_t position, std::uint64_t, std::uint64_t, std::uint32_t,
                                std::uint64_t) {
  return nearest::code(position);
}
template <class Generator>
std::int32_t member_code(const basic_bernoulli<Generator>& rounding, std::int32_t position, std::uint64_t tensor_hash,
                         std::uint64_t block, std::uint32_t element, std::uint64_t member) {
  const std::uint32_t dither = rounding.dither(tensor_hash, block, element, member);
  return basic_bernoulli<Generator>::code(position, static_cast<std::int32_t>(dither));
}

namespace detail {

// Bytes of rows that a thread samples before they become tiles, at least 16 rows: half of a second-level cache.
inline constexpr std::size_t tiled_bytes = std::size_t{1} << 19;

// Some rows of a tensor.
struct row_range {
  std::size_t first = 0;
  std::size_t count = 0;
};

inline row_range all_rows(const tensor& weights) {
  return {0, weights.rows()};
}

// Throws precondition_error unless the grid is that of the tensor's size.
inline void expect_grid_of(const tensor& weights, const granule_map& map) {
  require(map.rows() == weights.rows() && map.columns() == weights.columns(),
          "sample: the grid must have the tensor's rows and columns");
}

// Gives all blocks of some rows of a tensor to a packer; `read` is a block_reader or what reads as it does.
template <class Reader, class Packer>
void pack_blocks(const tensor& weights, const row_range& rows, const Reader& read, int threads, const Packer& pack) {
  const std::uint64_t blocks = rows.count * blocks_per_row(weights.columns());
  const std::uint64_t first = rows.first * blocks_per_row(weights.columns());
  const auto per_thread = blocks / static_cast<std::size_t>(thread_count(threads)) + 1;
  const std::uint64_t at_once = std::clamp<std::uint64_t>(per_thread, 64, 4096);
  parallel_for<division::dealt>((blocks + at_once - 1) / at_once, threads, [&](std::size_t part) {
    const std::uint64_t begin = first + part * at_once;
    const std::uint64_t count = std::min(first + blocks - begin, at_once);
    std::array<typename Reader::run, reading_places> runs;
    for (std::size_t place = 0; place < runs.size(); ++place) {
      runs[place] = read.blocks(begin + count * place / runs.size(), begin + count * (place + 1) / runs.size());
    }
    read(std::span(runs), pack);
    lanes::fence_past_cache();
  });
}

// Members first, first + 1, ..., as many as `out` has room for, of Bernoulli rounding.
template <class Reader, class Generator, class Out>
void pack_members(const tensor& weights, const row_range& rows, const Reader& read,
                  const basic_bernoulli<Generator>& rounding, std::uint64_t first, int threads, const Out& out) {
  using split = typename Reader::split;
  const std::uint64_t hash = name_hash(weights.name());
  rounding.bits(hash, first + out.size() - 1);  // the last one's: refused here if it is beyond the period
  const auto random = rounding.bits(hash, first);
  if (rounding.coupling.is_independent()) {
    pack_blocks(weights, rows, read, threads, independent_packer<split, Generator, Out>{out, random});
  } else {
    const auto place = static_cast<std::uint32_t>(first % rounding.coupling.block());
    pack_blocks(weights, rows, read, threads, lattice_packer<split, Generator, Out>{out, rounding, random, place});
  }
}

// The same, all alike, of rounding to nearest.
template <class Reader>
void pack_members(const tensor& weights, const row_range& rows, const Reader& read, const nearest&, std::uint64_t,
                  int threads, const packed_blocks& out) {
  pack_blocks(weights, rows, read, threads, nearest_packer<typename Reader::split>{out});
}

}  // namespace detail

/// Fills `members` with rows first_row, first_row + 1, ... of members first, first + 1, ... of a tensor, whose whole
/// grid is `grid`, in one pass over these rows; with `nearest` all members are the same. The tensor's name and the
/// number of a member decide its bits, nothing else does: not the other members or rows, not the number of threads (0:
/// all), not `Arch`, the xsimd architecture. Throws bad_input for tensors that are not F32, F16 or BF16,
/// precondition_error when the grid is not of the tensor's size, or the members are not all on grid.part(first_row,
/// their rows). Weights must be finite, as quantizer::fit checks.
template <number_system N, rounding_method R, class Arch = xsimd::default_arch>
void sample_rows_into(std::span<packed_tensor<N>> members, const tensor& weights, const tensor_grid<N>& grid,
                      std::size_t first_row, const R& rounding, std::uint64_t first, int threads = 1) {
  if (members.empty()) {
    return weights.expect_weights();
  }
  const tensor_grid<N>& part = members.front().grid();
  const detail::row_range rows{first_row, members.front().rows()};
  require(rows.first <= weights.rows() && rows.count <= weights.rows() - rows.first &&
              members.front().columns() == weights.columns(),
          "sample: the members' rows must be rows of the tensor");
  std::vector<std::uint32_t*> places;
  for (packed_tensor<N>& member : members) {
    require(&member.grid() == &part, "sample: the members must share one grid");
    places.push_back(member.data());
  }
  const detail::packed_blocks packed{places, rows.first * blocks_per_row(weights.columns()),
                                     members.size() * members.front().words().size_bytes() >= detail::past_cache_bytes};
  weights.expect_weights();
  detail::expect_grid_of(weights, grid.map);
  detail::pack_members(weights, rows, detail::block_reader<N, Arch>(weights, grid), rounding, first, threads, packed);
}

/// Fills `members` with members first, first + 1, ... of a tensor, all of its rows; see sample_rows_into.
template <number_system N, rounding_method R, class Arch = xsimd::default_arch>
void sample_into(std::span<packed_tensor<N>> members, const tensor& weights, const R& rounding, std::uint64_t first,
                 int threads = 1) {
  if (members.empty()) {
    return weights.expect_weights();
  }
  require(members.front().rows() == weights.rows() && members.front().columns() == weights.columns(),
          "sample: the grid must have the tensor's rows and columns");
  sample_rows_into<N, R, Arch>(members, weights, members.front().grid(), 0, rounding, first, threads);
}

/// Members first, first + 1, ..., first + count - 1 of a tensor on a grid; see sample_into.
template <number_system N, rounding_method R, class Arch = xsimd::default_arch>
std::vector<packed_tensor<N>> sample(const tensor& weights, std::shared_ptr<const tensor_grid<N>> grid,
                                     const R& rounding, std::uint64_t first, std::size_t count, int threads = 1) {
  require(grid != nullptr, "sample: a grid is needed");
  std::vector<packed_tensor<N>> members;
  members.reserve(count);
  for (std::size_t m = 0; m < count; ++m) {
    members.emplace_back(grid);
  }
  sample_into<N, R, Arch>(members, weights, rounding, first, threads);
  return members;
}

/// The same members over a shared floor: bit for bit those of `sample`. 1 to 64 of them, else precondition_error.
template <number_system N, class Generator, class Arch = xsimd::default_arch>
shared_floor_tensor<N> sample_shared_floor(const tensor& weights, std::shared_ptr<const tensor_grid<N>> grid,
                                           const basic_bernoulli<Generator>& rounding, std::uint64_t first,
                                           std::size_t count, int threads = 1) {
  weights.expect_weights();
  shared_floor_tensor<N> members(std::move(grid), count);
  detail::expect_grid_of(weights, members.grid().map);
  rounding.bits(name_hash(weights.name()), first + count - 1);  // refused here, if beyond the period, without rows, too
  // Sampled row by row, so many rows at once that they become tiles while they are in cache.
  const std::size_t blocks = members.blocks_in_row();
  const std::size_t block_words = packed_block<N::bits>::words + 4 * count;
  const std::size_t row_words = blocks * block_words;
  const std::size_t of_thread = detail::tiled_bytes / (4 * row_tile::rows * std::max<std::size_t>(row_words, 1));
  const std::size_t at_once =
      std::max<std::size_t>(of_thread, 1) * static_cast<std::size_t>(thread_count(threads)) * row_tile::rows;
  aligned_vector<std::uint32_t> rows(std::min(at_once, members.panels() * row_tile::rows) * row_words);
  const detail::block_reader<N, Arch> reader(weights, members.grid());
  for (std::size_t row = 0; row < members.rows(); row += at_once) {
    const std::size_t sampled = std::min(at_once, members.rows() - row);
    detail::pack_members(weights, {row, sampled}, reader, rounding, first, threads,
                         detail::shared_floor_blocks{rows.data(), count, row * blocks});
    const std::size_t panels = (sampled + row_tile::rows - 1) / row_tile::rows;
    std::fill(rows.begin() + static_cast<std::ptrdiff_t>(sampled * row_words),
              rows.begin() + static_cast<std::ptrdiff_t>(panels * row_tile::rows * row_words), 0U);
    parallel_for<division::dealt>(panels, threads, [&](std::size_t panel) {
      const std::uint32_t* from = rows.data() + panel * row_tile::rows * row_words;
      std::uint32_t* to =
          members.data() + (row / row_tile::rows + panel) * members.tiles_in_panel() * members.tile_words();
      for (std::size_t index = 0; index < blocks; ++index) {
        detail::tile_block<N::bits, Arch>(from + index * block_words, row_words, count, to);
        to += members.tiles_in_block * members.tile_words();
      }
    });
  }
  return members;
}

/// The positions of a tensor on a grid, kept to F fractional bits.
template <number_system N, int F = 4, class Arch = xsimd::default_arch>
fixed_point_tensor<N, F> sample_fixed_point(const tensor& weights, std::shared_ptr<const tensor_grid<N>> grid,
                                            int threads = 1) {
  weights.expect_weights();
  fixed_point_tensor<N, F> positions(std::move(grid));
  detail::expect_grid_of(weights, positions.grid().map);
  using reader = detail::block_reader<N, Arch>;
  detail::pack_blocks(weights, detail::all_rows(weights), reader(weights, positions.grid()), threads,
                      detail::fixed_point_packer<typename reader::split, F>{positions.data()});
  return positions;
}

}  // namespace pluria
