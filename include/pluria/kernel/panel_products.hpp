// SPDX-License-Identifier: MIT
#pragma once
// The loops behind matvec.hpp: a panel of rows goes through its blocks, every block is unpacked once, every member adds
// its plane of bits and multiplies the inputs of its own tokens. Sums are 16 side by side on every machine, in memory:
// in registers they would have to be of a number of members known to the compiler, and were no faster (AVX-512, ten
// members: 1.3 ns for 128 columns and a member in memory, 1.4 to 2.2 in registers).

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/kernel/block_scales.hpp>
#include <pluria/kernel/inputs.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/packing.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

namespace pluria::detail {

// Rows that go through the columns together: their sums stay in first-level cache, and every block of an input is read
// from there by all of them. With one row, the sums of few members would wait for each other.
inline constexpr std::size_t panel_rows = 8;

// Where the results go: one row of `stride` floats for each token, `member_rows` of them for each member.
struct output_rows {
  float* values = nullptr;
  std::size_t stride = 0;
  std::size_t member_rows = 0;

  PLURIA_INLINE float* row(std::size_t member, std::size_t token) const {
    return values + (member * member_rows + token) * stride;
  }
};

// Which input belongs to a member's token: all members have their own, or share them.
struct token_map {
  std::size_t tokens = 1;         // of each member
  std::size_t member_stride = 0;  // 0: shared
  std::size_t first = 0;          // of the first member
  PLURIA_INLINE std::size_t input(std::size_t member, std::size_t token) const {
    return first + member * member_stride + token;
  }
};

// The sum of 16 floats in one order on all machines.
PLURIA_INLINE float sum_of_16(const float* values) {
  std::array<float, 8> sums;
  for (std::size_t i = 0; i < 8; ++i) {
    sums[i] = values[i] + values[i + 8];
  }
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

template <class Arch, class Work>
PLURIA_INLINE void for_each_byte_batch(Work&& work) {
  lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
    lanes::unrolled<unpacked_block<Arch>::slices>([&](auto slice) PLURIA_INLINE_LAMBDA { work(half, slice); });
  });
}

// One block of one row, all members: its floors, those plus one, and the planes that choose between the two.
template <class View, class Arch>
struct member_codes {
  using unpacked = unpacked_block<Arch>;
  using bytes = typename unpacked::bytes;

  bytes floors;
  bytes raised;
  const std::byte* planes;

  PLURIA_INLINE member_codes(const bytes& unpacked_floors, const std::byte* member_planes)
      : floors(unpacked_floors), raised(unpacked_floors), planes(member_planes) {
    if constexpr (View::has_planes) {
      for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
        raised[half][slice] = floors[half][slice] + lanes::words<Arch>(0x01010101U);
      });
    }
  }

  PLURIA_INLINE bytes of(std::size_t member) const {
    bytes codes = floors;
    if constexpr (View::has_planes) {
      for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
        codes[half][slice] = lanes::plus_bits(floors[half][slice], raised[half][slice],
                                              planes + 16 * member + 8 * half + unpacked::width / 2 * slice);
      });
    }
    return codes;
  }
};

// The products of a panel of rows. What the two kinds of activations have in common: the way through the blocks.
template <class View, class Arch>
class panel_reader {
 public:
  static constexpr std::size_t most_blocks = 2;  // in a step

  panel_reader(const View& view, std::size_t blocks) : view_(view), blocks_(blocks) {
    if constexpr (View::has_planes) {
      planes_.resize(most_blocks * 4 * view.members());
    }
  }

  // Calls work(r, index, codes) for every `Step` blocks of rows first + r, where they begin with block `index`, and for
  // what is left of a row one by one; codes is an array of the blocks' member_codes. Meanwhile the same blocks of the
  // next panel are asked for.
  template <std::size_t Step, class Work>
  PLURIA_INLINE void read(std::size_t first, std::size_t rows, Work&& work) {
    read_steps<Step>(first, rows, 0, blocks_ - blocks_ % Step, work);
    if constexpr (Step > 1) {
      read_steps<1>(first, rows, blocks_ - blocks_ % Step, blocks_, work);
    }
  }

