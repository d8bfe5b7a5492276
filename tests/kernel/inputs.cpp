// SPDX-License-Identifier: MIT

#include <pluria/kernel/inputs.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_int8.hpp>
#include <support/naive_packing.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace support;
using pluria::input_rows;
using pluria::quantize_token;
using pluria::detail::float_inputs;
using pluria::detail::input_offsets;
using pluria::detail::input_order;
using pluria::detail::int8_inputs;

constexpr float largest_float = std::numeric_limits<float>::max();

template <class Arch>
bool is_naive(const std::vector<float>& token) {
  const naive_int8 expected(token);
  std::vector<std::int8_t> codes(token.size(), 99);
  if (quantize_token(token, codes) != expected.scale || codes != expected.codes) {
    return false;
  }
  const auto inputs = int8_inputs::made<Arch>({token.data(), 1, token.size(), token.size()}, input_order::by_block, -7);
  for (std::size_t column = 0; column < token.size(); ++column) {
    if (inputs.codes(column / 128, 0)[naive_place(column % 128)] != expected.codes[column]) {
      return false;
    }
  }
  return inputs.scale(0) == expected.scale;
}

std::vector<std::vector<float>> made_tokens() {
  std::vector<std::vector<float>> tokens;
  for (const std::size_t columns : {0U, 1U, 2U, 127U, 128U, 129U, 300U}) {
    for (const float scale : {1.0F, 0x1p-100F, 3e-39F, 3e30F, 0.3F}) {
      tokens.push_back(integer_weights(columns, scale, static_cast<std::uint32_t>(columns)));
    }
    tokens.emplace_back(columns, 0.0F);
    tokens.emplace_back(columns, -0.0F);
    tokens.emplace_back(columns, -largest_float);
    tokens.emplace_back(columns, std::numeric_limits<float>::denorm_min());
  }
  // Ties: the scale is 1, and all halves between -127 and 127 are there.
  std::vector<float> halves;
  for (std::int32_t half = -254; half <= 254; ++half) {
    halves.push_back(static_cast<float>(half) / 2);
  }
  tokens.push_back(halves);
  for (float& value : halves) {
    value *= 0x1p-60F;
  }
  tokens.push_back(halves);
  // The largest float among small ones.
  tokens.push_back(integer_weights(300));
  tokens.back()[299] = largest_float;
  return tokens;
}

TEST_CASE("a token is rounded as the definition says: to nearest, ties to even, absmax / 127", "[kernel]") {
  const auto tokens = made_tokens();
  CHECK(for_each_architecture([&](auto arch) {
          std::size_t wrong = 0;
          for (const std::vector<float>& token : tokens) {
            wrong += is_naive<decltype(arch)>(token) ? 0U : 1U;
          }
          CAPTURE(decltype(arch)::name());
          CHECK(wrong == 0);
        }) >= 1);
}

TEST_CASE("ties go to even codes, zeros to zero, the largest to 127", "[kernel]") {
  const std::vector<float> token{0.5F, 1.5F, -0.5F, -1.5F, 2.5F, 126.5F, -126.5F, 127.0F, -127.0F, 0.0F};
  std::vector<std::int8_t> codes(token.size());
  CHECK(quantize_token(token, codes) == 1.0F);
  CHECK(codes == std::vector<std::int8_t>{0, 2, 0, -2, 2, 126, -126, 127, -127, 0});

  std::vector<std::int8_t> zeros(200, 1);
  CHECK(quantize_token(std::vector<float>(200, 0.0F), zeros) == 0x1p-110F);
  CHECK(zeros == std::vector<std::int8_t>(200, 0));

  std::vector<std::int8_t> ends(2);
  const float scale = quantize_token(std::vector<float>{largest_float, -largest_float}, ends);
  CHECK(ends == std::vector<std::int8_t>{127, -127});
  CHECK(std::isfinite(127.0F * scale));

  // Smaller than half of the smallest scale.
  CHECK(quantize_token(std::vector<float>{0x1p-112F, -0x1p-149F}, ends) == 0x1p-110F);
  CHECK(ends == std::vector<std::int8_t>{0, 0});
}

