// SPDX-License-Identifier: MIT
// That symmetric_int<1> and <9> are refused is checked in tests/static.

#include <pluria/number/symmetric_int.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <tuple>
#include <vector>

namespace {

using namespace support;
using pluria::symmetric_int;

using all_bits = std::tuple<symmetric_int<2>, symmetric_int<3>, symmetric_int<4>, symmetric_int<5>, symmetric_int<6>,
                            symmetric_int<7>, symmetric_int<8>>;

// For how many codes of this granule a weight on the grid moves. Codes stand in the lanes.
template <class Int>
std::uint64_t moved(const typename Int::granule& granule) {
  constexpr std::int32_t codes = Int::max_code - Int::min_code + 1;
  const ints numbers = xsimd::batch_cast<std::int32_t>(lane_numbers());
  const auto scale = floats(granule.scale);
  auto wrong = ints(0);
  for (std::int32_t first = 0; first < codes; first += static_cast<std::int32_t>(lanes)) {
    // Lanes beyond the last code repeat it.
    const ints code = xsimd::min(numbers + ints(first + Int::min_code), ints(Int::max_code));
    const ints position = Int::position(scale * xsimd::to_float(code), granule);
    wrong = wrong | (position ^ (code << 16));
  }
  const auto differences = lanes_of(wrong);
  return static_cast<std::uint64_t>(
      std::count_if(differences.begin(), differences.end(), [](auto d) { return d != 0; }));
}

template <class Int>
bool any_scalar_moved(const typename Int::granule& granule) {
  for (std::int32_t code = Int::min_code; code <= Int::max_code; ++code) {
    if (Int::position(Int::decode(code, granule), granule) != code * 65536) {
      return true;
    }
  }
  return false;
}

static_assert(symmetric_int<2>::max_code == 1 && symmetric_int<2>::min_code == -1);
static_assert(symmetric_int<5>::max_code == 15 && symmetric_int<8>::min_code == -127);

TEST_CASE("no weight on the grid of INT-8 moves, for any mantissa of the scale", "[number]") {
  // Powers of two only shift all exponents alike, and the codes of fewer bits are among these.
  std::uint64_t wrong = 0;
  for (std::uint32_t mantissa = 0; mantissa < 1U << 23; mantissa += stride(1021)) {
    wrong += moved<symmetric_int<8>>({std::bit_cast<float>(0x3f800000U | mantissa)});
  }
  CHECK(wrong == 0);
}

// Codes up to 255: what a grid of 8 unsigned bits would need if it were not centred on zero.
struct wide_int {
  static constexpr std::int32_t max_code = 255;
  static constexpr std::int32_t min_code = -255;
  using granule = symmetric_int<8>::granule;
  template <class Float>
  static auto position(const Float& weight, const granule& granule) {
    const Float steps = pluria::lanes::clamp(Float(weight * Float(1.0F / granule.scale)), -255.0F, 255.0F);
    return pluria::lanes::round_half_even(Float(steps * Float(65536.0F)));
  }
};

TEST_CASE("weights on a grid with codes beyond 127 would move, and the check sees it", "[number]") {
  std::uint64_t wrong = 0;
  for (std::uint32_t mantissa = 0; mantissa < 1U << 23; mantissa += 1021) {
    wrong += moved<wide_int>({std::bit_cast<float>(0x3f800000U | mantissa)});
  }
  CHECK(wrong > 0);
}

TEMPLATE_LIST_TEST_CASE("no weight on the grid moves, at any size of the scale", "[number]", all_bits) {
  std::uint64_t wrong = 0;
  // From the smallest scale, 2^-110, to where the outermost code reaches the largest float.
  const float largest = std::numeric_limits<float>::max() / static_cast<float>(TestType::max_code);
  const std::uint32_t last = std::bit_cast<std::uint32_t>(largest);
  for (std::uint32_t bits = 0x08800000U; bits <= last; bits += 4099 * stride(31)) {
    wrong += moved<TestType>({std::bit_cast<float>(bits)});
  }
  for (std::uint32_t bits = last; bits > last - 100'000 / stride(31); --bits) {
    wrong += moved<TestType>({std::bit_cast<float>(bits)});
  }
  CHECK(wrong == 0);

  for (std::uint32_t bits = 0x08800000U; bits <= last; bits += 1'000'003) {
    wrong += any_scalar_moved<TestType>({std::bit_cast<float>(bits)}) ? 1 : 0;
  }
  CHECK(wrong == 0);
}

TEMPLATE_LIST_TEST_CASE("the scale puts the largest magnitude on the outermost code", "[number]", all_bits) {
  constexpr auto qmax = static_cast<float>(TestType::max_code);
  const std::vector<float> weights{0.5F, -3.0F, 1.0F, 0.0F};
  const auto granule = TestType::fit(weights);
  CHECK(granule.scale == 3.0F / qmax);
  CHECK(TestType::position(-3.0F, granule) == 65536 * TestType::min_code);
  CHECK(TestType::position(3.0F, granule) == 65536 * TestType::max_code);
  CHECK(TestType::position(0.0F, granule) == 0);
  CHECK(TestType::position(-0.0F, granule) == 0);
  CHECK(TestType::name() == "INT-" + std::to_string(TestType::bits));
}

TEMPLATE_LIST_TEST_CASE("granules of zeros, of nothing and of tiny weights take the smallest scale", "[number]",
                        all_bits) {
  CHECK(TestType::fit({}).scale == 0x1p-110F);
  const std::vector<float> zeros(5, 0.0F);
  CHECK(TestType::fit(zeros).scale == 0x1p-110F);
  const std::vector<float> negative_zero{-0.0F};
  CHECK(TestType::fit(negative_zero).scale == 0x1p-110F);

  // Tiny and subnormal weights: products with a power of two are exact, so positions are too, half to even.
  const std::vector<float> tiny{0x1p-149F, -0x1p-149F, 0x1.8p-127F, -0x1.8p-126F, 0x1p-127F, 0x1.fffp-111F};
  const auto granule = TestType::fit(tiny);
  CHECK(granule.scale == 0x1p-110F);
  for (const float weight : tiny) {
    CHECK(TestType::position(weight, granule) == std::llrint(std::ldexp(static_cast<double>(weight), 110 + 16)));
  }
}

TEMPLATE_LIST_TEST_CASE("the largest floats have a finite scale, finite values and positions", "[number]", all_bits) {
  const float largest = std::numeric_limits<float>::max();
  const std::vector<float> weights{largest, -largest, 1.0F};
  const auto granule = TestType::fit(weights);
  CHECK(std::isfinite(granule.scale));
  CHECK(TestType::position(largest, granule) == 65536 * TestType::max_code);
  CHECK(TestType::position(-largest, granule) == 65536 * TestType::min_code);
  CHECK(std::isfinite(TestType::decode(TestType::max_code, granule)));
}

TEMPLATE_LIST_TEST_CASE("positions are the weights' own within the error of two float operations", "[number]",
                        all_bits) {
  // 1/s and its product with w are each within 2^-24 of themselves; the last step rounds to half a unit. The first
  // order bound 65536 |v| 2^-23 is taken with 1 % on top.
  for (const float size : {0x1p-105F, 1.0F, 1.37F, 0x1.fffffep20F, 0x1p120F}) {
    const std::vector<float> weights = integer_weights(exhaustive ? 65536 : 4096, size);
    const auto granule = TestType::fit(weights);
    std::size_t wrong = 0;
    for (std::size_t first = 0; first < weights.size(); first += lanes) {
      const auto batch = lanes_of(TestType::position(floats::load_unaligned(&weights[first]), granule));
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const double exact = 65536.0 * static_cast<double>(weights[first + lane]) / static_cast<double>(granule.scale);
        const std::int32_t position = TestType::position(weights[first + lane], granule);
        const double bound = 0.5 + 1.01 * 0x1p-23 * std::abs(exact);
        wrong += std::abs(position - exact) <= bound ? 0U : 1U;
        wrong += batch[lane] == position ? 0U : 1U;
      }
    }
    CHECK(wrong == 0);
  }
}

