// SPDX-License-Identifier: MIT
// That minifloat<6, 1> and <4, 4> are refused is checked in tests/static.

#include <pluria/core/lanes.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/rounding/nearest.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>
#include <support/minifloat_reference.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

namespace {

using namespace support;
using pluria::fp4_e2m1;
using pluria::fp6_e2m3;
using pluria::fp6_e3m2;
using pluria::fp8_e4m3;
using pluria::fp8_e5m2;
using pluria::minifloat;
using pluria::nearest;

// Of every number of exponent bits the widest: their grids hold those with fewer mantissa bits, which round more away.
using widest_formats = std::tuple<minifloat<1, 6>, minifloat<2, 5>, minifloat<3, 4>, minifloat<4, 3>, minifloat<5, 2>>;

using all_formats =
    std::tuple<minifloat<1, 0>, minifloat<1, 6>, minifloat<2, 0>, minifloat<2, 1>, minifloat<2, 2>, minifloat<2, 3>,
               minifloat<2, 5>, minifloat<3, 0>, minifloat<3, 1>, minifloat<3, 2>, minifloat<3, 4>, minifloat<4, 0>,
               minifloat<4, 3>, minifloat<5, 0>, minifloat<5, 1>, minifloat<5, 2>>;

static_assert(fp8_e4m3::bits == 8 && fp8_e4m3::max_code == 126 && fp8_e4m3::min_code == -126);
static_assert(fp8_e5m2::bits == 8 && fp8_e5m2::max_code == 123);
static_assert(fp6_e2m3::bits == 6 && fp6_e2m3::max_code == 31 && fp6_e3m2::max_code == 31);
static_assert(fp4_e2m1::bits == 4 && fp4_e2m1::max_code == 7 && minifloat<2, 0>::max_code == 3);

// The number of mantissa bits, which the type does not name.
template <class N>
inline constexpr int mantissa_bits = 0;
template <int ExponentBits, int MantissaBits>
inline constexpr int mantissa_bits<minifloat<ExponentBits, MantissaBits>> = MantissaBits;

// The code of sign, exponent and mantissa fields.
template <class N>
std::int32_t code_of(int sign, int exponent, int mantissa) {
  const std::int32_t magnitude = exponent << mantissa_bits<N> | mantissa;
  return sign == 0 ? magnitude : -magnitude;
}

TEST_CASE("the formats have the values that OCP published", "[number]") {
  // OFP8: largest, smallest normal, largest and smallest subnormal.
  CHECK(fp8_e4m3::unit(code_of<fp8_e4m3>(0, 0b1111, 0b110)) == 448.0F);
  CHECK(fp8_e4m3::unit(code_of<fp8_e4m3>(0, 0b0001, 0b000)) == 0x1p-6F);
  CHECK(fp8_e4m3::unit(code_of<fp8_e4m3>(0, 0b0000, 0b111)) == 0.875F * 0x1p-6F);
  CHECK(fp8_e4m3::unit(code_of<fp8_e4m3>(1, 0b0000, 0b001)) == -0x1p-9F);
  CHECK(fp8_e4m3::unit(fp8_e4m3::max_code) == 448.0F);
  CHECK(fp8_e5m2::unit(code_of<fp8_e5m2>(0, 0b11110, 0b11)) == 57344.0F);
  CHECK(fp8_e5m2::unit(code_of<fp8_e5m2>(0, 0b00001, 0b00)) == 0x1p-14F);
  CHECK(fp8_e5m2::unit(code_of<fp8_e5m2>(0, 0b00000, 0b11)) == 0.75F * 0x1p-14F);
  CHECK(fp8_e5m2::unit(code_of<fp8_e5m2>(1, 0b00000, 0b01)) == -0x1p-16F);
  CHECK(fp8_e5m2::unit(fp8_e5m2::max_code) == 57344.0F);
  // Microscaling formats: the same of FP6, and all of FP4.
  CHECK(fp6_e2m3::unit(code_of<fp6_e2m3>(0, 0b11, 0b111)) == 7.5F);
  CHECK(fp6_e2m3::unit(code_of<fp6_e2m3>(0, 0b01, 0b000)) == 1.0F);
  CHECK(fp6_e2m3::unit(code_of<fp6_e2m3>(0, 0b00, 0b111)) == 0.875F);
  CHECK(fp6_e2m3::unit(code_of<fp6_e2m3>(1, 0b00, 0b001)) == -0.125F);
  CHECK(fp6_e3m2::unit(code_of<fp6_e3m2>(0, 0b111, 0b11)) == 28.0F);
  CHECK(fp6_e3m2::unit(code_of<fp6_e3m2>(0, 0b001, 0b00)) == 0.25F);
  CHECK(fp6_e3m2::unit(code_of<fp6_e3m2>(0, 0b000, 0b11)) == 0.1875F);
  CHECK(fp6_e3m2::unit(code_of<fp6_e3m2>(1, 0b000, 0b01)) == -0.0625F);
  const float e2m1[] = {0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F};
  for (std::int32_t code = 0; code <= 7; ++code) {
    CHECK(fp4_e2m1::unit(code) == e2m1[code]);
    CHECK(fp4_e2m1::unit(-code) == -e2m1[code]);
  }
}

TEMPLATE_LIST_TEST_CASE("every code is its sign, exponent and mantissa", "[number]", all_formats) {
  constexpr int m = mantissa_bits<TestType>;
  for (std::int32_t code = TestType::min_code; code <= TestType::max_code; ++code) {
    const std::int32_t magnitude = std::abs(code);
    const int exponent = magnitude >> m;
    const double mantissa = std::ldexp(magnitude & ((1 << m) - 1), -m);
    const double value = exponent == 0 ? std::ldexp(mantissa, 1 - TestType::bias)
                                       : std::ldexp(1.0 + mantissa, exponent - TestType::bias);
    CHECK(static_cast<double>(TestType::unit(code)) == (code < 0 ? -value : value));
  }
  CHECK(TestType::bits == static_cast<int>(std::bit_width(static_cast<unsigned>(TestType::max_code))) + 1);
  CHECK(!std::signbit(TestType::unit(0)));
}

TEST_CASE("the names are those of the formats", "[number]") {
  CHECK(fp8_e4m3::name() == "FP8-E4M3");
  CHECK(fp8_e5m2::name() == "FP8-E5M2");
  CHECK(fp6_e2m3::name() == "FP6-E2M3");
  CHECK(fp6_e3m2::name() == "FP6-E3M2");
  CHECK(fp4_e2m1::name() == "FP4-E2M1");
  CHECK(minifloat<2, 0>::name() == "FP3-E2M0");
}

// The code of a format's bit pattern, that of -0 included.
template <class N>
std::int32_t code_of_pattern(std::uint32_t pattern) {
  const std::uint32_t sign = 1U << (N::bits - 1);
  const auto magnitude = static_cast<std::int32_t>(pattern & (sign - 1));
  return (pattern & sign) != 0 ? -magnitude : magnitude;
}

template <class N>
void check_reference() {
  const std::string format = N::name().substr(4);
  INFO(format);
  std::vector<std::int32_t> codes;
  for (const auto& line : minifloat_reference("value", format)) {
    REQUIRE(line.size() == 2);
    codes.push_back(code_of_pattern<N>(line[0]));
    CHECK(N::unit(codes.back()) == std::bit_cast<float>(line[1]));
  }
  // All codes are there, and zero twice.
  std::sort(codes.begin(), codes.end());
  CHECK(codes.size() == static_cast<std::size_t>(N::max_code - N::min_code + 2));
  CHECK(std::unique(codes.begin(), codes.end()) - codes.begin() == N::max_code - N::min_code + 1);
  CHECK((codes.front() == N::min_code && codes[codes.size() - 2] == N::max_code));

  std::size_t rounded = 0;
  for (const auto& line : minifloat_reference("nearest", format)) {
    for (std::size_t i = 1; i < line.size(); ++i, ++rounded) {
      const std::int32_t code = nearest::code(N::position(std::bit_cast<float>(line[i]), {1.0F}));
      CHECK(code == code_of_pattern<N>(line[0]));
    }
  }
  // Every point of one sign, and three between each and the next; then all of them with the other sign.
  CHECK(rounded == static_cast<std::size_t>(2 * (4 * N::max_code + 1)));
}

TEST_CASE("values and round to nearest are those of ml_dtypes", "[number]") {
  check_reference<fp8_e4m3>();
  check_reference<fp8_e5m2>();
  check_reference<fp6_e2m3>();
  check_reference<fp6_e3m2>();
  check_reference<fp4_e2m1>();
}

TEMPLATE_LIST_TEST_CASE("positions divide every step evenly, around zero and at every exponent", "[number]",
                        all_formats) {
  for (std::int32_t code = TestType::min_code; code < TestType::max_code; ++code) {
    const float low = TestType::unit(code);
    const float step = TestType::unit(code + 1) - low;
    for (std::int32_t part = 0; part <= 16; ++part) {
      // Exact: the values of a format have few bits.
      const float weight = low + step * static_cast<float>(part) / 16.0F;
      CHECK(TestType::position(weight, {1.0F}) == 65536 * code + 4096 * part);
    }
  }
  CHECK(TestType::position(0.0F, {1.0F}) == 0);
  CHECK(TestType::position(-0.0F, {1.0F}) == 0);
  // One 65536th of the first step, half of it, which goes to even, and a little more.
  const float unit = TestType::unit(1) / 65536.0F;
  CHECK(TestType::position(unit, {1.0F}) == 1);
  CHECK(TestType::position(-unit, {1.0F}) == -1);
  CHECK(TestType::position(0.5F * unit, {1.0F}) == 0);
  CHECK(TestType::position(1.5F * unit, {1.0F}) == 2);
  CHECK(TestType::position(-1.5F * unit, {1.0F}) == -2);
  CHECK(TestType::position(0x1p-149F, {1.0F}) == 0);
}

// For how many codes of this granule a weight on the grid moves. Codes stand in the lanes; decoding one by one would
// take longer than all else.
template <class N>
class moving_codes {
 public:
  moving_codes() {
    for (std::int32_t code = N::min_code; code <= N::max_code; ++code) {
      codes_.push_back(code);
    }
    codes_.resize((codes_.size() + lanes - 1) / lanes * lanes, N::max_code);
    for (const std::int32_t code : codes_) {
      units_.push_back(N::unit(code));
    }
  }

