// SPDX-License-Identifier: MIT

#include <pluria/core/float16.hpp>
#include <pluria/io/ggml_block.hpp>
#include <pluria/io/ggml_type.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <array>
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
using pluria::bad_input;
using pluria::bernoulli;
using pluria::dtype;
using pluria::float16;
using pluria::float_from_half;
using pluria::full_range_int;
using pluria::ggml_full_range_int;
using pluria::half_symmetric_int;
using pluria::nearest;
using pluria::per_group;
using pluria::tensor;

using all_systems = std::tuple<full_range_int<2>, full_range_int<3>, full_range_int<4>, full_range_int<5>,
                               full_range_int<6>, full_range_int<7>, full_range_int<8>, half_symmetric_int<2>,
                               half_symmetric_int<4>, half_symmetric_int<8>>;

// Those of ggml's blocks: sampling takes a compiler some seconds for each.
using sampled_systems = std::tuple<full_range_int<4>, full_range_int<5>, half_symmetric_int<8>>;

static_assert(full_range_int<4>::min_code == -8 && full_range_int<4>::max_code == 7);
static_assert(full_range_int<5>::min_code == -16 && full_range_int<5>::max_code == 15);
static_assert(half_symmetric_int<8>::min_code == -127 && half_symmetric_int<8>::max_code == 127);

// Whether no weight lies beyond the outermost codes of a scale, in double.
template <class N>
bool covers(double scale, double lowest, double highest) {
  const double ends[] = {scale * N::min_code, scale * N::max_code};
  return std::min(ends[0], ends[1]) <= lowest && highest <= std::max(ends[0], ends[1]);
}

// The definition of the fit by trial: the first of all float16 values that covers, with the sign that puts the weight
// of largest magnitude on the side of the lowest code. Zero when there is none.
template <class N>
float smallest_scale(const std::vector<float>& weights) {
  const float highest = std::max(0.0F, *std::max_element(weights.begin(), weights.end()));
  const float lowest = std::min(0.0F, *std::min_element(weights.begin(), weights.end()));
  const float sign = !N::is_symmetric && highest > -lowest ? -1.0F : 1.0F;
  for (std::uint16_t half = 1; half < 0x7c00; ++half) {
    if (covers<N>(sign * float_from_half(half), lowest, highest)) {
      return sign * float_from_half(half);
    }
  }
  return 0.0F;
}

// Weights of all magnitudes that float16 scales reach, and around every place where the smallest scale changes.
template <class N>
std::vector<std::vector<float>> extremes() {
  std::vector<std::vector<float>> granules;
  const std::uint32_t step = 2003 * stride(31);
  for (std::uint32_t half = 1; half < 0x7c00; half += step) {
    const float d = float_from_half(static_cast<std::uint16_t>(half));
    for (const auto steps : {-N::min_code, N::max_code}) {
      const float edge = d * static_cast<float>(steps);
      for (const float w : {edge, std::nextafter(edge, 0.0F), std::nextafter(edge, 1e30F)}) {
        if (w <= N::largest_weight) {
          granules.insert(granules.end(), {{w}, {-w}, {w, -w}, {w, -0.9F * w}, {-w, 0.9F * w, 0.1F}, {0.97F * w, -w}});
        }
      }
    }
  }
  return granules;
}

TEMPLATE_LIST_TEST_CASE("the scale is the smallest float16 for which nothing clips", "[number]", all_systems) {
  std::size_t wrong = 0;
  for (const auto& weights : extremes<TestType>()) {
    wrong += TestType::fit(weights).scale == smallest_scale<TestType>(weights) ? 0U : 1U;
  }
  CHECK(wrong == 0);
}

