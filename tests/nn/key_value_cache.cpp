// SPDX-License-Identifier: MIT

#include <pluria/core/float16.hpp>
#include <pluria/nn/key_value_cache.hpp>
#include <support/catch.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::cache_sizes;
using pluria::cache_type;
using pluria::key_value_cache;
using pluria::row_major_matrix;

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
    row_major_matrix space;
    for (std::size_t layer = 0; layer < sizes.layers; ++layer) {
      for (std::size_t m = 0; m < sizes.members; ++m) {
        for (std::size_t head = 0; head < sizes.heads; ++head) {
          for (const std::size_t offset : {std::size_t{0}, std::size_t{500000}}) {
            const auto found = offset == 0 ? cache.keys(layer, m, head, first, count, space)
                                           : cache.values(layer, m, head, first, count, space);
            same = same && found.rows() == static_cast<Eigen::Index>(count) &&
                   found.cols() == static_cast<Eigen::Index>(sizes.head_width);
            for (Eigen::Index i = 0; same && i < found.rows(); ++i) {
              for (Eigen::Index j = 0; j < found.cols(); ++j) {
                const float expected = value(layer, m, first + static_cast<std::size_t>(i),
                                             head * sizes.head_width + static_cast<std::size_t>(j), offset);
                same = same && found(i, j) == round(expected);
              }
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
    const cache_sizes sizes{3, 2, 9, 2, head_width};
    const filled_cache floats(sizes, cache_type::float32);
    const filled_cache halves(sizes, cache_type::float16);
    const auto same = [](float value) { return value; };
    const auto half = [](float value) { return pluria::float_from_half(pluria::half_from_float(value)); };
    for (const auto& [first, count] : {std::pair<std::size_t, std::size_t>{0, 9}, {0, 1}, {2, 4}, {8, 1}, {9, 0}}) {
      CAPTURE(head_width, first, count);
      CHECK(floats.gives_back(first, count, same));
      CHECK(halves.gives_back(first, count, half));
    }
    CHECK_FALSE(halves.gives_back(0, 9, same));
  }
}

TEST_CASE("every float16 comes back", "[nn]") {
  key_value_cache cache({1, 1, 1, 1, 65536}, cache_type::float16);
  activations given(1, 1, 65536);
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = pluria::float_from_half(static_cast<std::uint16_t>(bits));
    given.values()(0, bits) = std::isfinite(value) ? value : 0.0F;
  }
  cache.store(0, 0, given, given);
  row_major_matrix space;
  CHECK(cache.keys(0, 0, 0, 0, 1, space) == given.values());
}

TEST_CASE("a cache knows its bytes, length and capacity, and forgets", "[nn]") {
  const cache_sizes sizes{2, 3, 5, 4, 8};
  key_value_cache cache(sizes);
  CHECK(cache.type() == cache_type::float16);
  CHECK(cache.sizes() == sizes);
  CHECK(cache.capacity() == 5);
  CHECK(cache.length() == 0);
  CHECK(cache.bytes() == std::size_t{2} * 2 * 3 * 5 * 4 * 8 * 2);
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
  const std::size_t many = std::size_t{1} << 32;
  CHECK_THROWS_AS(key_value_cache({many, many, 1, 1, 1}), pluria::bad_input);
}

}  // namespace