  template <class Position>
  std::uint64_t operator()(float scale, const Position& position) const {
    auto wrong = ints(0);
    for (std::size_t first = 0; first < codes_.size(); first += lanes) {
      const floats weights = floats(scale) * floats::load_unaligned(&units_[first]);
      wrong = wrong | (position(weights) ^ (ints::load_unaligned(&codes_[first]) << 16));
    }
    const auto differences = lanes_of(wrong);
    return static_cast<std::uint64_t>(
        std::count_if(differences.begin(), differences.end(), [](auto d) { return d != 0; }));
  }

  std::uint64_t operator()(float scale) const {
    const typename N::granule granule{scale};
    return (*this)(scale, [&](const floats& weights) { return N::position(weights, granule); });
  }

 private:
  std::vector<std::int32_t> codes_;
  std::vector<float> units_;
};

TEMPLATE_LIST_TEST_CASE("no weight on the grid moves, for any mantissa of the scale", "[number]", widest_formats) {
  const moving_codes<TestType> moved;
  std::uint64_t wrong = 0;
  for (std::uint32_t mantissa = 0; mantissa < 1U << 23; mantissa += stride(1021)) {
    wrong += moved(std::bit_cast<float>(0x3f800000U | mantissa));
  }
  CHECK(wrong == 0);
}

TEST_CASE("weights on the grid would move with halves rounded up or cut off, and the check sees it", "[number]") {
  // One unit in the last place is half of what E1M6 rounds away, and stays only where halves go to even.
  using e1m6 = minifloat<1, 6>;
  const moving_codes<e1m6> moved;
  std::uint64_t upwards = 0;
  std::uint64_t cut = 0;
  for (std::uint32_t mantissa = 0; mantissa < 1U << 23; mantissa += 1021) {
    const float scale = std::bit_cast<float>(0x3f800000U | mantissa);
    const auto with = [&](std::int32_t added) {
      return moved(scale, [&](const floats& weights) {
        const floats v = pluria::lanes::at_most(xsimd::abs(weights) * floats(1.0F / scale), 3.96875F);
        const ints bits = pluria::lanes::as<std::int32_t>(v + pluria::lanes::at_least(v, 2.0F)) - ints(0x40000000);
        return pluria::lanes::with_sign_of(ints((bits + ints(added)) >> 1), weights);
      });
    };
    upwards += with(1);
    cut += with(0);
  }
  CHECK(upwards > 0);
  CHECK(cut > 0);
}

TEMPLATE_LIST_TEST_CASE("no weight on the grid moves, at any size of the scale", "[number]", all_formats) {
  const moving_codes<TestType> moved;
  std::uint64_t wrong = 0;
  // From the smallest scale, 2^-110, to where the outermost code reaches the largest float.
  const float largest = std::numeric_limits<float>::max() / TestType::unit(TestType::max_code);
  const std::uint32_t last = std::bit_cast<std::uint32_t>(largest);
  for (std::uint32_t bits = 0x08800000U; bits <= last; bits += 4099 * stride(31)) {
    wrong += moved(std::bit_cast<float>(bits));
  }
  for (std::uint32_t bits = last; bits > last - 100'000 / stride(31); --bits) {
    wrong += moved(std::bit_cast<float>(bits));
  }
  CHECK(wrong == 0);

  for (std::uint32_t bits = 0x08800000U; bits <= last; bits += 1'000'003) {
    const typename TestType::granule granule{std::bit_cast<float>(bits)};
    for (std::int32_t code = TestType::min_code; code <= TestType::max_code; ++code) {
      wrong += TestType::position(TestType::decode(code, granule), granule) == 65536 * code ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEMPLATE_LIST_TEST_CASE("the scale puts the largest magnitude on the outermost code", "[number]", all_formats) {
  const float largest_unit = TestType::unit(TestType::max_code);
  const std::vector<float> weights{0.5F, -3.0F, 1.0F, 0.0F};
  const auto granule = TestType::fit(weights);
  CHECK(granule.scale == 3.0F / largest_unit);
  CHECK(TestType::position(-3.0F, granule) == 65536 * TestType::min_code);
  CHECK(TestType::position(3.0F, granule) == 65536 * TestType::max_code);
  CHECK(TestType::position(0.0F, granule) == 0);
  CHECK(TestType::position(-3.1F, granule) == 65536 * TestType::min_code);
  CHECK(TestType::position(std::numeric_limits<float>::infinity(), granule) == 65536 * TestType::max_code);
}

TEMPLATE_LIST_TEST_CASE("granules of zeros, of nothing and of tiny weights take the smallest scale", "[number]",
                        all_formats) {
  CHECK(TestType::fit({}).scale == 0x1p-110F);
  CHECK(TestType::fit(std::vector{0.0F, -0.0F}).scale == 0x1p-110F);
  const std::vector<float> tiny{0x1p-149F, -0x1p-149F, 0x1p-127F, -0x1.8p-126F};
  CHECK(TestType::fit(tiny).scale == 0x1p-110F);
  // Values on the smallest grid are normal floats, so that none is lost where subnormal ones are.
  const typename TestType::granule smallest{0x1p-110F};
  CHECK(TestType::decode(1, smallest) >= std::numeric_limits<float>::min());
  CHECK(TestType::decode(-1, smallest) == -TestType::decode(1, smallest));
  // Products with a power of two are exact, so positions below the first step are too, half to even.
  const double step = static_cast<double>(TestType::decode(1, smallest));
  for (const float weight : {0x1p-149F, -0x1p-149F, 0x1.8p-127F, -0x1.fffp-127F}) {
    CHECK(TestType::position(weight, smallest) == std::llrint(65536.0 * static_cast<double>(weight) / step));
  }
}

TEMPLATE_LIST_TEST_CASE("the largest floats have a finite scale, finite values and positions", "[number]",
                        all_formats) {
  const float largest = std::numeric_limits<float>::max();
  for (const float weight : {largest, -largest, std::nextafter(largest, 0.0F), 0.75F * largest}) {
    const auto granule = TestType::fit(std::vector{weight, 1.0F});
    CHECK(std::isfinite(granule.scale));
    CHECK(std::isfinite(TestType::decode(TestType::max_code, granule)));
    CHECK(std::abs(TestType::position(weight, granule)) == 65536 * TestType::max_code);
    CHECK(TestType::position(-largest, granule) == 65536 * TestType::min_code);
  }
}

// The exact position of a weight, in double: the step below it and the part of that step.
template <class N>
double exact_position(double weight, double scale) {
  const double value = std::abs(weight) / scale;
  std::int32_t below = 0;
  while (below + 1 < N::max_code && static_cast<double>(N::unit(below + 1)) <= value) {
    ++below;
  }
  const double low = N::unit(below);
  const double position = 65536.0 * (below + (value - low) / (static_cast<double>(N::unit(below + 1)) - low));
  return std::copysign(std::min(position, 65536.0 * N::max_code), weight);
}

TEMPLATE_LIST_TEST_CASE("positions are the weights' own within the error of two or three float operations", "[number]",
                        all_formats) {
  // 1/s and its product with w are each within 2^-24 of themselves. At v = 2^k a step is 2^(k-m), and v < 2^(k+1), so
  // they move a position by at most 2^-23 * 2^(m+1) * 65536 = 2^(m-6). Below the smallest normal number v is half as
  // large against the step, and the sum with it, within 2^-24 of itself, is the third. The last step rounds to half a
  // unit. The first order bound is taken with 1 % on top.
  const double bound = 0.5 + 1.01 * std::ldexp(1.0, mantissa_bits<TestType> - 6);
  for (const float size : {0x1p-105F, 1.0F, 1.37F, 0x1.fffffep20F, 0x1p120F}) {
    std::vector<float> weights = integer_weights(exhaustive ? 65536 : 4096, size);
    const auto granule = TestType::fit(weights);
    // As many around each exponent as around the largest.
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i] = std::ldexp(weights[i], -static_cast<int>(i % 20));
    }
    std::size_t wrong = 0;
    for (std::size_t first = 0; first < weights.size(); first += lanes) {
      const auto batch = lanes_of(TestType::position(floats::load_unaligned(&weights[first]), granule));
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const float weight = weights[first + lane];
        const std::int32_t position = TestType::position(weight, granule);
        const double exact = exact_position<TestType>(static_cast<double>(weight), static_cast<double>(granule.scale));
        wrong += std::abs(position - exact) <= bound ? 0U : 1U;
        wrong += batch[lane] == position ? 0U : 1U;
      }
    }
    CHECK(wrong == 0);
  }
}

TEMPLATE_LIST_TEST_CASE("positions rise with the weight and stay among the codes", "[number]", all_formats) {
  for (const float scale : {1.0F, 0.1F, 0x1.fffffep-3F, 0x1p-110F}) {
    const typename TestType::granule granule{scale};
    std::size_t wrong = 0;
    std::int32_t previous = 0;
    // Every 9973rd float from zero to far above the grid; those below zero mirror them.
    const float beyond = 2.0F * scale * TestType::unit(TestType::max_code);
    for (std::uint32_t bits = 0; bits < std::bit_cast<std::uint32_t>(beyond); bits += 9973 * stride(31)) {
      const float weight = std::bit_cast<float>(bits);
      const std::int32_t position = TestType::position(weight, granule);
      wrong += position >= previous && position <= 65536 * TestType::max_code ? 0U : 1U;
      wrong += TestType::position(-weight, granule) == -position ? 0U : 1U;
      previous = position;
    }
    CHECK(wrong == 0);
    CHECK(previous == 65536 * TestType::max_code);
  }
}

}  // namespace