 private:
  template <std::size_t Step, class Work>
  PLURIA_INLINE void read_steps(std::size_t first, std::size_t rows, std::size_t begin, std::size_t end, Work&& work) {
    const std::size_t block_words = view_.block_words();
    const std::size_t row_words = blocks_ * block_words;
    const std::uint32_t* column = view_.first_block() + first * row_words + begin * block_words;
    for (std::size_t index = begin; index < end; index += Step, column += Step * block_words) {
      const std::uint32_t* block = column;
      for (std::size_t r = 0; r < rows; ++r, block += row_words) {
        const std::uint32_t* const ahead = block + panel_rows * row_words;
        for (std::size_t word = 0; word < Step * block_words; word += 16) {
          lanes::request_line(ahead + word);
        }
        const auto codes = [&]<std::size_t... I>(std::index_sequence<I...>) PLURIA_INLINE_LAMBDA {
          return std::array<member_codes<View, Arch>, Step>{
              codes_of(first + r, index + I, block + I * block_words, I)...};
        }
        (std::make_index_sequence<Step>{});
        work(r, index, codes);
      }
    }
  }

  PLURIA_INLINE member_codes<View, Arch> codes_of(std::size_t row, std::size_t index, const std::uint32_t* block,
                                                  [[maybe_unused]] std::size_t room) {
    const std::byte* planes = nullptr;
    if constexpr (View::has_planes) {
      planes = reinterpret_cast<const std::byte*>(
          view_.planes(row, index, block, planes_.data() + room * 4 * view_.members()));
    }
    return {unpack<View::number::bits, Arch>(block), planes};
  }

  View view_;
  std::size_t blocks_;
  aligned_vector<std::uint32_t> planes_;
};

// Calls work(codes of a member in some blocks, input, product) for every member and token; `Single` where each member
// has one token: then there is no loop inside the loop over the members (with one, ten members take 1.3 times as long).
template <bool Single, class View, class Arch, std::size_t Blocks, class Work>
PLURIA_INLINE void for_each_product(const std::array<member_codes<View, Arch>, Blocks>& blocks, std::size_t members,
                                    const token_map& map, Work&& work) {
  const auto of = [&](std::size_t member) PLURIA_INLINE_LAMBDA {
    std::array<typename member_codes<View, Arch>::bytes, Blocks> codes;
    lanes::unrolled<Blocks>([&](auto block) PLURIA_INLINE_LAMBDA { codes[block] = blocks[block].of(member); });
    return codes;
  };
  for (std::size_t m = 0; m < members; ++m) {
    const auto codes = of(m);
    if constexpr (Single) {
      work(codes, map.first + m * map.member_stride, m);
    } else {
      for (std::size_t t = 0; t < map.tokens; ++t) {
        work(codes, map.input(m, t), m * map.tokens + t);
      }
    }
  }
}

// y += result(r, input, product) for the rows of a panel, `row` the first of them.
template <class Result>
PLURIA_INLINE void for_each_result(std::size_t rows, std::size_t members, const token_map& map, const output_rows& y,
                                   std::size_t row, Result&& result) {
  for (std::size_t m = 0; m < members; ++m) {
    for (std::size_t t = 0; t < map.tokens; ++t) {
      const std::size_t product = m * map.tokens + t;
      float* const of_product = y.row(m, t) + row;
      for (std::size_t r = 0; r < rows; ++r) {
        of_product[r] += result(r, map.input(m, t), product);
      }
    }
  }
}

