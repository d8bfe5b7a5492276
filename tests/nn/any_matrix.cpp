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
  const any_matrix matrix{dense_matrix(members)};
  CHECK(matrix.rows() == 5);
  CHECK(matrix.columns() == 9);
  CHECK(matrix.members() == 2);
  const activations x = made_activations(2, 4, 9, 7);
  activations y = made_activations(2, 4, 5, 70);
  activations expected = y;
  dense_matrix(members).add_product(x, expected);
  matrix.add_product(x, y);
  CHECK(y.values() == expected.values());
  const any_matrix copy = matrix;  // another of the same, not one that holds one
  activations again = made_activations(2, 4, 5, 70);
  copy.add_product(x, again);
  CHECK(again.values() == expected.values());
}

}  // namespace
