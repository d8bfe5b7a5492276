// SPDX-License-Identifier: MIT
#pragma once
// Weights to packed codes: the one place in the library where weights are rounded. A 128-element block is converted to
// positions once, stays in the first-level cache, and every member adds its dither, shifts and packs (rounding/,
// packing). The scalar definition is `member_code`; the lanes compute the same integers on every ISA
// (tests/kernel/sample.cpp).

#include <pluria/core/error.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/random/address.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/packed_tensor.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

namespace pluria {

/// How positions become codes.
template <class R>
concept rounding_method = std::same_as<R, nearest> || std::same_as<R, bernoulli>;

/// The definition of a rounded weight: the code of one position. `block` is the running number of the 128-element block
/// within the tensor, `element` the place in it; nearest looks at neither.
inline std::int32_t member_code(const nearest&, std::int32_t position, std::uint64_t, std::uint64_t, std::uint32_t,
                                std::uint64_t) {
  return nearest::code(position);
}
inline std::int32_t member_code(const bernoulli& rounding, std::int32_t position, std::uint64_t tensor_hash,
                                std::uint64_t block, std::uint32_t element, std::uint64_t member) {
  return bernoulli::code(position, static_cast<std::int32_t>(rounding.dither(tensor_hash, block, element, member)));
}

namespace detail {

// Everything below works on one block in first-level cache, in elements 0, 1, ..., 127 of the row-major order.
template <class Word>
using block_array = std::array<Word, block_size>;

template <class Arch>
struct block_kernel {
  using ints = xsimd::batch<std::int32_t, Arch>;
  using words = xsimd::batch<std::uint32_t, Arch>;
  using floats = xsimd::batch<float, Arch>;
  static constexpr std::size_t width = floats::size;
  static_assert(width <= 16 && 16 % width == 0, "the bit addresses are laid out for 4, 8 or 16 lanes");

  static words lane_numbers() {
    alignas(64) std::array<std::uint32_t, width> numbers;
    std::iota(numbers.begin(), numbers.end(), 0U);
    return words::load_unaligned(numbers.data());
  }

  // Positions of the weights of a row from `column` on; what lies behind the row's end gets the position of the
  // padding.
  template <number_system N>
  static void positions(const block_array<float>& weights, const tensor_grid<N>& grid, std::size_t row,
                        std::size_t column, block_array<std::int32_t>& result) {
    const std::size_t end = std::min(column + block_size, grid.map.columns());
    std::size_t element = 0;
    for (std::size_t run = column; run < end;) {
      const typename N::granule& granule = grid.at(row, run);
      run = std::min(end, grid.map.run_end(run));
      // A run ends at a multiple of 16 or at the end of the row, behind which lies padding.
      for (; element < run - column; element += width) {
        N::position(floats::load_unaligned(&weights[element]), granule).store_unaligned(&result[element]);
      }
    }
    if (end - column < block_size) {
      const std::int32_t padding = code_nearest_zero<N>(grid.at(row, end - 1)) * 65536;
      std::fill(result.begin() + static_cast<std::ptrdiff_t>(end - column), result.end(), padding);
    }
  }

  static void store_code(ints code, std::int32_t min_code, std::uint32_t* stored) {
    xsimd::batch_cast<std::uint32_t>(code - ints(min_code)).store_unaligned(stored);
  }

  static void round(const nearest&, const block_array<std::int32_t>& positions, std::int32_t min_code,
                    block_array<std::uint32_t>& stored) {
    for (std::size_t e = 0; e < block_size; e += width) {
      store_code(nearest::code(ints::load_unaligned(&positions[e])), min_code, &stored[e]);
    }
  }

  // Independent members: the 16 bits of element e lie in output 16 * block + e % 16, word e / 32 (random/address.hpp).
  static void round_independent(const stream& random, std::uint64_t block, const block_array<std::int32_t>& positions,
                                std::int32_t min_code, block_array<std::uint32_t>& stored) {
    const words numbers = lane_numbers();
    for (std::size_t first = 0; first < 16; first += width) {
      const std::array<words, 4> bits = random.lanes_from(16 * block + first, numbers);
      for (std::size_t word = 0; word < 4; ++word) {
        const std::size_t low = 32 * word + first;
        const std::size_t high = low + 16;
        const ints low_dither = xsimd::batch_cast<std::int32_t>(bits[word] & words(0xffffU));
        const ints high_dither = xsimd::batch_cast<std::int32_t>(bits[word] >> 16);
        store_code(bernoulli::code(ints::load_unaligned(&positions[low]), low_dither), min_code, &stored[low]);
        store_code(bernoulli::code(ints::load_unaligned(&positions[high]), high_dither), min_code, &stored[high]);
      }
    }
  }

  // One random word per element, for all members of a lattice block.
  static void lattice_words(const stream& random, std::uint64_t block, block_array<std::uint32_t>& result) {
    const words numbers = lane_numbers();
    for (std::size_t first = 0; first < 32; first += width) {
      const std::array<words, 4> bits = random.lanes_from(32 * block + first, numbers);
      for (std::size_t word = 0; word < 4; ++word) {
        bits[word].store_unaligned(&result[64 * (first / 16) + 16 * word + first % 16]);
      }
    }
  }

