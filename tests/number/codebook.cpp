// SPDX-License-Identifier: MIT

#include <pluria/number/codebook.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/architectures.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>
#include <support/moved_codes.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace support;
using pluria::nf4;
using pluria::scaled_codebook;
using pluria::ternary;

static_assert(nf4::bits == 4 && nf4::min_code == 0 && nf4::max_code == 15);
static_assert(ternary::bits == 2 && ternary::min_code == -1 && ternary::max_code == 1);
static_assert(nf4::largest_weight == std::numeric_limits<float>::max());
// A table with a subnormal product next to 2^-110 has a larger smallest scale.
static_assert(nf4::smallest_scale == 0x1p-110F && ternary::smallest_scale == 0x1p-110F);

// Five values, more of them on one side, and farther.
struct lopsided_table {
  static std::string name() { return "lopsided"; }
  static constexpr std::array<float, 5> values{-0.5F, 0.0F, 0.25F, 1.0F, 2.0F};
  static constexpr std::int32_t min_code = -1;
  static constexpr pluria::float_extremes reach{-0.5F, 2.0F};
};
using lopsided = scaled_codebook<lopsided_table>;
static_assert(lopsided::bits == 3 && lopsided::max_code == 3 && !pluria::scaled_system<lopsided>);
static_assert(lopsided::largest_weight == std::numeric_limits<float>::max() / 4);

// The same, of which one value is nearly zero.
struct tiny_table : lopsided_table {
  static constexpr std::array<float, 5> values{-0.5F, 0.0F, 0x1p-30F, 1.0F, 2.0F};
};
static_assert(scaled_codebook<tiny_table>::smallest_scale == 0x1p-96F);

// NF4 in units of a position, as scaled_codebook has it.
constexpr auto nf4_points = [] {
  std::array<float, 32> points{};
  for (std::size_t i = 0; i < 16; ++i) {
    points[i] = 65536.0F * pluria::nf4_table::values[i];
    points[16 + i] = i < 15 ? 1.0F / (pluria::nf4_table::values[i + 1] - pluria::nf4_table::values[i]) : 0.0F;
  }
  return points;
}();

// The quantile of the standard normal distribution, by bisection.
double normal_quantile(double probability) {
  double low = -10.0;
  double high = 10.0;
  for (int i = 0; i < 100; ++i) {
    const double middle = 0.5 * (low + high);
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < probability ? low : high) = middle;
  }
  return low;
}

TEST_CASE("NF4 has the published values", "[number]") {
  // Dettmers et al., "QLoRA", appendix E.
  const std::array<double, 16> published{-1.0,
                                         -0.6961928009986877,
                                         -0.5250730514526367,
                                         -0.39491748809814453,
                                         -0.28444138169288635,
                                         -0.18477343022823334,
                                         -0.09105003625154495,
                                         0.0,
                                         0.07958029955625534,
                                         0.16093020141124725,
                                         0.24611230194568634,
                                         0.33791524171829224,
                                         0.44070982933044434,
                                         0.5626170039176941,
                                         0.7229568362236023,
                                         1.0};
  for (std::int32_t code = 0; code < 16; ++code) {
    CHECK(static_cast<double>(nf4::unit(code)) == published[static_cast<std::size_t>(code)]);
  }
}

TEST_CASE("NF4's values are quantiles of the normal distribution", "[number]") {
  // Computed in float where they were published: within twice the distance of floats below 1.
  const double top = normal_quantile(0.9677083);
  for (std::int32_t i = 1; i <= 8; ++i) {
    const double above = normal_quantile(0.5 + i * (0.9677083 - 0.5) / 8.0) / top;
    CHECK(std::abs(static_cast<double>(nf4::unit(7 + i)) - above) < 2 * 0x1p-24);
  }
  for (std::int32_t i = 1; i <= 7; ++i) {
    const double below = -normal_quantile(0.5 + i * (0.9677083 - 0.5) / 7.0) / top;
    CHECK(std::abs(static_cast<double>(nf4::unit(7 - i)) - below) < 2 * 0x1p-24);
  }
  CHECK(nf4::unit(7) == 0.0F);
}

