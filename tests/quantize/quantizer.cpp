// SPDX-License-Identifier: MIT

#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <tuple>
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
  bool same = grid.granules.size() == expected.size() && grid.map == granularity.map(rows, columns);
  for (std::size_t i = 0; same && i < expected.size(); ++i) {
    same = grid.granules[i].scale == expected[i];
  }
  return same;
}

TEMPLATE_LIST_TEST_CASE("the scale of a granule is its largest magnitude over qmax", "[quantize]", all_bits) {
  for (const dtype type : weight_types) {
    for (const pluria::tensor_shape& shape :
         {pluria::tensor_shape{}, {1}, {7}, {3, 129}, {4, 3, 5, 5}, {2, 300}, {3, 0}, {0, 3}}) {
      const std::size_t size = pluria::element_count(shape, "w");
      const auto weights = make_tensor(type, "w", shape, support::integer_weights(size, 3.0F, 77));
      CAPTURE(pluria::to_string(shape), static_cast<int>(type));
      CHECK(fits<TestType>(weights, pluria::per_tensor{}, 0));
      CHECK(fits<TestType>(weights, pluria::per_channel{}, std::max<std::size_t>(1, weights.columns())));
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

}  // namespace
