// SPDX-License-Identifier: MIT

#include <pluria/kernel/matvec.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_int8.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>
#include <support/widths.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using namespace support;
using pluria::activation_type;
using pluria::bernoulli;
using pluria::fixed_point_members;
using pluria::lattice;
using pluria::matvec;
using pluria::packed_members;
using pluria::shared_floor_tensor;
using pluria::symmetric_int;
using pluria::tensor;

using support::field_widths;
constexpr activation_type all_activations[] = {activation_type::float32, activation_type::int8};
const char* const name = "blocks.0.attn.qkv.weight";

tensor made(std::size_t rows, std::size_t columns) {
  return make_tensor(pluria::dtype::f32, name, {rows, columns}, integer_weights(rows * columns, 1.0F, 9));
}

// The same members in each form of storage; those drawn from positions are others. First members and lattice blocks
// are out of step.
const bernoulli rounding{.seed = 5, .coupling = lattice(8)};
template <class Number>
packed_members<Number> packed(const tensor& weights, const shared_grid<Number>& grid, std::size_t members) {
  return packed_members<Number>(pluria::sample<Number>(weights, grid, rounding, 5, members));
}
template <class Number>
shared_floor_tensor<Number> over_floor(const tensor& weights, const shared_grid<Number>& grid, std::size_t members) {
  return pluria::sample_shared_floor<Number>(weights, grid, rounding, 5, members);
}
template <class Number, int F = 4>
fixed_point_members<Number, F> drawn(const tensor& weights, const shared_grid<Number>& grid, std::size_t members) {
  return {pluria::sample_fixed_point<Number, F>(weights, grid), name, rounding, 5, members};
}

// Products, in memory that was NaN.
template <class Arch = xsimd::default_arch, class M>
std::vector<float> products(const M& weights, const std::vector<float>& x, activation_type activations,
                            int threads = 1) {
  std::vector<float> y(weights.members() * weights.rows(), std::numeric_limits<float>::quiet_NaN());
  matvec<Arch>(weights, x, y, activations, threads);
  return y;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float left, float right) {
    return std::bit_cast<std::uint32_t>(left) == std::bit_cast<std::uint32_t>(right);
  });
}

// `roundings` of sums and products, each within 2^-24 of its result, together.
double relative_bound(std::size_t roundings) {
  const double n = static_cast<double>(roundings) * 0x1p-24;
  return n / (1 - n);
}

// With float activations a product goes through 4 fused sums of its half and one sum of both halves in its own block,
// 5 in every block behind it, and 4 sums of the 16 side by side: 5 * blocks + 4 at most.
double float_bound(std::size_t columns) {
  return relative_bound(5 * ((columns + 127) / 128) + 4);
}

// Sums of int8 products in a granule are exact, as integers and as floats; they go through 8 fused sums in every block
// at most (a tile's, 16 columns each; a row's 2), 4 sums of the 16 side by side, and the product with the token's
// scale.
double grouped_bound(std::size_t columns) {
  return relative_bound(8 * ((columns + 127) / 128) + 5);
}

// How many products with float activations are farther from those of the decoded weights, in double, than they may.
template <class M>
std::size_t far_float_products(const M& weights, const pluria::tensor_grid<typename M::number>& grid,
                               const std::vector<float>& x, const std::vector<float>& y) {
  const std::size_t columns = weights.columns();
  const bool is_shared = x.size() == columns;
  // Sums in double are not exact, either.
  const double bound = float_bound(columns) + static_cast<double>(columns) * 0x1p-52;
  std::size_t far = 0;
  for (std::size_t m = 0; m < weights.members(); ++m) {
    for (std::size_t row = 0; row < weights.rows(); ++row) {
      double sum = 0;
      double magnitude = 0;
      for (std::size_t column = 0; column < columns; ++column) {
        const float weight = M::number::decode(weights.code(m, row, column), grid.at(row, column));
        const double product = static_cast<double>(weight) * x[(is_shared ? 0 : m * columns) + column];
        sum += product;
        magnitude += std::abs(product);
      }
      far += std::abs(y[m * weights.rows() + row] - sum) <= bound * magnitude ? 0U : 1U;
    }
  }
  return far;
}