// Rows first .. last - 1 of the products with int8 inputs, where a row has one granule: sums in integers.
template <bool Single, class View, class Arch>
[[gnu::noinline]] void add_int8_rows(const View& view, std::size_t first, std::size_t last, const int8_inputs& x,
                                     const token_map& map, const output_rows& y) {
  using number = typename View::number;
  using words = lanes::words<Arch>;
  using ints = lanes::ints<Arch>;
  using unpacked = unpacked_block<Arch>;
  constexpr std::size_t width = unpacked::width;
  const auto& grid = view.grid();
  const std::size_t blocks = blocks_per_row(grid.map.columns());
  const std::size_t members = view.members();
  const std::size_t products = members * map.tokens;
  panel_reader<View, Arch> reader(view, blocks);
  aligned_vector<std::int32_t> sums(panel_rows * products * 16);

  for (std::size_t row = first; row < last; row += panel_rows) {
    const std::size_t rows = std::min(panel_rows, last - row);
    std::fill(sums.begin(), sums.end(), 0);
    // Two blocks at once: half the loads and stores of sums, and half the loop.
    reader.template read<2>(
        row, rows, [&](std::size_t r, std::size_t index, const auto& blocks_codes) PLURIA_INLINE_LAMBDA {
          std::int32_t* const sums_of_row = sums.data() + r * products * 16;
          const std::uint32_t* const values_of_block = x.at(index, 0);
          const std::size_t next_block = x.count() * (block_size / 4);
          for_each_product<Single>(
              blocks_codes, members, map,
              [&](const auto& codes, std::size_t input, std::size_t product) PLURIA_INLINE_LAMBDA {
                const std::uint32_t* values = values_of_block + input * (block_size / 4);
                std::int32_t* sum = sums_of_row + product * 16;
                lanes::unrolled<unpacked::slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
                  ints total = ints::load_aligned(sum + width * slice);
                  lanes::unrolled<std::tuple_size_v<std::decay_t<decltype(codes)>>>(
                      [&](auto block) PLURIA_INLINE_LAMBDA {
                        lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
                          total = lanes::plus_dot<number::bits>(
                              total, codes[block][half][slice],
                              words::load_aligned(values + block * next_block + 16 * half + width * slice));
                        });
                      });
                  total.store_aligned(sum + width * slice);
                });
              });
        });
    for_each_result(
        rows, members, map, y, row, [&](std::size_t r, std::size_t input, std::size_t product) PLURIA_INLINE_LAMBDA {
          const std::int32_t* sum = sums.data() + (r * products + product) * 16;
          ints total(0);
          lanes::unrolled<unpacked::slices>(
              [&](auto slice) PLURIA_INLINE_LAMBDA { total = total + ints::load_aligned(sum + width * slice); });
          const std::int32_t codes = xsimd::hadd(total) + number::min_code * x.sum(input);
          return x.scale(input) * grid.at(row + r, 0).scale * static_cast<float>(codes);
        });
  }
}

// The same where granules are smaller than rows: sums of a block in integers, of blocks in floats.
template <bool Single, class View, class Arch>
[[gnu::noinline]] void add_grouped_int8_rows(const View& view, std::size_t first, std::size_t last,
                                             const int8_inputs& x, const token_map& map, const output_rows& y) {
  using number = typename View::number;
  using words = lanes::words<Arch>;
  using ints = lanes::ints<Arch>;
  using floats = lanes::floats<Arch>;
  using unpacked = unpacked_block<Arch>;
  constexpr std::size_t width = unpacked::width;
  const auto& grid = view.grid();
  const std::size_t blocks = blocks_per_row(grid.map.columns());
  const std::size_t members = view.members();
  const std::size_t products = members * map.tokens;
  panel_reader<View, Arch> reader(view, blocks);
  const block_scales<number> scales_of(grid);
  aligned_vector<float> sums(panel_rows * products * 16);

  for (std::size_t row = first; row < last; row += panel_rows) {
    const std::size_t rows = std::min(panel_rows, last - row);
    std::fill(sums.begin(), sums.end(), 0.0F);
    reader.template read<1>(
        row, rows, [&](std::size_t r, std::size_t index, const auto& block_codes) PLURIA_INLINE_LAMBDA {
          // Word 4 a + i of a half is of run 2 i + half.
          const std::array<floats, 2> scales = scales_of.template by_words<Arch>(row + r, index);
          float* const sums_of_row = sums.data() + r * products * 16;
          const std::uint32_t* const values_of_block = x.at(index, 0);
          const std::int32_t* const offsets_of_block = x.offsets(index, 0);
          for_each_product<Single>(block_codes, members, map,
                                   [&](const auto& codes, std::size_t input, std::size_t product) PLURIA_INLINE_LAMBDA {
                                     const std::uint32_t* values = values_of_block + input * (block_size / 4);
                                     const std::int32_t* offsets = offsets_of_block + input * (block_size / 4);
                                     float* sum = sums_of_row + product * 16;
                                     lanes::unrolled<unpacked::slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
                                       floats total = floats::load_aligned(sum + width * slice);
                                       lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
                                         constexpr std::size_t place = 16 * half + width * slice;
                                         const ints of_half = lanes::plus_dot<number::bits>(
                                             ints::load_aligned(offsets + place), codes[0][half][slice],
                                             words::load_aligned(values + place));
                                         total =
                                             lanes::multiply_add<Arch>(xsimd::to_float(of_half), scales[half], total);
                                       });
                                       total.store_aligned(sum + width * slice);
                                     });
                                   });
        });
    for_each_result(rows, members, map, y, row,
                    [&](std::size_t r, std::size_t input, std::size_t product) PLURIA_INLINE_LAMBDA {
                      return x.scale(input) * sum_of_16(sums.data() + (r * products + product) * 16);
                    });
  }
}

