// SPDX-License-Identifier: MIT

#include <pluria/core/transposed.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

namespace transposing = pluria::lanes;

std::vector<std::byte> made_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::byte>(support::mixed(static_cast<std::uint32_t>(i) + 1) & 0xffU);
  }
  return bytes;
}

bool bit_of(const std::byte* bytes, std::size_t bit) {
  return (bytes[bit / 8] >> bit % 8 & std::byte{1}) != std::byte{0};
}

// Rows and tiles in the middle of others.
constexpr std::size_t stride = 24;
constexpr std::size_t tile_stride = 80;
constexpr std::size_t tile_words = 70;

TEST_CASE("bits of 16 rows go to tiles and back, alike in lanes and one by one", "[core]") {
  const std::vector<std::byte> rows = made_bytes(16 * stride);
  std::vector<std::byte> tiles(4 * tile_stride);
  std::vector<std::byte> twin(4 * tile_stride);
  transposing::tiles_of_bits(rows.data(), stride, tiles.data(), tile_stride);
  transposing::tiles_of_bits_one_by_one(rows.data(), stride, twin.data(), tile_stride);
  CHECK(tiles == twin);
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::size_t a = 0; a < 4; ++a) {
        for (std::size_t i = 0; i < 4; ++i) {
          for (std::size_t c = 0; c < 4; ++c) {
            const bool expected = bit_of(rows.data() + row * stride, 64 * h + 16 * a + 4 * i + c);
            wrong += bit_of(tiles.data() + i * tile_stride, 64 * (2 * a + h) + 4 * row + c) == expected ? 0U : 1U;
          }
        }
      }
    }
  }
  CHECK(wrong == 0);
  std::vector<std::byte> back(16 * stride);
  std::vector<std::byte> twin_back(16 * stride);
  transposing::rows_of_bits(tiles.data(), tile_stride, back.data(), stride);
  transposing::rows_of_bits_one_by_one(tiles.data(), tile_stride, twin_back.data(), stride);
  CHECK(back == twin_back);
  for (std::size_t row = 0; row < 16; ++row) {
    CHECK(std::memcmp(back.data() + row * stride, rows.data() + row * stride, 16) == 0);
  }
}

TEST_CASE("words of 16 rows go to tiles and back, alike in lanes and one by one", "[core]") {
  std::vector<std::uint32_t> rows(256);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = support::mixed(static_cast<std::uint32_t>(i));
  }
  std::vector<std::uint32_t> tiles(4 * tile_words);
  std::vector<std::uint32_t> twin(4 * tile_words);
  transposing::tiles_of_words(rows.data(), tiles.data(), tile_words);
  transposing::tiles_of_words_one_by_one(rows.data(), twin.data(), tile_words);
  CHECK(tiles == twin);
  for (std::size_t place = 0; place < 256; ++place) {
    const std::size_t word = place % 16;
    CHECK(tiles[word % 4 * tile_words + 16 * (word / 4) + place / 16] == rows[place]);
  }
  std::vector<std::uint32_t> back(256);
  transposing::rows_of_words(tiles.data(), tile_words, back.data());
  CHECK(back == rows);
  transposing::rows_of_words_one_by_one(tiles.data(), tile_words, back.data());
  CHECK(back == rows);
}

}  // namespace
