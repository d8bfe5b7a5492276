// SPDX-License-Identifier: MIT
// Number systems that are no scaled integers, in every form of storage and with both products: members over a shared
// floor are those that are packed, and products are those of the decoded members.

#include <pluria/core/error.hpp>
#include <pluria/kernel/block_values.hpp>
#include <pluria/kernel/matmul.hpp>
#include <pluria/kernel/matvec.hpp>
#include <pluria/kernel/member_blocks.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/affine_int.hpp>
#include <pluria/number/block_scaled.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/fitted_codebook.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using namespace pluria;

// One of each kind: a factored system, blocks of 16, one whose scale is a byte for 32, an offset, a table of its own
// for each row, and a table whose values are integers. Products of a system take a compiler ten seconds; tests of
// evaluate_vit go through more.
using number_systems = std::tuple<fp8_e4m3, nvfp4, mxint8, affine_int<3>, least_variance_codebook<4>, ternary>;

constexpr std::size_t rows = 9;
constexpr std::size_t columns = 300;
constexpr std::size_t members = 3;
constexpr std::size_t tokens = 5;
constexpr bernoulli rounding{.seed = 11};

const tensor weights =
    support::make_tensor(dtype::f32, "a.weight", {rows, columns}, support::integer_weights(rows* columns, 0.7F, 17));

// Every row with another magnitude, so that no two granules are alike.
template <number_system N>
support::shared_grid<N> grid_of_system() {
  if constexpr (requires { N::block; }) {
    return support::fitted_grid<N>(weights, per_group(N::block));
  } else {
    return support::fitted_grid<N>(weights);
  }
}

// How many products are farther from those of the decoded members, in double, than n * 2^-24 of the sum of magnitudes:
// 9 roundings in a block of 128 columns and 4 at the end are more than either kind of product has.
template <class M, class Product>
std::size_t far_products(const M& stored, const tensor_grid<typename M::number>& grid, std::size_t count,
                         Product&& product) {
  const auto x = support::integer_weights(members * count * columns, 2.0F, 91);
  std::vector<float> y(members * count * rows, std::numeric_limits<float>::quiet_NaN());
  product(stored, x, y);
  constexpr double bound = (9 * 3 + 4) * 0x1p-24;
  std::size_t far = 0;
  for (std::size_t m = 0; m < members; ++m) {
    for (std::size_t t = 0; t < count; ++t) {
      for (std::size_t row = 0; row < rows; ++row) {
        double sum = 0;
        double magnitude = 0;
        for (std::size_t column = 0; column < columns; ++column) {
          const double value = M::number::decode(stored.code(m, row, column), grid.at(row, column));
          const double term = value * static_cast<double>(x[(m * count + t) * columns + column]);
          sum += term;
          magnitude += std::abs(term);
        }
        const double found = y[(m * count + t) * rows + row];
        far += std::abs(found - sum) <= bound * magnitude ? 0U : 1U;
      }
    }
  }
  return far;
}

template <class M>
void multiplies_as_decoded(const M& stored, const tensor_grid<typename M::number>& grid) {
  CHECK(far_products(stored, grid, 1, [](const M& w, const auto& x, auto& y) { matvec(w, x, y); }) == 0);
  CHECK(far_products(stored, grid, tokens, [](const M& w, const auto& x, auto& y) { matmul(w, x, tokens, y); }) == 0);
  // A few tokens take the loops of one.
  CHECK(far_products(stored, grid, 2, [](const M& w, const auto& x, auto& y) { matmul(w, x, 2, y); }) == 0);
}

TEMPLATE_LIST_TEST_CASE("any number system is stored in every form, and multiplied as its decoded members", "[kernel]",
                        number_systems) {
  using N = TestType;
  const auto grid = grid_of_system<N>();
  const packed_members<N> packed(sample<N>(weights, grid, rounding, 0, members));
  const shared_floor_tensor<N> shared = sample_shared_floor<N>(weights, grid, rounding, 0, members);
  const fixed_point_members<N> drawn(sample_fixed_point<N>(weights, grid), "a.weight", rounding, 0, members);
  std::size_t wrong = 0;
  for (std::size_t m = 0; m < members; ++m) {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        const float weight = support::integer_weight(static_cast<std::uint32_t>(17 + row * columns + column), 0.7F);
        const std::int32_t position = N::position(weight, grid->at(row, column));
        const std::uint64_t block = row * 3 + column / block_size;
        const std::int32_t expected = member_code(rounding, position, name_hash("a.weight"), block,
                                                  static_cast<std::uint32_t>(column % block_size), m);
        wrong += packed.code(m, row, column) == expected ? 0U : 1U;
        wrong += shared.code(m, row, column) == expected ? 0U : 1U;
        wrong += std::abs(drawn.code(m, row, column) - (position >> 16)) <= 1 ? 0U : 1U;
      }
    }
  }
  CHECK(wrong == 0);
  multiplies_as_decoded(packed, *grid);
  multiplies_as_decoded(shared, *grid);
  multiplies_as_decoded(drawn, *grid);
}

TEST_CASE("systems with a table for each granule are multiplied in groups, too", "[kernel]") {
  const auto grid = support::fitted_grid<affine_int<3>>(weights, per_group(48));
  const shared_floor_tensor<affine_int<3>> shared = sample_shared_floor<affine_int<3>>(weights, grid, rounding, 0, 3);
  multiplies_as_decoded(shared, *grid);
}

TEST_CASE("int8 activations need a scaled number system", "[kernel]") {
  const auto grid = grid_of_system<nvfp4>();
  const packed_members<nvfp4> packed(sample<nvfp4>(weights, grid, rounding, 0, 1));
  const std::vector<float> x(8 * columns, 1.0F);
  std::vector<float> y(8 * rows);
  const std::span<const float> one(x.data(), columns);
  CHECK_THROWS_AS(matvec(packed, one, std::span(y).first(rows), activation_type::int8), precondition_error);
  CHECK_THROWS_AS(matmul(packed, x, 8, y, activation_type::int8), precondition_error);
}

TEST_CASE("int8 products on scales of a byte are those of the decoded members", "[kernel]") {
  const auto grid = grid_of_system<mxint8>();
  const packed_members<mxint8> packed(sample<mxint8>(weights, grid, rounding, 0, 1));
  // Inputs that int8 holds exactly: multiples of 1 up to 127.
  std::vector<float> x(columns);
  for (std::size_t column = 0; column < columns; ++column) {
    x[column] = static_cast<float>(static_cast<int>(column * 37 % 255) - 127);
  }
  std::vector<float> y(rows);
  matvec(packed, x, y, activation_type::int8);
  for (std::size_t row = 0; row < rows; ++row) {
    double sum = 0;
    double magnitude = 0;
    for (std::size_t column = 0; column < columns; ++column) {
      const double term =
          static_cast<double>(mxint8::decode(packed.code(0, row, column), grid->at(row, column))) * x[column];
      sum += term;
      magnitude += std::abs(term);
    }
    // 2 fused sums in each block, 4 of the 16 side by side, the product with the token's scale.
    CHECK(std::abs(y[row] - sum) <= (2 * 3 + 5) * 0x1p-24 * magnitude);
  }
}

}  // namespace
