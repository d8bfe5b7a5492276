// SPDX-License-Identifier: MIT

#include <pluria/number/symmetric_int.hpp>
#include <pluria/tensor/fixed_point_tensor.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using pluria::fixed_point_tensor;
using pluria::granule_map;
using pluria::symmetric_int;
using support::made_grid;

template <int Bits, int F>
using form_of = fixed_point_tensor<symmetric_int<Bits>, F>;
using all_forms = std::tuple<form_of<2, 1>, form_of<2, 8>, form_of<3, 2>, form_of<4, 3>, form_of<4, 4>, form_of<5, 4>,
                             form_of<6, 5>, form_of<7, 6>, form_of<7, 7>, form_of<8, 8>>;

// 2^F times a position, from the first code to the last.
template <class Form>
std::int32_t code_at(std::size_t row, std::size_t column) {
  using number = typename Form::number;
  constexpr std::int32_t unit = 1 << Form::fraction_bits;
  constexpr std::uint32_t codes = (number::max_code - number::min_code) * unit + 1;
  return static_cast<std::int32_t>(support::mixed(static_cast<std::uint32_t>(1000 * row + column) + 1) % codes) +
         number::min_code * unit;
}

// Word by word out of the layout's description.
template <class Form>
void fill(Form& form) {
  using number = typename Form::number;
  constexpr std::int32_t unit = 1 << Form::fraction_bits;
  std::uint32_t* out = form.data();
  for (std::size_t row = 0; row < form.rows(); ++row) {
    for (std::size_t begin = 0; begin < form.columns(); begin += 128) {
      std::array<std::uint32_t, 128> floors{};
      std::array<std::uint32_t, 128> fractions{};
      for (std::size_t e = 0; e < 128 && begin + e < form.columns(); ++e) {
        const std::int32_t from_first = code_at<Form>(row, begin + e) - number::min_code * unit;
        floors[e] = static_cast<std::uint32_t>(from_first / unit);
        fractions[e] = static_cast<std::uint32_t>(from_first % unit);
      }
      const std::vector<std::uint32_t> high = support::naive_block(number::bits, floors);
      const std::vector<std::uint32_t> low = support::naive_block(Form::fraction_bits, fractions);
      out = std::copy(high.begin(), high.end(), out);
      out = std::copy(low.begin(), low.end(), out);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("positions are those that were stored, floor and fraction", "[tensor]", all_forms) {
  for (const auto& [rows, columns] :
       {std::pair<std::size_t, std::size_t>{1, 1}, {3, 127}, {2, 128}, {3, 129}, {2, 300}}) {
    TestType form(made_grid<typename TestType::number>(granule_map::groups(rows, columns, columns)));
    fill(form);
    std::size_t wrong = 0;
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        wrong += form.code(row, column) == code_at<TestType>(row, column) ? 0U : 1U;
      }
    }
    CAPTURE(rows, columns);
    CHECK(wrong == 0);
    CHECK(form.rows() == rows);
    CHECK(form.columns() == columns);
  }
}

TEMPLATE_LIST_TEST_CASE("floors and fractions lie block after block, 16 (b + F) bytes each", "[tensor]", all_forms) {
  constexpr std::size_t floor_words = 4 * TestType::number::bits;
  constexpr std::size_t words = floor_words + 4 * TestType::fraction_bits;
  static_assert(TestType::block_words == words);
  TestType form(made_grid<typename TestType::number>(granule_map::groups(3, 129, 32)));
  CHECK(form.blocks_in_row() == 2);
  REQUIRE(form.words().size() == 6 * words);
  CHECK(form.words().data() == form.data());
  CHECK(reinterpret_cast<std::uintptr_t>(form.data()) % 64 == 0);
  for (std::size_t row = 0; row < 3; ++row) {
    for (std::size_t index = 0; index < 2; ++index) {
      const std::uint32_t* block = form.words().data() + (2 * row + index) * words;
      CHECK(form.floors(row, index).data() == block);
      CHECK(form.fractions(row, index).data() == block + floor_words);
      CHECK(form.fractions(row, index).size() == words - floor_words);
    }
  }
  CHECK(form.code_bits() == 6 * 128 * (TestType::number::bits + TestType::fraction_bits));
  CHECK(form.granule_bits() == 15 * 32);
}

TEST_CASE("four fractional bits are kept unless another number is asked for", "[tensor]") {
  const fixed_point_tensor<symmetric_int<4>> form(made_grid<symmetric_int<4>>(granule_map::whole(1, 128)));
  CHECK(form.code_bits() == 8 * 128);
}

TEST_CASE("positions need a grid, and none take no words", "[tensor]") {
  using form = form_of<4, 4>;
  CHECK(support::message_of<pluria::precondition_error>([] { form(nullptr); }) ==
        "fixed_point_tensor: a grid is needed");
  for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{0, 0}, {0, 300}, {3, 0}}) {
    for (const granule_map& map : support::all_maps(rows, columns)) {
      const form empty(made_grid<symmetric_int<4>>(map));
      CHECK(empty.rows() == rows);
      CHECK(empty.columns() == columns);
      CHECK(empty.words().empty());
      CHECK(empty.code_bits() == 0);
    }
  }
}

TEST_CASE("positions are equal when words and grids are", "[tensor]") {
  using form = form_of<5, 3>;
  form a(made_grid<symmetric_int<5>>(granule_map::groups(2, 32, 32)));
  form b(made_grid<symmetric_int<5>>(granule_map::groups(2, 32, 32)));
  form c(made_grid<symmetric_int<5>>(granule_map::groups(2, 32, 16)));
  fill(a);
  fill(b);
  fill(c);
  CHECK(a == b);
  CHECK_FALSE(a == c);
  b.data()[form::block_words - 1] ^= 1U;
  CHECK_FALSE(a == b);
}

}  // namespace
