// SPDX-License-Identifier: MIT
#pragma once
// Rows of members as weights, out of a grid whose number system is erased: positions, codes of a byte each, values, a
// few rows at a time, so that codes never leave the caches. The members are those of kernel/sample.hpp, bit for bit;
// codes of a byte hold any number system, so that all of them share these loops.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/kernel/split_block.hpp>
#include <pluria/member/identity.hpp>
#include <pluria/quantize/any_grid.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/convert.hpp>
#include <pluria/tensor/packing.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

namespace pluria {
namespace detail {

// Gives the blocks of some rows, split, to a packer (member_packers.hpp), as block_reader does for a number system.
template <class Arch>
class erased_block_reader {
 public:
  using split = split_block<8, Arch>;

  erased_block_reader(const tensor& weights, const any_grid& grid) : weights_(&weights), grid_(&grid) {}

  struct run {
    std::uint64_t number = 0;
    std::uint64_t end = 0;
  };
  run blocks(std::uint64_t first, std::uint64_t end) const { return {first, end}; }

  template <class Packer>
  void operator()(std::span<run> runs, const Packer& pack) const {
    using ints = lanes::ints<Arch>;
    const std::size_t columns = weights_->columns();
    const std::size_t in_row = blocks_per_row(columns);
    any_grid::block<float> weights{};
    any_grid::block<std::int32_t> positions{};
    for (const run& current : runs) {
      for (std::uint64_t number = current.number; number < current.end; ++number) {
        const std::size_t row = number / in_row;
        const std::size_t column = number % in_row * block_size;
        const std::size_t filled = std::min(block_size, columns - column);
        weights_->read(row * columns + column, std::span<float>(weights).first(filled));
        grid_->positions(row, column, filled, weights, positions);
        // What is behind the end of the row is not looked at again; it only has to be a code.
        std::fill(positions.begin() + static_cast<std::ptrdiff_t>(filled), positions.end(), 65536 * grid_->min_code());
        pack(split([&](std::size_t e) PLURIA_INLINE_LAMBDA { return pack.position(ints::load_aligned(&positions[e])); },
                   grid_->min_code()),
             number);
      }
    }
  }

 private:
  const tensor* weights_;
  const any_grid* grid_;
};

}  // namespace detail

/// Rows first_row, first_row + 1, ... of members first, first + 1, ... of a tensor on its grid, a member to each of
/// `out`, as grid values of a weight type (write_weights): all of `out` have room for the same whole rows. Nothing but
/// the tensor's name, its weights and the number of a member decides its bits: not the number of threads (0: all).
/// Throws bad_input for tensors that are not F32, F16 or BF16, precondition_error where room or grid do not fit.
template <class Arch = xsimd::default_arch>
void write_member_rows(const tensor& weights, const any_grid& grid, const any_rounding& rounding, std::uint64_t first,
                       std::size_t first_row, dtype type, std::span<const std::span<std::byte>> out, int threads = 1) {
  weights.expect_weights();
  const std::size_t columns = weights.columns();
  const std::size_t row_bytes = columns * size_of(type);
  if (out.empty() || row_bytes == 0) {
    return;
  }
  const std::size_t rows = out.front().size() / row_bytes;
  for (const auto& member : out) {
    require(member.size() == rows * row_bytes, "member rows: every member has room for the same whole rows");
  }
  require(first_row <= weights.rows() && rows <= weights.rows() - first_row,
          "member rows: the rows must be rows of the tensor");
  detail::expect_grid_of(weights, grid.map());
  using block = packed_block<8>;
  const std::size_t in_row = blocks_per_row(columns);
  const detail::erased_block_reader<Arch> read(weights, grid);
  const std::size_t at_once = 1 + (std::size_t{1} << 15) / columns;
  parallel_for((rows + at_once - 1) / at_once, threads, [&](std::size_t part) {
    const std::size_t begin = part * at_once;
    const std::size_t count = std::min(at_once, rows - begin);
    const detail::row_range range{first_row + begin, count};
    aligned_vector<std::uint32_t> words(out.size() * count * in_row * block::words);
    std::vector<std::uint32_t*> places;
    for (std::size_t m = 0; m < out.size(); ++m) {
      places.push_back(words.data() + m * count * in_row * block::words);
    }
    const detail::packed_blocks packed{places, range.first * in_row, false};
    std::visit([&](const auto& method) { detail::pack_members(weights, range, read, method, first, 1, packed); },
               rounding);
    std::vector<float> values(columns);
    any_grid::block<std::uint32_t> stored;
    for (std::size_t m = 0; m < out.size(); ++m) {
      for (std::size_t row = 0; row < count; ++row) {
        for (std::size_t index = 0; index < in_row; ++index) {
          block::unpack(std::span<const std::uint32_t, block::words>(places[m] + (row * in_row + index) * block::words,
                                                                     block::words),
                        stored);
          const std::size_t column = index * block_size;
          grid.values(range.first + row, column, stored,
                      std::span<float>(values).subspan(column, std::min(block_size, columns - column)));
        }
        write_weights(values, type, out[m].subspan((begin + row) * row_bytes, row_bytes));
      }
    }
  });
}

}  // namespace pluria