  static void round_lattice(const bernoulli& rounding, std::uint64_t member, const block_array<std::uint32_t>& random,
                            const block_array<std::int32_t>& positions, std::int32_t min_code,
                            block_array<std::uint32_t>& stored) {
    for (std::size_t e = 0; e < block_size; e += width) {
      const words dither = rounding.lattice_dither(words::load_unaligned(&random[e]), member);
      store_code(bernoulli::code(ints::load_unaligned(&positions[e]), xsimd::batch_cast<std::int32_t>(dither)),
                 min_code, &stored[e]);
    }
  }

  // The lanes' form of packed_block<Bits>::pack.
  template <int Bits>
  static void pack(const block_array<std::uint32_t>& stored,
                   std::span<std::uint32_t, packed_block<Bits>::words> block) {
    for (const packed_field& field : packed_block<Bits>::fields) {
      pack_field(stored, field, block.data() + field.first_word);
    }
  }

  static void pack_field(const block_array<std::uint32_t>& stored, const packed_field& field, std::uint32_t* out) {
    const words mask(field.mask());
    const auto bits_of = [&](std::size_t e) {
      return (words::load_unaligned(&stored[e]) >> static_cast<int>(field.shift)) & mask;
    };
    if (field.words() >= width) {
      for (std::size_t first = 0; first < field.words(); first += width) {
        words packed = bits_of(first);
        for (std::size_t round = 1; round * field.words() < block_size; ++round) {
          packed = packed | (bits_of(first + round * field.words()) << static_cast<int>(round * field.width));
        }
        packed.store_unaligned(out + first);
      }
      return;
    }
    // Fewer words than lanes: a batch holds several rounds through the words; they are folded at the end.
    const std::size_t rounds = width / field.words();
    words packed = bits_of(0);
    for (std::size_t batch = 1; batch < block_size / width; ++batch) {
      packed = packed | (bits_of(batch * width) << static_cast<int>(batch * rounds * field.width));
    }
    alignas(64) std::array<std::uint32_t, width> parts;
    packed.store_unaligned(parts.data());
    for (std::size_t word = 0; word < field.words(); ++word) {
      std::uint32_t folded = parts[word];
      for (std::size_t round = 1; round < rounds; ++round) {
        folded |= parts[round * field.words() + word] << (field.width * round);
      }
      out[word] = folded;
    }
  }
};

}  // namespace detail

/// Members first, first + 1, ..., first + count - 1 of a tensor, in one pass over its weights; with `nearest` all are
/// the same. The tensor's name and the number of a member decide its bits, nothing else does: not the other members,
/// not the number of threads (0: all), not `Arch`, the xsimd architecture. Throws bad_input for tensors that are not
/// F32, F16 or BF16, precondition_error when the grid has another size than the tensor. Weights must be finite, as
/// quantizer::fit checks.
template <number_system N, rounding_method R, class Arch = xsimd::default_arch>
std::vector<packed_tensor<N>> sample(const tensor& weights, std::shared_ptr<const tensor_grid<N>> grid,
                                     const R& rounding, std::uint64_t first, std::size_t count, int threads = 1) {
  using kernel = detail::block_kernel<Arch>;
  const std::size_t rows = weights.rows();
  const std::size_t columns = weights.columns();
  require(grid != nullptr && grid->map.rows() == rows && grid->map.columns() == columns,
          "sample: the grid must have the tensor's rows and columns");

  const std::uint64_t hash = name_hash(weights.name());
  std::vector<packed_tensor<N>> members(count, packed_tensor<N>(grid));
  // What each member's stream or, under a lattice, its block's stream is; made here so that errors come before any
  // work.
  std::vector<stream> streams;
  if constexpr (std::same_as<R, bernoulli>) {
    streams.reserve(count);
    for (std::size_t m = 0; m < count; ++m) {
      streams.push_back(rounding.bits(hash, first + m));
    }
  }

  // Several rows at a time: short rows would otherwise spend more on the loop than on the work.
  const std::size_t blocks = blocks_per_row(columns);
  const std::size_t rows_at_once = std::max<std::size_t>(1, 4096 / std::max<std::size_t>(1, columns));
  parallel_for((rows + rows_at_once - 1) / rows_at_once, threads, [&](std::size_t part) {
    alignas(64) detail::block_array<float> values{};
    alignas(64) detail::block_array<std::int32_t> positions;
    alignas(64) detail::block_array<std::uint32_t> stored;
    [[maybe_unused]] alignas(64) detail::block_array<std::uint32_t> random;
    const std::size_t last_row = std::min(rows, (part + 1) * rows_at_once);
    for (std::size_t row = part * rows_at_once; row < last_row; ++row) {
      for (std::size_t index = 0; index < blocks; ++index) {
        const std::size_t column = index * block_size;
        const std::size_t filled = std::min(block_size, columns - column);
        weights.read(row * columns + column, std::span<float>(values).first(filled));
        kernel::template positions<N>(values, *grid, row, column, positions);
        const std::uint64_t block = row * blocks + index;
        for (std::size_t m = 0; m < count; ++m) {
          if constexpr (std::same_as<R, nearest>) {
            kernel::round(rounding, positions, N::min_code, stored);
          } else if (rounding.coupling.is_independent()) {
            kernel::round_independent(streams[m], block, positions, N::min_code, stored);
          } else {
            if (m == 0 || streams[m].member != streams[m - 1].member) {
              kernel::lattice_words(streams[m], block, random);
            }
            kernel::round_lattice(rounding, first + m, random, positions, N::min_code, stored);
          }
          kernel::template pack<N::bits>(stored, members[m].words(row, index));
        }
      }
    }
  });
  return members;
}

}  // namespace pluria
