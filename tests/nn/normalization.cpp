// SPDX-License-Identifier: MIT

#include <pluria/nn/normalization.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::layer_norm;
using pluria::member_vectors;
using pluria::rms_norm;

std::vector<pluria::checkpoint> made_members(std::size_t width) {
  return {support::made_checkpoint({{"weight", {width}}, {"bias", {width}}}, 1),
          support::made_checkpoint({{"weight", {width}}, {"bias", {width}}}, 5000)};
}

layer_norm made_norm(std::span<const pluria::checkpoint> members, std::size_t width) {
  return {member_vectors::load(members, "weight", width), member_vectors::load(members, "bias", width), 1e-6F};
}

// Against the definition in double. With u the unit roundoff, n the width, M the row's largest magnitude and s the
// standard deviation: a centred value errs by e = (n + 2) u M (the mean of n values and a difference), 1 / s relatively
// by e / s + (n + 4) u (the sum of n squares, each of which errs by 2 e; half of the variance's error), and the product
// and the sum with weight and bias by three more roundings; all to first order.
bool is_normalized(const activations& y, const activations& x, const std::vector<pluria::checkpoint>& members) {
  using support::unit;
  bool within = y.values().rows() == x.values().rows() && y.values().cols() == x.values().cols();
  const auto n = static_cast<double>(x.width());
  for (std::size_t m = 0; m < members.size(); ++m) {
    const std::vector<float> weight = members[m]["weight"].to_floats();
    const std::vector<float> bias = members[m]["bias"].to_floats();
    for (Eigen::Index i = 0; i < static_cast<Eigen::Index>(x.rows()); ++i) {
      const Eigen::VectorXd row = x.member(m).row(i).cast<double>();
      const Eigen::VectorXd centred = (row.array() - row.mean()).matrix();
      const double deviation = std::sqrt(centred.squaredNorm() / n + 1e-6);
      const double error = (n + 2) * unit * row.cwiseAbs().maxCoeff();
      for (Eigen::Index j = 0; j < row.size(); ++j) {
        const auto w = static_cast<double>(weight[static_cast<std::size_t>(j)]);
        const auto b = static_cast<double>(bias[static_cast<std::size_t>(j)]);
        const double z = centred(j) / deviation;
        const double bound = std::abs(w) * (error / deviation + std::abs(z) * (error / deviation + (n + 4) * unit)) +
                             3 * unit * (std::abs(w * z) + std::abs(b));
        within = within && std::abs(static_cast<double>(y.member(m)(i, j)) - (z * w + b)) <= 1.01 * bound;
      }
    }
  }
  return within;
}

TEST_CASE("layer norm is that of the definition, in place too", "[nn]") {
  for (const std::size_t width : {1U, 2U, 7U, 16U, 40U, 64U, 129U}) {
    const auto members = made_members(width);
    const layer_norm norm = made_norm(members, width);
    for (const float scale : {1.0F, 100.0F, 0.001F}) {
      for (const float offset : {0.0F, 5.0F}) {
        activations x = support::made_activations(2, 6, width, 3, scale);
        x.values().array() += offset * scale;
        activations y;
        norm.apply(x, y);
        CAPTURE(width, scale, offset);
        CHECK(is_normalized(y, x, members));
        activations in_place = x;
        norm.apply(in_place, in_place);
        CHECK(is_normalized(in_place, x, members));
      }
    }
  }
}

TEST_CASE("a constant row is its bias", "[nn]") {
  const auto members = made_members(16);
  activations x(2, 1, 16);
  x.values().setConstant(0.75F);
  made_norm(members, 16).apply(x, x);
  for (std::size_t m = 0; m < 2; ++m) {
    for (std::size_t j = 0; j < 16; ++j) {
      CHECK(x.member(m)(0, static_cast<Eigen::Index>(j)) == members[m]["bias"].to_floats()[j]);
    }
  }
}

// Against the definition in double. The sum of n squares errs relatively by (n + 1) u, the mean and the sum with
// epsilon by u each; of the root's half of that, its own rounding, the reciprocal's and two products' by (n + 3) / 2 +
// 4 u.
bool is_root_mean_square_normalized(const activations& y, const activations& x,
                                    const std::vector<pluria::checkpoint>& members, double epsilon) {
  bool within = y.values().rows() == x.values().rows() && y.values().cols() == x.values().cols();
  const auto n = static_cast<double>(x.width());
  for (std::size_t m = 0; m < members.size(); ++m) {
    const std::vector<float> weight = members[m]["weight"].to_floats();
    for (Eigen::Index i = 0; i < static_cast<Eigen::Index>(x.rows()); ++i) {
      const Eigen::VectorXd row = x.member(m).row(i).cast<double>();
      const double scale = 1 / std::sqrt(row.squaredNorm() / n + epsilon);
      for (Eigen::Index j = 0; j < row.size(); ++j) {
        const double expected = row(j) * scale * static_cast<double>(weight[static_cast<std::size_t>(j)]);
        const double bound = 1.01 * ((n + 3) / 2 + 4) * support::unit * std::abs(expected);
        within = within && std::abs(static_cast<double>(y.member(m)(i, j)) - expected) <= bound;
      }
    }
  }
  return within;
}

TEST_CASE("RMS norm is that of the definition, in place too", "[nn]") {
  for (const std::size_t width : {1U, 2U, 7U, 16U, 40U, 64U, 129U}) {
    const auto members = made_members(width);
    for (const float epsilon : {1e-6F, 1e-5F, 0.5F}) {
      const rms_norm norm(member_vectors::load(members, "weight", width), epsilon);
      for (const float scale : {1.0F, 100.0F, 0.001F}) {
        const activations x = support::made_activations(2, 6, width, 3, scale);
        activations y;
        norm.apply(x, y);
        CAPTURE(width, epsilon, scale);
        CHECK(is_root_mean_square_normalized(y, x, members, static_cast<double>(epsilon)));
        activations in_place = x;
        norm.apply(in_place, in_place);
        CHECK(in_place.values() == y.values());
      }
    }
  }
}

TEST_CASE("an RMS norm leaves a row of zeros as it is", "[nn]") {
  activations x(2, 1, 16);
  x.values().setZero();
  rms_norm(member_vectors::load(made_members(16), "weight", 16), 1e-6F).apply(x, x);
  CHECK((x.values().array() == 0.0F).all());
}

TEST_CASE("a norm of another width or other members is refused", "[nn]") {
  const auto members = made_members(16);
  const layer_norm norm = made_norm(members, 16);
  activations y;
  CHECK_THROWS_AS(norm.apply(activations(2, 3, 15), y), pluria::precondition_error);
  CHECK_THROWS_AS(norm.apply(activations(1, 3, 16), y), pluria::precondition_error);
  const rms_norm root_mean_square(member_vectors::load(members, "weight", 16), 1e-6F);
  CHECK_THROWS_AS(root_mean_square.apply(activations(2, 3, 15), y), pluria::precondition_error);
  CHECK_THROWS_AS(root_mean_square.apply(activations(1, 3, 16), y), pluria::precondition_error);
  const auto narrow = made_members(15);
  CHECK_THROWS_AS(layer_norm(member_vectors::load(members, "weight", 16), member_vectors::load(narrow, "bias", 15), 0),
                  pluria::precondition_error);
}

}  // namespace