// How many products with int8 activations are not those of the definition: bit for bit where a row has one granule, as
// near as sums of floats can be where it has several.
template <class M>
std::size_t wrong_int8_products(const M& weights, const pluria::tensor_grid<typename M::number>& grid,
                                const std::vector<float>& x, const std::vector<float>& y) {
  const std::size_t columns = weights.columns();
  const bool is_shared = x.size() == columns;
  const bool is_exact = columns == 0 || grid.map.index(0, 0) == grid.map.index(0, columns - 1);
  std::size_t wrong = 0;
  for (std::size_t m = 0; m < weights.members(); ++m) {
    const naive_int8 token(std::span<const float>(x).subspan(is_shared ? 0 : m * columns, columns));
    for (std::size_t row = 0; row < weights.rows(); ++row) {
      std::int64_t total = 0;
      double sum = 0;
      double magnitude = 0;
      for (std::size_t column = 0; column < columns; ++column) {
        const std::int64_t product = std::int64_t{weights.code(m, row, column)} * token.codes[column];
        const double value = static_cast<double>(grid.at(row, column).scale) * static_cast<double>(product);
        total += product;
        sum += value;
        magnitude += std::abs(value);
      }
      const float found = y[m * weights.rows() + row];
      if (is_exact) {
        const float expected = token.scale * grid.at(row, 0).scale * static_cast<float>(total);
        wrong += found == expected ? 0U : 1U;
      } else {
        const double scale = token.scale;
        wrong += std::abs(found - scale * sum) <= grouped_bound(columns) * scale * magnitude ? 0U : 1U;
      }
    }
  }
  return wrong;
}

template <class M>
std::size_t wrong_products(const M& weights, const pluria::tensor_grid<typename M::number>& grid, bool is_shared) {
  const auto x = integer_weights((is_shared ? 1 : weights.members()) * weights.columns(), 3.0F, 1234);
  return far_float_products(weights, grid, x, products(weights, x, activation_type::float32)) +
         wrong_int8_products(weights, grid, x, products(weights, x, activation_type::int8));
}

constexpr std::pair<std::size_t, std::size_t> shapes[] = {{1, 1}, {1, 300}, {7, 129}, {9, 128}, {17, 256}, {17, 257}};

TEMPLATE_LIST_TEST_CASE("products are those of the members' codes, in every form of storage", "[kernel]",
                        field_widths) {
  for (const auto& [rows, columns] : shapes) {
    const tensor weights = made(rows, columns);
    for (const pluria::granule_map& map : all_maps(rows, columns)) {
      // Scales of their own for all granules; weights beyond the outermost codes are clamped to them.
      auto scales = made_grid<TestType>(map)->granules;
      for (auto& granule : scales) {
        granule.scale *= 0.7F / static_cast<float>(TestType::max_code);
      }
      const auto grid = std::make_shared<const pluria::tensor_grid<TestType>>(map, scales);
      for (const std::size_t members : {1U, 3U, 10U}) {
        const bool is_shared = (members + map.size()) % 2 == 0;
        CAPTURE(rows, columns, map.size(), members, is_shared);
        CHECK(wrong_products(packed(weights, grid, members), *grid, is_shared) == 0);
        CHECK(wrong_products(over_floor(weights, grid, members), *grid, is_shared) == 0);
        CHECK(wrong_products(drawn(weights, grid, members), *grid, is_shared) == 0);
      }
    }
  }
}

TEST_CASE("other fractional bits are multiplied alike", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made(9, 300);
  const auto grid = fitted_grid<int7>(weights);
  CHECK(wrong_products(drawn<int7, 3>(weights, grid, 10), *grid, false) == 0);
  CHECK(wrong_products(drawn<int7, 8>(weights, grid, 10), *grid, false) == 0);
}

