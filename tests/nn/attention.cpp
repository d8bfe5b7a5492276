// SPDX-License-Identifier: MIT

#include <pluria/core/float16.hpp>
#include <pluria/nn/attention.hpp>
#include <pluria/nn/key_value_cache.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::cache_type;
using pluria::key_value_cache;
using pluria::row_major_matrix;

// One head of one query against softmax(q K^T / sqrt d) V in double. With u the unit roundoff, d the head's width, T
// the tokens it sees and A the largest |score|: a score errs by at most (d + 3) u of its sum of magnitudes M, the
// difference to the largest score by twice that and 4 u A of roundings, its exponential by 4 u more, and normalization
// (a sum of T, a reciprocal, a product) doubles this and adds (T + 2) u: the relative error of a weight. The weighted
// sum adds T u.
template <class Found, class Query, class Key, class Value>
bool is_weighted_mean(Found found, Query query, Key key, Value value, std::size_t tokens, std::size_t d) {
  using support::unit;
  std::vector<double> scores(tokens);
  double magnitude = 0;
  double largest_score = 0;
  for (std::size_t t = 0; t < tokens; ++t) {
    double products = 0;
    for (std::size_t i = 0; i < d; ++i) {
      const double product = static_cast<double>(query(i)) * static_cast<double>(key(t, i));
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
  bool within = true;
  for (std::size_t i = 0; i < d; ++i) {
    double sum = 0;
    double sum_magnitude = 0;
    for (std::size_t t = 0; t < tokens; ++t) {
      const double term = scores[t] / total * static_cast<double>(value(t, i));
      sum += term;
      sum_magnitude += std::abs(term);
    }
    const double bound = 1.01 * (weight_error + count * unit) * sum_magnitude + 1e-37;
    within = within && std::abs(static_cast<double>(found(i)) - sum) <= bound;
  }
  return within;
}

float at(const activations& x, std::size_t row, std::size_t column) {
  return x.values()(static_cast<Eigen::Index>(row), static_cast<Eigen::Index>(column));
}

bool is_attention(const activations& y, const activations& qkv, std::size_t tokens, std::size_t heads) {
  const std::size_t width = qkv.width() / 3;
  const std::size_t d = width / heads;
  bool within = y.members() == qkv.members() && y.rows() == qkv.rows() && y.width() == width;
  for (std::size_t row = 0; within && row < qkv.members() * qkv.rows(); ++row) {
    const std::size_t image = row / tokens * tokens;
    for (std::size_t column = 0; column < width; column += d) {
      within = within &&
               is_weighted_mean(
                   [&](std::size_t i) { return at(y, row, column + i); },
                   [&](std::size_t i) { return at(qkv, row, column + i); },
                   [&](std::size_t t, std::size_t i) { return at(qkv, image + t, width + column + i); },
                   [&](std::size_t t, std::size_t i) { return at(qkv, image + t, 2 * width + column + i); }, tokens, d);
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

// Queries, keys and values of one text in several members, and the cache that holds the keys and values.
struct made_text {
  std::size_t group, heads, d, tokens;
  activations queries, keys, values;

  made_text(std::size_t group_size, std::size_t key_heads, std::size_t head_width, std::size_t count, float scale)
      : group(group_size),
        heads(key_heads),
        d(head_width),
        tokens(count),
        queries(support::made_activations(2, count, group * heads * d, 3, scale)),
        keys(support::made_activations(2, count, heads * d, 100003, scale)),
        values(support::made_activations(2, count, heads * d, 200003)) {}

  key_value_cache cache(cache_type type = cache_type::float32) const {
    key_value_cache made({2, 3, tokens + 1, heads, d}, type);
    made.store(1, 0, keys, values);
    return made;
  }

  // Tokens first .. first + count - 1 of the queries.
  activations part(std::size_t first, std::size_t count) const {
    activations made(2, count, queries.width());
    for (std::size_t m = 0; m < 2; ++m) {
      made.member(m) = queries.member(m).middleRows(static_cast<Eigen::Index>(first), static_cast<Eigen::Index>(count));
    }
    return made;
  }

  // Whether y is the attention of tokens first, first + 1, ... when token t sees visible(t) tokens.
  template <class Visible>
  bool is_attended(const activations& y, std::size_t first, Visible visible) const {
    bool within = y.members() == 2 && y.width() == queries.width();
    for (std::size_t m = 0; m < 2; ++m) {
      for (std::size_t row = 0; within && row < y.rows(); ++row) {
        for (std::size_t head = 0; head < group * heads; ++head) {
          const std::size_t shared = head / group * d;
          const std::size_t token = first + row;
          within = within && is_weighted_mean(
                                 [&](std::size_t i) { return at(y, m * y.rows() + row, head * d + i); },
                                 [&](std::size_t i) { return at(queries, m * tokens + token, head * d + i); },
                                 [&](std::size_t t, std::size_t i) { return at(keys, m * tokens + t, shared + i); },
                                 [&](std::size_t t, std::size_t i) { return at(values, m * tokens + t, shared + i); },
                                 visible(token), d);
        }
      }
    }
    return within;
  }
};

const auto all_before = [](std::size_t token) { return token + 1; };

TEST_CASE("a token attends to itself and those before it, groups of queries to the keys they share", "[nn]") {
  // One and several blocks of positions, one and several tiles of tokens; whole ones and not.
  for (const std::size_t tokens : {1U, 2U, 17U, 128U, 150U}) {
    for (const auto& [group, heads, d] :
         {std::array<std::size_t, 3>{1, 1, 8}, {4, 2, 12}, {1, 3, 4}, {8, 1, 16}, {100, 1, 2}}) {
      for (const float scale : {1.0F, 4.0F}) {
        const made_text text(group, heads, d, tokens, scale);
        activations y;
        pluria::causal_attention(text.queries, text.cache(), 1, 0, y);
        CAPTURE(tokens, group, heads, d, scale);
        CHECK(text.is_attended(y, 0, all_before));
        // The check sees a token too many and one too few.
        if (tokens > 1 && tokens < 100) {
          CHECK_FALSE(text.is_attended(y, 0, [&](std::size_t token) { return std::min(token + 2, tokens); }));
          CHECK_FALSE(text.is_attended(y, 0, [](std::size_t token) { return std::max<std::size_t>(token, 1); }));
        }
      }
    }
  }
}

TEST_CASE("a text in parts and token by token is attended to as at once", "[nn]") {
  const made_text text(4, 2, 12, 150, 2.0F);
  const key_value_cache cache = text.cache();
  for (const std::size_t at_once : {1U, 7U, 64U}) {
    for (std::size_t first = 0; first < text.tokens; first += at_once) {
      activations y;
      pluria::causal_attention(text.part(first, std::min(at_once, text.tokens - first)), cache, 1, first, y);
      CAPTURE(at_once, first);
      CHECK(text.is_attended(y, first, all_before));
    }
  }
}

TEST_CASE("attention over a float16 cache is that of the rounded keys and values", "[nn]") {
  made_text text(4, 2, 12, 150, 2.0F);
  const key_value_cache cache = text.cache(cache_type::float16);
  activations y;
  pluria::causal_attention(text.queries, cache, 1, 0, y);
  const activations last = text.part(text.tokens - 1, 1);
  activations of_last;
  pluria::causal_attention(last, cache, 1, text.tokens - 1, of_last);
  CHECK_FALSE(text.is_attended(y, 0, all_before));
  for (activations* rounded : {&text.keys, &text.values}) {
    for (Eigen::Index i = 0; i < rounded->values().size(); ++i) {
      float& value = rounded->values().data()[i];
      value = pluria::float_from_half(pluria::half_from_float(value));
    }
  }
  CHECK(text.is_attended(y, 0, all_before));
  CHECK(text.is_attended(of_last, text.tokens - 1, all_before));
}

TEST_CASE("any number of threads gives the same bits of attention", "[nn]") {
  const made_text text(4, 2, 12, 150, 2.0F);
  for (const cache_type type : {cache_type::float32, cache_type::float16}) {
    const key_value_cache cache = text.cache(type);
    activations expected;
    pluria::causal_attention(text.queries, cache, 1, 0, expected, 1);
    for (const int threads : {2, 3, 0}) {
      activations y;
      pluria::causal_attention(text.queries, cache, 1, 0, y, threads);
      CHECK(y.values() == expected.values());
    }
  }
}

TEST_CASE("large scores of tokens to come neither overflow nor leak", "[nn]") {
  key_value_cache cache({1, 1, 2, 1, 2}, cache_type::float32);
  activations queries(1, 2, 2), keys(1, 2, 2), values(1, 2, 2), y;
  queries.values() << 1000, 0, 1000, 0;
  keys.values() << -1000, 0, 1000, 0;
  values.values() << 5, 6, 7, 8;
  cache.store(0, 0, keys, values);
  pluria::causal_attention(queries, cache, 0, 0, y);
  CHECK(y.values() == values.values());
}

TEST_CASE("queries that do not fit the cache are refused", "[nn]") {
  const key_value_cache cache({2, 3, 5, 2, 4});
  activations y;
  const auto attend = [&](const activations& queries, std::size_t layer, std::size_t first) {
    pluria::causal_attention(queries, cache, layer, first, y);
  };
  CHECK_THROWS_AS(attend(activations(1, 1, 16), 0, 0), pluria::precondition_error);
  CHECK_THROWS_AS(attend(activations(2, 1, 12), 0, 0), pluria::precondition_error);
  CHECK_THROWS_AS(attend(activations(2, 1, 0), 0, 0), pluria::precondition_error);
  CHECK_THROWS_AS(attend(activations(2, 1, 16), 3, 0), pluria::precondition_error);
  CHECK_THROWS_AS(attend(activations(2, 2, 16), 0, 4), pluria::precondition_error);
  CHECK_THROWS_AS(attend(activations(2, 1, 16), 0, 6), pluria::precondition_error);
}

}  // namespace
