// SPDX-License-Identifier: MIT
#pragma once
// Products of members over a shared floor with int8 activations, tile by tile (tensor/row_tiles.hpp): a lane for each
// row. For each member 8 registers of codes times 4 columns of its input, which all rows share, add up in one register;
// it is scaled once a tile (twice with granules of 16) where granules are smaller than rows, and nothing is summed
// across lanes.
//
// With eight members on Zen 4 (AVX-512 VNNI) weights from memory take .64 of the time (groups of 32), or .78 (channel),
// of lanes that hold the columns of one row, whose sums go to memory and back for every row, block and member.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/bytes.hpp>
#include <pluria/core/dot_sums.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/kernel/block_scales.hpp>
#include <pluria/kernel/inputs.hpp>
#include <pluria/kernel/panel_reader.hpp>
#include <pluria/kernel/tile_rows.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/row_tiles.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace pluria::detail {

// Columns 16 h + 4 a + c, a = 2 b + A: word r of code h is row r's, byte c. So are the bits of a plane, `4 h + 2 A` up.
template <std::size_t A>
constexpr int bit_place(std::size_t half) noexcept {
  return static_cast<int>(4 * half + 2 * A);
}

// The codes of a slice of rows.
template <int Bits, std::size_t A, class Arch>
PLURIA_INLINE std::array<lanes::words<Arch>, 2> codes_of_tile(const std::uint32_t* tile, std::size_t b,
                                                              std::size_t slice) noexcept {
  using words = lanes::words<Arch>;
  using codes = tile_codes<Bits>;
  const std::size_t a = 2 * b + A;
  const words low(0x0f0f0f0fU);
  std::array<words, 2> result{words(0U), words(0U)};
  lanes::unrolled<codes::fields>([&](auto number) PLURIA_INLINE_LAMBDA {
    const words both = words::load_aligned(codes::field(tile, number) + 16 * a + words::size * slice);
    const std::array<words, 2> nibbles{both & low, (both >> 4) & low};
    lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
      if constexpr (number == 0) {
        result[half] = nibbles[half];
      } else {
        result[half] = (result[half] << 4) | nibbles[half];
      }
    });
  });
  lanes::unrolled<codes::planes>([&](auto number) PLURIA_INLINE_LAMBDA {
    const words bits = words::load_aligned(codes::plane(tile, number) + words::size * slice) >> static_cast<int>(b);
    lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
      result[half] = lanes::plus_bit<bit_place<A>(half)>(words(result[half] + result[half]), bits);
    });
  });
  return result;
}

// Sums of products: integers where a row has one granule, else floats.
template <granule_width Width>
using tile_sum = std::conditional_t<Width == granule_width::row, std::int32_t, float>;

// The tiles of 16 rows and what they are multiplied with.
template <class Scale>
struct tile_row {
  const std::uint32_t* tile;
  std::size_t tile_words;
  std::size_t tiles;
  const int8_inputs* x;
  const Scale* scales;  // of every tile, or every half of one, 16, where a row has several
};

template <class View>
using view_tiles = tile_row<typename block_scales<typename View::number>::tile_scale>;

// How many tiles ahead of theirs scales are asked for.
inline constexpr std::size_t scales_ahead = 16;

