// SPDX-License-Identifier: MIT

#include <pluria/kernel/matmul.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>
#include <support/widths.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace pluria;

struct shape {
  std::size_t rows, columns, tokens;
};
// Below and above the number of tokens from which tiles are decoded; more than one tile of rows and of columns.
const shape shapes[] = {{1, 1, 4}, {5, 300, 3}, {7, 129, 4}, {16, 128, 5}, {131, 530, 9}, {0, 0, 5}};

constexpr std::size_t member_count = 3;
const bernoulli rounding{.seed = 5, .coupling = lattice(4)};

std::vector<float> made(std::size_t count, std::uint32_t first) {
  return support::integer_weights(count, 1.0F, first);
}

tensor weights_of(const shape& s) {
  return tensor::from_floats("a.weight", {s.rows, s.columns}, made(s.rows * s.columns, 77));
}

// Calls check(members) for the three forms of storage and all granularities.
template <class N, class Check>
void for_each_storage(const shape& s, Check&& check) {
  const tensor weights = weights_of(s);
  for (const auto& grid :
       {support::fitted_grid<N>(weights), support::fitted_grid<N>(weights, per_tensor{}),
        support::fitted_grid<N>(weights, per_group(32)), support::fitted_grid<N>(weights, per_group(48))}) {
    check(packed_members<N>(sample<N>(weights, grid, rounding, 2, member_count)));
    check(sample_shared_floor<N>(weights, grid, rounding, 2, member_count));
    check(
        fixed_point_members<N, 4>(sample_fixed_point<N, 4>(weights, grid), weights.name(), rounding, 2, member_count));
  }
}

template <class Backend = default_int8_backend, class M>
std::vector<float> product(const M& members, std::span<const float> x, std::size_t tokens, activation_type activations,
                           int threads = 1) {
  std::vector<float> y(members.members() * tokens * members.rows(), -1.0F);
  matmul<Backend>(members, x, tokens, y, activations, threads);
  return y;
}

// matvec, token by token.
template <class M>
std::vector<float> token_by_token(const M& members, std::span<const float> x, std::size_t tokens,
                                  activation_type activations) {
  const bool shared = x.size() == tokens * members.columns();
  std::vector<float> all(members.members() * tokens * members.rows());
  std::vector<float> one(members.members() * members.rows());
  std::vector<float> input(members.members() * members.columns());
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t m = 0; m < members.members(); ++m) {
      const auto token = x.subspan(((shared ? 0 : m * tokens) + t) * members.columns(), members.columns());
      std::copy(token.begin(), token.end(), input.begin() + static_cast<std::ptrdiff_t>(m * members.columns()));
    }
    matvec(members, std::span<const float>(input), one, activations);
    for (std::size_t m = 0; m < members.members(); ++m) {
      std::copy_n(one.begin() + static_cast<std::ptrdiff_t>(m * members.rows()), members.rows(),
                  all.begin() + static_cast<std::ptrdiff_t>((m * tokens + t) * members.rows()));
    }
  }
  return all;
}

template <class N>
void check_integers() {
  for (const shape& s : shapes) {
    for_each_storage<N>(s, [&](const auto& members) {
      for (const std::size_t inputs : {std::size_t{1}, member_count}) {
        const std::vector<float> x = made(inputs * s.tokens * s.columns, 9);
        const auto expected = token_by_token(members, x, s.tokens, activation_type::int8);
        CAPTURE(N::bits, s.rows, s.columns, s.tokens, inputs);
        CHECK(product(members, x, s.tokens, activation_type::int8) == expected);
        CHECK(product<portable_int8>(members, x, s.tokens, activation_type::int8) == expected);
        CHECK(product(members, x, s.tokens, activation_type::int8, 2) == expected);
      }
    });
  }
}

// Whether y is the product of the decoded weights. A sum of n products in any order, fused or not, errs by at most
// n * 2^-24 times the sum of magnitudes, to first order; padding adds zeros, which err by nothing.
template <class M>
bool is_product(const M& members, std::span<const float> x, std::size_t tokens, std::span<const float> y) {
  using number = typename M::number;
  const auto& grid = detail::grid_of(members);
  const bool shared = x.size() == tokens * members.columns();
  for (std::size_t m = 0; m < members.members(); ++m) {
    for (std::size_t row = 0; row < members.rows(); ++row) {
      for (std::size_t t = 0; t < tokens; ++t) {
        const auto token = x.subspan(((shared ? 0 : m * tokens) + t) * members.columns(), members.columns());
        double sum = 0;
        double magnitude = 0;
        for (std::size_t column = 0; column < members.columns(); ++column) {
          const double term = static_cast<double>(number::decode(members.code(m, row, column), grid.at(row, column))) *
                              static_cast<double>(token[column]);
          sum += term;
          magnitude += std::abs(term);
        }
        const double bound = 1.01 * static_cast<double>(members.columns() + 1) * 0x1p-24 * magnitude;
        if (!(std::abs(static_cast<double>(y[(m * tokens + t) * members.rows() + row]) - sum) <= bound)) {
          return false;
        }
      }
    }
  }
  return true;
}

