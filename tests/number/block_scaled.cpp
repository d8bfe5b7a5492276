// SPDX-License-Identifier: MIT

#include <pluria/kernel/sample.hpp>
#include <pluria/number/block_scaled.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>
#include <support/minifloat_reference.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

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
using pluria::bad_input;
using pluria::bernoulli;
using pluria::dtype;
using pluria::e8m0;
using pluria::fp4_e2m1;
using pluria::fp6_e2m3;
using pluria::fp6_e3m2;
using pluria::fp8_e4m3;
using pluria::fp8_e5m2;
using pluria::mx;
using pluria::mx_covering;
using pluria::mxfp4;
using pluria::mxfp6_e2m3;
using pluria::mxfp6_e3m2;
using pluria::mxfp8_e4m3;
using pluria::mxfp8_e5m2;
using pluria::mxint8;
using pluria::nvfp4;
using pluria::nvfp4_covering;
using pluria::symmetric_int;
using pluria::tensor;

using elements = std::tuple<fp4_e2m1, fp6_e2m3, fp6_e3m2, fp8_e4m3, fp8_e5m2, symmetric_int<8>>;

static_assert(mxfp4::block == 32 && mxfp4::granule_bits == 8 && sizeof(mxfp4::granule) == 1);
static_assert(mxint8::bits == 8 && mxint8::min_code == -127 && mxint8::max_code == 127);
static_assert(nvfp4::block == 16 && nvfp4::granule_bits == 8 && nvfp4::tensor_scale_bits == 32);

constexpr float largest_float = std::numeric_limits<float>::max();

TEST_CASE("an E8M0 scale has the value that ml_dtypes gives it", "[number]") {
  const auto lines = minifloat_reference("value", "E8M0");
  CHECK(lines.size() == 255);  // and NaN
  for (const auto& line : lines) {
    REQUIRE(line.size() == 2);
    const auto code = static_cast<std::uint8_t>(line[0]);
    CHECK(e8m0<0>::of_bits(code) == std::bit_cast<float>(line[1]));
    // The step of an int8 with 6 fraction bits, subnormal from 2^-127 down.
    CHECK(e8m0<6>::of_bits(code) == std::ldexp(std::bit_cast<float>(line[1]), -6));
    CHECK(e8m0<0>::of_bits(code).bits() == code);
  }
  CHECK(e8m0<0>() == 1.0F);
  CHECK(e8m0<6>() == 1.0F);
  CHECK(e8m0<6>::of_exponent(-6).bits() == 127);
}

TEST_CASE("the names of block formats are the published ones", "[number]") {
  CHECK(mxfp4::name() == "MXFP4");
  CHECK(mxfp6_e2m3::name() == "MXFP6-E2M3");
  CHECK(mxfp6_e3m2::name() == "MXFP6-E3M2");
  CHECK(mxfp8_e4m3::name() == "MXFP8-E4M3");
  CHECK(mxfp8_e5m2::name() == "MXFP8-E5M2");
  CHECK(mxint8::name() == "MXINT8");
  CHECK(nvfp4::name() == "NVFP4");
  CHECK(mx_covering<fp4_e2m1>::name() == "MXFP4-covering");
  CHECK(mx_covering<fp6_e2m3>::name() == "MXFP6-E2M3-covering");
  CHECK(nvfp4_covering::name() == "NVFP4-covering");
}

// The byte that is stored for a block with this largest magnitude.
template <class N>
int byte_of(float largest) {
  return N::fit(std::vector{0.25F * largest, -largest, 0.0F}).scale.bits();
}

