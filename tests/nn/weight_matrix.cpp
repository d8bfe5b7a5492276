// SPDX-License-Identifier: MIT

#include <pluria/nn/dense_matrix.hpp>
#include <pluria/nn/linear.hpp>
#include <pluria/nn/weight_matrix.hpp>
#include <support/catch.hpp>

#include <cstddef>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::weight_matrix;

// The simplest storage there is: all weights of all members are one number.
struct constant_matrix {
  float value = 0.0F;
  std::size_t rows() const { return 4; }
  std::size_t columns() const { return 3; }
  std::size_t members() const { return 2; }
  void add_product(const activations& x, activations& y) const {
    for (std::size_t m = 0; m < members(); ++m) {
      y.member(m).colwise() += value * x.member(m).rowwise().sum();
    }
  }
};
struct without_members {
  std::size_t rows() const;
  std::size_t columns() const;
  void add_product(const activations& x, activations& y) const;
};
struct changed_by_a_product {
  std::size_t rows() const;
  std::size_t columns() const;
  std::size_t members() const;
  void add_product(const activations& x, activations& y);
};

static_assert(weight_matrix<pluria::dense_matrix> && weight_matrix<constant_matrix>);
static_assert(!weight_matrix<without_members> && !weight_matrix<changed_by_a_product>);
static_assert(!weight_matrix<pluria::row_major_matrix>);

TEST_CASE("a layer runs on any storage of weights", "[nn]") {
  const pluria::linear<constant_matrix> layer(constant_matrix{2.0F});
  activations x(1, 2, 3);
  x.values() << 1, 2, 3, -1, 0, 4;
  activations y;
  layer.apply(x, y);
  CHECK(y.members() == 2);
  CHECK(y.width() == 4);
  for (std::size_t m = 0; m < 2; ++m) {
    CHECK((y.member(m).row(0).array() == 12.0F).all());
    CHECK((y.member(m).row(1).array() == 6.0F).all());
  }
}

}  // namespace
