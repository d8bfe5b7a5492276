// SPDX-License-Identifier: MIT

#include <pluria/number/posit.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/moved_codes.hpp>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

namespace {

using namespace support;
using pluria::posit;

using all_posits =
    std::tuple<posit<2>, posit<3>, posit<4>, posit<5>, posit<6>, posit<7>, posit<8>, posit<8, 1>, posit<6, 3>>;

static_assert(posit<8>::min_code == -127 && posit<8>::max_code == 127 && posit<2>::max_code == 1);

// The standard's formula for all patterns but 0 and -2^(b-1), negative ones without negating them (section 3.3):
// ((1 - 3 s) + f) * 2^((1 - 2 s) * (2^es r + e + s)).
double standard_value(std::int32_t code, int bits, int exponent_size) {
  std::vector<int> digits;
  for (int place = bits - 1; place >= 0; --place) {
    digits.push_back(code >> place & 1);
  }
  digits.resize(64, 0);  // bits beyond the last are zeros
  const int s = digits[0];
  // k equal bits: those of the pattern end at its last one.
  int k = 1;
  while (k + 1 < bits && digits[static_cast<std::size_t>(k) + 1] == digits[1]) {
    ++k;
  }
  const int r = digits[1] == 0 ? -k : k - 1;
  auto next = static_cast<std::size_t>(k) + 2;
  int e = 0;
  for (int i = 0; i < exponent_size; ++i) {
    e = 2 * e + digits[next++];
  }
  double f = 0.0;
  for (int i = 1; next < digits.size(); ++i) {
    f += digits[next++] * std::ldexp(1.0, -i);
  }
  return ((1 - 3 * s) + f) * std::ldexp(1.0, (1 - 2 * s) * ((1 << exponent_size) * r + e + s));
}

template <class P>
constexpr int exponent_size = 2;
template <int Bits, int ExponentSize>
constexpr int exponent_size<posit<Bits, ExponentSize>> = ExponentSize;

TEMPLATE_LIST_TEST_CASE("every code has the value that the standard's formula gives its pattern", "[number]",
                        all_posits) {
  for (std::int32_t code = TestType::min_code; code <= TestType::max_code; ++code) {
    const double expected = code == 0 ? 0.0 : standard_value(code, TestType::bits, exponent_size<TestType>);
    CHECK(static_cast<double>(TestType::unit(code)) == expected);
  }
}

TEST_CASE("posits have the standard's extremes and examples", "[number]") {
  // Section 3.2: the largest posit is 2^(4 n - 8), the smallest its reciprocal, and all integers up to 2^(4 (n - 3) /
  // 5) are posits.
  CHECK(posit<8>::unit(127) == 0x1p24F);
  CHECK(posit<8>::unit(1) == 0x1p-24F);
  CHECK(posit<6>::unit(31) == 0x1p16F);
  for (std::int32_t integer = 1; integer <= 16; ++integer) {
    const auto value = static_cast<float>(integer);
    CHECK(posit<8>::unit(posit<8>::position(value, {1.0F}) >> 16) == value);
  }
  CHECK(posit<8>::unit(0x40) == 1.0F);
  CHECK(posit<8>::unit(-0x40) == -1.0F);
  CHECK(posit<8>::unit(0x38) == 0.5F);
  const std::vector<float> four{0x1p-8F, 0x1p-4F, 0.25F, 1.0F, 4.0F, 16.0F, 256.0F};
  for (std::int32_t code = 1; code <= 7; ++code) {
    CHECK(posit<4>::unit(code) == four[static_cast<std::size_t>(code) - 1]);
    CHECK(posit<4>::unit(-code) == -four[static_cast<std::size_t>(code) - 1]);
  }
  CHECK(posit<4>::name() == "posit-4");
  CHECK(posit<8, 1>::name() == "posit-8-es1");
}

TEST_CASE("the extreme weights lie where regimes begin to lengthen", "[number]") {
  CHECK(posit<8>::fit(std::vector{0.5F, -4.0F}).scale == 0.25F);
  CHECK(posit<8>::position(-4.0F, {0.25F}) == -0x60 * 65536);
  CHECK(posit<8, 1>::fit(std::vector{4.0F}).scale == 1.0F);
  CHECK(posit<2>::fit(std::vector{4.0F}).scale == 4.0F);  // there is only 1
  CHECK(posit<8>::largest_weight == std::ldexp(std::numeric_limits<float>::max(), -20));
  CHECK(posit<8>::smallest_scale == 0x1p-102F);
  CHECK(std::isfinite(posit<8>::decode(127, posit<8>::fit(std::vector{posit<8>::largest_weight}))));
}

TEMPLATE_LIST_TEST_CASE("no weight on the grid moves, for any mantissa and size of the scale", "[number]", all_posits) {
  std::uint64_t wrong = 0;
  for (std::uint32_t mantissa = 0; mantissa < 1U << 23; mantissa += TestType::bits < 6 ? stride(1021) : 31) {
    wrong += moved_codes<TestType>({std::bit_cast<float>(0x3f800000U | mantissa)});
  }
  const auto last = std::bit_cast<std::uint32_t>(TestType::fit(std::vector{TestType::largest_weight}).scale);
  for (auto bits = std::bit_cast<std::uint32_t>(TestType::smallest_scale); bits <= last; bits += 100'003) {
    wrong += moved_codes<TestType>({std::bit_cast<float>(bits)});
  }
  CHECK(wrong == 0);
}

}  // namespace
