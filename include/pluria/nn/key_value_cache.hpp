// SPDX-License-Identifier: MIT
#pragma once
// Keys and values of the tokens that attention looks back on: those of one sequence, in all layers and members. Values
// of a head lie together, position after position. Its keys lie in blocks of 32 positions, and within a block column
// after column, so that the scores of 32 positions are sums of rows as the weighted values are, without a sum across
// the lanes of a batch. Memory is asked for at once, but pages that no position has reached take none.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/kernel/weighted_rows.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/convert.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace pluria {

/// How keys and values are kept. float16 rounds each to the nearest: relatively by 2^-11 at most.
enum class cache_type { float32, float16 };

/// The sizes of a cache.
struct cache_sizes {
  std::size_t members = 0;
  std::size_t layers = 0;
  std::size_t capacity = 0;  ///< positions
  std::size_t heads = 0;     ///< of keys and values
  std::size_t head_width = 0;

  friend bool operator==(const cache_sizes&, const cache_sizes&) = default;
};

class key_value_cache {
 public:
  /// Positions of a block of keys: the columns of 32 float16 fill a cache line.
  static constexpr std::size_t block_positions = 32;

  /// Throws bad_input when the bytes do not fit into 64 bits.
  explicit key_value_cache(const cache_sizes& sizes, cache_type type = cache_type::float16)
      : sizes_(sizes),
        type_(type),
        keys_(all_heads(sizes.capacity / block_positions + (sizes.capacity % block_positions == 0 ? 0 : 1),
                        block_bytes())),
        values_(all_heads(sizes.capacity, row_bytes())) {}

  const cache_sizes& sizes() const noexcept { return sizes_; }
  cache_type type() const noexcept { return type_; }
  std::size_t length() const noexcept { return length_; }  ///< positions that are filled
  std::size_t capacity() const noexcept { return sizes_.capacity; }
  std::size_t bytes() const noexcept { return keys_.size() + values_.size(); }  ///< of the whole capacity

  /// Forgets all positions from `length` on. Throws precondition_error when there are fewer.
  void truncate(std::size_t length) {
    require(length <= length_, "key_value_cache: cannot be cut to more than it holds");
    length_ = length;
  }

  /// Makes the next `count` positions part of the sequence, after all layers have stored them.
  void extend(std::size_t count) {
    require(count <= capacity() - length_, "key_value_cache: no room");
    length_ += count;
  }

  /// Stores keys and values, all heads side by side, of positions first, first + 1, ... of a layer. Throws bad_input
  /// for what float16 cannot hold, precondition_error when the sizes do not fit.
  void store(std::size_t layer, std::size_t first, const activations& keys, const activations& values) {
    check(layer, first, keys);
    check(layer, first, values);
    require(keys.rows() == values.rows(), "key_value_cache: as many keys as values");
    const std::size_t width = sizes_.head_width;
    const std::size_t bytes = size_of(value_type());
    std::vector<std::byte> column(width * bytes);
    for (std::size_t m = 0; m < sizes_.members; ++m) {
      for (std::size_t row = 0; row < keys.rows(); ++row) {
        for (std::size_t head = 0; head < sizes_.heads; ++head) {
          const std::size_t position = first + row;
          std::byte* const block = keys_.data() + block_offset(layer, m, head, position / block_positions);
          if (position % block_positions == 0) {
            std::memset(block, 0, block_bytes());
          }
          write_weights(of_head(keys, m, row, head), value_type(), column);
          for (std::size_t i = 0; i < width; ++i) {
            std::memcpy(block + (i * block_positions + position % block_positions) * bytes, column.data() + i * bytes,
                        bytes);
          }
          const std::span to = std::span(values_).subspan(row_offset(layer, m, head, position), row_bytes());
          write_weights(of_head(values, m, row, head), value_type(), to.first(width * bytes));
          std::fill(to.begin() + static_cast<std::ptrdiff_t>(width * bytes), to.end(), std::byte{0});
        }
      }
    }
  }

  /// The keys of a head at block_positions positions from block_positions * block on: a row for each of its columns,
  /// with the positions side by side. Those that are not stored yet may be anything.
  stored_rows keys(std::size_t layer, std::size_t member, std::size_t head, std::size_t block) const noexcept {
    return {keys_.data() + block_offset(layer, member, head, block), value_type(), sizes_.head_width, block_positions};
  }

  /// The values of a head at positions first, ..., first + count - 1: a row of row_width() for each, filled up with
  /// zeros.
  stored_rows values(std::size_t layer, std::size_t member, std::size_t head, std::size_t first,
                     std::size_t count) const noexcept {
    return {values_.data() + row_offset(layer, member, head, first), value_type(), count, row_width()};
  }

  std::size_t row_width() const noexcept {
    return (sizes_.head_width + row_multiple - 1) / row_multiple * row_multiple;
  }

 private:
  dtype value_type() const noexcept { return type_ == cache_type::float32 ? dtype::f32 : dtype::f16; }
  std::size_t row_bytes() const noexcept { return row_width() * size_of(value_type()); }
  std::size_t block_bytes() const noexcept { return sizes_.head_width * block_positions * size_of(value_type()); }

  // Bytes of `count` parts for every head.
  std::size_t all_heads(std::size_t count, std::size_t bytes) const {
    return element_count(std::vector{sizes_.members, sizes_.layers, sizes_.heads, count, bytes}, "key_value_cache");
  }

  std::size_t head_number(std::size_t layer, std::size_t member, std::size_t head) const noexcept {
    return (layer * sizes_.members + member) * sizes_.heads + head;
  }
  std::size_t block_offset(std::size_t layer, std::size_t member, std::size_t head, std::size_t block) const noexcept {
    const std::size_t blocks = (capacity() + block_positions - 1) / block_positions;
    return (head_number(layer, member, head) * blocks + block) * block_bytes();
  }
  std::size_t row_offset(std::size_t layer, std::size_t member, std::size_t head, std::size_t position) const noexcept {
    return (head_number(layer, member, head) * capacity() + position) * row_bytes();
  }

  std::span<const float> of_head(const activations& rows, std::size_t member, std::size_t row, std::size_t head) const {
    return {rows.member(member).row(static_cast<Eigen::Index>(row)).data() + head * sizes_.head_width,
            sizes_.head_width};
  }

  void check(std::size_t layer, std::size_t first, const activations& rows) const {
    require(layer < sizes_.layers && rows.members() == sizes_.members &&
                rows.width() == sizes_.heads * sizes_.head_width && first <= capacity() &&
                rows.rows() <= capacity() - first,
            "key_value_cache: sizes of the cache and of what is stored must agree");
    // From 65520 on, half a step above the largest, the nearest float16 is infinite; so is what is not a number here.
    if (type_ == cache_type::float16 && rows.values().size() > 0 &&
        !(rows.values().array().abs().maxCoeff<Eigen::PropagateNaN>() < 65520.0F)) {
      throw bad_input("key_value_cache: expected keys and values below 65520 for float16, found larger ones");
    }
  }

  cache_sizes sizes_;
  cache_type type_;
  std::size_t length_ = 0;
  aligned_vector<std::byte> keys_;
  aligned_vector<std::byte> values_;
};

}  // namespace pluria