// Members m .. m + Count - 1, one token each: input m is that of member m; one is the last of an odd number, else they
// are twos. Their sums stay in registers, of integers
// through all tiles, and all members pass a register of floors, so that none waits for its own last sum.
template <std::size_t Count, granule_width Width, class View, class Arch>
[[gnu::noinline]] void add_members(const view_tiles<View>& row, std::size_t m, tile_sum<Width>* sums) {
  using number = typename View::number;
  using words = lanes::words<Arch>;
  using ints = lanes::ints<Arch>;
  using floats = lanes::floats<Arch>;
  static_assert(Width != granule_width::run);
  // Of few members the sums would wait for each other.
  using dot_sum = lanes::dot_sum<number::bits, Arch, Count <= 2 ? 2 : 1>;
  constexpr std::size_t slices = row_tile::rows / words::size;
  const std::size_t line_words = 2 * row.x->count();
  lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
    // The first pass asks for what all of them read: behind it a panel is in second-level cache.
    const std::size_t lines = m == 0 && slice == 0 ? row.tile_words / 16 : 0;
    tile_sum<Width>* const place = sums + words::size * slice;
    std::array<ints, Count> totals;
    totals.fill(ints(0));
    std::array<floats, Count> scaled;
    if constexpr (Width == granule_width::group) {
      lanes::unrolled<Count>(
          [&](auto n) PLURIA_INLINE_LAMBDA { scaled[n] = floats::load_aligned(place + row_tile::rows * n); });
    }
    const std::uint32_t* tile = row.tile;
    const std::uint32_t* values = row.x->tile(0) + 2 * m;
    const std::int32_t* offsets = nullptr;
    if constexpr (Width == granule_width::group) {
      offsets = row.x->tile_offsets(0) + m;
    }
    for (std::size_t t = 0; t < row.tiles; ++t) {
      if constexpr (Width == granule_width::group) {
        lanes::unrolled<Count>([&](auto n) PLURIA_INLINE_LAMBDA { totals[n] = ints(offsets[n]); });
        offsets += line_words;
      }
      const auto dots = [&]<std::size_t... N>(std::index_sequence<N...>) PLURIA_INLINE_LAMBDA {
        return std::array<dot_sum, Count>{dot_sum(totals[N])...};
      };
      std::array<dot_sum, Count> of_tile = dots(std::make_index_sequence<Count>{});
      const std::uint32_t* const planes = tile + View::floor_words + row_tile::plane_words * m + words::size * slice;
      const auto add = [&](auto n, auto half, const words& codes)
                           PLURIA_INLINE_LAMBDA { of_tile[n].template add<half>(codes, words(values[2 * n + half])); };
      std::size_t line = 0;
      for (std::size_t b = 0; b < 2; ++b) {
        lanes::unrolled<2>([&](auto a) PLURIA_INLINE_LAMBDA {
          // Asked for a few lines at a time, in their order: all at once would wait for each other.
          for (const std::size_t end = lines * (2 * b + a + 1) / 4; line < end; ++line) {
            lanes::request_line(tile + words_ahead + 16 * line);
          }
          const std::array<words, 2> floors = codes_of_tile<number::bits, a, Arch>(tile, b, slice);
          if constexpr (Count == 1) {
            const words bits = words::load_aligned(planes) >> static_cast<int>(b);
            lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
              add(std::integral_constant<std::size_t, 0>{}, half,
                  lanes::plus_bit<bit_place<a>(half)>(floors[half], bits));
            });
          } else {
            lanes::unrolled<Count / 2>([&](auto pair) PLURIA_INLINE_LAMBDA {
              const words bits = words::load_aligned(planes + row_tile::plane_words * (2 * pair + b));
              lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
                const std::array<words, 2> codes =
                    lanes::plus_two_bits<number::bits, bit_place<a>(half)>(floors[half], bits);
                add(std::integral_constant<std::size_t, 2 * pair>{}, half, codes[0]);
                add(std::integral_constant<std::size_t, 2 * pair + 1>{}, half, codes[1]);
              });
            });
          }
          values += line_words;
        });
      }
      lanes::unrolled<Count>([&](auto n) PLURIA_INLINE_LAMBDA { totals[n] = of_tile[n].total(); });
      if constexpr (Width == granule_width::group) {
        const auto* const scales = row.scales + row_tile::rows * t + words::size * slice;
        if (lines > 0) {
          lanes::request_line(scales + row_tile::rows * scales_ahead);
        }
        const floats scale = scale_batch<Arch>(scales);
        lanes::unrolled<Count>([&](auto n) PLURIA_INLINE_LAMBDA {
          scaled[n] = lanes::multiply_add<Arch>(xsimd::to_float(totals[n]), scale, scaled[n]);
        });
      }
      tile += row.tile_words;
    }
    lanes::unrolled<Count>([&](auto n) PLURIA_INLINE_LAMBDA {
      if constexpr (Width == granule_width::row) {
        totals[n].store_aligned(place + row_tile::rows * n);
      } else {
        scaled[n].store_aligned(place + row_tile::rows * n);
      }
    });
  });
}