TEST_CASE("scales in 16 bits are multiplied alike, over a shared floor", "[kernel]") {
  using half4 = pluria::half_symmetric_int<4>;
  for (const auto& [rows, columns] : shapes) {
    const tensor weights = made(rows, columns);
    for (const std::size_t group : {16U, 32U, 96U}) {
      const auto grid = fitted_grid<half4>(weights, pluria::per_group(group));
      for (const std::size_t members : {1U, 3U, 8U}) {
        CAPTURE(rows, columns, group, members);
        CHECK(wrong_products(over_floor(weights, grid, members), *grid, members == 3) == 0);
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("the same members have the same products, bit for bit, packed or over a shared floor",
                        "[kernel]", field_widths) {
  const tensor weights = made(17, 300);
  for (const auto& grid : {fitted_grid<TestType>(weights), fitted_grid<TestType>(weights, pluria::per_group(32))}) {
    const auto x = integer_weights(10 * 300, 2.0F);
    for (const activation_type activations : all_activations) {
      // Tiles sum the granules of a row in another order; wrong_int8_products says how near they are.
      if (activations == activation_type::float32 || pluria::detail::has_row_granules(grid->map)) {
        CHECK(same_bits(products(packed(weights, grid, 10), x, activations),
                        products(over_floor(weights, grid, 10), x, activations)));
      }
    }
  }
}

// An input that is one at one column and zero elsewhere picks the weights of that column.
template <class M>
std::size_t wrong_columns(const M& weights, const pluria::tensor_grid<typename M::number>& grid) {
  std::size_t wrong = 0;
  for (std::size_t column = 0; column < weights.columns(); ++column) {
    std::vector<float> x(weights.columns(), 0.0F);
    x[column] = 1.0F;
    const auto y = products(weights, x, activation_type::float32);
    for (std::size_t m = 0; m < weights.members(); ++m) {
      for (std::size_t row = 0; row < weights.rows(); ++row) {
        const float weight = M::number::decode(weights.code(m, row, column), grid.at(row, column));
        wrong += y[m * weights.rows() + row] == weight ? 0U : 1U;
      }
    }
  }
  return wrong;
}

TEST_CASE("an input of one one gives the weights of its column, exactly", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made(9, 300);
  for (const auto& grid : {fitted_grid<int7>(weights), fitted_grid<int7>(weights, pluria::per_group(48))}) {
    CHECK(wrong_columns(packed(weights, grid, 3), *grid) == 0);
    CHECK(wrong_columns(over_floor(weights, grid, 3), *grid) == 0);
    CHECK(wrong_columns(drawn(weights, grid, 3), *grid) == 0);
  }
}

TEST_CASE("the bound of float products is nearly met", "[kernel]") {
  using int7 = symmetric_int<7>;
  // Weights of one, and inputs that all go into one of the 16 sums: a one first, then halves of its last bit, which it
  // loses, four and one in every block; and a half each in the sums that it meets at the end.
  for (const std::size_t blocks : {1U, 2U, 10U, 100U}) {
    const std::size_t columns = 128 * blocks;
    const tensor weights = make_tensor(pluria::dtype::f32, name, {1, columns}, std::vector<float>(columns, 1.0F));
    const auto members = over_floor(weights, fitted_grid<int7>(weights), 1);
    std::vector<float> x(columns, 0.0F);
    const auto at_place = [&](std::size_t index, std::size_t place) -> float& {
      for (std::size_t e = 0; e < 128; ++e) {
        if (pluria::kernel_place(e) == place) {
          return x[128 * index + e];
        }
      }
      return x.front();
    };
    for (std::size_t index = 0; index < blocks; ++index) {
      for (const std::size_t place : {0U, 16U, 32U, 48U, 64U}) {
        at_place(index, place) = 0x1p-24F;
      }
    }
    at_place(0, 0) = 1.0F;
    for (const std::size_t sum : {1U, 2U, 4U, 8U}) {
      at_place(0, sum) = 0x1p-24F;
    }
    double exact = 0;
    for (const float value : x) {
      exact += static_cast<double>(value);
    }
    const double found = static_cast<double>(products(members, x, activation_type::float32).front());
    CAPTURE(blocks);
    CHECK(std::abs(found - exact) <= float_bound(columns) * exact);
    if (has_fused_products<xsimd::default_arch>()) {
      CHECK(std::abs(found - exact) >= static_cast<double>(5 * blocks + 3) * 0x1p-24);
    }
  }
}

TEST_CASE("a product and the sum that it goes into are rounded once, where the machine can", "[kernel]") {
  using int7 = symmetric_int<7>;
  // -(1 + 2^-11) in the first block, (1 + 2^-12)^2 in the same of the 16 sums in the second: 2^-24 is left of them,
  // and nothing where the product is rounded first. Only for the first half of a block: the second one has a sum of
  // its own, which begins with zero.
  if (!has_fused_products<xsimd::default_arch>()) {
    return;
  }
  std::vector<float> values(2 * 256, 1.0F);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] += i % 256 < 128 ? 0.0F : 0x1p-12F;
  }
  const tensor weights = make_tensor(pluria::dtype::f32, name, {2, 256}, values);
  const auto grid = fitted_grid<int7>(weights, pluria::per_group(128));
  const auto members = over_floor(weights, grid, 1);
  std::size_t wrong = 0;
  for (std::size_t e = 0; e < 128; ++e) {
    std::vector<float> x(256, 0.0F);
    x[e] = -1.0F - 0x1p-11F;
    x[128 + e] = 1.0F + 0x1p-12F;
    const float expected = pluria::kernel_place(e) < 64 ? 0x1p-24F : 0.0F;
    wrong += products(members, x, activation_type::float32).front() == expected ? 0U : 1U;
  }
  CHECK(wrong == 0);
}

TEST_CASE("any number of threads gives the same products, bit for bit", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made(70, 257);
  const auto x = integer_weights(10 * 257);
  for (const auto& grid : {fitted_grid<int7>(weights), fitted_grid<int7>(weights, pluria::per_group(32))}) {
    const auto check = [&](const auto& members) {
      for (const activation_type activations : all_activations) {
        const auto expected = products(members, x, activations, 1);
        for (const int threads : {0, 2, 3, 100}) {
          CHECK(same_bits(products(members, x, activations, threads), expected));
        }
      }
    };
    check(packed(weights, grid, 10));
    check(over_floor(weights, grid, 10));
    check(drawn(weights, grid, 10));
  }
}

TEST_CASE("where granules lie changes no product, bit for bit", "[kernel]") {
  for (const std::size_t columns : {256U, 300U}) {
    const tensor weights = made(37, columns);
    const std::vector<float> x = integer_weights(3 * columns, 1.0F, 4);
    for (const std::size_t group : {16U, 32U, 48U}) {
      const auto grid = fitted_grid<symmetric_int<4>>(weights, pluria::per_group(group));
      const auto tiles = std::make_shared<const pluria::tensor_grid<symmetric_int<4>>>(grid->in_tiles());
      for (const activation_type activations : all_activations) {
        CAPTURE(columns, group);
        CHECK(same_bits(products(packed(weights, tiles, 3), x, activations),
                        products(packed(weights, grid, 3), x, activations)));
        CHECK(same_bits(products(drawn(weights, tiles, 3), x, activations),
                        products(drawn(weights, grid, 3), x, activations)));
      }
    }
  }
}

TEST_CASE("an input that all members share is the same input for each, bit for bit", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made(17, 300);
  const auto x = integer_weights(300);
  std::vector<float> copies;
  for (int m = 0; m < 10; ++m) {
    copies.insert(copies.end(), x.begin(), x.end());
  }
  for (const auto& grid : {fitted_grid<int7>(weights), fitted_grid<int7>(weights, pluria::per_group(16))}) {
    const auto check = [&](const auto& members) {
      for (const activation_type activations : all_activations) {
        CHECK(same_bits(products(members, x, activations), products(members, copies, activations)));
      }
    };
    check(packed(weights, grid, 10));
    check(over_floor(weights, grid, 10));
    check(drawn(weights, grid, 10));
  }
}

TEST_CASE("a member's products are the same alone and among others, bit for bit", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made(9, 300);
  const auto grid = fitted_grid<int7>(weights, pluria::per_group(32));
  const auto x = integer_weights(300);
  for (const activation_type activations : all_activations) {
    const auto all = products(over_floor(weights, grid, 10), x, activations);
    const auto some = products(over_floor(weights, grid, 3), x, activations);
    CHECK(same_bits(some, std::vector<float>(all.begin(), all.begin() + 27)));
  }
}

// Whether an architecture's products are the default one's: int8 with one granule a row on all, the others where both
// round a product and its sum once.
template <class Arch, class M>
bool same_as_default(const M& weights, bool has_row_granules) {
  const auto x = integer_weights(weights.members() * weights.columns(), 3.0F, 55);
  const auto same = [&](activation_type activations) {
    return same_bits(products<Arch>(weights, x, activations), products(weights, x, activations));
  };
  const bool is_fused = has_fused_products<Arch>() && has_fused_products<xsimd::default_arch>();
  return (!(is_fused || has_row_granules) || same(activation_type::int8)) &&
         (!is_fused || same(activation_type::float32));
}

TEST_CASE("every instruction set that is compiled gives the products of the native one, bit for bit", "[kernel]") {
  // 8 bits are multiplied by other instructions than fewer; 7 are three fields.
  const tensor weights = made(9, 300);
  const auto check = [&](auto arch) {
    using Arch = decltype(arch);
    if constexpr (Arch::supported()) {
      CAPTURE(Arch::name());
      for (const bool has_row_granules : {true, false}) {
        const auto grid7 = has_row_granules ? fitted_grid<symmetric_int<7>>(weights)
                                            : fitted_grid<symmetric_int<7>>(weights, pluria::per_group(48));
        const auto grid8 = has_row_granules ? fitted_grid<symmetric_int<8>>(weights)
                                            : fitted_grid<symmetric_int<8>>(weights, pluria::per_group(32));
        CHECK(same_as_default<Arch>(over_floor(weights, grid7, 3), has_row_granules));
        CHECK(same_as_default<Arch>(packed(weights, grid8, 3), has_row_granules));
      }
    }
  };
  check(xsimd::sse4_2{});
  check(xsimd::fma3<xsimd::avx2>{});
}

TEST_CASE("weights without rows have no products, without columns zeros", "[kernel]") {
  using int7 = symmetric_int<7>;
  for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{0, 300}, {0, 0}, {3, 0}}) {
    for (const pluria::granule_map& map : all_maps(rows, columns)) {
      const auto grid = made_grid<int7>(map);
      const pluria::packed_tensor<int7> empty(grid);
      const pluria::fixed_point_tensor<int7, 4> positions(grid);
      const auto x = integer_weights(2 * columns);
      for (const activation_type activations : all_activations) {
        const std::vector<float> zeros(2 * rows, 0.0F);
        CHECK(same_bits(products(packed_members<int7>({empty, empty}), x, activations), zeros));
        CHECK(same_bits(products(shared_floor_tensor<int7>(grid, 2), x, activations), zeros));
        CHECK(
            same_bits(products(fixed_point_members<int7, 4>(positions, name, rounding, 0, 2), x, activations), zeros));
      }
    }
  }
}

