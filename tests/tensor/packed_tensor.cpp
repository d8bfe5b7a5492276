// SPDX-License-Identifier: MIT

#include <pluria/number/symmetric_int.hpp>
#include <pluria/tensor/packed_tensor.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using pluria::granule_map;
using pluria::packed_tensor;
using pluria::symmetric_int;

using all_bits = std::tuple<symmetric_int<2>, symmetric_int<3>, symmetric_int<4>, symmetric_int<5>, symmetric_int<6>,
                            symmetric_int<7>, symmetric_int<8>>;

std::vector<granule_map> maps(std::size_t rows, std::size_t columns) {
  return {granule_map::whole(rows, columns), granule_map::groups(rows, columns, columns),
          granule_map::groups(rows, columns, 16), granule_map::groups(rows, columns, 48)};
}

// Granule i has the scale i + 1, so that no two are taken for each other.
template <class Int>
packed_tensor<Int> empty_form(const granule_map& map) {
  std::vector<typename Int::granule> granules(map.size());
  for (std::size_t i = 0; i < granules.size(); ++i) {
    granules[i].scale = static_cast<float>(i + 1);
  }
  return packed_tensor<Int>(std::make_shared<const pluria::tensor_grid<Int>>(map, std::move(granules)));
}

template <class Int>
std::int32_t code_at(std::size_t row, std::size_t column) {
  constexpr std::uint32_t codes = Int::max_code - Int::min_code + 1;
  return static_cast<std::int32_t>(support::mixed(static_cast<std::uint32_t>(1000 * row + column)) % codes) +
         Int::min_code;
}

// Fills the words by the naive packing; behind the row's end stands min_code.
template <class Int>
void fill(packed_tensor<Int>& form) {
  for (std::size_t row = 0; row < form.rows(); ++row) {
    for (std::size_t index = 0; index < form.blocks_in_row(); ++index) {
      std::array<std::uint32_t, 128> stored{};
      for (std::size_t e = 0; e < 128 && 128 * index + e < form.columns(); ++e) {
        stored[e] = static_cast<std::uint32_t>(code_at<Int>(row, 128 * index + e) - Int::min_code);
      }
      const std::vector<std::uint32_t> block = support::naive_block(Int::bits, stored);
      std::copy(block.begin(), block.end(), form.words(row, index).begin());
    }
  }
}

TEMPLATE_LIST_TEST_CASE("codes, values and decoded rows are those that were packed", "[tensor]", all_bits) {
  for (const auto& [rows, columns] :
       {std::pair<std::size_t, std::size_t>{1, 1}, {3, 127}, {2, 128}, {3, 129}, {2, 300}, {5, 2}}) {
    for (const granule_map& map : maps(rows, columns)) {
      auto form = empty_form<TestType>(map);
      fill(form);
      std::size_t wrong = 0;
      std::vector<float> values(columns);
      for (std::size_t row = 0; row < rows; ++row) {
        form.decode_row(row, values);
        for (std::size_t column = 0; column < columns; ++column) {
          const std::int32_t code = code_at<TestType>(row, column);
          const float value = static_cast<float>(map.index(row, column) + 1) * static_cast<float>(code);
          wrong += form.code(row, column) == code ? 0U : 1U;
          wrong += form.value(row, column) == value ? 0U : 1U;
          wrong += values[column] == value ? 0U : 1U;
        }
      }
      CAPTURE(rows, columns, map.size());
      CHECK(wrong == 0);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("rows lie behind each other in whole blocks of 16 b bytes", "[tensor]", all_bits) {
  auto form = empty_form<TestType>(granule_map::groups(3, 129, 129));
  fill(form);
  constexpr std::size_t words = 4 * TestType::bits;
  CHECK(form.blocks_in_row() == 2);
  REQUIRE(form.words().size() == 6 * words);
  for (std::size_t row = 0; row < 3; ++row) {
    for (std::size_t index = 0; index < 2; ++index) {
      CHECK(form.words(row, index).data() == form.words().data() + (2 * row + index) * words);
    }
  }
  CHECK(form.code_bits() == 6 * 128 * TestType::bits);
  CHECK(form.granule_bits() == 3 * 32);
}

TEST_CASE("the words of a form begin at a cache line", "[tensor]") {
  auto form = empty_form<symmetric_int<3>>(granule_map::groups(2, 129, 16));
  CHECK(reinterpret_cast<std::uintptr_t>(form.data()) % 64 == 0);
  CHECK(form.words().data() == form.data());
  CHECK(form.words(0, 0).data() == form.data());
}

TEST_CASE("tensors without elements take no words", "[tensor]") {
  for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{0, 0}, {0, 300}, {3, 0}}) {
    for (const granule_map& map : maps(rows, columns)) {
      const auto form = empty_form<symmetric_int<4>>(map);
      CHECK(form.rows() == rows);
      CHECK(form.columns() == columns);
      CHECK(form.words().empty());
      CHECK(form.code_bits() == 0);
      CHECK(form.granule_bits() == (map.is_whole() ? 32 : 0));
      if (rows > 0) {
        CHECK_NOTHROW(form.decode_row(0, std::span<float>{}));
      }
    }
  }
}

TEST_CASE("a row is decoded into as many values as it has", "[tensor]") {
  const auto form = empty_form<symmetric_int<4>>(granule_map::whole(2, 130));
  std::vector<float> values(131);
  CHECK_THROWS_AS(form.decode_row(0, values), pluria::precondition_error);
  CHECK_THROWS_AS(form.decode_row(2, std::span<float>(values).first(130)), pluria::precondition_error);
  CHECK_NOTHROW(form.decode_row(1, std::span<float>(values).first(130)));
}

TEST_CASE("packed tensors are equal when words and grids are", "[tensor]") {
  auto form = empty_form<symmetric_int<4>>(granule_map::groups(2, 32, 32));
  fill(form);
  auto other = empty_form<symmetric_int<4>>(granule_map::groups(2, 32, 32));
  fill(other);
  CHECK(form == other);
  other.words(1, 0)[3] ^= 0x10U;
  CHECK_FALSE(form == other);
  auto wider = empty_form<symmetric_int<4>>(granule_map::groups(2, 32, 16));
  fill(wider);
  CHECK_FALSE(form == wider);
}

}  // namespace