template <class N>
void check_floats() {
  Eigen::setNbThreads(1);
  for (const shape& s : shapes) {
    for_each_storage<N>(s, [&](const auto& members) {
      for (const std::size_t inputs : {std::size_t{1}, member_count}) {
        const std::vector<float> x = made(inputs * s.tokens * s.columns, 9);
        const auto y = product(members, x, s.tokens, activation_type::float32);
        CAPTURE(N::bits, s.rows, s.columns, s.tokens, inputs);
        CHECK(is_product(members, x, s.tokens, y));
        CHECK(product(members, x, s.tokens, activation_type::float32, 2) == y);
      }
    });
  }
}

TEMPLATE_LIST_TEST_CASE("int8 products of batches are those of single tokens, bit for bit, with and without a library",
                        "[kernel]", support::field_widths) {
  check_integers<TestType>();
}

TEMPLATE_LIST_TEST_CASE("float products of batches are those of the decoded weights", "[kernel]",
                        support::field_widths) {
  check_floats<TestType>();
}

TEST_CASE("packed members and a shared floor give the same bits", "[kernel]") {
  const shape s{37, 200, 6};
  const tensor weights = weights_of(s);
  const auto grid = support::fitted_grid<symmetric_int<7>>(weights);
  const std::vector<float> x = made(member_count * s.tokens * s.columns, 1);
  for (const activation_type activations : {activation_type::float32, activation_type::int8}) {
    CHECK(product(packed_members<symmetric_int<7>>(sample<symmetric_int<7>>(weights, grid, rounding, 0, member_count)),
                  x, s.tokens, activations) ==
          product(sample_shared_floor<symmetric_int<7>>(weights, grid, rounding, 0, member_count), x, s.tokens,
                  activations));
  }
}

TEST_CASE("a product may be added to what is there", "[kernel]") {
  const shape s{9, 140, 5};
  const tensor weights = weights_of(s);
  const auto members =
      sample_shared_floor<symmetric_int<7>>(weights, support::fitted_grid<symmetric_int<7>>(weights), rounding, 0, 2);
  const std::vector<float> x = made(2 * s.tokens * s.columns, 4);
  const auto y = product(members, x, s.tokens, activation_type::int8);
  std::vector<float> sum(y.size(), 0.5F);
  add_matmul(members, std::span<const float>(x), s.tokens, std::span<float>(sum), activation_type::int8);
  for (std::size_t i = 0; i < y.size(); ++i) {
    // The product may be fused with the sum.
    CHECK(std::abs(sum[i] - (0.5F + y[i])) <= 0x1p-23F * (0.5F + std::abs(y[i])));
  }
}

TEST_CASE("sizes that do not fit and activations that are not finite are refused with both sides", "[kernel]") {
  const shape s{3, 20, 4};
  const tensor weights = weights_of(s);
  const auto members =
      sample_shared_floor<symmetric_int<7>>(weights, support::fitted_grid<symmetric_int<7>>(weights), rounding, 0, 2);
  std::vector<float> y(2 * 4 * 3);
  std::vector<float> x = made(2 * 4 * 20, 4);
  const auto message = [&](std::span<const float> input, std::span<float> output, activation_type activations) {
    return support::message_of<std::exception>([&] { matmul(members, input, 4, output, activations); });
  };
  const auto throws_bad_input = [&] { matmul(members, std::span<const float>(x), 4, std::span<float>(y)); };
  CHECK(message(std::span(x).first(159), y, activation_type::int8) ==
        "matmul: input of 2 members of 3 x 20, 4 tokens each: expected 160 values, or 80 shared by all, found 159");
  CHECK(message(x, std::span(y).first(23), activation_type::int8) ==
        "matmul: output of 2 members of 3 x 20, 4 tokens each: expected 24 values, found 23");
  for (const activation_type activations : {activation_type::float32, activation_type::int8}) {
    x[3 * 20 + 7] = std::numeric_limits<float>::quiet_NaN();
    CHECK(message(x, y, activations) == "activations: input 3, column 7: expected a finite value, found nan");
    x[3 * 20 + 7] = -std::numeric_limits<float>::infinity();
    CHECK(message(x, y, activations) == "activations: input 3, column 7: expected a finite value, found -inf");
    CHECK_THROWS_AS(throws_bad_input(), bad_input);
    x[3 * 20 + 7] = 0.0F;
  }
}

}  // namespace
