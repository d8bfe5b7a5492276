// SPDX-License-Identifier: MIT
#pragma once
// The way of a panel of rows through its blocks, which the products of matvec.hpp have in common: every block is
// unpacked once, gives the codes of every member to every input of that member, and the sums of a panel become results.
// Sums are 16 side by side on every machine, in memory: in registers they would have to be of a number of members known
// to the compiler.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/row_tiles.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace pluria::detail {

// Rows that go through the columns together: their sums stay in first-level cache, and every block of an input is read
// from there by all of them. With one row, the sums of few members would wait for each other.
inline constexpr std::size_t panel_rows = 8;

// Where rows come in tiles, all of a tile: they are made rows at once.
template <class View>
inline constexpr std::size_t rows_of_panel = View::is_tiled ? row_tile::rows : panel_rows;

// Of one product.
template <class View>
inline constexpr std::size_t sums_of_panel = rows_of_panel<View> * 16;

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

// Rows of a panel whose floors stay in registers while the members go by, so that an input is loaded once for all of
// them. With the 32 registers of AVX-512 four rows take .89 to .9 of the time of one after the other (eight members);
// eight are no faster, and take a compiler twice as long.
template <class Arch>
inline constexpr std::size_t rows_in_registers = lanes::words<Arch>::size == 16 ? 4 : 1;

// One block of one row, all members: its floors, and the planes that raise some of them by one.
template <class View, class Arch>
struct member_codes {
  using unpacked = unpacked_block<Arch>;
  using bytes = typename unpacked::bytes;

  bytes floors;
  const std::byte* planes;

  PLURIA_INLINE bytes of(std::size_t member) const {
    bytes codes = floors;
    if constexpr (View::has_planes) {
      for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
        codes[half][slice] =
            lanes::plus_bits(floors[half][slice], planes + 16 * member + 8 * half + unpacked::width / 2 * slice);
      });
    }
    return codes;
  }
};

// The same block of `Rows` rows.
template <class View, class Arch, std::size_t Rows>
using block_codes = std::array<member_codes<View, Arch>, Rows>;

// The products of a panel of rows. What the two kinds of activations have in common: the way through the blocks.
template <class View, class Arch, std::size_t Rows>
class panel_reader {
 public:
  static_assert(panel_rows % Rows == 0);

  panel_reader(const View& view, std::size_t blocks) : view_(view), blocks_(blocks) {
    if constexpr (View::is_tiled) {
      floors_.resize(row_tile::rows * block_size / 4);
      planes_.resize(row_tile::rows * 4 * view.members());
    } else if constexpr (View::has_planes) {
      planes_.resize(Rows * 4 * view.members());
    }
  }

  // Calls work(r, index, codes) for every block of rows first + r, block by block, `Rows` rows at once: codes are the
  // block_codes of rows first + r, first + r + 1, ...; behind the last row stands the last again. Meanwhile
  // what comes next is asked for.
  //
  // Two blocks at once, with half the loads and stores of sums, take 0.97 of the time from cache but 1.04 from memory.
  template <class Work>
  PLURIA_INLINE void operator()(std::size_t first, std::size_t rows, Work&& work) {
    if constexpr (View::is_tiled) {
      tiled_rows(first, rows, work);
    } else {
      stored_rows(first, rows, work);
    }
  }

 private:
  template <class Work>
  PLURIA_INLINE void stored_rows(std::size_t first, std::size_t rows, Work& work) {
    const std::size_t block_words = view_.block_words();
    const std::size_t row_words = blocks_ * block_words;
    const std::uint32_t* column = view_.first_block() + first * row_words;
    for (std::size_t index = 0; index < blocks_; ++index, column += block_words) {
      for_each_codes(
          rows,
          [&](auto i, std::size_t row, member_codes<View, Arch>& codes) PLURIA_INLINE_LAMBDA {
            const std::uint32_t* const block = column + row * row_words;
            const std::uint32_t* const ahead = block + panel_rows * row_words;
            for (std::size_t word = 0; word < block_words; word += 16) {
              lanes::request_line(ahead + word);
            }
            codes.floors = unpack<View::number::bits, Arch>(block);
            codes.planes = nullptr;
            if constexpr (View::has_planes) {
              std::uint32_t* const planes = planes_.data() + i * 4 * view_.members();
              view_.make_planes(first + row, index, block, planes);
              codes.planes = reinterpret_cast<const std::byte*>(planes);
            }
          },
          [&](std::size_t r, const auto& codes) PLURIA_INLINE_LAMBDA { work(r, index, codes); });
    }
  }

