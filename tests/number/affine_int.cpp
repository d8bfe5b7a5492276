// SPDX-License-Identifier: MIT

#include <pluria/number/affine_int.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace {

using namespace support;
using pluria::affine_int;

using all_bits = std::tuple<affine_int<1>, affine_int<2>, affine_int<3>, affine_int<4>, affine_int<5>, affine_int<6>,
                            affine_int<7>, affine_int<8>>;

static_assert(affine_int<1>::min_code == -1 && affine_int<1>::max_code == 0);
static_assert(affine_int<8>::min_code == -128 && affine_int<8>::max_code == 127);

template <class Int>
constexpr std::int64_t cells = Int::max_code - Int::min_code;

// For how many codes the value is rounded, or a weight of that value moves.
template <class Int>
std::size_t inexact(const typename Int::granule& granule) {
  std::size_t wrong = 0;
  for (std::int32_t code = Int::min_code; code <= Int::max_code; ++code) {
    const float value = Int::decode(code, granule);
    const double exact = static_cast<double>(granule.offset) + static_cast<double>(granule.scale) * code;
    wrong += static_cast<double>(value) == exact && Int::position(value, granule) == 65536 * code ? 0U : 1U;
  }
  return wrong;
}

TEMPLATE_LIST_TEST_CASE("values are exact and no weight on the grid moves, for every scale and offsets at both ends",
                        "[number]", all_bits) {
  // In quanta: scales of 1, 2, ... up to where the values span 2^24, the lowest value from -2^23 to where the highest
  // is 2^23 + 2^b.
  constexpr std::int64_t half = 1 << 23;
  std::size_t wrong = 0;
  for (std::int64_t steps = 1; steps * cells<TestType> <= 2 * half + cells<TestType>; steps += stride(1021)) {
    const std::int64_t highest_low = half + cells<TestType> - steps * cells<TestType>;
    for (const std::int64_t low : {-half, highest_low}) {
      wrong += inexact<TestType>({static_cast<float>(steps), static_cast<float>(low - steps * TestType::min_code)});
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("rounded values and a rounded difference would move weights, and the check sees it", "[number]") {
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    wrong += inexact<affine_int<8>>({0.01F + 0.001F * std::abs(integer_weight(i)), 10.0F * integer_weight(2000 + i)});
  }
  CHECK(wrong > 0);
}

// The quantum, by another way than the bits: 2^-22 of the power of two below the largest magnitude, at least 2^-110.
double quantum(double lowest, double highest) {
  const double largest = std::max(std::abs(lowest), std::abs(highest));
  return largest == 0.0 ? 0x1p-110 : std::max(0x1p-110, std::ldexp(1.0, std::ilogb(largest) - 22));
}

// Whether a fitted grid is what fit promises: exact, around the weights, by less than a quantum on the lower side and a
// quantum for each step beside one on the upper.
template <class Int>
bool is_as_promised(const std::vector<float>& weights) {
  const auto granule = Int::fit(weights);
  const double lowest = *std::min_element(weights.begin(), weights.end());
  const double highest = *std::max_element(weights.begin(), weights.end());
  const double first = Int::decode(Int::min_code, granule);
  const double last = Int::decode(Int::max_code, granule);
  const double one = quantum(lowest, highest);
  return inexact<Int>(granule) == 0 && granule.scale >= 0x1p-110F && first <= lowest && lowest - first < one &&
         highest <= last && last - highest < one * static_cast<double>(cells<Int> + 1);
}

TEMPLATE_LIST_TEST_CASE("the grid goes from the lowest weight to the highest", "[number]", all_bits) {
  std::size_t wrong = 0;
  // Ranges from much smaller than their distance from zero to much larger, of all sizes.
  for (std::uint32_t i = 0; i < 20'000; i += stride(31)) {
    const float size = std::ldexp(1.0F, static_cast<int>(mixed(4 * i) % 250) - 125);
    const float width = std::ldexp(1.0F, -static_cast<int>(mixed(4 * i + 1) % 30));
    const float centre = (mixed(4 * i + 2) % 3 == 0 ? 0.0F : 1.0F) * integer_weight(i) * size;
    const float other = integer_weight(3 * i + 1) * size * width;
    wrong += is_as_promised<TestType>({centre, centre + other, centre - 0.7F * other}) ? 0U : 1U;
    wrong += is_as_promised<TestType>({centre}) ? 0U : 1U;
  }
  for (const float largest : {TestType::largest_weight, std::nextafter(TestType::largest_weight, 0.0F)}) {
    for (const auto& weights : {std::vector{largest, -largest}, {largest}, {-largest}, {0.0F, largest}}) {
      wrong += is_as_promised<TestType>(weights) ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("grids that need no rounding are the lowest weight, the highest and what lies between", "[number]") {
  const auto two = affine_int<2>::fit(std::vector{2.0F, -1.0F, 0.3F});
  CHECK(two.scale == 1.0F);
  CHECK(two.offset == 1.0F);
  CHECK(affine_int<2>::decode(-2, two) == -1.0F);
  CHECK(affine_int<2>::decode(1, two) == 2.0F);
  CHECK(affine_int<2>::position(0.25F, two) == -65536 + 65536 / 4);
  CHECK(affine_int<2>::position(-7.0F, two) == -2 * 65536);
  CHECK(affine_int<2>::position(7.0F, two) == 65536);
  // All weights on one side of zero: zero is not among the values.
  const auto four = affine_int<4>::fit(std::vector{10.0F, 40.0F});
  CHECK(four.scale == 2.0F);
  CHECK(four.offset == 26.0F);
  CHECK(affine_int<4>::name() == "affine-INT-4");
}

TEST_CASE("one bit holds weights of both signs", "[number]") {
  const auto granule = affine_int<1>::fit(std::vector{-3.0F, 0.5F, 5.0F});
  CHECK(affine_int<1>::decode(-1, granule) == -3.0F);
  CHECK(affine_int<1>::decode(0, granule) == 5.0F);
  CHECK(affine_int<1>::position(1.0F, granule) == -32768);
}

TEST_CASE("a narrow range far from zero keeps the steps that floats have there", "[number]") {
  // The quantum is 2^-23, and the range some 17 of it: 15 steps of one do not reach, those of two do.
  const auto granule = affine_int<4>::fit(std::vector{0.7F - 1e-6F, 0.7F, 0.7F + 1e-6F});
  CHECK(granule.scale == 0x1p-22F);
  CHECK(std::abs(affine_int<4>::decode(-8, granule) - (0.7F - 1e-6F)) < 0x1p-23F);
  const auto one = affine_int<1>::fit(std::vector{0.7F - 1e-6F, 0.7F + 1e-6F});
  CHECK(std::abs(one.scale - 2e-6F) <= 2 * 0x1p-23F);
}

TEMPLATE_LIST_TEST_CASE("zeros, nothing, equal and the tiniest weights have a grid", "[number]", all_bits) {
  for (const auto& weights : {std::vector<float>{}, {0.0F, -0.0F}, {-0.0F}}) {
    const auto granule = TestType::fit(weights);
    CHECK(granule.scale == 0x1p-110F);
    CHECK(TestType::decode(TestType::min_code, granule) == 0.0F);
    CHECK(TestType::position(0.0F, granule) == 65536 * TestType::min_code);
    CHECK(TestType::position(-0.0F, granule) == 65536 * TestType::min_code);
  }
  const auto ones = TestType::fit(std::vector{1.0F, 1.0F});
  CHECK(ones.scale == 0x1p-22F);
  CHECK(TestType::decode(TestType::min_code, ones) == 1.0F);
  const auto tiny = TestType::fit(std::vector{0x1p-149F, -0x1p-149F});
  CHECK(tiny.scale == (TestType::bits == 1 ? 0x1p-109F : 0x1p-110F));
  CHECK(inexact<TestType>(tiny) == 0);
}

TEMPLATE_LIST_TEST_CASE("positions are the weights' own within the error of three float operations", "[number]",
                        all_bits) {
  // The difference, the reciprocal and the product are each within 2^-24 of themselves; the last step rounds to half a
  // unit. The first order bound is taken with 1 % on top.
  for (const float size : {0x1p-80F, 1.0F, 1.37F, 0x1p120F}) {
    std::vector<float> weights = integer_weights(exhaustive ? 65536 : 4096, size);
    for (float& weight : weights) {
      weight += 0.3F * size;
    }
    const auto granule = TestType::fit(weights);
    std::size_t wrong = 0;
    for (const float weight : weights) {
      const double exact = 65536.0 * (static_cast<double>(weight) - static_cast<double>(granule.offset)) /
                           static_cast<double>(granule.scale);
      const double bound = 0.5 + 1.01 * 3.0 * 0x1p-24 * std::abs(exact);
      wrong += std::abs(TestType::position(weight, granule) - exact) <= bound ? 0U : 1U;
    }
    CHECK(wrong == 0);
  }
}

}  // namespace
