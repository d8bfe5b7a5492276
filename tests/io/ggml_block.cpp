// SPDX-License-Identifier: MIT
#include <pluria/io/ggml_block.hpp>

#include <pluria/kernel/sample.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>

#include "io/temporary_folder.hpp"
#include "support/catch.hpp"
#include "support/integer_weights.hpp"
#include "support/tensor_grids.hpp"
#include "support/tensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

const std::filesystem::path reference =
    std::filesystem::path(PLURIA_SOURCE_DIR) / "tests" / "io" / "reference" / "gguf";

using q4_0 = ggml_block<ggml_type::q4_0>;
using q5_0 = ggml_block<ggml_type::q5_0>;
using q8_0 = ggml_block<ggml_type::q8_0>;

// A block format, the number system that members of it are rounded in, and the names of its reference files.
template <ggml_type Type, class N>
struct format {
  static constexpr ggml_type type = Type;
  using block = ggml_block<Type>;
  using number = N;
  static std::string name() { return Type == ggml_type::q4_0 ? "q4_0" : (Type == ggml_type::q5_0 ? "q5_0" : "q8_0"); }
};
using formats = std::tuple<format<ggml_type::q4_0, full_range_int<4>>, format<ggml_type::q5_0, full_range_int<5>>,
                           format<ggml_type::q8_0, half_symmetric_int<8>>>;