  template <class Work>
  PLURIA_INLINE void tiled_rows(std::size_t first, std::size_t rows, Work& work) {
    for (std::size_t index = 0; index < blocks_; ++index) {
      view_.template rows<Arch>(first, index, {floors_.data(), block_size / 4, planes_.data(), 4 * view_.members()});
      for_each_codes(
          rows,
          [&](auto, std::size_t row, member_codes<View, Arch>& codes) PLURIA_INLINE_LAMBDA {
            const std::size_t in_tile = (first + row) % row_tile::rows;
            codes.floors = load_bytes<Arch>(floors_.data() + in_tile * (block_size / 4));
            codes.planes = reinterpret_cast<const std::byte*>(planes_.data() + in_tile * 4 * view_.members());
          },
          [&](std::size_t r, const auto& codes) PLURIA_INLINE_LAMBDA { work(r, index, codes); });
    }
  }

  // Calls get(i, row, codes) for all rows of a panel, `Rows` at once, and work(row, block_codes) for these.
  template <class Get, class Work>
  PLURIA_INLINE static void for_each_codes(std::size_t rows, Get&& get, Work&& work) {
    for (std::size_t r = 0; r < rows; r += Rows) {
      block_codes<View, Arch, Rows> codes;
      lanes::unrolled<Rows>([&](auto i) PLURIA_INLINE_LAMBDA {
        if constexpr (i > 0) {
          if (r + i >= rows) {
            codes[i] = codes[i - 1];
            return;
          }
        }
        get(i, r + i, codes[i]);
      });
      work(r, codes);
    }
  }

  View view_;
  std::size_t blocks_;
  aligned_vector<std::uint32_t> floors_;  // of the rows of a tile
  aligned_vector<std::uint32_t> planes_;  // of these, or of a block, where they are made
};

// Calls work(input, product, codes_of) for every member and token of a block; codes_of(r) are the bytes of the member
// in row r of the block's. `Single` where each member has one token: then there is no loop inside the loop over the
// members (with one, ten members take 1.3 times as long).
template <bool Single, class View, class Arch, std::size_t Rows, class Work>
PLURIA_INLINE void for_each_product(const block_codes<View, Arch, Rows>& block, std::size_t members,
                                    const token_map& map, Work&& work) {
  using bytes = typename unpacked_block<Arch>::bytes;
  for (std::size_t m = 0; m < members; ++m) {
    if constexpr (Single) {
      work(map.first + m * map.member_stride, m, [&](auto r) PLURIA_INLINE_LAMBDA -> bytes { return block[r].of(m); });
    } else {
      std::array<bytes, Rows> codes;
      lanes::unrolled<Rows>([&](auto r) PLURIA_INLINE_LAMBDA { codes[r] = block[r].of(m); });
      for (std::size_t t = 0; t < map.tokens; ++t) {
        work(map.input(m, t), m * map.tokens + t,
             [&](auto r) PLURIA_INLINE_LAMBDA -> const bytes& { return codes[r]; });
      }
    }
  }
}

// Rows first .. last - 1 of the products, panel by panel: add_block(row, index, codes, sums) adds a block of `Rows`
// rows to the sums of every product, member after member, token after token: 16 for each row of the panel, those of a
// row 16 behind the last one's, those of a product sums_of_panel. Then what results_of(row, rows) gives, called with
// (input, sums, stride, out), adds what they become to `rows` results of a product, whose sums are `stride` apart.
template <class Sum, class Arch, std::size_t Rows, class View, class AddBlock, class ResultsOf>
PLURIA_INLINE void for_each_panel(const View& view, std::size_t first, std::size_t last, const token_map& map,
                                  const output_rows& y, AddBlock&& add_block, ResultsOf&& results_of) {
  const std::size_t products = view.members() * map.tokens;
  panel_reader<View, Arch, Rows> read(view, blocks_per_row(view.grid().map.columns()));
  aligned_vector<Sum> sums(products * sums_of_panel<View>);
  for (std::size_t row = first, rows = 0; row < last; row += rows) {
    rows = std::min(rows_of_panel<View> - (View::is_tiled ? row % row_tile::rows : 0), last - row);
    std::fill(sums.begin(), sums.end(), Sum{});
    read(row, rows, [&](std::size_t r, std::size_t index, const auto& block) PLURIA_INLINE_LAMBDA {
      add_block(row + r, index, block, sums.data() + r * 16);
    });
    for (std::size_t r = 0; r < rows; r += panel_rows) {
      const auto add_results = results_of(row + r, std::min(panel_rows, rows - r));
      for (std::size_t m = 0; m < view.members(); ++m) {
        for (std::size_t t = 0; t < map.tokens; ++t) {
          const Sum* const of_product = sums.data() + (m * map.tokens + t) * sums_of_panel<View> + 16 * r;
          add_results(map.input(m, t), of_product, 16, y.row(m, t) + row + r);
        }
      }
    }
  }
}

}  // namespace pluria::detail
