// SPDX-License-Identifier: MIT

#include <pluria/nn/dense_matrix.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::dense_matrix;
using pluria::dtype;
using pluria::row_major_matrix;

std::vector<row_major_matrix> made_members(std::size_t members, std::size_t rows, std::size_t columns) {
  std::vector<row_major_matrix> made;
  for (std::size_t m = 0; m < members; ++m) {
    made.push_back(support::made_matrix(rows, columns, static_cast<std::uint32_t>(100000 * (m + 1))));
  }
  return made;
}

TEST_CASE("every member's product is added, from its own input or a common one", "[nn]") {
  for (const std::size_t rows : {0U, 1U, 7U, 50U}) {
    for (const auto& [outputs, inputs] :
         {std::pair<std::size_t, std::size_t>{1, 1}, {10, 64}, {48, 40}, {33, 300}, {3, 0}}) {
      const auto weights = made_members(3, outputs, inputs);
      const dense_matrix matrix(weights);
      for (const std::size_t input_members : {1U, 3U}) {
        const activations x = support::made_activations(input_members, rows, inputs, 7);
        const activations start = support::made_activations(3, rows, outputs, 99);
        activations y = start;
        matrix.add_product(x, y);
        for (std::size_t m = 0; m < 3; ++m) {
          CAPTURE(rows, outputs, inputs, input_members, m);
          CHECK(support::is_product(y.member(m), x.member(m), weights[m], start.member(m)));
        }
      }
    }
  }
}

TEST_CASE("products of small integers are exact", "[nn]") {
  row_major_matrix weights(2, 3);
  weights << 1, 2, 3, -4, 5, -6;
  activations x(1, 2, 3);
  x.values() << 1, 0, 2, 3, -1, 1;
  activations y(1, 2, 2);
  y.values() << 100, 200, 300, 400;
  dense_matrix({weights}).add_product(x, y);
  row_major_matrix expected(2, 2);
  expected << 107, 184, 304, 377;
  CHECK(y.values() == expected);
}

TEST_CASE("a tensor that members share serves all of them, from their own inputs or a common one", "[nn]") {
  const pluria::tensor weights =
      support::make_tensor(dtype::f16, "head.weight", {5, 9}, support::integer_weights(5 * 9, 1.0F, 1));
  const dense_matrix matrix = dense_matrix::shared(weights, 3);
  CHECK(matrix.members() == 3);
  row_major_matrix values(5, 9);
  weights.read(0, std::span<float>(values.data(), 45));
  for (const std::size_t inputs : {1U, 3U}) {
    const activations x = support::made_activations(inputs, 4, 9, 7);
    activations y = support::made_activations(3, 4, 5, 70);
    const activations start = y;
    matrix.add_product(x, y);
    for (std::size_t m = 0; m < 3; ++m) {
      CHECK(support::is_product(y.member(m), x.member(m), values, row_major_matrix(start.member(m))));
    }
  }
  CHECK_THROWS_AS(dense_matrix::shared(weights, 0), pluria::precondition_error);
}

TEST_CASE("matrices come out of checkpoints of any weight type, flattened behind dimension 0", "[nn]") {
  std::vector<pluria::checkpoint> members;
  for (const dtype type : {dtype::f32, dtype::f16, dtype::bf16}) {
    members.emplace_back("net.safetensors")
        .add(support::make_tensor(type, "w", {4, 3, 2}, support::integer_weights(24)));
  }
  const dense_matrix matrix = dense_matrix::load(members, "w");
  CHECK(matrix.members() == 3);
  CHECK(matrix.rows() == 4);
  CHECK(matrix.columns() == 6);
  // The unit matrix as input gives the weights back, exactly.
  activations identity(1, 6, 6);
  identity.values().setIdentity();
  activations y(3, 6, 4);
  y.values().setZero();
  matrix.add_product(identity, y);
  for (std::size_t m = 0; m < 3; ++m) {
    const std::vector<float> values = members[m]["w"].to_floats();
    for (std::size_t i = 0; i < 24; ++i) {
      CHECK(y.member(m)(static_cast<Eigen::Index>(i % 6), static_cast<Eigen::Index>(i / 6)) == values[i]);
    }
  }
  CHECK(support::message_of<pluria::bad_input>([&] { dense_matrix::load(members, "v"); }) ==
        "net.safetensors: tensor \"v\": expected, not found");
}

TEST_CASE("members of different sizes, and inputs and outputs that do not fit, are refused", "[nn]") {
  CHECK_THROWS_AS(dense_matrix(std::vector<row_major_matrix>{}), pluria::precondition_error);
  CHECK_THROWS_AS(dense_matrix({row_major_matrix(2, 3), row_major_matrix(3, 2)}), pluria::precondition_error);
  const dense_matrix matrix(made_members(2, 4, 5));
  const auto refused = [&](activations x, activations y) {
    CHECK_THROWS_AS(matrix.add_product(x, y), pluria::precondition_error);
  };
  refused({2, 3, 6}, {2, 3, 4});
  refused({2, 3, 5}, {2, 3, 5});
  refused({2, 3, 5}, {2, 4, 4});
  refused({2, 3, 5}, {1, 3, 4});
  refused({3, 3, 5}, {2, 3, 4});
}

}  // namespace
