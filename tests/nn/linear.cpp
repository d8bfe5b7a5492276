// SPDX-License-Identifier: MIT

#include <pluria/nn/dense_matrix.hpp>
#include <pluria/nn/linear.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::dense_matrix;
using pluria::linear;
using pluria::member_vectors;
using pluria::row_major_matrix;

std::vector<pluria::checkpoint> made_members() {
  return {support::made_checkpoint({{"w", {9, 20}}, {"b", {9}}}, 1),
          support::made_checkpoint({{"w", {9, 20}}, {"b", {9}}}, 5000)};
}

row_major_matrix weights_of(const pluria::checkpoint& member) {
  const std::vector<float> values = member["w"].to_floats();
  return Eigen::Map<const row_major_matrix>(values.data(), 9, 20);
}

row_major_matrix bias_of(const pluria::checkpoint& member, std::size_t rows) {
  const std::vector<float> values = member["b"].to_floats();
  return Eigen::Map<const row_major_matrix>(values.data(), 1, 9).replicate(static_cast<Eigen::Index>(rows), 1);
}

TEST_CASE("a linear layer gives x W^T + b for every member", "[nn]") {
  const auto members = made_members();
  const linear<dense_matrix> biased(dense_matrix::load(members, "w"), member_vectors::load(members, "b", 9));
  const linear<dense_matrix> plain(dense_matrix::load(members, "w"));
  CHECK(biased.outputs() == 9);
  CHECK(biased.inputs() == 20);
  CHECK(biased.members() == 2);
  for (const std::size_t input_members : {1U, 2U}) {
    const activations x = support::made_activations(input_members, 5, 20, 31);
    activations y = support::made_activations(1, 3, 2, 0);  // other sizes, and values that must not stay
    biased.apply(x, y);
    REQUIRE(y.members() == 2);
    REQUIRE(y.rows() == 5);
    for (std::size_t m = 0; m < 2; ++m) {
      CHECK(support::is_product(y.member(m), x.member(m), weights_of(members[m]), bias_of(members[m], 5)));
    }
    plain.apply(x, y);
    for (std::size_t m = 0; m < 2; ++m) {
      CHECK(support::is_product(y.member(m), x.member(m), weights_of(members[m]), row_major_matrix::Zero(5, 9)));
    }
  }
}

TEST_CASE("a vector that all members share is kept once", "[nn]") {
  const auto two = made_members();
  const std::vector<pluria::checkpoint> alike{two[0], two[0]};
  const std::vector<pluria::checkpoint> different{two[0], two[0], two[1]};
  const member_vectors once = member_vectors::load(alike, "b", 9);
  const member_vectors each = member_vectors::load(different, "b", 9);
  CHECK(once.members() == 2);
  CHECK(once.size() == 9);
  CHECK(once.member(1).data() == once.member(0).data());
  CHECK(each.members() == 3);
  CHECK(each.member(1).data() != each.member(0).data());
  for (std::size_t m = 0; m < 3; ++m) {
    CHECK(each.member(m) == bias_of(different[m], 1));
  }
  CHECK(once.member(1) == bias_of(two[0], 1));
}

TEST_CASE("a linear layer adds to a residual stream", "[nn]") {
  const auto members = made_members();
  const activations x = support::made_activations(2, 5, 20, 31);
  const activations start = support::made_activations(2, 5, 9, 77, 10.0F);
  activations biased = start;
  linear<dense_matrix>(dense_matrix::load(members, "w"), member_vectors::load(members, "b", 9)).add(x, biased);
  activations plain = start;
  linear<dense_matrix>(dense_matrix::load(members, "w")).add(x, plain);
  for (std::size_t m = 0; m < 2; ++m) {
    // Stream and bias are added exactly here and rounded there: with the n sums that follow, n + 1 roundings.
    const auto both = (start.member(m).cast<double>() + bias_of(members[m], 5).cast<double>()).eval();
    CHECK(support::is_product(biased.member(m), x.member(m), weights_of(members[m]), both));
    CHECK(support::is_product(plain.member(m), x.member(m), weights_of(members[m]), start.member(m)));
  }
}

TEST_CASE("parameter vectors are read per member, in any shape of their size", "[nn]") {
  const std::vector<pluria::checkpoint> members{support::made_checkpoint({{"cls_token", {1, 1, 6}}}, 1),
                                                support::made_checkpoint({{"cls_token", {6}}}, 100)};
  const member_vectors vectors = member_vectors::load(members, "cls_token", 6);
  CHECK(vectors.members() == 2);
  CHECK(vectors.size() == 6);
  for (std::size_t m = 0; m < 2; ++m) {
    const std::vector<float> values = members[m]["cls_token"].to_floats();
    for (std::size_t i = 0; i < 6; ++i) {
      CHECK(vectors.member(m)(static_cast<Eigen::Index>(i)) == values[i]);
    }
  }
  CHECK(support::message_of<pluria::bad_input>([&] { member_vectors::load(members, "cls_token", 7); }) ==
        "net.safetensors: tensor \"cls_token\": expected 7 elements, found [1, 1, 6]");
  CHECK(support::message_of<pluria::bad_input>([&] { member_vectors::load(members, "b", 7); }) ==
        "net.safetensors: tensor \"b\": expected, not found");
}

TEST_CASE("a bias that does not fit the weights is refused", "[nn]") {
  const auto members = made_members();
  const std::span<const pluria::checkpoint> all(members);
  const std::vector<pluria::checkpoint> other{support::made_checkpoint({{"b", {8}}}, 1),
                                              support::made_checkpoint({{"b", {8}}}, 1)};
  CHECK_THROWS_AS(linear<dense_matrix>(dense_matrix::load(all, "w"), member_vectors::load(other, "b", 8)),
                  pluria::precondition_error);
  CHECK_THROWS_AS(linear<dense_matrix>(dense_matrix::load(all, "w"), member_vectors::load(all.first(1), "b", 9)),
                  pluria::precondition_error);
}

}  // namespace
