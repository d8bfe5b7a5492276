// SPDX-License-Identifier: MIT

#include <pluria/core/float16.hpp>
#include <pluria/kernel/weighted_rows.hpp>
#include <pluria/nn/key_value_cache.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::cache_sizes;
using pluria::cache_type;
using pluria::key_value_cache;
using pluria::stored_rows;

float at(const stored_rows& rows, std::size_t row, std::size_t column) {
  const std::size_t bytes = pluria::size_of(rows.type);
  const std::byte* const place = rows.values + (row * rows.width + column) * bytes;
  if (rows.type == pluria::dtype::f32) {
    float value = 0;
    std::memcpy(&value, place, bytes);
    return value;
  }
  std::uint16_t value = 0;
  std::memcpy(&value, place, bytes);
  return pluria::float_from_half(value);
}

// Keys and values of two layers are given in two steps, and no two are alike.
struct filled_cache {
  cache_sizes sizes;
  key_value_cache cache;

  filled_cache(const cache_sizes& of, cache_type type) : sizes(of), cache(of, type) {
    for (std::size_t layer = 0; layer < sizes.layers; ++layer) {
      for (const auto& [first, count] : {std::pair<std::size_t, std::size_t>{0, 3}, {3, sizes.capacity - 3}}) {
        cache.store(layer, first, given(layer, first, count, 0), given(layer, first, count, 500000));
      }
    }
    cache.extend(sizes.capacity);
  }

  static float value(std::size_t layer, std::size_t member, std::size_t position, std::size_t column,
                     std::size_t offset) {
    return support::integer_weight(
        static_cast<std::uint32_t>(offset + ((layer * 10 + member) * 100 + position) * 100 + column), 3.0F);
  }

  activations given(std::size_t layer, std::size_t first, std::size_t count, std::size_t offset) const {
    activations made(sizes.members, count, sizes.heads * sizes.head_width);
    for (std::size_t m = 0; m < sizes.members; ++m) {
      for (std::size_t row = 0; row < count; ++row) {
        for (std::size_t column = 0; column < made.width(); ++column) {
          made.member(m)(static_cast<Eigen::Index>(row), static_cast<Eigen::Index>(column)) =
              value(layer, m, first + row, column, offset);
        }
      }
    }
    return made;
  }

  // Whether positions first .. first + count - 1 of every head come back as round(what was given).
  template <class Round>
  bool gives_back(std::size_t first, std::size_t count, Round round) const {
    bool same = true;
    for (std::size_t layer = 0; layer < sizes.layers; ++layer) {
      for (std::size_t m = 0; m < sizes.members; ++m) {
        for (std::size_t head = 0; head < sizes.heads; ++head) {
          const stored_rows values = cache.values(layer, m, head, first, count);
          same = same && values.count == count && values.width == cache.row_width();
          for (std::size_t i = 0; same && i < count; ++i) {
            const std::size_t position = first + i;
            const stored_rows keys = cache.keys(layer, m, head, position / key_value_cache::block_positions);
            same = keys.count == sizes.head_width && keys.width == key_value_cache::block_positions;
            for (std::size_t j = 0; same && j < sizes.head_width; ++j) {
              const std::size_t column = head * sizes.head_width + j;
              same = at(keys, j, position % key_value_cache::block_positions) ==
                         round(value(layer, m, position, column, 0)) &&
                     at(values, i, j) == round(value(layer, m, position, column, 500000));
            }
            for (std::size_t j = sizes.head_width; same && j < values.width; ++j) {
              same = at(values, i, j) == 0.0F;
            }
          }
        }
      }
    }
    return same;
  }
};

TEST_CASE("what a cache is given comes back from its place, as it is or as the nearest float16", "[nn]") {
  // Widths that fill batches and do not.
  for (const std::size_t head_width : {1U, 6U, 12U, 16U, 64U}) {
    const cache_sizes sizes{3, 2, 70, 2, head_width};
    const filled_cache floats(sizes, cache_type::float32);
    const filled_cache halves(sizes, cache_type::float16);
    const auto same = [](float value) { return value; };
    const auto half = [](float value) { return pluria::float_from_half(pluria::half_from_float(value)); };
    for (const auto& [first, count] : {std::pair<std::size_t, std::size_t>{0, 70}, {0, 1}, {2, 40}, {69, 1}, {70, 0}}) {
      CAPTURE(head_width, first, count);
      CHECK(floats.gives_back(first, count, same));
      CHECK(halves.gives_back(first, count, half));
    }
    CHECK_FALSE(halves.gives_back(0, 70, same));
  }
}