// Rows first .. last - 1 of the products with float inputs.
template <class View, class Arch>
[[gnu::noinline]] void add_float_rows(const View& view, std::size_t first, std::size_t last, const float_inputs& x,
                                      const token_map& map, const output_rows& y) {
  using number = typename View::number;
  using floats = lanes::floats<Arch>;
  using unpacked = unpacked_block<Arch>;
  constexpr std::size_t width = unpacked::width;
  constexpr std::size_t slices = unpacked::slices;
  constexpr std::size_t batches = 64 / width;  // of a half
  const auto& grid = view.grid();
  const std::size_t blocks = blocks_per_row(grid.map.columns());
  const std::size_t members = view.members();
  const std::size_t products = members * map.tokens;
  panel_reader<View, Arch> reader(view, blocks);
  const block_scales<number> scales_of(grid);
  aligned_vector<float> sums(panel_rows * products * 16);

  for (std::size_t row = first; row < last; row += panel_rows) {
    const std::size_t rows = std::min(panel_rows, last - row);
    std::fill(sums.begin(), sums.end(), 0.0F);
    reader.template read<1>(
        row, rows, [&](std::size_t r, std::size_t index, const auto& block_codes) PLURIA_INLINE_LAMBDA {
          const auto& floors = block_codes[0].floors;
          const std::byte* planes = block_codes[0].planes;
          alignas(64) std::array<std::uint8_t, block_size> codes;
          for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
            floors[half][slice].store_aligned(
                reinterpret_cast<std::uint32_t*>(codes.data() + 64 * half + 4 * width * slice));
          });
          const auto scales = scales_of.template by_places<Arch>(row + r, index);
          std::array<std::array<floats, batches>, 2> low;
          std::array<std::array<floats, batches>, 2> high;
          lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
            lanes::unrolled<batches>([&](auto batch) PLURIA_INLINE_LAMBDA {
              const floats& scale = scales[half][batch % slices];
              const floats code = lanes::floats_from_bytes<Arch>(codes.data() + 64 * half + width * batch) +
                                  floats(static_cast<float>(number::min_code));
              low[half][batch] = scale * code;
              if constexpr (View::has_planes) {
                high[half][batch] = scale * (code + floats(1.0F));
              }
            });
          });
          float* const sums_of_row = sums.data() + r * products * 16;
          const float* const values_of_block = x.at(index, 0);
          for (std::size_t m = 0; m < members; ++m) {
            for (std::size_t t = 0; t < map.tokens; ++t) {
              const float* values = values_of_block + map.input(m, t) * block_size;
              float* sum = sums_of_row + (m * map.tokens + t) * 16;
              lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
                std::array<floats, 2> totals{floats::load_aligned(sum + width * slice), floats(0.0F)};
                lanes::unrolled<4>([&](auto a) PLURIA_INLINE_LAMBDA {
                  lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
                    constexpr std::size_t batch = slices * a + slice;
                    constexpr std::size_t place = 64 * half + width * batch;
                    floats weight = low[half][batch];
                    if constexpr (View::has_planes) {
                      weight = lanes::choose(planes + 16 * m, place, high[half][batch], weight);
                    }
                    totals[half] =
                        lanes::multiply_add<Arch>(weight, floats::load_aligned(values + place), totals[half]);
                  });
                });
                (totals[0] + totals[1]).store_aligned(sum + width * slice);
              });
            }
          }
        });
    for_each_result(rows, members, map, y, row,
                    [&](std::size_t r, std::size_t, std::size_t product)
                        PLURIA_INLINE_LAMBDA { return sum_of_16(sums.data() + (r * products + product) * 16); });
  }
}

}  // namespace pluria::detail
