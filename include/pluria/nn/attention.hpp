// SPDX-License-Identifier: MIT
#pragma once
// Attention, softmax(Q K^T / sqrt d) V head by head (Vaswani et al., arXiv 1706.03762, section 3.2): of all tokens of
// an image to each other, and of the tokens of a text to those before them, whose keys and values are cached. There
// several heads of queries may share one of keys and values (Ainslie et al., arXiv 2305.13245).

#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/kernel/float_product.hpp>
#include <pluria/kernel/weighted_rows.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/key_value_cache.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace pluria {

namespace detail {

// Row i becomes softmax(scale * row) over its first visible(i) columns, and 0 behind them.
template <class Visible>
void softmax_rows(row_major_matrix& scores, float scale, Visible visible) {
  for (Eigen::Index i = 0; i < scores.rows(); ++i) {
    auto seen = scores.row(i).head(visible(i)).array();
    seen = (seen - seen.maxCoeff()) * scale;
    scores.row(i).tail(scores.cols() - seen.size()).setZero();
  }
  // All rows as one: a row by itself begins anywhere, and its ends would go through the C library one by one.
  scores.array() = scores.array().exp();
  for (Eigen::Index i = 0; i < scores.rows(); ++i) {
    auto seen = scores.row(i).head(visible(i));
    seen *= 1.0F / seen.sum();
    scores.row(i).tail(scores.cols() - seen.size()).setZero();
  }
}

}  // namespace detail

/// `qkv` holds queries, keys and values side by side, each of all heads side by side (3 * width columns); its rows are
/// the tokens of one image after the other. `y` gets the concatenated heads, width columns. `attention_weights` is
/// workspace. Throws precondition_error when the sizes do not divide.
inline void self_attention(const activations& qkv, std::size_t tokens, std::size_t heads, activations& y,
                           row_major_matrix& attention_weights) {
  require(heads > 0 && qkv.width() % (3 * heads) == 0, "self_attention: three times the heads must divide the width");
  require(tokens > 0 && qkv.rows() % tokens == 0, "self_attention: the rows are whole images");
  const std::size_t width = qkv.width() / 3;
  y.resize(qkv.members(), qkv.rows(), width);

  const auto count = static_cast<Eigen::Index>(tokens);
  const auto head_width = static_cast<Eigen::Index>(width / heads);
  const auto all = static_cast<Eigen::Index>(width);
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_width));
  attention_weights.resize(count, count);
  for (Eigen::Index first = 0; first < qkv.values().rows(); first += count) {
    for (Eigen::Index column = 0; column < all; column += head_width) {
      const auto query = qkv.values().block(first, column, count, head_width);
      const auto key = qkv.values().block(first, all + column, count, head_width);
      const auto value = qkv.values().block(first, 2 * all + column, count, head_width);
      attention_weights.setZero();
      detail::add_product_of_rows(query, key, attention_weights);
      detail::softmax_rows(attention_weights, scale, [&](Eigen::Index) { return count; });
      auto attended = y.values().block(first, column, count, head_width);
      attended.setZero();
      detail::add_product(attention_weights, value, attended);
    }
  }
}

/// Attention of the tokens at positions first, first + 1, ... to themselves and all before them, whose keys and values
/// `layer` of the cache holds. `queries` has all heads side by side, a multiple of the cache's, neighbours sharing one
/// of keys and values; `y` gets the same sizes. `threads` (0: all) share members, heads and, where they are many,
/// tokens. Throws precondition_error when the sizes do not fit.
inline void causal_attention(const activations& queries, const key_value_cache& cache, std::size_t layer,
                             std::size_t first, activations& y, int threads = 1) {
  const cache_sizes& sizes = cache.sizes();
  const std::size_t cached_width = sizes.heads * sizes.head_width;
  require(queries.members() == sizes.members && cached_width > 0 && queries.width() > 0 &&
              queries.width() % cached_width == 0 && layer < sizes.layers && first <= sizes.capacity &&
              queries.rows() <= sizes.capacity - first,
          "causal_attention: sizes of queries and cache must agree");
  y.resize(queries.members(), queries.rows(), queries.width());
  const std::size_t group = queries.width() / cached_width;
  const auto head_width = static_cast<Eigen::Index>(sizes.head_width);
  const float scale = 1.0F / std::sqrt(static_cast<float>(sizes.head_width));
  // About 64 rows of scores at once, and 128 rows of values: these stay in first-level cache.
  const std::size_t tile_tokens = std::max<std::size_t>(1, 64 / group);
  constexpr std::size_t values_at_once = 128;
  constexpr std::size_t keys_at_once = key_value_cache::block_positions;
  const std::size_t tiles = (queries.rows() + tile_tokens - 1) / tile_tokens;

  struct workspace {
    row_major_matrix queries, scores, attended;
  };
  parallel_for(sizes.members * sizes.heads * tiles, threads, [&](std::size_t index) {
    thread_local workspace space;
    const std::size_t member = index / (sizes.heads * tiles);
    const std::size_t head = index / tiles % sizes.heads;
    const std::size_t first_token = index % tiles * tile_tokens;
    const std::size_t tokens = std::min(tile_tokens, queries.rows() - first_token);
    const std::size_t length = first + first_token + tokens;
    const std::size_t blocks = (length + keys_at_once - 1) / keys_at_once;
    const std::size_t rows = tokens * group;
    const auto count = static_cast<Eigen::Index>(rows);
    // The queries that share keys, token by token below each other.
    const auto for_each_query = [&](auto& all, auto&& work) {
      for (Eigen::Index row = 0; row < count; ++row) {
        const std::size_t number = static_cast<std::size_t>(row);
        work(row, all.member(member)
                      .row(static_cast<Eigen::Index>(first_token + number / group))
                      .segment(static_cast<Eigen::Index>(head * group + number % group) * head_width, head_width));
      }
    };

    space.queries.resize(count, head_width);
    for_each_query(queries, [&](Eigen::Index row, auto query) { space.queries.row(row) = query; });
    space.scores.setZero(count, static_cast<Eigen::Index>(blocks * keys_at_once));
    for (std::size_t block = 0; block < blocks; ++block) {
      add_weighted_rows(cache.keys(layer, member, head, block), rows, {space.queries.data(), sizes.head_width},
                        {space.scores.data() + block * keys_at_once, blocks * keys_at_once});
    }
    detail::softmax_rows(space.scores, scale, [&](Eigen::Index row) {
      return static_cast<Eigen::Index>(first + first_token + static_cast<std::size_t>(row) / group + 1);
    });
    space.attended.setZero(count, static_cast<Eigen::Index>(cache.row_width()));
    for (std::size_t begin = 0; begin < length; begin += values_at_once) {
      add_weighted_rows(cache.values(layer, member, head, begin, std::min(values_at_once, length - begin)), rows,
                        {space.scores.data() + begin, blocks * keys_at_once},
                        {space.attended.data(), cache.row_width()});
    }
    for_each_query(y, [&](Eigen::Index row, auto result) { result = space.attended.row(row).head(head_width); });
  });
}

}  // namespace pluria
