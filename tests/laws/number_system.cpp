// SPDX-License-Identifier: MIT
// The laws of <pluria/number/concept.hpp>, for every number system: a new one is a line in `number_systems`.

#include <pluria/core/magnitude.hpp>
#include <pluria/number/affine_int.hpp>
#include <pluria/number/block_scaled.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/number/fitted_codebook.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/posit.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

namespace {

using namespace support;
using pluria::bernoulli;
using pluria::nearest;

using number_systems = std::tuple<                  //
    pluria::symmetric_int<2>,                       //
    pluria::symmetric_int<3>,                       //
    pluria::symmetric_int<4>,                       //
    pluria::symmetric_int<5>,                       //
    pluria::symmetric_int<6>,                       //
    pluria::symmetric_int<7>,                       //
    pluria::symmetric_int<8>,                       //
    pluria::full_range_int<2>,                      //
    pluria::full_range_int<4>,                      //
    pluria::full_range_int<5>,                      //
    pluria::full_range_int<8>,                      //
    pluria::half_symmetric_int<4>,                  //
    pluria::ggml_full_range_int<4>,                 //
    pluria::ggml_full_range_int<5>,                 //
    pluria::half_symmetric_int<8>,                  //
    pluria::minifloat<1, 0>,                        //
    pluria::minifloat<1, 6>,                        //
    pluria::minifloat<2, 0>,                        //
    pluria::minifloat<2, 2>,                        //
    pluria::minifloat<3, 1>,                        //
    pluria::fp4_e2m1,                               //
    pluria::fp6_e2m3,                               //
    pluria::fp6_e3m2,                               //
    pluria::fp8_e4m3,                               //
    pluria::fp8_e5m2,                               //
    pluria::mxfp4,                                  //
    pluria::mx_covering<pluria::fp4_e2m1>,          //
    pluria::mxfp6_e2m3,                             //
    pluria::mx_covering<pluria::fp6_e2m3>,          //
    pluria::mxfp6_e3m2,                             //
    pluria::mx_covering<pluria::fp6_e3m2>,          //
    pluria::mxfp8_e4m3,                             //
    pluria::mx_covering<pluria::fp8_e4m3>,          //
    pluria::mxfp8_e5m2,                             //
    pluria::mx_covering<pluria::fp8_e5m2>,          //
    pluria::mxint8,                                 //
    pluria::mx_covering<pluria::symmetric_int<8>>,  //
    pluria::nvfp4,                                  //
    pluria::nvfp4_covering,                         //
    pluria::affine_int<1>,                          //
    pluria::affine_int<4>,                          //
    pluria::affine_int<8>,                          //
    pluria::nf4,                                    //
    pluria::ternary,                                //
    pluria::posit<4>,                               //
    pluria::posit<8>,                               //
    pluria::k_means_codebook<2>,                    //
    pluria::k_means_codebook<4>,                    //
    pluria::k_means_codebook<8>,                    //
    pluria::least_variance_codebook<2>,             //
    pluria::least_variance_codebook<4>,             //
    pluria::least_variance_codebook<8>>;

// The largest weight that a number system takes.
template <class N>
constexpr float largest_weight() {
  if constexpr (pluria::bounded_system<N>) {
    return N::largest_weight;
  } else {
    return std::numeric_limits<float>::max();
  }
}

// Granules' worth of weights: common ones, one weight, zeros, subnormal, tiny and the largest.
template <class N>
std::vector<std::vector<float>> granules_of_weights() {
  const float largest = largest_weight<N>();
  return {integer_weights(1000),
          integer_weights(128, 0.02F, 5000),
          integer_weights(128, 0x1p-130F),
          integer_weights(128, 0x1p-120F),
          integer_weights(128, 0x1p-20F),
          integer_weights(128, 0.25F * largest),
          {0.7F},
          {-3.0F},
          {1.0F, 1.0F, 1.0F},
          {0.0F, 0.0F, -0.0F},
          {0x1p-149F, -0x1p-149F},
          {largest, -largest, 1.0F},
          {}};
}

// 1, or -1 where values fall with the code.
template <class N>
float direction(const typename N::granule& granule) {
  return N::decode(N::min_code, granule) < N::decode(N::max_code, granule) ? 1.0F : -1.0F;
}

// Whether a weight lies outside the grid.
template <class N>
bool is_beyond(float weight, const typename N::granule& granule) {
  const float first = N::decode(N::min_code, granule);
  const float last = N::decode(N::max_code, granule);
  return weight < std::min(first, last) || weight > std::max(first, last);
}

// The granule's own weights and others: every grid point and midpoint, their neighbours, and far outside.
template <class N>
std::vector<float> weights_around(std::vector<float> weights, const typename N::granule& granule) {
  const float largest = std::numeric_limits<float>::max();
  for (std::int32_t code = N::min_code; code <= N::max_code; ++code) {
    const float point = N::decode(code, granule);
    const float midpoint = 0.5F * point + 0.5F * N::decode(std::min(code + 1, N::max_code), granule);
    for (const float w : {point, midpoint}) {
      weights.insert(weights.end(), {std::nextafter(w, -largest), w, std::nextafter(w, largest)});
    }
  }
  weights.insert(weights.end(), {-largest, largest, 0.0F, -0.0F});
  return weights;
}

TEMPLATE_LIST_TEST_CASE("values strictly increase with the code, or fall where the scale is negative", "[laws]",
                        number_systems) {
  for (const auto& weights : granules_of_weights<TestType>()) {
    const auto granule = TestType::fit(weights);
    const float sign = direction<TestType>(granule);
    for (std::int32_t code = TestType::min_code; code < TestType::max_code; ++code) {
      REQUIRE(sign * TestType::decode(code, granule) < sign * TestType::decode(code + 1, granule));
    }
    if constexpr (pluria::scaled_system<TestType>) {
      REQUIRE((granule.scale > 0.0F) == (sign > 0.0F));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("values are the scale times the unit of the code, where a system says so", "[laws]",
                        number_systems) {
  if constexpr (pluria::factored_system<TestType>) {
    for (const auto& weights : granules_of_weights<TestType>()) {
      const auto granule = TestType::fit(weights);
      for (std::int32_t code = TestType::min_code; code <= TestType::max_code; ++code) {
        REQUIRE(TestType::decode(code, granule) == static_cast<float>(granule.scale) * TestType::unit(code));
        if constexpr (pluria::scaled_system<TestType>) {
          REQUIRE(TestType::unit(code) == static_cast<float>(code));
        }
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("granules alone are those of a tensor of their own", "[laws]", number_systems) {
  if constexpr (pluria::two_level_system<TestType>) {
    for (const auto& weights : granules_of_weights<TestType>()) {
      const float largest = pluria::largest_magnitude(weights);
      REQUIRE(TestType::fit(weights) == TestType::fit(weights, TestType::tensor_scale(largest)));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("a weight on its grid never moves, under any rounding", "[laws]", number_systems) {
  for (const auto& weights : granules_of_weights<TestType>()) {
    const auto granule = TestType::fit(weights);
    for (std::int32_t code = TestType::min_code; code <= TestType::max_code; ++code) {
      const std::int32_t position = TestType::position(TestType::decode(code, granule), granule);
      REQUIRE(position == 65536 * code);
      REQUIRE(nearest::code(position) == code);
      REQUIRE(bernoulli::code(position, 0) == code);
      REQUIRE(bernoulli::code(position, 65535) == code);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("positions do not decrease, or not increase, and stay among the codes", "[laws]",
                        number_systems) {
  for (const auto& weights : granules_of_weights<TestType>()) {
    const auto granule = TestType::fit(weights);
    std::vector<float> sorted = weights_around<TestType>(weights, granule);
    std::sort(sorted.begin(), sorted.end());
    if (direction<TestType>(granule) < 0.0F) {
      std::reverse(sorted.begin(), sorted.end());
    }
    std::int32_t previous = 65536 * TestType::min_code;
    for (const float weight : sorted) {
      const std::int32_t position = TestType::position(weight, granule);
      REQUIRE(position >= previous);
      REQUIRE(position <= 65536 * TestType::max_code);
      previous = position;
    }
  }
}

TEMPLATE_LIST_TEST_CASE("a bounded system takes weights up to its bound, whatever their signs", "[laws]",
                        number_systems) {
  if constexpr (pluria::bounded_system<TestType>) {
    constexpr float largest = TestType::largest_weight;
    for (const auto& weights : {std::vector<float>{largest, -largest}, {largest}, {-largest}, {-largest, 1.0F}}) {
      const auto granule = TestType::fit(weights);
      REQUIRE(std::isfinite(TestType::decode(TestType::min_code, granule)));
      REQUIRE(std::isfinite(TestType::decode(TestType::max_code, granule)));
      for (const float weight : weights) {
        REQUIRE((pluria::saturating_system<TestType> || !is_beyond<TestType>(weight, granule)));
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("every lane has the position of its weight", "[laws]", number_systems) {
  for (const auto& weights : granules_of_weights<TestType>()) {
    const auto granule = TestType::fit(weights);
    std::vector<float> all = weights_around<TestType>(weights, granule);
    all.resize((all.size() + lanes - 1) / lanes * lanes);
    for (std::size_t first = 0; first < all.size(); first += lanes) {
      const auto positions = lanes_of(TestType::position(floats::load_unaligned(&all[first]), granule));
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        REQUIRE(positions[lane] == TestType::position(all[first + lane], granule));
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("the fitted grid covers its weights, and positions lie where the weights do", "[laws]",
                        number_systems) {
  for (const auto& weights : granules_of_weights<TestType>()) {
    const auto granule = TestType::fit(weights);
    for (const float weight : weights) {
      if (pluria::saturating_system<TestType> && is_beyond<TestType>(weight, granule)) {
        continue;
      }
      const std::int32_t position = TestType::position(weight, granule);
      const std::int32_t below = std::min(position >> 16, TestType::max_code - 1);
      const double low = TestType::decode(below, granule);
      const double step = TestType::decode(below + 1, granule) - low;
      const double value = low + step * (position - 65536 * below) / 65536.0;
      // Half a unit of the position, and up to one and a half of float error before it: 2 units.
      REQUIRE(std::abs(value - static_cast<double>(weight)) <= std::abs(step) * 0x1p-15);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("members are one of the two neighbours, and their mean is the position", "[laws]",
                        number_systems) {
  const std::vector<float> weights = integer_weights(exhaustive ? 200 : 10);
  const auto granule = TestType::fit(weights);
  for (const float weight : weights) {
    const std::int32_t position = TestType::position(weight, granule);
    const std::int32_t below = position >> 16;
    REQUIRE((nearest::code(position) == below || nearest::code(position) == below + 1));
    std::int64_t sum = 0;
    bool neighbours = true;
    for (std::int32_t dither = 0; dither < 65536; ++dither) {
      const std::int32_t code = bernoulli::code(position, dither);
      neighbours = neighbours && (code == below || code == below + 1) && code <= TestType::max_code;
      sum += code;
    }
    REQUIRE(neighbours);
    REQUIRE(sum == position);
  }
}

TEMPLATE_LIST_TEST_CASE("the padding's code is nearest to zero", "[laws]", number_systems) {
  for (const auto& weights : granules_of_weights<TestType>()) {
    const auto granule = TestType::fit(weights);
    const float padding = std::abs(TestType::decode(pluria::code_nearest_zero<TestType>(granule), granule));
    for (std::int32_t code = TestType::min_code; code <= TestType::max_code; ++code) {
      REQUIRE(padding <= std::abs(TestType::decode(code, granule)));
    }
  }
}

}  // namespace