TEMPLATE_TEST_CASE("no weight on the grid moves, for any mantissa of the scale", "[number]", nf4, ternary, lopsided) {
  std::uint64_t wrong = 0;
  for (std::uint32_t mantissa = 0; mantissa < 1U << 23; mantissa += stride(1021)) {
    wrong += moved_codes<TestType>({std::bit_cast<float>(0x3f800000U | mantissa)});
  }
  CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("no weight on the grid moves, at any size of the scale", "[number]", nf4, ternary, lopsided) {
  std::uint64_t wrong = 0;
  const auto last = std::bit_cast<std::uint32_t>(TestType::fit(std::vector{TestType::largest_weight}).scale);
  for (auto bits = std::bit_cast<std::uint32_t>(TestType::smallest_scale); bits <= last; bits += 4099 * stride(31)) {
    wrong += moved_codes<TestType>({std::bit_cast<float>(bits)});
  }
  for (std::uint32_t bits = last; bits > last - 1000; --bits) {
    wrong += moved_codes<TestType>({std::bit_cast<float>(bits)});
  }
  CHECK(wrong == 0);
}

TEST_CASE("the scale covers the weights on both sides of zero", "[number]") {
  CHECK(nf4::fit(std::vector{0.5F, -3.0F}).scale == 3.0F);
  CHECK(nf4::fit(std::vector{3.0F, -0.5F}).scale == 3.0F);
  CHECK(nf4::position(-3.0F, {3.0F}) == 0);
  CHECK(nf4::position(0.0F, {3.0F}) == 7 * 65536);
  CHECK(nf4::position(3.0F, {3.0F}) == 15 * 65536);
  CHECK(nf4::position(100.0F, {3.0F}) == 15 * 65536);
  CHECK(lopsided::fit(std::vector{4.0F, -0.5F}).scale == 2.0F);
  CHECK(lopsided::fit(std::vector{4.0F, -2.0F}).scale == 4.0F);
  CHECK(lopsided::fit(std::vector{-2.0F}).scale == 4.0F);
  CHECK(lopsided::position(-2.0F, {4.0F}) == -65536);
  CHECK(lopsided::position(2.5F, {4.0F}) == 65536 + 65536 / 2);
  CHECK(nf4::name() == "NF4");
  CHECK(ternary::name() == "ternary");
}

TEMPLATE_TEST_CASE("zeros, nothing and the tiniest weights take the smallest scale, the largest a finite one",
                   "[number]", nf4, ternary, lopsided) {
  for (const auto& weights : {std::vector<float>{}, {0.0F, -0.0F}, {-0x1p-149F}, {0x1p-149F}}) {
    CHECK(TestType::fit(weights).scale == TestType::smallest_scale);
  }
  constexpr float largest = TestType::largest_weight;
  for (const auto& weights : {std::vector{largest}, {-largest}, {largest, -largest}}) {
    const auto granule = TestType::fit(weights);
    CHECK(std::isfinite(TestType::decode(TestType::min_code, granule)));
    CHECK(std::isfinite(TestType::decode(TestType::max_code, granule)));
    for (const float weight : weights) {
      CHECK(TestType::decode(TestType::min_code, granule) <= weight);
      CHECK(TestType::decode(TestType::max_code, granule) >= weight);
    }
  }
}

TEST_CASE("ternary weights lie where those of INT-2 do, but for one unit of the difference", "[number]") {
  using int2 = pluria::symmetric_int<2>;
  const std::vector<float> weights = integer_weights(10'000);
  const auto granule = ternary::fit(weights);
  CHECK(granule.scale == int2::fit(weights).scale);
  std::size_t wrong = 0;
  for (const float weight : weights) {
    const std::int32_t difference = ternary::position(weight, granule) - int2::position(weight, {granule.scale});
    wrong += std::abs(difference) <= (weight < 0.0F ? 1 : 0) ? 0U : 1U;
  }
  CHECK(wrong == 0);
}

// A position by trying one point after the other, in double.
double naive_position(double value, const std::vector<float>& points) {
  std::size_t below = 0;
  while (below + 2 < points.size() && static_cast<double>(points[below + 1]) <= value) {
    ++below;
  }
  const double low = points[below];
  const double high = points[below + 1];
  return 65536.0 * (static_cast<double>(below) + (value - low) / (high - low));
}

// How many lanes of how many batches are not where the search from one side finds them.
template <std::size_t Size, class Arch>
std::size_t misplaced(std::size_t count) {
  using batch = pluria::lanes::floats<Arch>;
  // Behind `count` points stands infinity, as in tables whose size is no power of two.
  std::vector<float> points(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    points[i] = (i == 0 ? -3.0F : points[i - 1]) + 0x1p-16F * static_cast<float>(1 + mixed(i + 1) % 65536);
  }
  std::array<float, 2 * Size> padded{};
  std::fill(padded.begin(), padded.begin() + Size, std::numeric_limits<float>::infinity());
  std::copy(points.begin(), points.end(), padded.begin());
  for (std::size_t i = 0; i + 1 < count; ++i) {
    padded[Size + i] = 65536.0F / (points[i + 1] - points[i]);
  }
  const pluria::point_table<Size> table(padded);
  std::vector<float> values = points;
  for (const float point : points) {
    values.insert(values.end(), {std::max(points.front(), std::nextafter(point, -10.0F)),
                                 std::min(points.back(), std::nextafter(point, 1000.0F))});
  }
  for (std::uint32_t i = 0; i < 1000; ++i) {
    values.push_back(points.front() + (points.back() - points.front()) * 0x1p-16F * static_cast<float>(mixed(i) >> 16));
  }
  values.resize(values.size() / 16 * 16);
  std::size_t wrong = 0;
  for (std::size_t first = 0; first < values.size(); first += batch::size) {
    const auto found = lanes_of(pluria::position_among<Size>(batch::load_unaligned(&values[first]), table, -5));
    for (std::size_t lane = 0; lane < batch::size; ++lane) {
      const float value = values[first + lane];
      const auto exact = naive_position(static_cast<double>(value), points) - 5 * 65536.0;
      // Half a unit, and 65536 times three errors of 2^-24.
      wrong += std::abs(found[lane] - exact) <= 0.512 ? 0U : 1U;
      wrong += pluria::position_among<Size>(value, table, -5) == found[lane] ? 0U : 1U;
    }
  }
  return wrong;
}

TEST_CASE("weights are found in tables of every size, in all lanes", "[number]") {
  CHECK(for_each_architecture([&](auto arch) {
          using Arch = decltype(arch);
          CAPTURE(Arch::name());
          std::size_t wrong = 0;
          pluria::lanes::unrolled<7>([&](auto power) {
            constexpr std::size_t size = std::size_t{4} << power;
            for (const std::size_t count : {size / 2 + 1, size - 1, size}) {
              wrong += misplaced<size, Arch>(count);
            }
          });
          CHECK(wrong == 0);
        }) >= 1);
}

TEST_CASE("cells suit points that lie no closer than a 30th of their range", "[number]") {
  const auto suit = [](const std::vector<float>& points) { return pluria::cell_table::suits(points); };
  CHECK(suit({nf4_points.begin(), nf4_points.begin() + 16}));
  CHECK(suit({-1.0F, -0.9F, 1.0F}));
  CHECK_FALSE(suit({-1.0F, 0.02F, 0.03F, 1.0F}));
  CHECK_FALSE(suit({-8.0F, 7.9F, 7.99F, 8.0F}));
  for (std::size_t count = 3; count <= 30; ++count) {
    std::vector<float> equal;
    for (std::size_t i = 0; i < count; ++i) {
      equal.push_back(65536.0F * static_cast<float>(i) - 7.0F);
    }
    CHECK(suit(equal));
  }
}

TEST_CASE("cells find what the search finds, beside every point and between, in all lanes", "[number]") {
  const pluria::point_table<16> table(nf4_points);
  const pluria::cell_table cells(std::span(table.points).first(16));
  std::vector<float> values;
  for (std::size_t i = 0; i < 16; ++i) {
    float below = nf4_points[i];
    float above = below;
    for (int step = 0; step < 64; ++step) {
      values.push_back(std::max(below, -65536.0F));
      values.push_back(std::min(above, 65536.0F));
      below = std::nextafter(below, -1e30F);
      above = std::nextafter(above, 1e30F);
    }
  }
  for (float value = -65536.0F; value <= 65536.0F; value += 1.7F) {
    values.push_back(value);
  }
  values.resize(values.size() / 16 * 16);
  CHECK(for_each_architecture([&](auto arch) {
          using batch = xsimd::batch<float, decltype(arch)>;
          std::size_t wrong = 0;
          for (std::size_t first = 0; first < values.size(); first += batch::size) {
            const auto found = lanes_of(pluria::position_among(batch::load_unaligned(&values[first]), table, cells, 3));
            for (std::size_t lane = 0; lane < batch::size; ++lane) {
              const float value = values[first + lane];
              const std::int32_t expected = pluria::position_among(value, table, 3);
              wrong += found[lane] == expected ? 0U : 1U;
              wrong += pluria::position_among(value, table, cells, 3) == expected ? 0U : 1U;
            }
          }
          CHECK(wrong == 0);
        }) >= 1);
}

}  // namespace
