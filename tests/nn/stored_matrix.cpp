// SPDX-License-Identifier: MIT

#include <pluria/kernel/sample.hpp>
#include <pluria/nn/stored_matrix.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <support/catch.hpp>

#include <memory>

#include "made_activations.hpp"

namespace {

using namespace pluria;
using int5 = symmetric_int<5>;

const tensor weights = tensor::from_floats("a.weight", {12, 140}, support::integer_weights(12 * 140, 1.0F, 3));
const auto grid = std::make_shared<const tensor_grid<int5>>(quantizer<int5>{}.fit(weights));
const bernoulli rounding{.seed = 2};

TEST_CASE("a stored matrix adds every member's product, from its own input or a common one", "[nn]") {
  const auto floor = sample_shared_floor<int5>(weights, grid, rounding, 0, 3);
  const stored_matrix matrix{floor};
  CHECK(matrix.rows() == 12);
  CHECK(matrix.columns() == 140);
  CHECK(matrix.members() == 3);
  for (const std::size_t rows : {1U, 3U, 7U}) {
    for (const std::size_t inputs : {1U, 3U}) {
      const activations x = support::made_activations(inputs, rows, 140, 50);
      activations y = support::made_activations(3, rows, 12, 900);
      const activations start = y;
      matrix.add_product(x, y);
      for (std::size_t m = 0; m < 3; ++m) {
        row_major_matrix decoded(12, 140);
        for (Eigen::Index i = 0; i < decoded.size(); ++i) {
          const auto row = static_cast<std::size_t>(i) / 140;
          decoded.data()[i] =
              int5::decode(floor.code(m, row, static_cast<std::size_t>(i) % 140), floor.grid().at(row, 0));
        }
        CAPTURE(rows, inputs, m);
        CHECK(support::is_product(y.member(m), x.member(m), decoded, row_major_matrix(start.member(m))));
      }
    }
  }
}

TEST_CASE("a stored matrix refuses what does not fit", "[nn]") {
  const stored_matrix matrix{sample_shared_floor<int5>(weights, grid, rounding, 0, 2)};
  activations y(2, 3, 12);
  CHECK_THROWS_AS(matrix.add_product(activations(2, 3, 139), y), precondition_error);
  CHECK_THROWS_AS(matrix.add_product(activations(2, 4, 140), y), precondition_error);
  CHECK_THROWS_AS(matrix.add_product(activations(3, 3, 140), y), precondition_error);
  activations narrow(2, 3, 11);
  CHECK_THROWS_AS(matrix.add_product(activations(2, 3, 140), narrow), precondition_error);
}

}  // namespace