TEST_CASE("inputs and outputs that do not fit are refused, with both sizes", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made(7, 129);
  const auto members = over_floor(weights, fitted_grid<int7>(weights), 3);
  const auto message = [&](std::size_t in, std::size_t out) {
    const std::vector<float> x(in, 0.0F);
    std::vector<float> y(out, 0.0F);
    const std::string with_floats =
        message_of<pluria::precondition_error>([&] { matvec(members, x, y, activation_type::float32); });
    CHECK(message_of<pluria::precondition_error>([&] { matvec(members, x, y, activation_type::int8); }) == with_floats);
    return with_floats;
  };
  CHECK(message(3 * 129, 3 * 7) == "no error");
  CHECK(message(129, 3 * 7) == "no error");
  CHECK(message(2 * 129, 3 * 7) ==
        "matvec: input of 3 members of 7 x 129, 1 tokens each: expected 387 values, or 129 shared by all, found 258");
  CHECK(message(0, 3 * 7) ==
        "matvec: input of 3 members of 7 x 129, 1 tokens each: expected 387 values, or 129 shared by all, found 0");
  CHECK(message(129, 7) == "matvec: output of 3 members of 7 x 129, 1 tokens each: expected 21 values, found 7");
  CHECK(message(129, 22) == "matvec: output of 3 members of 7 x 129, 1 tokens each: expected 21 values, found 22");

  std::vector<float> y(21);
  CHECK(message_of<pluria::precondition_error>([&] {
          matvec(members, std::vector<float>(129, 1.0F), y, activation_type::float32, -1);
        }) == "the number of threads must not be negative");
}

