// SPDX-License-Identifier: MIT

#include <pluria/nn/rotary_embedding.hpp>
#include <support/catch.hpp>

#include <cmath>
#include <complex>
#include <cstddef>
#include <numbers>
#include <optional>
#include <vector>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::rotary_embedding;
using pluria::rotary_scaling;

// Llama 3.1's own.
const rotary_scaling llama3{8.0F, 1.0F, 4.0F, 8192};

// By wavelengths, as transformers writes it.
double frequency_of(std::size_t pair, std::size_t head_width, double theta,
                    const std::optional<rotary_scaling>& scaling) {
  const double frequency = 1.0 / std::pow(theta, 2.0 * static_cast<double>(pair) / static_cast<double>(head_width));
  if (!scaling) {
    return frequency;
  }
  const auto positions = static_cast<double>(scaling->original_positions);
  const double low = scaling->low_frequency_factor;
  const double high = scaling->high_frequency_factor;
  const double factor = scaling->factor;
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength > positions / low) {
    return frequency / factor;
  }
  if (wavelength < positions / high) {
    return frequency;
  }
  const double smooth = (positions / wavelength - low) / (high - low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

// Every pair as a complex number, turned in double. With u the unit roundoff: cosine and sine are rounded once, two
// products and a sum round once each, so a value errs by 3 u of |a| + |b|, and the angle by a few 2^-53 of itself.
bool is_rotated(const activations& y, const activations& x, std::size_t first, std::size_t head_width, double theta,
                const std::optional<rotary_scaling>& scaling) {
  bool within = true;
  const auto half = static_cast<Eigen::Index>(head_width / 2);
  for (std::size_t m = 0; m < x.members(); ++m) {
    for (Eigen::Index row = 0; row < static_cast<Eigen::Index>(x.rows()); ++row) {
      for (Eigen::Index head = 0; head < static_cast<Eigen::Index>(x.width()); head += 2 * half) {
        for (Eigen::Index i = 0; i < half; ++i) {
          const double angle = static_cast<double>(first + static_cast<std::size_t>(row)) *
                               frequency_of(static_cast<std::size_t>(i), head_width, theta, scaling);
          const std::complex<double> pair(x.member(m)(row, head + i), x.member(m)(row, head + half + i));
          const std::complex<double> turned = pair * std::polar(1.0, angle);
          const std::complex<double> found(y.member(m)(row, head + i), y.member(m)(row, head + half + i));
          const double bound =
              (3.03 * support::unit + 0x1p-50 * angle) * (std::abs(pair.real()) + std::abs(pair.imag()));
          within = within && std::abs(found.real() - turned.real()) <= bound &&
                   std::abs(found.imag() - turned.imag()) <= bound;
        }
      }
    }
  }
  return within;
}

TEST_CASE("pairs of the two halves turn by position times frequency, in every head and member", "[nn]") {
  for (const std::size_t head_width : {2U, 6U, 12U, 64U, 128U}) {
    for (const double theta : {1000.0, 10000.0, 500000.0}) {
      for (const std::size_t first : {0U, 1U, 77U, 100000U}) {
        for (const auto& scaling : {std::optional<rotary_scaling>(), std::optional(llama3)}) {
          const activations x = support::made_activations(2, 5, 3 * head_width, 7);
          activations y = x;
          pluria::rotate(y, rotary_embedding(head_width, theta, scaling).table(first, 5));
          CAPTURE(head_width, theta, first, scaling.has_value());
          CHECK(is_rotated(y, x, first, head_width, theta, scaling));
          CHECK_FALSE(is_rotated(y, x, first + 1, head_width, theta, scaling));
        }
      }
    }
  }
}

TEST_CASE("llama3 scaling divides low frequencies, keeps high ones and goes over between them", "[nn]") {
  const rotary_embedding plain(128, 500000.0);
  const rotary_embedding scaled(128, 500000.0, llama3);
  std::size_t kept = 0;
  std::size_t divided = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    const double expected = frequency_of(i, 128, 500000.0, llama3);
    CHECK(std::abs(scaled.frequencies()[i] - expected) <= 0x1p-48 * expected);
    CHECK(std::abs(plain.frequencies()[i] - frequency_of(i, 128, 500000.0, std::nullopt)) <=
          0x1p-48 * plain.frequencies()[i]);
    kept += scaled.frequencies()[i] == plain.frequencies()[i] ? 1 : 0;
    divided += scaled.frequencies()[i] == plain.frequencies()[i] / 8 ? 1 : 0;
  }
  // theta^(-i / 64) * 8192 / (2 pi) is above 4 up to i = 28 and below 1 from i = 35 on.
  CHECK(kept == 29);
  CHECK(divided == 29);
}

TEST_CASE("a product of query and key depends on the distance of their positions", "[nn]") {
  const rotary_embedding rotation(64, 10000.0);
  const activations query = support::made_activations(1, 1, 64, 1);
  const activations key = support::made_activations(1, 1, 64, 100);
  const auto product = [&](std::size_t of_query, std::size_t of_key) {
    activations q = query;
    activations k = key;
    pluria::rotate(q, rotation.table(of_query, 1));
    pluria::rotate(k, rotation.table(of_key, 1));
    return static_cast<double>(q.values().row(0).dot(k.values().row(0)));
  };
  // A sum of 64 terms whose factors err by 3 u each: 70 u of the magnitudes.
  const double bound = 2 * 70 * support::unit * 2 * static_cast<double>(query.values().norm() * key.values().norm());
  CHECK(std::abs(product(5, 2) - product(1003, 1000)) <= bound);
  CHECK(std::abs(product(5, 2) - product(5, 3)) > 10 * bound);
}

TEST_CASE("nothing turns at position zero", "[nn]") {
  const activations x = support::made_activations(1, 1, 24, 9);
  activations y = x;
  pluria::rotate(y, rotary_embedding(12, 10000.0).table(0, 1));
  CHECK(y.values() == x.values());
}

TEST_CASE("half heads, and tables of other rows, are refused", "[nn]") {
  CHECK_THROWS_AS(rotary_embedding(7, 10000.0), pluria::precondition_error);
  CHECK_THROWS_AS(rotary_embedding(0, 10000.0), pluria::precondition_error);
  activations x(1, 3, 24);
  CHECK_THROWS_AS(pluria::rotate(x, rotary_embedding(12, 10000.0).table(0, 2)), pluria::precondition_error);
  CHECK_THROWS_AS(pluria::rotate(x, rotary_embedding(16, 10000.0).table(0, 3)), pluria::precondition_error);
}

}  // namespace