TEST_CASE("a code is within half a step of its value", "[kernel]") {
  for (const std::vector<float>& token : made_tokens()) {
    std::vector<std::int8_t> codes(token.size());
    const double scale = quantize_token(token, codes);
    std::size_t far = 0;
    for (std::size_t i = 0; i < token.size(); ++i) {
      // Scale, reciprocal and product are rounded: less than 127 * 4 * 2^-24 < 2^-14 of a step.
      far += std::abs(scale * codes[i] - static_cast<double>(token[i])) <= (0.5 + 0x1p-14) * scale ? 0U : 1U;
    }
    CHECK(far == 0);
  }
}

TEST_CASE("a token has a code for each value", "[kernel]") {
  const std::vector<float> token(130, 1.0F);
  std::vector<std::int8_t> codes(131);
  CHECK(message_of<pluria::precondition_error>([&] { quantize_token(token, codes); }) ==
        "quantize_token: as many codes as values");
  codes.resize(129);
  CHECK_THROWS_AS(quantize_token(token, codes), pluria::precondition_error);
}

TEST_CASE("a value that is not finite is named: input, column and what it is", "[kernel]") {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto found = [](std::size_t place, float value) {
    std::vector<float> values = integer_weights(3 * 300, largest_float);
    values[place] = value;
    // Only 299 columns of 300 are inputs.
    return message_of<pluria::bad_input>([&] {
      pluria::detail::check_finite_inputs(input_rows{values.data(), 3, 299, 300});
    });
  };
  CHECK(found(0, std::numeric_limits<float>::quiet_NaN()) ==
        "activations: input 0, column 0: expected a finite value, found nan");
  CHECK(found(300 + 130, infinity) == "activations: input 1, column 130: expected a finite value, found inf");
  CHECK(found(600 + 298, -infinity) == "activations: input 2, column 298: expected a finite value, found -inf");
  CHECK(found(600 + 299, infinity) == "no error");
  CHECK(found(5, -largest_float) == "no error");
}

// Inputs that lie `stride` floats apart; what is between them is NaN and not looked at.
struct made_inputs {
  std::vector<float> values;
  input_rows rows;
  made_inputs(std::size_t count, std::size_t columns, std::size_t stride)
      : values(count * stride, std::numeric_limits<float>::quiet_NaN()), rows{values.data(), count, columns, stride} {
    for (std::size_t input = 0; input < count; ++input) {
      const auto row = integer_weights(columns, static_cast<float>(input + 1), static_cast<std::uint32_t>(7 * input));
      std::copy(row.begin(), row.end(), values.begin() + static_cast<std::ptrdiff_t>(input * stride));
    }
  }
};

constexpr std::size_t all_columns[] = {0, 1, 127, 128, 129, 300};

