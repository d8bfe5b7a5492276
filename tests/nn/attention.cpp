// SPDX-License-Identifier: MIT

#include <pluria/nn/attention.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::row_major_matrix;

// Against softmax(Q K^T / sqrt d) V in double, token by token. With u the unit roundoff, d the head's width, T the
// tokens and A the largest |score| of a row: a score errs by at most (d + 3) u of its sum of magnitudes M, the
// difference to the largest score by twice that and 4 u A of roundings, its exponential by 4 u more, and normalization
// (a sum of T, a reciprocal, a product) doubles this and adds (T + 2) u: the relative error of a weight. The weighted
// sum adds T u.
bool is_attention(const activations& y, const activations& qkv, std::size_t tokens, std::size_t heads) {
  using support::unit;
  const std::size_t width = qkv.width() / 3;
  const std::size_t d = width / heads;
  bool within = y.members() == qkv.members() && y.rows() == qkv.rows() && y.width() == width;
  const auto at = [&](std::size_t row, std::size_t column) {
    return static_cast<double>(qkv.values()(static_cast<Eigen::Index>(row), static_cast<Eigen::Index>(column)));
  };
  for (std::size_t row = 0; within && row < qkv.members() * qkv.rows(); ++row) {
    const std::size_t image = row / tokens * tokens;
    for (std::size_t head = 0; head < heads; ++head) {
      std::vector<double> scores(tokens);
      double magnitude = 0;
      double largest_score = 0;
      for (std::size_t t = 0; t < tokens; ++t) {
        double products = 0;
        for (std::size_t i = 0; i < d; ++i) {
          const double product = at(row, head * d + i) * at(image + t, width + head * d + i);
          scores[t] += product / std::sqrt(static_cast<double>(d));
          products += std::abs(product) / std::sqrt(static_cast<double>(d));
        }
        magnitude = std::max(magnitude, products);
        largest_score = std::max(largest_score, std::abs(scores[t]));
      }
      const double largest = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (double& score : scores) {
        score = std::exp(score - largest);
        total += score;
      }
      const auto count = static_cast<double>(tokens);
      const double weight_error =
          2 * (2 * (static_cast<double>(d) + 3) * unit * magnitude + 4 * unit * largest_score + 4 * unit) +
          (count + 2) * unit;
      for (std::size_t i = 0; i < d; ++i) {
        double sum = 0;
        double sum_magnitude = 0;
        for (std::size_t t = 0; t < tokens; ++t) {
          const double term = scores[t] / total * at(image + t, 2 * width + head * d + i);
          sum += term;
          sum_magnitude += std::abs(term);
        }
        const double found = y.values()(static_cast<Eigen::Index>(row), static_cast<Eigen::Index>(head * d + i));
        within = within && std::abs(found - sum) <= 1.01 * (weight_error + count * unit) * sum_magnitude + 1e-37;
      }
    }
  }
  return within;
}

TEST_CASE("attention is softmax(Q K^T / sqrt d) V, image by image and head by head", "[nn]") {
  for (const std::size_t tokens : {1U, 2U, 17U, 50U}) {
    for (const auto& [heads, width] : {std::pair<std::size_t, std::size_t>{1, 8}, {2, 8}, {4, 32}, {5, 40}, {3, 3}}) {
      for (const float scale : {0.1F, 1.0F, 10.0F}) {
        const activations qkv = support::made_activations(2, 3 * tokens, 3 * width, 11, scale);
        activations y;
        row_major_matrix workspace;
        pluria::self_attention(qkv, tokens, heads, y, workspace);
        CAPTURE(tokens, heads, width, scale);
        CHECK(is_attention(y, qkv, tokens, heads));
        // Not with other heads, nor over the whole batch: the check sees both.
        if (heads > 1 && tokens > 1 && scale >= 1.0F) {
          CHECK_FALSE(is_attention(y, qkv, tokens, 1));
          CHECK_FALSE(is_attention(y, qkv, 3 * tokens, heads));
        }
      }
    }
  }
}

TEST_CASE("attention weights are positive and sum to one", "[nn]") {
  const std::size_t tokens = 50;
  const activations qkv = support::made_activations(1, tokens, 24, 5, 3.0F);
  activations y;
  row_major_matrix weights;
  pluria::self_attention(qkv, tokens, 2, y, weights);  // the workspace keeps those of the last head
  REQUIRE(weights.rows() == 50);
  CHECK((weights.array() > 0.0F).all());
  // A sum of T terms, a reciprocal and T products: (T + 2) u.
  const Eigen::VectorXd sums = weights.cast<double>().rowwise().sum();
  CHECK(((sums.array() - 1.0).abs() <= (tokens + 2) * support::unit).all());
}

TEST_CASE("scores beyond the range of exp neither overflow nor vanish", "[nn]") {
  activations qkv(1, 2, 3);
  qkv.values() << 1000, 1000, 5, 1000, -1000, 7;  // the scores of both queries are 1e6 and -1e6
  activations y;
  row_major_matrix workspace;
  pluria::self_attention(qkv, 2, 1, y, workspace);
  CHECK(y.values()(0, 0) == 5.0F);
  CHECK(y.values()(1, 0) == 5.0F);
}

TEST_CASE("equal keys weigh all values alike", "[nn]") {
  activations qkv = support::made_activations(1, 4, 6, 9);
  qkv.values().middleCols(2, 2).setConstant(0.25F);
  qkv.values().rightCols(2) << 1, 8, 2, 8, 3, 8, 6, 8;
  activations y;
  row_major_matrix workspace;
  pluria::self_attention(qkv, 4, 1, y, workspace);
  CHECK((y.values().col(0).array() == 3.0F).all());
  CHECK((y.values().col(1).array() == 8.0F).all());
}

TEST_CASE("heads that do not divide the width, and parts of images, are refused", "[nn]") {
  activations y;
  row_major_matrix workspace;
  const activations qkv(1, 6, 24);
  CHECK_THROWS_AS(pluria::self_attention(qkv, 3, 0, y, workspace), pluria::precondition_error);
  CHECK_THROWS_AS(pluria::self_attention(qkv, 3, 3, y, workspace), pluria::precondition_error);
  CHECK_THROWS_AS(pluria::self_attention(qkv, 4, 2, y, workspace), pluria::precondition_error);
  CHECK_THROWS_AS(pluria::self_attention(qkv, 0, 2, y, workspace), pluria::precondition_error);
}

}  // namespace
