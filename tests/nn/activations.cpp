// SPDX-License-Identifier: MIT

#include <pluria/nn/activations.hpp>
#include <support/catch.hpp>

#include <cstddef>

namespace {

using pluria::activations;

TEST_CASE("members lie one below the other", "[nn]") {
  activations x(3, 2, 4);
  CHECK(x.members() == 3);
  CHECK(x.rows() == 2);
  CHECK(x.width() == 4);
  REQUIRE(x.values().rows() == 6);
  for (Eigen::Index i = 0; i < x.values().size(); ++i) {
    x.values().data()[i] = static_cast<float>(i);
  }
  for (std::size_t m = 0; m < 3; ++m) {
    REQUIRE(x.member(m).rows() == 2);
    CHECK(x.member(m)(0, 0) == static_cast<float>(8 * m));
    CHECK(x.member(m)(1, 3) == static_cast<float>(8 * m + 7));
  }
  x.member(1)(0, 2) = -1.0F;
  CHECK(x.values()(2, 2) == -1.0F);
}

TEST_CASE("a single member serves for all, another that is missing does not", "[nn]") {
  const activations single(1, 2, 3);
  CHECK(single.member(0).data() == single.values().data());
  CHECK(single.member(7).data() == single.values().data());
  const activations two(2, 2, 3);
  CHECK_NOTHROW(two.member(1));
  CHECK_THROWS_AS(two.member(2), pluria::precondition_error);
}

TEST_CASE("sizes may change, and be zero", "[nn]") {
  activations x;
  CHECK(x.members() == 0);
  CHECK(x.width() == 0);
  x.resize(2, 5, 3);
  CHECK(x.values().rows() == 10);
  x.resize(1, 0, 3);
  CHECK(x.rows() == 0);
  CHECK(x.width() == 3);
}

}  // namespace
