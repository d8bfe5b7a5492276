// SPDX-License-Identifier: MIT
#include <pluria/io/ggml_type.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <set>
#include <string>

using namespace pluria;

namespace {

// Blocks of 256 elements, in the parts that ggml-common.h says they have: float16 scales, then bytes.
constexpr ggml_layout of_256(const char* name, std::uint32_t halves, std::uint32_t bytes) {
  return {name, 256, 2 * halves + bytes};
}

}  // namespace

TEST_CASE("types have the numbers, names and block sizes of ggml", "[io]") {
  CHECK(find_ggml_layout(0) == ggml_layout{"F32", 1, 4});
  CHECK(find_ggml_layout(1) == ggml_layout{"F16", 1, 2});
  CHECK(find_ggml_layout(2) == ggml_layout{"Q4_0", 32, 2 + 16});
  CHECK(find_ggml_layout(3) == ggml_layout{"Q4_1", 32, 2 * 2 + 16});
  CHECK(find_ggml_layout(6) == ggml_layout{"Q5_0", 32, 2 + 4 + 16});
  CHECK(find_ggml_layout(7) == ggml_layout{"Q5_1", 32, 2 * 2 + 4 + 16});
  CHECK(find_ggml_layout(8) == ggml_layout{"Q8_0", 32, 2 + 32});
  CHECK(find_ggml_layout(9) == ggml_layout{"Q8_1", 32, 2 * 2 + 32});
  CHECK(find_ggml_layout(10) == of_256("Q2_K", 2, 256 / 16 + 256 / 4));
  CHECK(find_ggml_layout(11) == of_256("Q3_K", 1, 256 / 4 + 256 / 8 + 12));
  CHECK(find_ggml_layout(12) == of_256("Q4_K", 2, 12 + 256 / 2));
  CHECK(find_ggml_layout(13) == of_256("Q5_K", 2, 12 + 256 / 2 + 256 / 8));
  CHECK(find_ggml_layout(14) == of_256("Q6_K", 1, 256 / 16 + 3 * 256 / 4));
  CHECK(find_ggml_layout(15) == of_256("Q8_K", 2 + 256 / 16, 256));
  CHECK(find_ggml_layout(16) == of_256("IQ2_XXS", 1 + 256 / 8, 0));
  CHECK(find_ggml_layout(17) == of_256("IQ2_XS", 1 + 256 / 8, 256 / 32));
  CHECK(find_ggml_layout(18) == of_256("IQ3_XXS", 1, 3 * 256 / 8));
  CHECK(find_ggml_layout(19) == of_256("IQ1_S", 1, 256 / 8 + 256 / 16));
  CHECK(find_ggml_layout(20) == ggml_layout{"IQ4_NL", 32, 2 + 16});
  CHECK(find_ggml_layout(21) == of_256("IQ3_S", 1, 13 * 256 / 32 + 256 / 64));
  CHECK(find_ggml_layout(22) == of_256("IQ2_S", 1, 256 / 4 + 256 / 16));
  CHECK(find_ggml_layout(23) == of_256("IQ4_XS", 2, 256 / 64 + 256 / 2));
  CHECK(find_ggml_layout(24) == ggml_layout{"I8", 1, 1});
  CHECK(find_ggml_layout(25) == ggml_layout{"I16", 1, 2});
  CHECK(find_ggml_layout(26) == ggml_layout{"I32", 1, 4});
  CHECK(find_ggml_layout(27) == ggml_layout{"I64", 1, 8});
  CHECK(find_ggml_layout(28) == ggml_layout{"F64", 1, 8});
  CHECK(find_ggml_layout(29) == of_256("IQ1_M", 0, 256 / 8 + 256 / 16 + 256 / 32));
  CHECK(find_ggml_layout(30) == ggml_layout{"BF16", 1, 2});
  CHECK(find_ggml_layout(34) == of_256("TQ1_0", 1, 256 / 64 + (256 - 4 * 256 / 64) / 5));
  CHECK(find_ggml_layout(35) == of_256("TQ2_0", 1, 256 / 4));
  CHECK(find_ggml_layout(39) == ggml_layout{"MXFP4", 32, 1 + 16});
  CHECK(find_ggml_layout(40) == ggml_layout{"NVFP4", 64, 64 / 16 + 32});
  CHECK(find_ggml_layout(41) == ggml_layout{"Q1_0", 128, 2 + 128 / 8});
  CHECK(find_ggml_layout(42) == ggml_layout{"Q2_0", 64, 2 + 64 / 4});
}

TEST_CASE("numbers that ggml has given up or not yet taken have no layout", "[io]") {
  for (const std::uint32_t id : {4U, 5U, 31U, 32U, 33U, 36U, 37U, 38U, 43U, 44U, 1000U, 0xffffffffU}) {
    CHECK_FALSE(find_ggml_layout(id).has_value());
  }
  std::set<std::string> names;
  for (std::uint32_t id = 0; id < 43; ++id) {
    if (const auto layout = find_ggml_layout(id)) {
      CHECK(names.emplace(layout->name).second);
    }
  }
  CHECK(names.size() == 35);
}

TEST_CASE("types of blocks are quantized ones", "[io]") {
  CHECK(is_quantized(ggml_type::q4_0));
  CHECK(is_quantized(ggml_type::mxfp4));
  CHECK_FALSE(is_quantized(ggml_type::bf16));
  CHECK_FALSE(is_quantized(ggml_type::i64));
  CHECK(name_of(ggml_type::q4_k) == "Q4_K");
}