TEST_CASE("floats are moved to where kernels meet them, zeros behind the last column", "[kernel]") {
  for (const std::size_t columns : all_columns) {
    const made_inputs made(3, columns, columns + 5);
    const std::size_t blocks = (columns + 127) / 128;
    for (const input_order order : {input_order::by_block, input_order::by_input}) {
      const float_inputs inputs(made.rows, order);
      CHECK(inputs.count() == 3);
      std::size_t wrong = 0;
      for (std::size_t input = 0; input < 3; ++input) {
        for (std::size_t index = 0; index < blocks; ++index) {
          const float* block = inputs.at(index, input);
          wrong += reinterpret_cast<std::uintptr_t>(block) % 64 == 0 ? 0U : 1U;
          const std::size_t place = order == input_order::by_block ? 3 * index + input : blocks * input + index;
          wrong += block == inputs.at(0, 0) + 128 * place ? 0U : 1U;
          for (std::size_t e = 0; e < 128; ++e) {
            const std::size_t column = 128 * index + e;
            const float expected = column < columns ? made.rows.row(input)[column] : 0.0F;
            wrong += block[naive_place(e)] == expected ? 0U : 1U;
          }
        }
      }
      CAPTURE(columns);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("int8 inputs have codes where kernels meet them, their sum, and the offsets of each four", "[kernel]") {
  for (const std::size_t columns : all_columns) {
    const made_inputs made(3, columns, columns + 5);
    const std::size_t blocks = (columns + 127) / 128;
    for (const input_order order : {input_order::by_block, input_order::by_input}) {
      for (const std::int32_t offset : {-1, -7, -127}) {
        const auto inputs = int8_inputs::made<xsimd::default_arch>(made.rows, order, offset, input_offsets::of_fours);
        const auto paired = int8_inputs::made<xsimd::default_arch>(made.rows, order, offset, input_offsets::of_pairs);
        const auto bare = int8_inputs::made<xsimd::default_arch>(made.rows, order, offset);
        CHECK(inputs.count() == 3);
        std::size_t wrong = 0;
        for (std::size_t input = 0; input < 3; ++input) {
          const auto row = made.rows.row(input);
          const naive_int8 expected(row);
          wrong += inputs.scale(input) == expected.scale && bare.scale(input) == expected.scale ? 0U : 1U;
          std::int32_t sum = 0;
          for (const std::int8_t code : expected.codes) {
            sum += code;
          }
          wrong += inputs.sum(input) == sum && bare.sum(input) == sum ? 0U : 1U;
          for (std::size_t index = 0; index < blocks; ++index) {
            const std::int8_t* codes = inputs.codes(index, input);
            const std::size_t place = order == input_order::by_block ? 3 * index + input : blocks * input + index;
            wrong += codes == inputs.codes(0, 0) + 128 * place ? 0U : 1U;
            wrong += reinterpret_cast<const std::int8_t*>(inputs.at(index, input)) == codes ? 0U : 1U;
            wrong += std::equal(codes, codes + 128, bare.codes(index, input)) ? 0U : 1U;
            std::vector<std::int32_t> offsets(32, 0);
            for (std::size_t e = 0; e < 128; ++e) {
              const std::size_t column = 128 * index + e;
              const std::int8_t code = column < columns ? expected.codes[column] : std::int8_t{0};
              wrong += codes[naive_place(e)] == code ? 0U : 1U;
              offsets[naive_place(e) / 4] += offset * code;
            }
            wrong += std::equal(offsets.begin(), offsets.end(), inputs.offsets(index, input)) ? 0U : 1U;
            for (std::size_t i = 0; i < 16; ++i) {
              wrong += paired.offsets(index, input)[i] == offsets[i] + offsets[i + 16] ? 0U : 1U;
            }
            wrong += std::equal(codes, codes + 128, paired.codes(index, input)) ? 0U : 1U;
          }
        }
        CAPTURE(columns, offset);
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("for tiles the words of all inputs lie side by side, with the offsets of groups or of runs", "[kernel]") {
  constexpr std::size_t columns = 200;
  constexpr std::size_t count = 3;
  const auto values = integer_weights(count * columns, 3.0F, 5);
  const input_rows rows{values.data(), count, columns, columns};
  for (const auto kind : {input_offsets::none, input_offsets::of_pairs, input_offsets::of_fours}) {
    const auto inputs = int8_inputs::made<xsimd::default_arch>(rows, input_order::by_tile, -7, kind);
    CHECK(inputs.count() == count);
    std::size_t wrong = 0;
    for (std::size_t input = 0; input < count; ++input) {
      const naive_int8 token(rows.row(input));
      std::int32_t sum = 0;
      std::vector<std::int32_t> of_runs(16, 0);
      for (std::size_t column = 0; column < 256; ++column) {
        const std::size_t h = column % 32 / 16;
        const std::size_t a = column % 16 / 4;
        const std::uint32_t word = inputs.tile(column / 32)[a * 2 * count + 2 * input + h];
        const int code = static_cast<std::int8_t>(word >> (8 * (column % 4)) & 0xffU);
        const int expected = column < columns ? token.codes[column] : 0;
        wrong += code == expected ? 0U : 1U;
        sum += expected;
        of_runs[column / 16] -= 7 * expected;
      }
      wrong += inputs.sum(input) == sum && inputs.scale(input) == token.scale ? 0U : 1U;
      for (std::size_t tile = 0; tile < 8 && kind != input_offsets::none; ++tile) {
        const std::int32_t* const offsets = inputs.tile_offsets(tile);
        if (kind == input_offsets::of_pairs) {
          wrong += offsets[input] == of_runs[2 * tile] + of_runs[2 * tile + 1] ? 0U : 1U;
        } else {
          wrong += offsets[2 * input] == of_runs[2 * tile] && offsets[2 * input + 1] == of_runs[2 * tile + 1] ? 0U : 1U;
        }
      }
    }
    CHECK(wrong == 0);
  }
}

}  // namespace
