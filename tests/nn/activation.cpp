// SPDX-License-Identifier: MIT

#include <pluria/nn/activation.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

namespace {

using pluria::activations;

double exact_gelu(double x) {
  return 0.5 * x * std::erfc(-x / std::sqrt(2.0));  // no cancellation where erf is near -1
}

// With u = 2^-24: the argument x / sqrt 2 errs relatively by 2 u, which moves erf by at most 2 u max(t erf'(t)) =
// 0.97 u; erf itself errs by at most 2 u; the sum with 1 by u (it is at most 2); two products by 2 u of
// the result, which is at most |x|. Together |x| / 2 * (0.97 + 2 + 1) u + 2 u |x| < 4 u |x|.
double gelu_bound(double x) {
  return 4 * 0x1p-24 * std::abs(x) + 0x1p-149;
}

// The values -range .. range in steps of range / steps, all at once, as any number of rows.
template <class Arch>
double worst_ratio(float range, std::int32_t steps) {
  activations x(1, 1, static_cast<std::size_t>(2 * steps + 1));
  for (std::int32_t i = -steps; i <= steps; ++i) {
    x.values()(0, i + steps) = range * (static_cast<float>(i) / static_cast<float>(steps));
  }
  activations y = x;
  pluria::gelu<Arch>(y);
  double worst = 0;
  for (Eigen::Index i = 0; i < x.values().cols(); ++i) {
    const auto value = static_cast<double>(x.values()(0, i));
    const double difference = std::abs(static_cast<double>(y.values()(0, i)) - exact_gelu(value));
    worst = std::max(worst, difference / gelu_bound(value));
  }
  return worst;
}

TEST_CASE("GELU is the exact one within 4 units of x, from tiny values to large ones", "[nn]") {
  // The tanh approximation differs by up to 4.7e-4, some thousand times the bound.
  xsimd::supported_architectures::for_each([](auto arch) {
    using Arch = decltype(arch);
    for (const float range : {0x1p-140F, 1e-6F, 0.01F, 1.0F, 4.0F, 12.0F, 1e6F}) {
      CAPTURE(std::string(Arch::name()), range);
      CHECK(worst_ratio<Arch>(range, 100000) <= 1.0);
    }
  });
}

TEST_CASE("GELU at zero and where it saturates", "[nn]") {
  // 2 values more than any batch has lanes.
  for (const std::size_t width : {1U, 18U}) {
    activations x(1, 4, width);
    x.values().row(0).setConstant(0.0F);
    x.values().row(1).setConstant(30.0F);
    x.values().row(2).setConstant(-30.0F);
    x.values().row(3).setConstant(std::numeric_limits<float>::quiet_NaN());
    pluria::gelu(x);
    CHECK((x.values().row(0).array() == 0.0F).all());
    CHECK((x.values().row(1).array() == 30.0F).all());
    CHECK((x.values().row(2).array() == 0.0F).all());
    CHECK(x.values().row(3).array().isNaN().all());
  }
}

TEST_CASE("GELU acts on every value of every member", "[nn]") {
  for (const std::size_t width : {1U, 3U, 16U, 33U}) {
    activations x(3, 5, width);
    x.values().setConstant(1.0F);
    pluria::gelu(x);
    const double expected = exact_gelu(1.0);
    CHECK(((x.values().array().cast<double>() - expected).abs() <= gelu_bound(1.0)).all());
  }
  activations nothing(2, 0, 8);
  CHECK_NOTHROW(pluria::gelu(nothing));
}

double exact_silu(double x) {
  return x / (1 + std::exp(-x));
}

// With u = 2^-24: exp errs relatively by at most 2 u, which moves the sum with 1 by no more, and the sum, the quotient
// and the product round once each: 5 u. Below x = -88.3 vectors take exp(-x) for infinite: 2^-120 of the other factor.
template <class Arch>
double worst_gate_ratio(float range, std::int32_t steps, float factor) {
  activations gate(1, 1, static_cast<std::size_t>(2 * steps + 1));
  activations up(1, 1, gate.width());
  for (std::int32_t i = -steps; i <= steps; ++i) {
    gate.values()(0, i + steps) = range * (static_cast<float>(i) / static_cast<float>(steps));
    up.values()(0, i + steps) = factor * (1.0F + static_cast<float>(i % 7) / 8.0F);
  }
  activations y = gate;
  pluria::silu_gate<Arch>(y, up);
  double worst = 0;
  for (Eigen::Index i = 0; i < y.values().cols(); ++i) {
    const auto of_up = static_cast<double>(up.values()(0, i));
    const double expected = exact_silu(static_cast<double>(gate.values()(0, i))) * of_up;
    const double bound = 1.01 * 5 * 0x1p-24 * std::abs(expected) + 0x1p-120 * std::abs(of_up) + 0x1p-149;
    worst = std::max(worst, std::abs(static_cast<double>(y.values()(0, i)) - expected) / bound);
  }
  return worst;
}

TEST_CASE("a SiLU gate is x / (1 + exp(-x)) times the other factor", "[nn]") {
  xsimd::supported_architectures::for_each([](auto arch) {
    using Arch = decltype(arch);
    for (const float range : {0x1p-140F, 1e-6F, 0.01F, 1.0F, 12.0F, 87.0F, 100.0F, 1e6F}) {
      for (const float factor : {1.0F, -3.0F}) {
        CAPTURE(std::string(Arch::name()), range, factor);
        CHECK(worst_gate_ratio<Arch>(range, 100000, factor) <= 1.0);
      }
    }
  });
}

TEST_CASE("a SiLU gate acts on every value of every member, and keeps NaN", "[nn]") {
  for (const std::size_t width : {1U, 3U, 16U, 33U}) {
    activations gate(3, 5, width);
    activations up(3, 5, width);
    gate.values().setConstant(1.0F);
    up.values().setConstant(2.0F);
    gate.values()(7, 0) = std::numeric_limits<float>::quiet_NaN();
    pluria::silu_gate(gate, up);
    CHECK(std::isnan(gate.values()(7, 0)));
    gate.values()(7, 0) = static_cast<float>(2 * exact_silu(1.0));
    CHECK(((gate.values().array().cast<double>() - 2 * exact_silu(1.0)).abs() <= 6 * 0x1p-23).all());
  }
}

TEST_CASE("a gate needs a value for each of its own", "[nn]") {
  activations gate(2, 3, 4);
  CHECK_THROWS_AS(pluria::silu_gate(gate, activations(2, 3, 5)), pluria::precondition_error);
  CHECK_THROWS_AS(pluria::silu_gate(gate, activations(1, 3, 4)), pluria::precondition_error);
}

}  // namespace