// All members, any number of tokens: a member's codes of a tile meet all of its tokens.
template <granule_width Width, class View, class Arch>
[[gnu::noinline]] void add_tokens(const view_tiles<View>& row, std::size_t members, const token_map& map,
                                  tile_sum<Width>* sums) {
  using number = typename View::number;
  using words = lanes::words<Arch>;
  using ints = lanes::ints<Arch>;
  using floats = lanes::floats<Arch>;
  constexpr std::size_t slices = row_tile::rows / words::size;
  using dot_sum = lanes::dot_sum<number::bits, Arch>;
  constexpr std::size_t granules = Width == granule_width::run ? 2 : 1;
  const std::size_t line_words = 2 * row.x->count();
  const std::uint32_t* tile = row.tile;
  for (std::size_t t = 0; t < row.tiles; ++t, tile += row.tile_words) {
    for (std::size_t word = 0; word < row.tile_words; word += 16) {
      lanes::request_line(tile + words_ahead + word);
    }
    const std::uint32_t* const values_of_tile = row.x->tile(t);
    const std::int32_t* offsets_of_tile = nullptr;
    if constexpr (Width != granule_width::row) {
      offsets_of_tile = row.x->tile_offsets(t);
    }
    lanes::unrolled<slices>([&](auto slice) PLURIA_INLINE_LAMBDA {
      std::array<std::array<words, 2>, 4> floors;
      lanes::unrolled<4>([&](auto a) PLURIA_INLINE_LAMBDA {
        floors[a] = codes_of_tile<number::bits, a % 2, Arch>(tile, a / 2, slice);
      });
      for (std::size_t m = 0; m < members; ++m) {
        const std::uint32_t* const planes =
            tile + View::floor_words + row_tile::plane_words * (m - m % 2) + words::size * slice;
        const bool is_alone = row_tile::is_alone(members, m);
        std::array<std::array<words, 2>, 4> codes;
        lanes::unrolled<4>([&](auto a) PLURIA_INLINE_LAMBDA {
          constexpr std::size_t b = a / 2;
          const words bits = is_alone
                                 ? words::load_aligned(planes) >> static_cast<int>(b)
                                 : words::load_aligned(planes + row_tile::plane_words * b) >> static_cast<int>(m % 2);
          lanes::unrolled<2>([&](auto half) PLURIA_INLINE_LAMBDA {
            codes[a][half] = lanes::plus_bit<bit_place<a % 2>(half)>(floors[a][half], bits);
          });
        });
        for (std::size_t token = 0; token < map.tokens; ++token) {
          const std::size_t input = map.input(m, token);
          const std::uint32_t* const values = values_of_tile + 2 * input;
          tile_sum<Width>* const place = sums + (m * map.tokens + token) * row_tile::rows + words::size * slice;
          const auto add = [&](dot_sum& sum, auto half) PLURIA_INLINE_LAMBDA {
            lanes::unrolled<4>([&](auto a) PLURIA_INLINE_LAMBDA {
              sum.template add<a>(codes[a][half], words(values[line_words * a + half]));
            });
          };
          constexpr std::integral_constant<std::size_t, 0> lower;
          constexpr std::integral_constant<std::size_t, 1> upper;
          if constexpr (Width == granule_width::row) {
            dot_sum sum(ints::load_aligned(place));
            add(sum, lower);
            add(sum, upper);
            sum.total().store_aligned(place);
          } else {
            const auto* const scales = row.scales + row_tile::rows * granules * t + words::size * slice;
            const std::int32_t* const offsets = offsets_of_tile + granules * input;
            floats total = floats::load_aligned(place);
            dot_sum sum{ints(offsets[0])};
            add(sum, lower);
            if constexpr (Width == granule_width::run) {
              total = lanes::multiply_add<Arch>(xsimd::to_float(sum.total()), scale_batch<Arch>(scales), total);
              sum = dot_sum{ints(offsets[1])};
            }
            add(sum, upper);
            lanes::multiply_add<Arch>(xsimd::to_float(sum.total()),
                                      scale_batch<Arch>(scales + row_tile::rows * (granules - 1)), total)
                .store_aligned(place);
          }
        }
      }
    });
  }
}