TEST_CASE("MX scales are those of OCP's rule, worked out by hand", "[number]") {
  // floor(log2 5) - 2 = 0, and so on up to the next power of two.
  CHECK(byte_of<mxfp4>(4.0F) == 127);
  CHECK(byte_of<mxfp4>(5.0F) == 127);
  CHECK(byte_of<mxfp4>(7.99F) == 127);
  CHECK(byte_of<mxfp4>(8.0F) == 128);
  CHECK(byte_of<mxfp4>(1.0F) == 125);
  CHECK(byte_of<mxfp4>(0.02F) == 119);  // 2^-6 <= 0.02 < 2^-5
  CHECK(byte_of<mxfp6_e2m3>(7.5F) == 127);
  CHECK(byte_of<mxfp6_e2m3>(1.0F) == 125);
  CHECK(byte_of<mxfp6_e3m2>(28.0F) == 127);
  CHECK(byte_of<mxfp6_e3m2>(1.0F) == 123);
  CHECK(byte_of<mxfp8_e4m3>(448.0F) == 127);
  CHECK(byte_of<mxfp8_e4m3>(1.0F) == 119);
  CHECK(byte_of<mxfp8_e5m2>(57344.0F) == 127);
  CHECK(byte_of<mxfp8_e5m2>(1.0F) == 112);
  CHECK(byte_of<mxint8>(1.0F) == 127);
  CHECK(byte_of<mxint8>(1.99F) == 127);
  CHECK(byte_of<mxint8>(2.0F) == 128);
  CHECK(byte_of<mxint8>(0.02F) == 121);
}

