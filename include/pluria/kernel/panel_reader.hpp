// SPDX-License-Identifier: MIT
#pragma once
// The way of a panel of rows through its blocks, which the products of matvec.hpp have in common: every block is
// unpacked once, gives the codes of every member to every input of that member, and the sums of a panel become results.
// Sums are 16 side by side on every machine, in memory: in registers they would have to be of a number of members known
// to the compiler, and were no faster (AVX-512, ten members: 1.3 ns for 128 columns and a member in memory, 1.4 to 2.2
// in registers).

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/tensor/packing.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

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
  panel_reader(const View& view, std::size_t blocks) : view_(view), blocks_(blocks) {
    if constexpr (View::has_planes) {
      planes_.resize(4 * view.members());
    }
  }

  // Calls work(r, index, codes) for every block of rows first + r, block by block; codes are its member_codes.
  // Meanwhile the same block of the next panel is asked for.
  //
  // Two blocks at once, with half the loads and stores of sums, take 0.97 of the time from cache but 1.04 from memory.
  template <class Work>
  PLURIA_INLINE void operator()(std::size_t first, std::size_t rows, Work&& work) {
    const std::size_t block_words = view_.block_words();
    const std::size_t row_words = blocks_ * block_words;
    const std::uint32_t* column = view_.first_block() + first * row_words;
    for (std::size_t index = 0; index < blocks_; ++index, column += block_words) {
      const std::uint32_t* block = column;
      for (std::size_t r = 0; r < rows; ++r, block += row_words) {
        const std::uint32_t* const ahead = block + panel_rows * row_words;
        for (std::size_t word = 0; word < block_words; word += 16) {
          lanes::request_line(ahead + word);
        }
        const std::byte* planes = nullptr;
        if constexpr (View::has_planes) {
          planes = reinterpret_cast<const std::byte*>(view_.planes(first + r, index, block, planes_.data()));
        }
        work(r, index, member_codes<View, Arch>(unpack<View::number::bits, Arch>(block), planes));
      }
    }
  }

 private:
  View view_;
  std::size_t blocks_;
  aligned_vector<std::uint32_t> planes_;  // of a block, where they are made
};

// Calls work(codes of a member, input, product) for every member and token of a block; `Single` where each member has
// one token: then there is no loop inside the loop over the members (with one, ten members take 1.3 times as long).
template <bool Single, class View, class Arch, class Work>
PLURIA_INLINE void for_each_product(const member_codes<View, Arch>& block, std::size_t members, const token_map& map,
                                    Work&& work) {
  for (std::size_t m = 0; m < members; ++m) {
    const auto codes = block.of(m);
    if constexpr (Single) {
      work(codes, map.first + m * map.member_stride, m);
    } else {
      for (std::size_t t = 0; t < map.tokens; ++t) {
        work(codes, map.input(m, t), m * map.tokens + t);
      }
    }
  }
}

// Rows first .. last - 1 of the products, panel by panel: add_block(row, index, codes, sums) adds a block of a row to
// the 16 sums of every product, member after member, token after token; then what results_of(row, rows) gives, called
// with (input, sums, stride, out), adds what they become to `rows` results of a product, whose sums are `stride` apart.
template <class Sum, class Arch, class View, class AddBlock, class ResultsOf>
PLURIA_INLINE void for_each_panel(const View& view, std::size_t first, std::size_t last, const token_map& map,
                                  const output_rows& y, AddBlock&& add_block, ResultsOf&& results_of) {
  const std::size_t products = view.members() * map.tokens;
  panel_reader<View, Arch> read(view, blocks_per_row(view.grid().map.columns()));
  aligned_vector<Sum> sums(panel_rows * products * 16);
  for (std::size_t row = first; row < last; row += panel_rows) {
    const std::size_t rows = std::min(panel_rows, last - row);
    std::fill(sums.begin(), sums.end(), Sum{});
    read(row, rows, [&](std::size_t r, std::size_t index, const auto& block) PLURIA_INLINE_LAMBDA {
      add_block(row + r, index, block, sums.data() + r * products * 16);
    });
    const auto add_results = results_of(row, rows);
    for (std::size_t m = 0; m < view.members(); ++m) {
      for (std::size_t t = 0; t < map.tokens; ++t) {
        const Sum* const of_product = sums.data() + (m * map.tokens + t) * 16;
        add_results(map.input(m, t), of_product, products * 16, y.row(m, t) + row);
      }
    }
  }
}

}  // namespace pluria::detail
