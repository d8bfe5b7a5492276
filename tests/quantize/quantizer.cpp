// SPDX-License-Identifier: MIT

#include <pluria/core/magnitude.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/quantize/scale.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>
#include <support/two_level_int.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using pluria::dtype;
using pluria::quantizer;
using pluria::symmetric_int;
using support::make_tensor;
using support::message_of;

using all_bits = std::tuple<symmetric_int<2>, symmetric_int<3>, symmetric_int<4>, symmetric_int<5>, symmetric_int<6>,
                            symmetric_int<7>, symmetric_int<8>>;
constexpr dtype weight_types[] = {dtype::f32, dtype::f16, dtype::bf16};

// The largest magnitude in a rectangle of the tensor, over qmax, at least 2^-110.
template <class Int>
float scale_of(const std::vector<float>& values, std::size_t columns, std::size_t first_row, std::size_t last_row,
               std::size_t first_column, std::size_t last_column) {
  float largest = 0.0F;
  for (std::size_t row = first_row; row < last_row; ++row) {
    for (std::size_t column = first_column; column < last_column; ++column) {
      largest = std::max(largest, std::abs(values[row * columns + column]));
    }
  }
  return std::max(largest / static_cast<float>(Int::max_code), 0x1p-110F);
}

template <class Int, class G>
bool fits(const pluria::tensor& weights, const G& granularity, std::size_t group) {
  const auto grid = quantizer<Int, G>{granularity}.fit(weights);
  const std::vector<float> values = weights.to_floats();
  const std::size_t rows = weights.rows();
  const std::size_t columns = weights.columns();
  std::vector<float> expected;
  if (group == 0) {
    expected.push_back(scale_of<Int>(values, columns, 0, rows, 0, columns));
  } else {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; column += group) {
        expected.push_back(scale_of<Int>(values, columns, row, row + 1, column, std::min(columns, column + group)));
      }
    }
  }
  bool same = grid.granules.size() == expected.size() && grid.map == granularity.map(weights.shape());
  for (std::size_t i = 0; same && i < expected.size(); ++i) {
    same = grid.granules[i].scale == expected[i];
  }
  return same;
}

TEMPLATE_LIST_TEST_CASE("the scale of a granule is its largest magnitude over qmax", "[quantize]", all_bits) {
  for (const dtype type : weight_types) {
    for (const pluria::tensor_shape& shape :
         {pluria::tensor_shape{}, {1}, {7}, {3, 129}, {4, 3, 5, 5}, {3, 5, 64}, {2, 300}, {3, 0}, {0, 3}}) {
      const std::size_t size = pluria::element_count(shape, "w");
      const auto weights = make_tensor(type, "w", shape, support::integer_weights(size, 3.0F, 77));
      CAPTURE(pluria::to_string(shape), static_cast<int>(type));
      CHECK(fits<TestType>(weights, pluria::per_tensor{}, 0));
      const std::size_t channel = shape.size() == 3 ? shape.back() : weights.columns();
      CHECK(fits<TestType>(weights, pluria::per_channel{}, std::max<std::size_t>(1, channel)));
      for (const std::size_t group : {16U, 48U, 128U}) {
        CHECK(fits<TestType>(weights, pluria::per_group(group), group));
      }
    }
  }
}

TEST_CASE("any number of threads fits the same grid, and names the first weight that is refused", "[quantize]") {
  const std::size_t rows = 3000;
  std::vector<float> values = support::integer_weights(rows * 100, 3.0F, 7);
  const auto fit_all = [&](const auto& quantizer, const auto& weights) {
    CHECK(quantizer.fit(weights, 1) == quantizer.fit(weights, 2));
    CHECK(quantizer.fit(weights, 1) == quantizer.fit(weights, 0));
  };
  const auto weights = make_tensor(dtype::bf16, "w", {rows, 100}, values);
  CHECK(fits<symmetric_int<5>>(weights, pluria::per_channel{}, 100));
  CHECK(fits<symmetric_int<5>>(weights, pluria::per_group(48), 48));
  fit_all(quantizer<symmetric_int<5>>{}, weights);
  fit_all(quantizer<symmetric_int<5>, pluria::per_tensor>{}, weights);
  fit_all(quantizer<symmetric_int<5>, pluria::per_group>{pluria::per_group(48)}, weights);
  for (const std::size_t index : {299999U, 150000U, 70123U}) {
    values[index] = std::numeric_limits<float>::infinity();
  }
  const auto broken = make_tensor(dtype::f32, "w", {rows, 100}, values);
  CHECK(message_of<pluria::bad_input>([&] { quantizer<symmetric_int<5>>{}.fit(broken, 2); }) ==
        "tensor \"w\", index 70123: expected a finite weight, found inf");
}

