// SPDX-License-Identifier: MIT
#include <pluria/core/exponentials.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using namespace pluria;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// How many doubles lie between two of the same sign.
std::int64_t steps(double a, double b) {
  return std::abs(std::bit_cast<std::int64_t>(a) - std::bit_cast<std::int64_t>(b));
}

// Values from 0 down to -700, dense near 0, and what a row may hold besides.
std::vector<double> logarithms() {
  std::vector<double> values{0.0, -0.0, -infinity, -1e-300, -708.0, -1000.0, -1e300};
  for (double value = 1e-12; value < 700.0; value *= 1.00937) {
    values.push_back(-value);
  }
  return values;
}

double exponential(double value) {
  return lanes::sums<1>(std::vector{value}, [](const auto& x) { return std::array{lanes::exponential(x)}; })[0];
}

double log_sum(double a, double b) {
  std::vector<double> sum{a};
  lanes::log_add(sum, std::vector{b});
  return sum[0];
}

}  // namespace

TEST_CASE("exponentials are within two units in the last place of the C library's", "[core]") {
  CHECK(exponential(0.0) == 1.0);
  CHECK(exponential(-infinity) == 0.0);
  for (const double value : logarithms()) {
    INFO(value);
    const double expected = std::exp(value);
    CHECK((value < -708.0 ? exponential(value) == 0.0 : steps(exponential(value), expected) <= 2));
  }
}

TEST_CASE("the logarithm of a sum is exact with nothing, and that of the C library but for rounding", "[core]") {
  const std::vector<double> values = logarithms();
  CHECK(log_sum(-infinity, -infinity) == -infinity);
  CHECK(lanes::log_add(-infinity, -infinity) == -infinity);
  for (const double a : values) {
    CHECK(log_sum(a, -infinity) == a);
    CHECK(log_sum(-infinity, a) == a);
  }
  for (std::size_t i = 0; i < values.size(); i += 7) {
    for (std::size_t j = 0; j < values.size(); j += 5) {
      const double larger = std::max(values[i], values[j]);
      const double smaller = std::min(values[i], values[j]);
      if (smaller == -infinity) {
        continue;
      }
      INFO(larger << ", " << smaller);
      const double expected = larger + std::log1p(std::exp(smaller - larger));
      CHECK(lanes::log_add(values[i], values[j]) == log_sum(values[i], values[j]));
      CHECK(std::abs(log_sum(values[i], values[j]) - expected) <= 4e-16 * (1.0 + std::abs(expected)));
    }
  }
}

TEST_CASE("sums and the largest value count every value once, whatever their number", "[core]") {
  for (std::size_t count = 1; count <= 67; ++count) {
    std::vector<double> values(count);
    std::vector<float> floats(count);
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = -static_cast<double>((i * 37 + count) % 71);
      floats[i] = static_cast<float>(values[i]);
    }
    values[count / 2] = count > 1 ? -infinity : values[0];
    double total = 0.0;
    double weighted = 0.0;
    for (const double value : values) {
      total += std::exp(value);
      weighted += value == -infinity ? 0.0 : std::exp(value) * value;
    }
    const auto [own_total, own_weighted] = lanes::sums<2>(values, [](const auto& x) {
      const auto e = lanes::exponential(x);
      return std::array{e, e * x};
    });
    INFO(count);
    CHECK(own_total == Approx(total).epsilon(1e-15));
    CHECK(own_weighted == Approx(weighted).epsilon(1e-15));
    CHECK(lanes::largest(std::span<const double>(values)) == *std::max_element(values.begin(), values.end()));
    CHECK(lanes::largest(std::span<const float>(floats)) == *std::max_element(floats.begin(), floats.end()));

    // A value's result does not depend on where it stands.
    std::vector<double> sums(count, -1.5);
    lanes::log_add(sums, values);
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(sums[i] == log_sum(-1.5, values[i]));
    }
  }
}