TEMPLATE_LIST_TEST_CASE("positions rise with the weight and stay among the codes", "[number]", all_bits) {
  for (const float scale : {1.0F, 0.1F, 0x1.fffffep-3F, 0x1p-110F}) {
    const typename TestType::granule granule{scale};
    // Every 9973rd float from far below the grid to far above it, and the neighbours of each point and midpoint.
    std::vector<float> weights;
    const float beyond = 2.0F * scale * static_cast<float>(TestType::max_code);
    for (std::uint32_t bits = 0; bits < std::bit_cast<std::uint32_t>(beyond); bits += 9973 * stride(31)) {
      weights.push_back(std::bit_cast<float>(bits));
      weights.push_back(-weights.back());
    }
    for (std::int32_t halves = 2 * TestType::min_code - 1; halves <= 2 * TestType::max_code + 1; ++halves) {
      const float point = scale * static_cast<float>(halves) / 2.0F;
      weights.insert(weights.end(), {std::nextafter(point, -beyond), point, std::nextafter(point, beyond)});
    }
    weights.insert(weights.end(), {std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()});
    std::sort(weights.begin(), weights.end());

    std::size_t wrong = 0;
    std::int32_t previous = 65536 * TestType::min_code;
    for (const float weight : weights) {
      const std::int32_t position = TestType::position(weight, granule);
      wrong += position >= previous && position <= 65536 * TestType::max_code ? 0U : 1U;
      previous = position;
    }
    CHECK(wrong == 0);
    CHECK(previous == 65536 * TestType::max_code);
    CHECK(TestType::position(weights.front(), granule) == 65536 * TestType::min_code);
  }
}

}  // namespace