// Members from `m` on, Count at once while there are so many, then half of it.
template <std::size_t Count, granule_width Width, class View, class Arch>
void add_all_members(const view_tiles<View>& row, std::size_t m, std::size_t members, tile_sum<Width>* sums) {
  for (; m + Count <= members; m += Count) {
    add_members<Count, Width, View, Arch>(row, m, sums + row_tile::rows * m);
  }
  if constexpr (Count > 1) {
    add_all_members<Count / 2, Width, View, Arch>(row, m, members, sums);
  }
}

// Members whose sums stay in registers.
template <class Arch>
inline constexpr std::size_t members_in_registers = lanes::words<Arch>::size == 16 ? 8 : 4;

// Rows first .. last - 1 of the products; `first` begins a tile. `Single` where each member has one token: if it is the
// only one of a product, too, inputs are those of the members.
template <bool Single, granule_width Width, class View, class Arch>
void add_int8_tiles(const View& view, std::size_t first, std::size_t last, const int8_inputs& x, const token_map& map,
                    const output_rows& y) {
  using number = typename View::number;
  constexpr std::size_t rows_of_tile = row_tile::rows;
  const std::size_t members = view.members();
  const std::size_t blocks = blocks_per_row(view.grid().map.columns());
  const block_scales<number> scales_of(view.grid());
  aligned_vector<tile_sum<Width>> sums(members * map.tokens * rows_of_tile);
  aligned_vector<typename block_scales<number>::tile_scale> space;

  for (std::size_t row = first; row < last; row += rows_of_tile) {
    const std::size_t rows = std::min(rows_of_tile, last - row);
    std::fill(sums.begin(), sums.end(), tile_sum<Width>{});
    view_tiles<View> tiles{view.panel(row), view.tile_words(), 4 * blocks, &x, nullptr};
    if constexpr (Width != granule_width::row) {
      tiles.scales = scales_of.template of_tiles<Width>(row, space);
    }
    bool is_added = false;
    if constexpr (Single && Width != granule_width::run) {
      if (x.count() == members && (members == 1 || map.member_stride == 1)) {
        add_all_members<members_in_registers<Arch>, Width, View, Arch>(tiles, 0, members, sums.data());
        is_added = true;
      }
    }
    if (!is_added) {
      add_tokens<Width, View, Arch>(tiles, members, map, sums.data());
    }
    std::array<float, rows_of_tile> row_scales{};
    if constexpr (Width == granule_width::row) {
      for (std::size_t r = 0; r < rows; ++r) {
        row_scales[r] = scales_of.of_row(row + r);
      }
    }
    for (std::size_t m = 0; m < members; ++m) {
      for (std::size_t token = 0; token < map.tokens; ++token) {
        const std::size_t input = map.input(m, token);
        const tile_sum<Width>* const totals = sums.data() + (m * map.tokens + token) * rows_of_tile;
        const float scale = x.scale(input);
        std::array<float, rows_of_tile> results;
        for (std::size_t r = 0; r < rows_of_tile; ++r) {
          if constexpr (Width == granule_width::row) {
            results[r] = scale * row_scales[r] * static_cast<float>(totals[r] + number::min_code * x.sum(input));
          } else {
            results[r] = scale * totals[r];
          }
        }
        float* const out = y.row(m, token) + row;
        const auto add = [&](auto count) PLURIA_INLINE_LAMBDA {
          for (std::size_t r = 0; r < count; ++r) {
            out[r] += results[r];
          }
        };
        if (rows == rows_of_tile) {
          add(std::integral_constant<std::size_t, rows_of_tile>{});  // in lanes
        } else {
          add(rows);
        }
      }
    }
  }
}

}  // namespace pluria::detail
