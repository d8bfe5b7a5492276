// SPDX-License-Identifier: MIT

#include <pluria/nn/any_matrix.hpp>
#include <pluria/nn/dense_matrix.hpp>
#include <support/catch.hpp>

#include <vector>

#include "made_activations.hpp"

namespace {

using namespace pluria;
using support::made_activations;
using support::made_matrix;

TEST_CASE("any matrix multiplies as the one it holds", "[nn]") {
  const std::vector<row_major_matrix> members{made_matrix(5, 9, 1), made_matrix(5, 9, 100)};
  const any_matrix matrix(dense_matrix(members), 2);
  CHECK(matrix.rows() == 5);
  CHECK(matrix.columns() == 9);
  CHECK(matrix.members() == 2);
  const activations x = made_activations(2, 4, 9, 7);
  activations y = made_activations(2, 4, 5, 70);
  activations expected = y;
  dense_matrix(members).add_product(x, expected);
  matrix.add_product(x, y);
  CHECK(y.values() == expected.values());
}

TEST_CASE("a matrix that members share serves all of them, from their own inputs or a common one", "[nn]") {
  const row_major_matrix weights = made_matrix(5, 9, 1);
  const any_matrix matrix(dense_matrix({weights}), 3);
  CHECK(matrix.members() == 3);
  for (const std::size_t inputs : {1U, 3U}) {
    const activations x = made_activations(inputs, 4, 9, 7);
    activations y = made_activations(3, 4, 5, 70);
    const activations start = y;
    matrix.add_product(x, y);
    for (std::size_t m = 0; m < 3; ++m) {
      CHECK(support::is_product(y.member(m), x.member(m), weights, row_major_matrix(start.member(m))));
    }
  }
}

TEST_CASE("a matrix of several members serves only their number", "[nn]") {
  CHECK_THROWS_AS(any_matrix(dense_matrix({made_matrix(2, 2, 1), made_matrix(2, 2, 9)}), 3), precondition_error);
}

}  // namespace