TEST_CASE("keys of a position that is stored again are the new ones", "[nn]") {
  key_value_cache cache({1, 1, 40, 1, 16}, cache_type::float32);
  const activations first = support::made_activations(1, 40, 16, 1);
  const activations again = support::made_activations(1, 7, 16, 5000);
  cache.store(0, 0, first, first);
  cache.store(0, 33, again, again);
  for (std::size_t position = 0; position < 40; ++position) {
    const float expected = position < 33 ? first.values()(static_cast<Eigen::Index>(position), 5)
                                         : again.values()(static_cast<Eigen::Index>(position - 33), 5);
    CHECK(at(cache.keys(0, 0, 0, position / 32), 5, position % 32) == expected);
    CHECK(at(cache.values(0, 0, 0, position, 1), 0, 5) == expected);
  }
}

TEST_CASE("a cache knows its bytes, length and capacity, and forgets", "[nn]") {
  const cache_sizes sizes{2, 3, 5, 4, 8};
  key_value_cache cache(sizes);
  CHECK(cache.type() == cache_type::float16);
  CHECK(cache.sizes() == sizes);
  CHECK(cache.capacity() == 5);
  CHECK(cache.length() == 0);
  // Keys of whole blocks of 32 positions, values filled up to 16.
  CHECK(cache.bytes() == std::size_t{2} * 3 * 4 * (32 * 8 + 5 * 16) * 2);
  CHECK(key_value_cache({2, 3, 64, 4, 64}).bytes() == std::size_t{2} * 3 * 4 * (2 * 64 * 64) * 2);
  CHECK(key_value_cache(sizes, cache_type::float32).bytes() == 2 * cache.bytes());
  cache.extend(4);
  CHECK(cache.length() == 4);
  CHECK_THROWS_AS(cache.extend(2), pluria::precondition_error);
  cache.truncate(1);
  CHECK(cache.length() == 1);
  CHECK_THROWS_AS(cache.truncate(2), pluria::precondition_error);
  cache.extend(4);
  CHECK(cache.length() == 5);
}

TEST_CASE("values beyond float16 are refused by a float16 cache alone", "[nn]") {
  for (const float large : {65520.0F, -1e6F, std::numeric_limits<float>::quiet_NaN()}) {
    activations fits(1, 1, 2);
    fits.values() << 65519.0F, -65519.0F;
    activations beyond(1, 1, 2);
    beyond.values() << 1.0F, large;
    key_value_cache halves({1, 1, 1, 1, 2}, cache_type::float16);
    CHECK_NOTHROW(halves.store(0, 0, fits, fits));
    CHECK_THROWS_AS(halves.store(0, 0, fits, beyond), pluria::bad_input);
    CHECK_THROWS_AS(halves.store(0, 0, beyond, fits), pluria::bad_input);
    key_value_cache floats({1, 1, 1, 1, 2}, cache_type::float32);
    CHECK_NOTHROW(floats.store(0, 0, beyond, beyond));
  }
}

TEST_CASE("what does not fit into the cache is refused", "[nn]") {
  key_value_cache cache({2, 3, 5, 4, 8});
  const auto store = [&](std::size_t layer, std::size_t first, std::size_t members, std::size_t rows,
                         std::size_t width) {
    activations given(members, rows, width);
    given.values().setZero();
    cache.store(layer, first, given, given);
  };
  CHECK_NOTHROW(store(2, 3, 2, 2, 32));
  CHECK_THROWS_AS(store(3, 3, 2, 2, 32), pluria::precondition_error);
  CHECK_THROWS_AS(store(2, 4, 2, 2, 32), pluria::precondition_error);
  CHECK_THROWS_AS(store(2, 6, 2, 0, 32), pluria::precondition_error);
  CHECK_THROWS_AS(store(2, 3, 1, 2, 32), pluria::precondition_error);
  CHECK_THROWS_AS(store(2, 3, 2, 2, 31), pluria::precondition_error);
  activations one(2, 1, 32);
  activations two(2, 2, 32);
  CHECK_THROWS_AS(cache.store(0, 0, one, two), pluria::precondition_error);
  const std::size_t many = std::size_t{1} << 32;
  CHECK_THROWS_AS(key_value_cache({many, many, 1, 1, 1}), pluria::bad_input);
}

}  // namespace
