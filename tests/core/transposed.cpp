// SPDX-License-Identifier: MIT

#include <pluria/core/transposed.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

namespace transposing = pluria::lanes;

std::vector<std::uint32_t> made_words(std::size_t count) {
  std::vector<std::uint32_t> words(count);
  for (std::size_t i = 0; i < count; ++i) {
    words[i] = support::mixed(static_cast<std::uint32_t>(i) + 1);
  }
  return words;
}

// Where tiles_of_bits moves bit 16 a + 4 i + c of word 2 p + h to, counted through all four words.
std::size_t moved_to(std::size_t bit) {
  const std::size_t p = bit / 64;
  const std::size_t h = bit / 32 % 2;
  const std::size_t a = bit / 16 % 2;
  const std::size_t i = bit / 4 % 4;
  const std::size_t c = bit % 4;
  return 32 * i + 8 * c + 4 * h + 2 * a + p;
}

using four_words = std::array<std::uint32_t, 4>;

bool bit_of(const four_words& lines, std::size_t bit) {
  return (lines[bit / 32] >> bit % 32 & 1U) != 0;
}

TEST_CASE("bits go to their places in four words, and back", "[core]") {
  for (std::size_t bit = 0; bit < 128; ++bit) {
    four_words lines{};
    lines[bit / 32] = 1U << bit % 32;
    four_words moved = lines;
    transposing::tiles_of_bits(moved);
    CHECK(bit_of(moved, moved_to(bit)));
    CHECK(std::popcount(moved[0]) + std::popcount(moved[1]) + std::popcount(moved[2]) + std::popcount(moved[3]) == 1);
    transposing::rows_of_bits(moved);
    CHECK(moved == lines);
  }
}

TEST_CASE("bits of all lanes go where those of one word go", "[core]") {
  CHECK(support::for_each_architecture([](auto arch) {
          using words = transposing::words<decltype(arch)>;
          CAPTURE(decltype(arch)::name());
          const std::vector<std::uint32_t> made = made_words(4 * words::size);
          std::array<words, 4> lines;
          for (std::size_t i = 0; i < 4; ++i) {
            lines[i] = words::load_unaligned(&made[words::size * i]);
          }
          std::vector<std::uint32_t> moved(made.size());
          std::vector<std::uint32_t> back(made.size());
          transposing::tiles_of_bits(lines);
          for (std::size_t i = 0; i < 4; ++i) {
            lines[i].store_unaligned(&moved[words::size * i]);
          }
          transposing::rows_of_bits(lines);
          for (std::size_t i = 0; i < 4; ++i) {
            lines[i].store_unaligned(&back[words::size * i]);
          }
          for (std::size_t lane = 0; lane < words::size; ++lane) {
            four_words own{};
            four_words found{};
            for (std::size_t i = 0; i < 4; ++i) {
              own[i] = made[words::size * i + lane];
              found[i] = moved[words::size * i + lane];
            }
            transposing::tiles_of_bits(own);
            CHECK(found == own);
          }
          CHECK(back == made);
        }) >= 1);
}

TEST_CASE("four words of 16 rows become columns and rows again, alike in lanes and one by one", "[core]") {
  // In the middle of others.
  constexpr std::size_t stride = 7;
  constexpr std::size_t column_stride = 19;
  const std::vector<std::uint32_t> rows = made_words(16 * stride);
  std::vector<std::uint32_t> columns(4 * column_stride, 5);
  std::vector<std::uint32_t> twin = columns;
  transposing::columns_of_rows(rows.data(), stride, columns.data(), column_stride);
  transposing::columns_of_rows_one_by_one(rows.data(), stride, twin.data(), column_stride);
  CHECK(columns == twin);
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t place = 0; place < column_stride; ++place) {
      CHECK(columns[i * column_stride + place] == (place < 16 ? rows[place * stride + i] : 5));
    }
  }
  std::vector<std::uint32_t> back(16 * stride, 5);
  std::vector<std::uint32_t> twin_back = back;
  transposing::rows_of_columns(columns.data(), column_stride, back.data(), stride);
  transposing::rows_of_columns_one_by_one(columns.data(), column_stride, twin_back.data(), stride);
  CHECK(back == twin_back);
  for (std::size_t place = 0; place < back.size(); ++place) {
    CHECK(back[place] == (place % stride < 4 ? rows[place] : 5));
  }
}

}  // namespace
