// SPDX-License-Identifier: MIT

#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/quantize/saturation.hpp>
#include <pluria/quantize/scale.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace {

using pluria::dtype;
using pluria::ggml_full_range_int;
using pluria::granule_map;
using pluria::per_channel;
using pluria::per_group;
using pluria::per_tensor;
using pluria::quantizer;
using pluria::saturated_weights;
using pluria::symmetric_int;
using pluria::tensor_grid;
using support::integer_weights;
using support::make_tensor;

using int4 = symmetric_int<4>;

TEST_CASE("weights beyond the outermost values are counted, those on them are not", "[quantize]") {
  const auto weights =
      make_tensor(dtype::f32, "w", {2, 4}, std::vector<float>{7, -7, 7.25F, -8, 3.5F, 3.75F, -3.5F, 0});
  const tensor_grid<int4> rows(granule_map::groups(2, 4, 4), {{1.0F}, {0.5F}});
  CHECK(saturated_weights(weights, rows) == 3);
  CHECK(saturated_weights(weights, tensor_grid<int4>(granule_map::whole(2, 4), {{1.0F}})) == 2);
  CHECK(saturated_weights(weights, tensor_grid<int4>(granule_map::whole(2, 4), {{0.5F}})) == 5);
  CHECK(saturated_weights(weights, tensor_grid<int4>(granule_map::whole(2, 4), {{2.0F}})) == 0);
}

TEST_CASE("what a position does not resolve is no saturation", "[quantize]") {
  const float unresolved = 7.0F + 0x1p-17F;
  const auto weights = make_tensor(dtype::f32, "w", {1, 4},
                                   std::vector<float>{7.0F, unresolved, std::nextafter(unresolved, 8.0F), -unresolved});
  CHECK(saturated_weights(weights, tensor_grid<int4>(granule_map::whole(1, 4), {{1.0F}})) == 1);
}

TEST_CASE("a negative scale has its lowest code at the top", "[quantize]") {
  using q4 = ggml_full_range_int<4>;
  const auto weights = make_tensor(dtype::f32, "w", {1, 6}, std::vector<float>{8, 8.5F, 7.5F, -7, -7.5F, -8});
  const auto with = [](float scale) {
    return tensor_grid<q4>(granule_map::whole(1, 6), {{.scale = pluria::float16(scale)}});
  };
  CHECK(saturated_weights(weights, with(-1.0F)) == 3);  // 8.5, -7.5, -8
  CHECK(saturated_weights(weights, with(1.0F)) == 3);   // 8, 8.5, 7.5
}

// By the definition, weight for weight.
template <class N>
std::size_t counted(const pluria::tensor& weights, const tensor_grid<N>& grid) {
  const std::vector<float> values = weights.to_floats();
  std::size_t count = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto& granule = grid.at(i / weights.columns(), i % weights.columns());
    const double ends[] = {N::decode(N::min_code, granule), N::decode(N::max_code, granule)};
    const double tolerance = std::abs(static_cast<double>(granule.scale)) * 0x1p-17;
    const double weight = values[i];
    count +=
        weight < std::min(ends[0], ends[1]) - tolerance || weight > std::max(ends[0], ends[1]) + tolerance ? 1U : 0U;
  }
  return count;
}

template <class N, class G>
std::size_t wrong_counts(const G& granularity) {
  std::size_t wrong = 0;
  std::size_t all = 0;
  for (const dtype type : {dtype::f32, dtype::f16, dtype::bf16}) {
    for (const pluria::tensor_shape& shape :
         {pluria::tensor_shape{}, {7}, {3, 129}, {4, 3, 5, 5}, {2, 300}, {2, 3, 64}, {700, 100}, {3, 0}, {0, 3}}) {
      const std::size_t size = pluria::element_count(shape, "w");
      const auto weights = make_tensor(type, "w", shape, integer_weights(size, 3.0F, 77));
      const auto grid = quantizer<N, G, pluria::percentile>{granularity, pluria::percentile(90.0)}.fit(weights);
      const std::size_t expected = counted<N>(weights, grid);
      wrong +=
          saturated_weights(weights, grid) == expected && saturated_weights(weights, grid, 2) == expected ? 0U : 1U;
      all += expected;
    }
  }
  return all > 0 ? wrong : 1000;  // no weight beyond, nothing tested
}

TEST_CASE("every granule counts its own weights, in groups, tails and any type", "[quantize]") {
  CHECK(wrong_counts<int4>(per_tensor{}) == 0);
  CHECK(wrong_counts<int4>(per_channel{}) == 0);
  CHECK(wrong_counts<int4>(per_group(48)) == 0);
  CHECK(wrong_counts<ggml_full_range_int<4>>(per_group(32)) == 0);
  CHECK(wrong_counts<pluria::full_range_int<5>>(per_channel{}) == 0);
}

TEST_CASE("a scale that covers all weights saturates none", "[quantize]") {
  for (const float scale : {3.0F, 0.02F, 0x1p-12F}) {
    const auto weights = make_tensor(dtype::f32, "w", {300, 100}, integer_weights(30000, scale, 5));
    CHECK(saturated_weights(weights, quantizer<int4>{}.fit(weights)) == 0);
    CHECK(saturated_weights(weights, quantizer<symmetric_int<8>>{}.fit(weights)) == 0);
    CHECK(saturated_weights(weights, quantizer<pluria::full_range_int<4>, per_group>{per_group(32)}.fit(weights)) == 0);
  }
}

TEST_CASE("the grid must be of the tensor's size, and the tensor of weights", "[quantize]") {
  const auto weights = make_tensor(dtype::f32, "w", {2, 3}, integer_weights(6));
  CHECK_THROWS_AS(saturated_weights(weights, tensor_grid<int4>(granule_map::whole(3, 2), {{1.0F}})),
                  pluria::precondition_error);
  const auto bytes = std::make_shared<const std::vector<std::byte>>(6);
  const pluria::tensor steps("steps", dtype::u8, {2, 3}, std::span(*bytes), bytes);
  CHECK_THROWS_AS(saturated_weights(steps, tensor_grid<int4>(granule_map::whole(2, 3), {{1.0F}})), pluria::bad_input);
}

}  // namespace