TEST_CASE("scales by hand", "[quantize]") {
  const auto weights = make_tensor(dtype::f32, "w", {2, 3}, std::vector<float>{1, -7, 2, 0, 3.5F, -1});
  CHECK(quantizer<symmetric_int<4>, pluria::per_tensor>{}.fit(weights).granules ==
        std::vector<symmetric_int<4>::granule>{{1.0F}});
  CHECK(quantizer<symmetric_int<4>>{}.fit(weights).granules == std::vector<symmetric_int<4>::granule>{{1.0F}, {0.5F}});
  CHECK(quantizer<symmetric_int<2>>{}.fit(weights).granules == std::vector<symmetric_int<2>::granule>{{7.0F}, {3.5F}});
}

TEST_CASE("granules of zeros and of the smallest weights have the scale 2^-110", "[quantize]") {
  const auto weights = make_tensor(dtype::f32, "w", {3, 2}, std::vector<float>{0, -0.0F, 0x1p-149F, 0, -0x1p-127F, 0});
  const quantizer<symmetric_int<8>> int8;
  for (const auto& granule : int8.fit(weights).granules) {
    CHECK(granule.scale == 0x1p-110F);
  }
}

template <class Quantizer>
void refuses(const Quantizer& quantizer, dtype type, float value, const std::string& text) {
  for (const std::size_t index : {std::size_t{0}, std::size_t{130}, std::size_t{2 * 129 - 1}}) {
    std::vector<float> values = support::integer_weights(2 * 129);
    values[index] = value;
    if (index == 130) {
      values[200] = value;  // the first one is named
    }
    const auto weights = make_tensor(type, "head.weight", {2, 129}, values, "vit.safetensors");
    CHECK(message_of<pluria::bad_input>([&] { quantizer.fit(weights); }) ==
          "vit.safetensors: tensor \"head.weight\", index " + std::to_string(index) +
              ": expected a finite weight, found " + text);
  }
}

TEST_CASE("weights that are NaN or infinite are refused with file, tensor and index", "[quantize]") {
  const float infinite = std::numeric_limits<float>::infinity();
  for (const dtype type : weight_types) {
    const auto refuse_all = [&](const auto& quantizer) {
      refuses(quantizer, type, infinite, "inf");
      refuses(quantizer, type, -infinite, "-inf");
      refuses(quantizer, type, std::numeric_limits<float>::quiet_NaN(), "nan");
    };
    refuse_all(quantizer<symmetric_int<4>, pluria::per_tensor>{});
    refuse_all(quantizer<symmetric_int<4>>{});
    refuse_all(quantizer<symmetric_int<4>, pluria::per_group>{pluria::per_group(48)});
  }
}

TEST_CASE("the largest finite weights are taken", "[quantize]") {
  const float largest = std::numeric_limits<float>::max();
  const auto weights = make_tensor(dtype::f32, "w", {1, 2}, std::vector<float>{largest, -largest});
  CHECK_NOTHROW(quantizer<symmetric_int<4>>{}.fit(weights));
}

TEST_CASE("integers and doubles are not weights", "[quantize]") {
  const auto bytes = std::make_shared<const std::vector<std::byte>>(8 * 4);
  for (const dtype type : {dtype::f64, dtype::i64, dtype::i32, dtype::i16, dtype::i8, dtype::u8, dtype::boolean}) {
    const pluria::tensor steps("steps", type, {2, 2}, std::span(*bytes).first(4 * pluria::size_of(type)), bytes,
                               "vit.safetensors");
    const std::string expected = "vit.safetensors: tensor \"steps\": expected dtype F32, F16 or BF16, found " +
                                 std::string(pluria::name_of(type));
    CHECK(message_of<pluria::bad_input>([&] { quantizer<symmetric_int<4>>{}.fit(steps); }) == expected);
    CHECK(message_of<pluria::bad_input>([&] { quantizer<symmetric_int<4>, pluria::per_tensor>{}.fit(steps); }) ==
          expected);
  }
}

static_assert(!quantizer<symmetric_int<4>>::may_saturate);
static_assert(quantizer<symmetric_int<4>, pluria::per_channel, pluria::mse_nearest>::may_saturate);
static_assert(quantizer<pluria::ggml_full_range_int<4>, pluria::per_group>::may_saturate);