TEST_CASE("the extreme lies on the side with one code more", "[number]") {
  using q4 = full_range_int<4>;
  CHECK(q4::fit(std::vector{-8.0F, 7.0F}).scale == 1.0F);
  CHECK(q4::fit(std::vector{8.0F, -7.0F}).scale == -1.0F);
  CHECK(q4::position(8.0F, {float16(-1.0F)}) == -8 * 65536);
  CHECK(q4::position(-7.0F, {float16(-1.0F)}) == 7 * 65536);
  CHECK(q4::position(0.5F, {float16(-1.0F)}) == -32768);
  CHECK(q4::fit(std::vector{4.0F}).scale == -0.5F);
  CHECK(q4::fit(std::vector{-4.0F}).scale == 0.5F);
  // Of two extremes of one size the negative one gets the additional code, and the other one decides.
  CHECK(q4::fit(std::vector{7.0F, -7.0F}).scale == 1.0F);
  CHECK(q4::fit(std::vector{-7.0F, 7.0F}).scale == 1.0F);
  // The opposite side may decide: 7.5 / 7 > 8 / 8.
  CHECK(q4::fit(std::vector{-8.0F, 7.5F}).scale == 0x1.128p0F);
  CHECK(q4::fit(std::vector{8.0F, -7.5F}).scale == -0x1.128p0F);
  using q8 = half_symmetric_int<8>;
  CHECK(q8::fit(std::vector{127.0F, -3.0F}).scale == 1.0F);
  CHECK(q8::fit(std::vector{3.0F, -127.0F}).scale == 1.0F);
  CHECK(q8::fit(std::vector{3.0F, -127.001F}).scale == 0x1.004p0F);
}

TEMPLATE_LIST_TEST_CASE("zeros, nothing and the tiniest weights take the smallest float16", "[number]", all_systems) {
  CHECK(TestType::fit({}).scale == 0x1p-24F);
  CHECK(TestType::fit(std::vector{0.0F, -0.0F}).scale == 0x1p-24F);
  CHECK(TestType::fit(std::vector{-0x1p-149F}).scale == 0x1p-24F);
  CHECK(std::abs(TestType::fit(std::vector{0x1p-149F}).scale) == 0x1p-24F);
  const auto granule = TestType::fit({});
  CHECK(TestType::position(0.0F, granule) == 0);
  CHECK(TestType::position(-0.0F, granule) == 0);
  CHECK(TestType::decode(0, granule) == 0.0F);
}

