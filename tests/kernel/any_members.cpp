// SPDX-License-Identifier: MIT

#include <pluria/kernel/any_members.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace {

using namespace pluria;
using int4 = symmetric_int<4>;

const tensor weights = tensor::from_floats("a.weight", {11, 150}, support::integer_weights(11 * 150, 1.0F, 3));
const auto grid = std::make_shared<const tensor_grid<int4>>(quantizer<int4>{}.fit(weights));
const bernoulli rounding{.seed = 2, .coupling = lattice(8)};

std::vector<float> product(const any_members& members, std::span<const float> x, activation_type activations) {
  std::vector<float> y(members.members() * 11, 0.0F);
  members.add_matmul(x, 1, y, activations);
  return y;
}

TEST_CASE("members of any storage multiply as their own type does", "[kernel]") {
  const std::vector<float> x = support::integer_weights(5 * 150, 1.0F, 9);
  const auto check = [&](const any_members& erased, const auto& typed) {
    CHECK(erased.rows() == 11);
    CHECK(erased.columns() == 150);
    CHECK(erased.members() == 5);
    CHECK(erased.code_bits() == typed.code_bits());
    CHECK(erased.granule_bits() == 11 * 32);
    for (const activation_type activations : {activation_type::float32, activation_type::int8}) {
      std::vector<float> y(5 * 11);
      matvec(typed, std::span<const float>(x), std::span<float>(y), activations);
      CHECK(product(erased, x, activations) == y);
    }
  };
  check(stored_members<int4>(weights, grid, rounding, storage_form::packed, 4, 5),
        packed_members<int4>(sample<int4>(weights, grid, rounding, 4, 5)));
  check(stored_members<int4>(weights, grid, rounding, storage_form::shared_floor, 4, 5),
        sample_shared_floor<int4>(weights, grid, rounding, 4, 5));
  check(stored_members<int4>(weights, grid, rounding, storage_form::fixed_point, 4, 5),
        fixed_point_members<int4>(sample_fixed_point<int4>(weights, grid), "a.weight", rounding, 4, 5));
}

TEST_CASE("what members take is b S, b + S or b + 4 bits a weight", "[kernel]") {
  const std::size_t padded = 11 * 256;
  const auto bits = [&](storage_form form) {
    return stored_members<int4>(weights, grid, rounding, form, 0, 10).code_bits();
  };
  CHECK(bits(storage_form::packed) == 40 * padded);
  CHECK(bits(storage_form::shared_floor) == 14 * 16 * 256);  // 16 rows to a tile
  CHECK(bits(storage_form::fixed_point) == 8 * padded);
}

TEST_CASE("rounding to nearest has one member, packed", "[kernel]") {
  const any_members one = stored_members<int4>(weights, grid, nearest{}, storage_form::packed, 0, 1);
  const std::vector<float> x = support::integer_weights(150, 1.0F, 9);
  std::vector<float> y(11);
  matvec(packed_members<int4>(sample<int4>(weights, grid, nearest{}, 0, 1)), std::span<const float>(x),
         std::span<float>(y));
  CHECK(product(one, x, activation_type::float32) == y);
  CHECK_THROWS_AS(stored_members<int4>(weights, grid, nearest{}, storage_form::shared_floor, 0, 1), precondition_error);
  CHECK_THROWS_AS(stored_members<int4>(weights, grid, nearest{}, storage_form::packed, 0, 2), precondition_error);
}

TEST_CASE("forms refuse more members than they hold", "[kernel]") {
  CHECK_THROWS_AS(stored_members<int4>(weights, grid, rounding, storage_form::shared_floor, 0, 65), precondition_error);
  const bernoulli coarse{.coupling = lattice(32)};
  CHECK_THROWS_AS(stored_members<int4>(weights, grid, coarse, storage_form::fixed_point, 0, 4), precondition_error);
  for (const storage_form form : {storage_form::packed, storage_form::shared_floor, storage_form::fixed_point}) {
    CHECK_THROWS_AS(stored_members<int4>(weights, grid, rounding, form, 0, 0), precondition_error);
  }
}

}  // namespace