TEST_CASE("an activation that is not finite is refused: input, column and what it is", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made(7, 300);
  const auto members = over_floor(weights, fitted_grid<int7>(weights), 3);
  std::vector<float> y(21);
  for (const activation_type activations : all_activations) {
    const auto found = [&](std::size_t place, float value) {
      auto x = integer_weights(3 * 300);
      x[place] = value;
      return message_of<pluria::bad_input>([&] { matvec(members, x, y, activations); });
    };
    CHECK(found(0, std::numeric_limits<float>::quiet_NaN()) ==
          "activations: input 0, column 0: expected a finite value, found nan");
    CHECK(found(2 * 300 + 299, std::numeric_limits<float>::infinity()) ==
          "activations: input 2, column 299: expected a finite value, found inf");
    CHECK(found(300 + 130, -std::numeric_limits<float>::infinity()) ==
          "activations: input 1, column 130: expected a finite value, found -inf");
    CHECK(found(4, std::numeric_limits<float>::max()) == "no error");
  }
}

TEST_CASE("int8 products fit into 32 bits up to a number of columns, and are refused beyond", "[kernel]") {
  using int8 = symmetric_int<8>;
  static_assert(pluria::max_int8_columns<8> == 66311 && std::int64_t{66311} * 255 * 127 < std::int64_t{1} << 31 &&
                std::int64_t{66312} * 255 * 127 >= std::int64_t{1} << 31);
  for (const float sign : {1.0F, -1.0F}) {
    // All codes the outermost ones, and all activations: the largest sums there are.
    const auto of = [&](std::size_t columns) {
      const tensor weights = make_tensor(pluria::dtype::f32, name, {1, columns}, std::vector<float>(columns, sign));
      return packed(weights, fitted_grid<int8>(weights), 1);
    };
    const auto most = of(66311);
    for (const float activation : {2.0F, -2.0F}) {
      const std::vector<float> x(66311, activation);
      CHECK(wrong_int8_products(most, most[0].grid(), x, products(most, x, activation_type::int8)) == 0);
    }
    const auto more = of(66312);
    std::vector<float> y(1);
    const std::vector<float> x(66312, 1.0F);
    CHECK(message_of<pluria::precondition_error>([&] { matvec(more, x, y, activation_type::int8); }) ==
          "matvec: int8 products of 8-bit codes in 32-bit sums: expected 66311 columns at most, found 66312");
    CHECK(far_float_products(more, more[0].grid(), x, products(more, x, activation_type::float32)) == 0);
  }
}

}  // namespace