TEST_CASE("the codes of MX blocks are those worked out by hand", "[number]") {
  const std::vector<float> weights{5.0F, -0.75F, 3.0F, 0.1F};
  const auto four = mxfp4::fit(weights);  // scale 1: 0, 0.5, 1, 1.5, 2, 3, 4, 6
  CHECK(mxfp4::position(5.0F, four) == 6 * 65536 + 32768);
  CHECK(mxfp4::position(-0.75F, four) == -65536 - 32768);
  CHECK(mxfp4::position(3.0F, four) == 5 * 65536);
  CHECK(mxfp4::position(0.125F, four) == 16384);
  CHECK(mxfp4::decode(-7, four) == -6.0F);

  const auto eight = mxfp8_e4m3::fit(weights);  // scale 2^(2 - 8)
  CHECK(eight.scale == 0x1p-6F);
  CHECK(mxfp8_e4m3::decode(1, eight) == 0x1p-15F);
  CHECK(mxfp8_e4m3::position(5.0F, eight) == 65536 * 0b1111'010);  // 320 = 2^8 * 1.25
  CHECK(mxfp8_e4m3::position(0x1p-16F, eight) == 32768);

  const auto integers = mxint8::fit(weights);  // scale 2^2, steps of 2^(2 - 6)
  CHECK(integers.scale == 0x1p-4F);
  CHECK(integers.scale.bits() == 129);
  CHECK(mxint8::position(5.0F, integers) == 65536 * 80);
  CHECK(mxint8::position(-0.75F, integers) == -65536 * 12);
  CHECK(mxint8::decode(80, integers) == 5.0F);
  CHECK(mxint8::unit(-127) == -127.0F);
}

TEST_CASE("weights beyond the largest value saturate on a prescribed scale and not on a covering one", "[number]") {
  const std::vector<float> weights{7.0F, -6.5F, 1.0F};
  const auto prescribed = mxfp4::fit(weights);
  CHECK(prescribed.scale == 1.0F);
  CHECK(mxfp4::position(7.0F, prescribed) == 65536 * 7);
  CHECK(mxfp4::position(-6.5F, prescribed) == -65536 * 7);
  CHECK(mxfp4::position(-5.0F, prescribed) == -65536 * 6 - 32768);
  using covering = mx_covering<fp4_e2m1>;
  const auto raised = covering::fit(weights);
  CHECK(raised.scale == 2.0F);
  CHECK(covering::position(7.0F, raised) == 65536 * 5 + 32768);
  CHECK(covering::position(-6.5F, raised) == -65536 * 5 - 16384);
  CHECK(byte_of<covering>(6.0F) == 127);
  CHECK(byte_of<covering>(std::nextafter(6.0F, 7.0F)) == 128);
  CHECK(byte_of<covering>(8.0F) == 128);
  CHECK(byte_of<mx_covering<symmetric_int<8>>>(127.0F / 64.0F) == 127);
  CHECK(byte_of<mx_covering<symmetric_int<8>>>(127.5F / 64.0F) == 128);
  CHECK(mxint8::position(127.5F / 64.0F, {e8m0<6>::of_bits(127)}) == 65536 * 127);
}

// floor(log2 value), exactly.
int floor_log2(double value) {
  return std::ilogb(value);
}

TEMPLATE_LIST_TEST_CASE("scales follow their rules at every exponent", "[number]", elements) {
  using prescribed = mx<TestType>;
  using covering = mx_covering<TestType>;
  const double largest_unit = TestType::unit(TestType::max_code);
  for (int exponent = -149; exponent <= 127; ++exponent) {
    for (std::uint32_t i = 0; i < 100; ++i) {
      // Below 2^128 and of all fractions; the largest value of the format, and its neighbours.
      const float edge = std::ldexp(static_cast<float>(largest_unit), exponent - floor_log2(largest_unit));
      const float weight = i == 0   ? edge
                           : i == 1 ? std::nextafter(edge, 0.0F)
                           : i == 2 ? std::nextafter(edge, largest_float)
                                    : std::ldexp(1.0F + static_cast<float>(mixed(i) >> 9) * 0x1p-23F, exponent);
      const int expected = std::max(floor_log2(static_cast<double>(weight)) - floor_log2(largest_unit), -110);
      REQUIRE(prescribed::fit(std::vector{weight}).scale == std::ldexp(1.0F, expected));
      // The smallest power of two, no less than the other, under which the weight is not beyond the last code.
      int covers = -110;
      while (std::ldexp(largest_unit, covers) < static_cast<double>(weight)) {
        ++covers;
      }
      if (weight <= covering::largest_weight) {
        REQUIRE(covering::fit(std::vector{-weight}).scale == std::ldexp(1.0F, covers));
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("blocks of zeros, of nothing and of tiny weights take the smallest scale", "[number]",
                        elements) {
  using prescribed = mx<TestType>;
  using covering = mx_covering<TestType>;
  for (const auto& weights :
       {std::vector<float>{}, {0.0F, -0.0F, 0.0F}, {0x1p-149F}, {-0x1.8p-127F, 0x1p-130F}, {0x1.fp-111F}}) {
    CHECK(prescribed::fit(weights).scale == 0x1p-110F);
    CHECK(covering::fit(weights).scale == 0x1p-110F);
  }
  const auto smallest = prescribed::fit({});
  CHECK(prescribed::position(0.0F, smallest) == 0);
  CHECK(prescribed::position(-0.0F, smallest) == 0);
  CHECK(prescribed::decode(1, smallest) >= std::numeric_limits<float>::min());
  // The smallest value, and half of it.
  CHECK(prescribed::position(prescribed::decode(1, smallest), smallest) == 65536);
  CHECK(prescribed::position(-0.5F * prescribed::decode(1, smallest), smallest) == -32768);
}

TEMPLATE_LIST_TEST_CASE("all weights of a block may be equal", "[number]", elements) {
  using prescribed = mx<TestType>;
  for (const float weight : {1.0F, -0.5F, -0x1p-90F, 0x1p100F, 0.75F, -1.5F}) {
    const auto granule = prescribed::fit(std::vector<float>(32, weight));
    // One bit of a mantissa: every element has these numbers.
    const std::int32_t position = prescribed::position(weight, granule);
    CHECK(position % 65536 == 0);
    CHECK(prescribed::decode(position / 65536, granule) == weight);
  }
}

TEMPLATE_LIST_TEST_CASE("the largest floats saturate, or are covered as far as scales reach", "[number]", elements) {
  using prescribed = mx<TestType>;
  using covering = mx_covering<TestType>;
  const auto granule = prescribed::fit(std::vector{largest_float, 1.0F});
  CHECK(std::isfinite(prescribed::decode(prescribed::max_code, granule)));
  CHECK(prescribed::position(largest_float, granule) == 65536 * prescribed::max_code);
  CHECK(prescribed::position(-largest_float, granule) == -65536 * prescribed::max_code);

  constexpr float reach = covering::largest_weight;
  const auto widest = covering::fit(std::vector{reach, -reach});
  CHECK(covering::decode(covering::max_code, widest) == reach);
  CHECK(widest.scale.bits() <= 254);
  const float beyond = std::nextafter(reach, largest_float);
  CHECK(message_of<bad_input>([&] {
          covering::fit(std::vector{1.0F, -beyond});
        }) == covering::name() + ": expected magnitudes of at most " + std::to_string(reach) + ", found " +
                  std::to_string(beyond));
}

TEMPLATE_LIST_TEST_CASE("no weight on the grid moves, for any stored scale", "[number]", elements) {
  using number = mx<TestType>;
  std::size_t wrong = 0;
  for (int exponent = -110; exponent <= 127 - number::largest_exponent; ++exponent) {
    const typename number::granule granule{e8m0<number::fraction_bits>::of_exponent(exponent)};
    for (std::int32_t code = number::min_code; code <= number::max_code; ++code) {
      const double value = std::ldexp(static_cast<double>(TestType::unit(code)), exponent);
      wrong += static_cast<double>(number::decode(code, granule)) == value ? 0U : 1U;
      wrong += number::position(number::decode(code, granule), granule) == 65536 * code ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("NVFP4 scales are those worked out by hand", "[number]") {
  const float one = nvfp4::tensor_scale(2688.0F);  // 6 * 448
  CHECK(one == 1.0F);
  CHECK(nvfp4::tensor_scale(1344.0F) == 0.5F);
  const auto scale = [&](float largest) { return nvfp4::fit(std::vector{-largest, 0.0F}, one).scale; };
  const auto covering = [&](float largest) { return nvfp4_covering::fit(std::vector{-largest, 0.0F}, one).scale; };
  CHECK(scale(6.0F) == 1.0F);
  CHECK(scale(2688.0F) == 448.0F);
  CHECK(scale(6.3F) == 1.0F);               // 1.05, between 1 and 1.125
  CHECK(scale(6.375F) == 1.0F);             // 1.0625, halfway: to the even mantissa
  CHECK(scale(6.4F) == 1.125F);             // 1.0667
  CHECK(scale(7.125F) == 1.25F);            // 1.1875, halfway between 1.125 and 1.25
  CHECK(scale(9.0F * 0x1p-9F) == 0x1p-8F);  // 1.5 * 2^-9, halfway between two subnormal numbers
  CHECK(scale(6.0F * 0x1.6p-9F) == 0x1p-9F);
  CHECK(scale(0.001F) == 0x1p-9F);  // nearer to 0, which is no scale
  CHECK(scale(0.0F) == 0x1p-9F);
  CHECK(scale(5000.0F) == 448.0F);
  CHECK(covering(6.0F) == 1.0F);
  CHECK(covering(std::nextafter(6.0F, 7.0F)) == 1.125F);
  CHECK(covering(6.3F) == 1.125F);
  CHECK(covering(6.75F) == 1.125F);
  CHECK(covering(2688.0F) == 448.0F);
  CHECK(covering(9.0F * 0x1p-9F) == 0x1p-8F);
  CHECK(covering(0.0F) == 0x1p-9F);
  // On the stored scale: 6.3 saturates by 1, by 1.125 it lies at 5.6 between 4 and 6.
  CHECK(nvfp4::position(6.3F, {1.0F}) == 65536 * 7);
  CHECK(nvfp4_covering::position(6.3F, {1.125F}) == std::lrint(65536.0 * (6.0 + (6.3F / 1.125 - 4.0) / 2.0)));
  CHECK(nvfp4::decode(-5, {1.125F}) == -3.375F);
  // In a tensor whose scale is not a power of two: the product is what counts.
  const float scaled = nvfp4::tensor_scale(1.0F);
  CHECK(scaled == 1.0F / 2688.0F);
  CHECK(nvfp4::fit(std::vector{0.5F}, scaled).scale == 224.0F * scaled);
}

TEST_CASE("NVFP4 scales are the nearest E4M3 numbers, or the smallest that cover", "[number]") {
  std::size_t wrong = 0;
  for (const float of_tensor : {1.0F, 0.37F, 2688.0F, 0x1p-120F, 0x1p125F}) {
    const float shared = nvfp4::tensor_scale(of_tensor);
    CHECK(nvfp4_covering::tensor_scale(of_tensor) == shared);
    for (std::uint32_t i = 0; i < 4000; ++i) {
      const float fraction = static_cast<float>(mixed(i) >> 8) * 0x1p-24F;
      const std::vector<float> block{-of_tensor * std::ldexp(fraction, -static_cast<int>(i % 20))};
      const float largest = -block[0];
      const double quotient = largest / 6.0F / shared;
      int nearest = 1;
      int covers = 126;
      for (int code = 126; code >= 1; --code) {
        const double distance = std::abs(static_cast<double>(fp8_e4m3::unit(code)) - quotient);
        const double best = std::abs(static_cast<double>(fp8_e4m3::unit(nearest)) - quotient);
        nearest = distance < best || (distance == best && code % 2 == 0) ? code : nearest;
        covers = fp8_e4m3::unit(code) * shared * 6.0F >= largest ? code : covers;
      }
      wrong += nvfp4::fit(block, shared).scale == fp8_e4m3::unit(nearest) * shared ? 0U : 1U;
      wrong += nvfp4_covering::fit(block, shared).scale == fp8_e4m3::unit(covers) * shared ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("NVFP4 takes the smallest and the largest tensors", "[number]") {
  CHECK(nvfp4::tensor_scale(0.0F) == 0x1p-101F);
  CHECK(nvfp4::tensor_scale(0x1p-149F) == 0x1p-101F);
  CHECK(nvfp4::fit({}).scale == 0x1p-110F);
  CHECK(nvfp4::fit(std::vector{0.0F, -0.0F}).scale == 0x1p-110F);
  CHECK(nvfp4::fit(std::vector{0x1p-149F, -0x1.8p-127F}).scale == 0x1p-110F);
  CHECK(nvfp4::position(0x1p-111F, {0x1p-110F}) == 65536);
  // The quotient, rounded up, might put the outermost value beyond the largest float.
  std::size_t wrong = 0;
  for (float largest = largest_float; largest > 0.999F * largest_float;
       largest = std::bit_cast<float>(std::bit_cast<std::uint32_t>(largest) - stride(31))) {
    const float shared = nvfp4::tensor_scale(largest);
    const float scale = nvfp4::fit(std::vector{largest}, shared).scale;
    wrong += scale == 448.0F * shared && std::isfinite(6.0F * scale) ? 0U : 1U;
    wrong += nvfp4::position(largest, {scale}) >= 65536 * 7 - 1 ? 0U : 1U;
  }
  CHECK(wrong == 0);
}

// How many codes of a tensor's members are not the scalar definition's.
template <class N>
std::size_t wrong_codes(const tensor& weights) {
  const auto grid = fitted_grid<N>(weights, pluria::per_group(N::block));
  const bernoulli rounding{.seed = 3};
  const auto drawn = pluria::sample<N>(weights, grid, rounding, 0, 3);
  const std::vector<float> values = weights.to_floats();
  const std::uint64_t hash = pluria::name_hash(weights.name());
  std::size_t wrong = 0;
  for (std::uint64_t k = 0; k < drawn.size(); ++k) {
    for (std::size_t row = 0; row < weights.rows(); ++row) {
      for (std::size_t column = 0; column < weights.columns(); ++column) {
        const std::int32_t position = N::position(values[row * weights.columns() + column], grid->at(row, column));
        const std::uint64_t block = row * pluria::blocks_per_row(weights.columns()) + column / 128;
        const std::int32_t code =
            pluria::member_code(rounding, position, hash, block, static_cast<std::uint32_t>(column % 128), k);
        wrong += drawn[k].code(row, column) == code ? 0U : 1U;
      }
    }
  }
  // The last block of each row is cut short, and has a scale of its own.
  wrong += grid->granule_bits() == weights.rows() * ((weights.columns() + N::block - 1) / N::block) * 8 +
                                       (pluria::two_level_system<N> ? 32 : 0)
               ? 0U
               : 1U;
  return wrong;
}

TEST_CASE("the sampling kernel takes blocks of these formats, the last of a row cut short", "[number]") {
  const tensor weights = make_tensor(dtype::f32, "blk.0.ffn_up.weight", {5, 200}, integer_weights(1000, 0.1F, 40));
  CHECK(wrong_codes<mxfp4>(weights) == 0);
  CHECK(wrong_codes<mxint8>(weights) == 0);
  CHECK(wrong_codes<nvfp4>(weights) == 0);
}

}  // namespace