TEST_CASE("every granule has the reach that the scale chooses", "[quantize]") {
  const auto weights = make_tensor(dtype::bf16, "w", {5, 200}, support::integer_weights(1000, 3.0F, 1));
  const std::vector<float> values = weights.to_floats();
  const pluria::granule_fit<symmetric_int<4>> fit;
  const auto check = [&](const auto& scale) {
    const quantizer<symmetric_int<4>, pluria::per_tensor, std::remove_cvref_t<decltype(scale)>> whole{{}, scale};
    CHECK(whole.fit(weights).granules.front() == scale.fit(std::span(values), fit));
    const quantizer<symmetric_int<4>, pluria::per_group, std::remove_cvref_t<decltype(scale)>> groups{
        pluria::per_group(48), scale};
    const auto grid = groups.fit(weights, 2);
    for (std::size_t row = 0; row < 5; ++row) {
      for (std::size_t column = 0; column < 200; column += 48) {
        const std::size_t count = std::min<std::size_t>(48, 200 - column);
        CHECK(grid.at(row, column) == scale.fit(std::span(values).subspan(row * 200 + column, count), fit));
      }
    }
  };
  check(pluria::absmax{});
  check(pluria::percentile(95.0));
  check(pluria::mse_nearest{});
  check(pluria::mse_bernoulli{});
}

template <class G>
std::size_t wrong_two_level_granules(const pluria::tensor& weights, const G& granularity) {
  using number = support::two_level_int;
  const auto grid = quantizer<number, G>{granularity}.fit(weights);
  const std::vector<float> values = weights.to_floats();
  const float shared = number::tensor_scale(pluria::largest_magnitude(values));
  std::size_t wrong = grid == quantizer<number, G>{granularity}.fit(weights, 2) ? 0U : 1U;
  std::vector<std::vector<float>> members(grid.granules.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    members[grid.map.index(i / weights.columns(), i % weights.columns())].push_back(values[i]);
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    wrong += grid.granules[i] == number::fit(members[i], shared) ? 0U : 1U;
  }
  return wrong;
}

TEST_CASE("granules of a system of two levels share the scale of the whole tensor", "[quantize]") {
  for (const dtype type : weight_types) {
    for (const pluria::tensor_shape& shape :
         {pluria::tensor_shape{}, {7}, {3, 129}, {4, 3, 5, 5}, {3, 5, 64}, {2000, 100}, {3, 0}, {0, 3}}) {
      // Rows of different magnitudes, so that multiples differ; the largest weight of all in the last.
      std::vector<float> values = support::integer_weights(pluria::element_count(shape, "w"), 3.0F, 77);
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] *= static_cast<float>(1 + i * 9 / values.size());
      }
      const auto weights = make_tensor(type, "w", shape, values);
      CAPTURE(pluria::to_string(shape), static_cast<int>(type));
      CHECK(wrong_two_level_granules(weights, pluria::per_tensor{}) == 0);
      CHECK(wrong_two_level_granules(weights, pluria::per_channel{}) == 0);
      CHECK(wrong_two_level_granules(weights, pluria::per_group(16)) == 0);
    }
  }
  const auto weights = make_tensor(dtype::f32, "w", {2, 2}, std::vector<float>{0.5F, -1.0F, 112.0F, 7.0F});
  // The shared scale is 112 / (16 * 7) = 1.
  CHECK(quantizer<support::two_level_int>{}.fit(weights).granules ==
        std::vector<symmetric_int<4>::granule>{{1.0F}, {16.0F}});
}

TEST_CASE("a system of two levels names the first weight that it refuses", "[quantize]") {
  using number = support::two_level_int;
  std::vector<float> values = support::integer_weights(3000 * 100, 3.0F, 7);
  values[299999] = 1001.0F;
  values[70123] = -1001.0F;
  const auto message = [&](const auto& quantizer) {
    const auto weights = make_tensor(dtype::f32, "w", {3000, 100}, values);
    return message_of<pluria::bad_input>([&] { quantizer.fit(weights, 2); });
  };
  const std::string large =
      "tensor \"w\", index 70123: expected a magnitude of at most 1000.000000 for two-level-INT-4, found -1001.000000";
  CHECK(message(quantizer<number>{}) == large);
  CHECK(message(quantizer<number, pluria::per_tensor>{}) == large);
  values[70123] = std::numeric_limits<float>::quiet_NaN();
  CHECK(message(quantizer<number>{}) == "tensor \"w\", index 70123: expected a finite weight, found nan");
}

}  // namespace
