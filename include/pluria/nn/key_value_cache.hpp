// SPDX-License-Identifier: MIT
#pragma once
// Keys and values of the tokens that attention looks back on: those of one sequence, in all layers and members. Those
// of a head lie together, position after position, which is how attention reads them. Memory is asked for at once, but
// pages that no position has reached take none.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/core/float16.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/widen.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/convert.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <xsimd/xsimd.hpp>

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
  /// Throws bad_input when the bytes do not fit into 64 bits.
  explicit key_value_cache(const cache_sizes& sizes, cache_type type = cache_type::float16)
      : sizes_(sizes),
        type_(type),
        keys_(element_count(
            std::vector{sizes.members, sizes.layers, sizes.heads, sizes.capacity, sizes.head_width, value_bytes()},
            "key_value_cache")),
        values_(keys_.size()) {}

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
  /// for a value that float16 cannot hold, precondition_error when the sizes do not fit.
  void store(std::size_t layer, std::size_t first, const activations& keys, const activations& values) {
    store(keys_, layer, first, keys);
    store(values_, layer, first, values);
  }

  /// Keys of a head at positions first, ..., first + count - 1: count x head_width, where they lie, or converted into
  /// `space`.
  Eigen::Map<const row_major_matrix> keys(std::size_t layer, std::size_t member, std::size_t head, std::size_t first,
                                          std::size_t count, row_major_matrix& space) const {
    return floats(keys_.data() + offset(layer, member, head, first), count, space);
  }
  /// The same of values.
  Eigen::Map<const row_major_matrix> values(std::size_t layer, std::size_t member, std::size_t head, std::size_t first,
                                            std::size_t count, row_major_matrix& space) const {
    return floats(values_.data() + offset(layer, member, head, first), count, space);
  }

 private:
  std::size_t value_bytes() const noexcept {
    return type_ == cache_type::float32 ? sizeof(float) : sizeof(std::uint16_t);
  }

  std::size_t offset(std::size_t layer, std::size_t member, std::size_t head, std::size_t position) const noexcept {
    const std::size_t row = ((layer * sizes_.members + member) * sizes_.heads + head) * sizes_.capacity + position;
    return row * sizes_.head_width * value_bytes();
  }

  void store(aligned_vector<std::byte>& place, std::size_t layer, std::size_t first, const activations& rows) {
    require(layer < sizes_.layers && rows.members() == sizes_.members &&
                rows.width() == sizes_.heads * sizes_.head_width && first <= capacity() &&
                rows.rows() <= capacity() - first,
            "key_value_cache: sizes of the cache and of what is stored must agree");
    const dtype type = type_ == cache_type::float32 ? dtype::f32 : dtype::f16;
    if (type == dtype::f16 && !(rows.values().array().abs() < 65520.0F).all()) {
      throw bad_input("key_value_cache: expected keys and values below 65520 for float16, found larger ones");
    }
    for (std::size_t m = 0; m < sizes_.members; ++m) {
      for (std::size_t row = 0; row < rows.rows(); ++row) {
        const float* const from = rows.member(m).row(static_cast<Eigen::Index>(row)).data();
        for (std::size_t head = 0; head < sizes_.heads; ++head) {
          write_weights(
              std::span(from + head * sizes_.head_width, sizes_.head_width), type,
              std::span(place).subspan(offset(layer, m, head, first + row), sizes_.head_width * value_bytes()));
        }
      }
    }
  }

  template <class Arch = xsimd::default_arch>
  Eigen::Map<const row_major_matrix> floats(const std::byte* source, std::size_t count, row_major_matrix& space) const {
    const auto rows = static_cast<Eigen::Index>(count);
    const auto columns = static_cast<Eigen::Index>(sizes_.head_width);
    if (type_ == cache_type::float32) {
      return {reinterpret_cast<const float*>(source), rows, columns};
    }
    space.resize(rows, columns);
    const auto size = static_cast<std::size_t>(space.size());
    constexpr std::size_t lanes_at_once = lanes::floats<Arch>::size;
    const std::size_t whole = size - size % lanes_at_once;
    for (std::size_t i = 0; i < whole; i += lanes_at_once) {
      lanes::floats_from_half<Arch>(source + 2 * i).store_unaligned(space.data() + i);
    }
    for (std::size_t i = whole; i < size; ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, source + 2 * i, sizeof(bits));
      space.data()[i] = float_from_half(bits);
    }
    return {space.data(), rows, columns};
  }

  cache_sizes sizes_;
  cache_type type_;
  std::size_t length_ = 0;
  aligned_vector<std::byte> keys_;
  aligned_vector<std::byte> values_;
};

}  // namespace pluria