TEMPLATE_LIST_TEST_CASE("the scale is a float16, and no weight on the grid moves, for all of them", "[number]",
                        all_systems) {
  std::size_t wrong = 0;
  for (std::uint32_t bits = 1; bits < 0x10000; bits += stride(31)) {
    const auto half = static_cast<std::uint16_t>(bits);
    if ((half & 0x7fffU) == 0 || (half & 0x7fffU) >= 0x7c00) {
      continue;
    }
    const typename TestType::granule granule{float16::of_bits(half)};
    for (std::int32_t code = TestType::min_code; code <= TestType::max_code; ++code) {
      const float value = TestType::decode(code, granule);
      wrong += static_cast<double>(value) == static_cast<double>(granule.scale) * code ? 0U : 1U;
      wrong += TestType::position(value, granule) == 65536 * code ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("weights that no float16 scale covers are refused with what was found", "[number]") {
  CHECK(full_range_int<4>::fit(std::vector{8.0F * 65504.0F}).scale == -65504.0F);
  CHECK(full_range_int<4>::fit(std::vector{-8.0F * 65504.0F, 7.0F * 65504.0F}).scale == 65504.0F);
  CHECK(message_of<bad_input>([] {
          full_range_int<4>::fit(std::vector{-1.0F, 524033.0F});
        }) ==
        "full-range-INT-4: expected weights that a float16 scale covers, -524032 to 458528 or the reverse, found "
        "-1.000000 to 524033.000000");
  CHECK(message_of<bad_input>([] {
          full_range_int<4>::fit(std::vector{-458529.0F, 458529.0F});
        }) ==
        "full-range-INT-4: expected weights that a float16 scale covers, -524032 to 458528 or the reverse, found "
        "-458529.000000 to 458529.000000");
  CHECK(message_of<bad_input>([] { half_symmetric_int<8>::fit(std::vector{8319009.0F}); }) ==
        "half-INT-8: expected weights that a float16 scale covers, -8319008 to 8319008, found 0.000000 to "
        "8319009.000000");
  CHECK(message_of<bad_input>([] {
          half_symmetric_int<8>::fit(std::vector{std::numeric_limits<float>::max()});
        }).starts_with("half-INT-8: expected weights that a float16 scale covers"));
}

TEST_CASE("a tensor with a weight beyond the reach is refused with its index", "[number]") {
  const pluria::quantizer<full_range_int<4>, per_group> q4{per_group(32)};
  std::vector<float> values(96, 1.0F);
  values[70] = -458529.0F;
  const tensor weights = make_tensor(dtype::f32, "w", {3, 32}, values, "f.gguf");
  CHECK(message_of<bad_input>([&] { q4.fit(weights); }) ==
        "f.gguf: tensor \"w\", index 70: expected a magnitude of at most 458528.000000 for full-range-INT-4, found "
        "-458529.000000");
  const pluria::quantizer<full_range_int<4>, pluria::per_tensor> whole;
  CHECK(message_of<bad_input>([&] { whole.fit(weights); }) ==
        "f.gguf: tensor \"w\", index 70: expected a magnitude of at most 458528.000000 for full-range-INT-4, found "
        "-458529.000000");
  values[70] = std::numeric_limits<float>::quiet_NaN();
  CHECK(message_of<bad_input>([&] {
          q4.fit(make_tensor(dtype::f32, "w", {3, 32}, values));
        }) == "tensor \"w\", index 70: expected a finite weight, found nan");
}

// How many codes of a tensor's members are not the scalar definition's.
template <class N, class R>
std::size_t wrong_codes(const tensor& weights, const R& rounding, std::uint64_t members) {
  const auto grid = fitted_grid<N>(weights, per_group(32));
  const auto drawn = pluria::sample<N>(weights, grid, rounding, 0, members);
  const std::vector<float> values = weights.to_floats();
  const std::uint64_t hash = pluria::name_hash(weights.name());
  std::size_t wrong = 0;
  std::size_t negative = 0;
  for (const auto& granule : grid->granules) {
    negative += granule.scale < 0.0F ? 1U : 0U;
  }
  // Both signs have to be there, or nothing is tested.
  wrong += N::is_symmetric || (negative > 0 && negative < grid->granules.size()) ? 0U : 1U;
  for (std::uint64_t k = 0; k < members; ++k) {
    for (std::size_t row = 0; row < weights.rows(); ++row) {
      for (std::size_t column = 0; column < weights.columns(); ++column) {
        const float value = values[row * weights.columns() + column];
        const std::int32_t position = N::position(value, grid->at(row, column));
        const std::uint64_t block = row * pluria::blocks_per_row(weights.columns()) + column / 128;
        const std::int32_t code =
            pluria::member_code(rounding, position, hash, block, static_cast<std::uint32_t>(column % 128), k);
        wrong += drawn[k].code(row, column) == code ? 0U : 1U;
        wrong += std::abs(drawn[k].value(row, column) - value) <= std::abs(grid->at(row, column).scale) ? 0U : 1U;
      }
    }
  }
  return wrong;
}

TEMPLATE_LIST_TEST_CASE("the sampling kernel takes scales of both signs", "[number]", sampled_systems) {
  for (const dtype type : {dtype::f32, dtype::f16, dtype::bf16}) {
    for (const pluria::tensor_shape& shape : {pluria::tensor_shape{7, 160}, {3, 256}, {2, 3, 32}}) {
      const std::size_t count = pluria::element_count(shape, "w");
      const tensor weights = make_tensor(type, "blk.0.ffn_up.weight", shape, integer_weights(count, 0.1F, 40));
      CHECK(wrong_codes<TestType>(weights, nearest{}, 1) == 0);
      CHECK(wrong_codes<TestType>(weights, bernoulli{.seed = 3}, 3) == 0);
      CHECK(wrong_codes<TestType>(weights, bernoulli{.seed = 3, .coupling = pluria::lattice(8)}, 9) == 0);
    }
  }
}

// The sum over members and weights of (member - weight) / |scale|, errors away from zero counted positive.
template <class N>
double bias(const tensor& weights, const shared_grid<N>& grid, std::uint64_t members) {
  const std::vector<float> values = weights.to_floats();
  double sum = 0.0;
  for (const auto& member : pluria::sample<N>(weights, grid, bernoulli{.seed = 11}, 0, members)) {
    for (std::size_t row = 0; row < weights.rows(); ++row) {
      for (std::size_t column = 0; column < weights.columns(); ++column) {
        const double value = values[row * weights.columns() + column];
        const double error = (member.value(row, column) - value) / std::abs(grid->at(row, column).scale);
        sum += value < 0.0 ? -error : error;
      }
    }
  }
  return sum;
}

// Independent errors, each of a variance of at most 1/4: the sum of n has a standard deviation of at most sqrt(n) / 2,
// of which 5 are allowed, and the mean of positions is off by at most 2^-17 a weight.
constexpr std::size_t bias_rows = 64;
constexpr std::uint64_t bias_members = 64;
const double bias_count = 256.0 * bias_rows * bias_members;
const double bias_bound = 5.0 * std::sqrt(bias_count) / 2.0 + bias_count * 0x1p-17;

TEMPLATE_LIST_TEST_CASE("members are unbiased on the stored scale", "[number]", sampled_systems) {
  const tensor weights = make_tensor(dtype::f32, "w", {bias_rows, 256}, integer_weights(bias_rows * 256, 0.1F, 7));
  const auto grid = fitted_grid<TestType>(weights, per_group(32));
  CHECK(std::abs(bias<TestType>(weights, grid, bias_members)) <= bias_bound);
}

TEST_CASE("members on the scale that the extreme alone decides are biased, and the check sees it", "[number]") {
  using q4 = ggml_full_range_int<4>;
  const tensor weights = make_tensor(dtype::f32, "w", {bias_rows, 256}, integer_weights(bias_rows * 256, 0.1F, 7));
  const auto grid = fitted_grid<q4>(weights, per_group(32));
  CHECK(bias<q4>(weights, grid, bias_members) < -bias_bound);
}

// The scale that ggml's reference stores, out of a block that it rounds to nearest.
template <pluria::ggml_type Type>
std::uint16_t stored_scale(const std::vector<float>& weights) {
  using block = pluria::ggml_block<Type>;
  std::array<std::byte, block::bytes> bytes;
  block::round(std::span(weights).template first<pluria::ggml_block_size>(), bytes);
  return block::scale_bits(bytes);
}

template <int Bits, pluria::ggml_type Type>
std::size_t other_scales() {
  std::size_t others = 0;
  for (std::uint32_t group = 0; group < 2000; ++group) {
    std::vector<float> weights = integer_weights(32, group % 2 == 0 ? 0.1F : 3e-6F, 32 * group);
    if (group % 3 == 0) {
      // Two extremes of one magnitude: the first decides.
      weights[group % 31] = group % 2 == 0 ? 0.2F : -0.2F;
      weights[31] = -weights[group % 31];
    }
    const std::uint16_t expected = stored_scale<Type>(weights);
    const std::uint16_t found = ggml_full_range_int<Bits>::fit(weights).scale.bits();
    // ggml stores 0 where the scale is below half of the smallest float16.
    others += (expected & 0x7fffU) == 0 ? 1U : (found == expected ? 0U : 1U);
  }
  return others;
}

TEST_CASE("the scale of the extreme is the one that ggml stores", "[number]") {
  CHECK(other_scales<4, pluria::ggml_type::q4_0>() == 0);
  CHECK(other_scales<5, pluria::ggml_type::q5_0>() == 0);
}

TEST_CASE("the scale of the extreme, by hand", "[number]") {
  using q4 = ggml_full_range_int<4>;
  CHECK(q4::name() == "ggml-full-range-INT-4");
  CHECK(q4::fit(std::vector<float>{-8.0F, 7.9F}).scale == 1.0F);
  CHECK(q4::fit(std::vector<float>{16.0F, -16.0F}).scale == -2.0F);
  CHECK(q4::fit(std::vector<float>{-16.0F, 16.0F}).scale == 2.0F);
  for (const auto& none : {std::vector<float>{}, {0.0F}, {-0.0F, 0.0F}, {-0x1p-30F}}) {
    CHECK(q4::fit(none).scale == 0x1p-24F);
  }
  CHECK(q4::fit(std::vector<float>{0x1p-30F}).scale == -0x1p-24F);
  CHECK(q4::largest_weight == 8.0F * 65504.0F);
  CHECK(q4::fit(std::vector<float>{q4::largest_weight}).scale == -65504.0F);
  CHECK(message_of<bad_input>([] {
          q4::fit(std::vector<float>{-1.0F, 8.0F * 65520.0F});
        }) ==
        "ggml-full-range-INT-4: expected weights that a float16 scale covers, -524032 to 458528 or the reverse, found "
        "0.000000 to 524160.000000");
}

}  // namespace
