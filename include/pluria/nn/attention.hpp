// SPDX-License-Identifier: MIT
#pragma once
// Multi-head self-attention over the tokens of each image (Vaswani et al., arXiv 1706.03762, section 3.2):
// softmax(Q K^T / sqrt d) V, head by head.

#include <pluria/core/error.hpp>
#include <pluria/nn/activations.hpp>

#include <cmath>
#include <cstddef>

namespace pluria {

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
      attention_weights.noalias() = query * key.transpose();
      for (Eigen::Index i = 0; i < count; ++i) {
        auto row = attention_weights.row(i).array();
        row = (row - row.maxCoeff()) * scale;
      }
      // All rows as one: a row by itself begins anywhere, and its ends would go through the C library one by one.
      attention_weights.array() = attention_weights.array().exp();
      for (Eigen::Index i = 0; i < count; ++i) {
        attention_weights.row(i) *= 1.0F / attention_weights.row(i).sum();
      }
      y.values().block(first, column, count, head_width).noalias() = attention_weights * value;
    }
  }
}

}  // namespace pluria