std::vector<float> floats_of(const std::filesystem::path& path) {
  const std::string bytes = content_of(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class Block>
std::span<const std::byte, Block::bytes> block_at(std::span<const std::byte> blocks, std::size_t index) {
  return std::span<const std::byte, Block::bytes>(&blocks[index * Block::bytes], Block::bytes);
}

// The weights of a block.
std::span<float, 32> group_at(std::vector<float>& weights, std::size_t index) {
  return std::span<float, 32>(&weights[32 * index], 32);
}
std::span<const float, 32> group_at(const std::vector<float>& weights, std::size_t index) {
  return std::span<const float, 32>(&weights[32 * index], 32);
}

// Codes of every value, in an order that puts each of them in every place of a block in one of the blocks.
template <class Block>
typename Block::codes codes_of(std::size_t index) {
  typename Block::codes codes;
  for (std::size_t e = 0; e < codes.size(); ++e) {
    const auto code = static_cast<std::int32_t>((index + 7 * e) % (1U << Block::bits)) + Block::min_code;
    codes[e] = static_cast<std::int8_t>(code);
  }
  return codes;
}

}  // namespace

static_assert(q4_0::bytes == 18 && q5_0::bytes == 22 && q8_0::bytes == 34);
static_assert(q4_0::min_code == -8 && q5_0::max_code == 15 && q8_0::min_code == -128);

TEST_CASE("a block is the bytes that the format describes", "[io]") {
  std::array<std::int8_t, 32> codes{};
  codes[0] = -8;   // stored 0
  codes[1] = 7;    // stored 15
  codes[16] = -5;  // stored 3, in the high nibble of the first byte
  codes[31] = 1;   // stored 9
  std::array<std::byte, 18> four;
  q4_0::pack(0xbc00, codes, four);
  std::string expected = std::string("\x00\xbc\x30\x8f", 4) + std::string(13, '\x88') + "\x98";
  CHECK(text_of(four) == expected);

  std::array<std::byte, 22> five;
  q5_0::pack(0x3c00, codes, five);
  // Stored 8, 23, 16, ...; 11 and 17: the fifth bit is clear in elements 0 and 16.
  expected = std::string("\x00\x3c\xfe\xff\xfe\xff\xb8\x07", 8) + std::string(13, '\0') + "\x10";
  CHECK(text_of(five) == expected);

  std::array<std::byte, 34> eight;
  q8_0::pack(0x0001, codes, eight);
  expected = std::string("\x01\x00\xf8\x07", 4) + std::string(14, '\0') + "\xfb" + std::string(14, '\0') + "\x01";
  CHECK(text_of(eight) == expected);
}

TEMPLATE_LIST_TEST_CASE("packed codes come back, each of them in every place", "[io]", formats) {
  using block = typename TestType::block;
  for (std::size_t index = 0; index < 1U << block::bits; ++index) {
    std::array<std::byte, block::bytes> bytes;
    const auto scale = static_cast<std::uint16_t>(index * 257 + 1);
    block::pack(scale, codes_of<block>(index), bytes);
    CHECK(block::scale_bits(bytes) == scale);
    CHECK(block::unpack(bytes) == codes_of<block>(index));
  }
}

TEMPLATE_LIST_TEST_CASE("a decoded block is the number system's values for every code, on scales of either sign",
                        "[io]", formats) {
  using block = typename TestType::block;
  using number = typename TestType::number;
  std::size_t wrong = 0;
  constexpr std::uint16_t scales[] = {0x3c00, 0xbc00, 0x0001, 0x8001, 0x7bff, 0xfbff, 0x2e66, 0x83ff};
  for (const std::uint16_t scale : scales) {
    const typename number::granule granule{pluria::float16::of_bits(scale)};
    for (std::size_t index = 0; index < 1U << block::bits; ++index) {
      std::array<std::byte, block::bytes> bytes;
      block::pack(scale, codes_of<block>(index), bytes);
      std::array<float, 32> values;
      block::decode(bytes, values);
      for (std::size_t e = 0; e < 32; ++e) {
        wrong += values[e] == number::decode(codes_of<block>(index)[e], granule) ? 0U : 1U;
      }
    }
  }
  CHECK(wrong == 0);
}

TEMPLATE_LIST_TEST_CASE("blocks of any bits are read as ggml reads them", "[io]", formats) {
  using block = typename TestType::block;
  const std::string blocks = content_of(reference / ("bits." + TestType::name()));
  const std::vector<float> expected = floats_of(reference / ("bits." + TestType::name() + ".f32"));
  REQUIRE(blocks.size() == 8 * block::bytes);
  REQUIRE(expected.size() == 8 * 32);
  std::vector<float> values(expected.size());
  for (std::size_t b = 0; b < 8; ++b) {
    block::decode(block_at<block>(bytes_of(blocks), b), group_at(values, b));
  }
  CHECK(values == expected);
}

TEMPLATE_LIST_TEST_CASE("rounding to nearest gives the bytes of ggml's reference", "[io]", formats) {
  using block = typename TestType::block;
  const std::vector<float> weights = floats_of(reference / "weights.f32");
  const std::string expected = content_of(reference / ("weights." + TestType::name()));
  REQUIRE(weights.size() >= 96 * 32);
  REQUIRE(expected.size() == weights.size() / 32 * block::bytes);
  // The whole tensor at once, and block by block, so that a difference is named.
  const tensor whole = tensor::from_floats("w", {weights.size() / 32, 32}, weights);
  std::vector<std::byte> found(expected.size());
  round_to_ggml_blocks<TestType::type>(whole, 0, found);
  for (std::size_t b = 0; b < weights.size() / 32; ++b) {
    INFO("block " << b);
    std::array<std::byte, block::bytes> bytes;
    block::round(group_at(weights, b), bytes);
    CHECK(text_of(bytes) == expected.substr(b * block::bytes, block::bytes));
    CHECK(text_of(block_at<block>(found, b)) == text_of(bytes));
  }
}

TEMPLATE_LIST_TEST_CASE("weights are rounded from any dtype, and from any block on", "[io]", formats) {
  using block = typename TestType::block;
  const std::vector<float> values = support::integer_weights(3 * 1056, 0.1F);
  for (const dtype type : {dtype::f32, dtype::f16, dtype::bf16}) {
    const tensor weights = support::make_tensor(type, "w", {3, 1056}, values);
    const std::vector<float> stored = weights.to_floats();
    std::vector<std::byte> all(values.size() / 32 * block::bytes);
    round_to_ggml_blocks<TestType::type>(weights, 0, all);
    for (std::size_t b = 0; b < values.size() / 32; ++b) {
      std::array<std::byte, block::bytes> bytes;
      block::round(group_at(stored, b), bytes);
      CHECK(std::equal(bytes.begin(), bytes.end(), block_at<block>(all, b).begin()));
    }
    std::vector<std::byte> part(35 * block::bytes);
    round_to_ggml_blocks<TestType::type>(weights, 64, part);
    CHECK(std::equal(part.begin(), part.end(), all.begin() + 2 * block::bytes));
  }
}

TEST_CASE("of two extremes of one size the first decides", "[io]") {
  std::array<float, 32> weights{};
  weights[3] = 1.0F;
  weights[4] = -1.0F;
  std::array<std::byte, 18> block;
  q4_0::round(weights, block);
  CHECK(q4_0::scale_bits(block) == half_from_float(-0.125F));
  CHECK(q4_0::unpack(block)[3] == -8);
  CHECK(q4_0::unpack(block)[4] == 7);  // 8 steps, and there is no such code
  std::swap(weights[3], weights[4]);
  q4_0::round(weights, block);
  CHECK(q4_0::scale_bits(block) == half_from_float(0.125F));
}

TEMPLATE_LIST_TEST_CASE("weights so small that the scale has no reciprocal become zeros", "[io]", formats) {
  using block = typename TestType::block;
  for (const float tiny : {0x1p-149F, -0x1p-149F, 0x1p-127F}) {
    std::array<float, 32> weights{};
    weights[9] = tiny;
    std::array<std::byte, block::bytes> bytes;
    block::round(weights, bytes);
    CHECK((block::scale_bits(bytes) & 0x7fffU) == 0);
    CHECK(block::unpack(bytes) == typename block::codes{});
  }
}

TEMPLATE_LIST_TEST_CASE("weights that a block cannot hold are refused by tensor and index", "[io]", formats) {
  using block = typename TestType::block;
  std::vector<std::byte> blocks(66 * block::bytes);
  std::vector<float> values(66 * 32, 1.0F);
  const auto refused = [&](float value, std::size_t first) {
    values[1500] = value;
    const tensor weights = support::make_tensor(dtype::f32, "w", {66, 32}, values, "f");
    return refusal([&] {
      round_to_ggml_blocks<TestType::type>(weights, first,
                                           std::span(blocks).first((values.size() - first) / 32 * block::bytes));
    });
  };
  const std::string limit = std::to_string(block::largest_weight);
  std::string name(name_of(TestType::type));
  CHECK(refused(block::largest_weight, 0).empty());
  CHECK(block::scale_bits(block_at<block>(blocks, 1500 / 32)) == (TestType::type == ggml_type::q8_0 ? 0x7bff : 0xfbff));
  CHECK(refused(-block::largest_weight, 0).empty());
  const std::string where = "f: tensor \"w\", index 1500: expected a finite weight of magnitude at most ";
  const float above = std::nextafter(block::largest_weight, std::numeric_limits<float>::max());
  CHECK(refused(above, 0) == where + limit + " for " + name + ", found " + std::to_string(above));
  CHECK(refused(std::numeric_limits<float>::quiet_NaN(), 64) == where + limit + " for " + name + ", found nan");
  CHECK(refused(-std::numeric_limits<float>::infinity(), 64) == where + limit + " for " + name + ", found -inf");
  CHECK(refused(std::numeric_limits<float>::infinity(), 1504).empty());

  const tensor integers = tensor("w", dtype::i32, {1, 32}, std::as_bytes(std::span(values).first(32)), nullptr);
  CHECK(refusal([&] { round_to_ggml_blocks<TestType::type>(integers, 0, std::span(blocks).first(block::bytes)); }) ==
        "tensor \"w\": expected dtype F32, F16 or BF16, found I32");
  values[1500] = 1.0F;
  const tensor weights = support::make_tensor(dtype::f32, "w", {66, 32}, values);
  CHECK_THROWS_AS(round_to_ggml_blocks<TestType::type>(weights, 16, std::span(blocks).first(block::bytes)),
                  precondition_error);
  CHECK_THROWS_AS(round_to_ggml_blocks<TestType::type>(weights, 0, std::span(blocks).first(block::bytes - 1)),
                  precondition_error);
  CHECK_THROWS_AS(round_to_ggml_blocks<TestType::type>(weights, 32, blocks), precondition_error);
}

TEMPLATE_LIST_TEST_CASE("a member's blocks decode to its values", "[io]", formats) {
  using block = typename TestType::block;
  using number = typename TestType::number;
  // Rows of whole and of partly filled packed blocks, and a tensor of three dimensions.
  for (const tensor_shape& shape : {tensor_shape{5, 256}, {4, 32}, {3, 224}, {2, 3, 64}}) {
    const tensor weights = support::make_tensor(dtype::f32, "blk.0.ffn_up.weight", shape,
                                                support::integer_weights(element_count(shape, "w"), 0.1F, 77));
    const auto grid = support::fitted_grid<number>(weights, per_group(32));
    for (const auto& member : sample<number>(weights, grid, bernoulli{.seed = 5}, 0, 2)) {
      std::vector<std::byte> blocks(weights.columns() / 32 * block::bytes);
      std::vector<float> expected(weights.columns());
      std::vector<float> values(weights.columns());
      for (std::size_t row = 0; row < weights.rows(); ++row) {
        write_ggml_row<TestType::type>(member, row, blocks);
        for (std::size_t b = 0; b < weights.columns() / 32; ++b) {
          block::decode(block_at<block>(blocks, b), group_at(values, b));
          CHECK(float_from_half(block::scale_bits(block_at<block>(blocks, b))) == grid->at(row, 32 * b).scale);
        }
        member.decode_row(row, expected);
        CHECK(values == expected);
      }
    }
  }
}

TEST_CASE("a granule may cover several blocks, but no part of one", "[io]") {
  const tensor weights = support::make_tensor(dtype::f32, "w", {2, 96}, support::integer_weights(192));
  std::vector<std::byte> blocks(3 * q8_0::bytes);
  const auto nearest_member = [&](auto granularity) {
    return sample<half_symmetric_int<8>>(weights, support::fitted_grid<half_symmetric_int<8>>(weights, granularity),
                                         nearest{}, 0, 1)
        .front();
  };
  const auto channel = nearest_member(per_channel{});
  write_ggml_row<ggml_type::q8_0>(channel, 1, blocks);
  std::array<float, 32> values;
  q8_0::decode(block_at<q8_0>(blocks, 2), values);
  CHECK(values[31] == channel.value(1, 95));
  CHECK_THROWS_AS(write_ggml_row<ggml_type::q8_0>(nearest_member(per_group(16)), 0, blocks), precondition_error);
  CHECK_THROWS_AS(write_ggml_row<ggml_type::q8_0>(nearest_member(per_group(48)), 0, blocks), precondition_error);
  CHECK_THROWS_AS(write_ggml_row<ggml_type::q8_0>(channel, 2, blocks), precondition_error);
  CHECK_THROWS_AS(write_ggml_row<ggml_type::q8_0>(channel, 0, std::span(blocks).first(2 * q8_0::bytes)),
                  precondition_error);
}

TEST_CASE("rows that are not whole blocks, and scales that are no float16, are a caller's mistake", "[io]") {
  const tensor odd = support::make_tensor(dtype::f32, "w", {2, 48}, support::integer_weights(96));
  std::vector<std::byte> blocks(q8_0::bytes);
  const auto member = sample<half_symmetric_int<8>>(
      odd, support::fitted_grid<half_symmetric_int<8>>(odd, per_group(32)), nearest{}, 0, 1);
  CHECK_THROWS_AS(write_ggml_row<ggml_type::q8_0>(member.front(), 0, blocks), precondition_error);

  const tensor even = support::make_tensor(dtype::f32, "w", {1, 32}, support::integer_weights(32));
  const auto float_scales =
      sample<symmetric_int<8>>(even, support::fitted_grid<symmetric_int<8>>(even, per_group(32)), nearest{}, 0, 1);
  CHECK_THROWS_AS(write_ggml_row<ggml_type::q8_0>(float_scales.front(), 0, blocks), precondition_error);
}
