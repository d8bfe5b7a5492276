// SPDX-License-Identifier: MIT

#include <pluria/member/any_quantizer.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

namespace {

using pluria::any_quantizer;
using pluria::any_rounding;
using pluria::bernoulli;
using pluria::dtype;
using pluria::nearest;
using pluria::quantizer;
using pluria::symmetric_int;
using pluria::tensor;

TEST_CASE("a quantizer whose type is erased still says what it is", "[member]") {
  const any_quantizer int5 = quantizer<symmetric_int<5>>{};
  CHECK(int5.system() == "INT-5");
  CHECK(int5.granularity_name() == "channel");
  CHECK(int5.bits() == 5);
  const any_quantizer groups = quantizer<symmetric_int<2>, pluria::per_group>{pluria::per_group(32)};
  CHECK(groups.system() == "INT-2");
  CHECK(groups.granularity_name() == "group:32");
  CHECK(groups.bits() == 2);
  CHECK(any_quantizer(quantizer<symmetric_int<8>, pluria::per_tensor>{}).granularity_name() == "tensor");
}

template <class Int, class G>
void draws_as_its_type(const quantizer<Int, G>& typed) {
  const tensor weights =
      support::make_tensor(dtype::bf16, "w", {3, 5, 30}, support::integer_weights(450), "net.safetensors");
  const pluria::gridded_tensor gridded = any_quantizer(typed).fit(weights);
  const auto grid = std::make_shared<const pluria::tensor_grid<Int>>(typed.fit(weights));
  for (const any_rounding rounding : {any_rounding(nearest{}), any_rounding(bernoulli{.seed = 1}),
                                      any_rounding(bernoulli{.seed = 1, .coupling = pluria::lattice(8)})}) {
    for (const std::uint64_t k : {0U, 9U}) {
      const auto form = std::visit(
          [&](const auto& method) { return pluria::sample<Int>(weights, grid, method, k, 1).front(); }, rounding);
      const tensor drawn = gridded.draw(rounding, k);
      CHECK(drawn.name() == "w");
      CHECK(drawn.file() == "net.safetensors");
      CHECK(drawn.type() == dtype::f32);
      CHECK(drawn.shape() == weights.shape());
      const std::vector<float> values = drawn.to_floats();
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        wrong += values[i] == form.value(i / 150, i % 150) ? 0U : 1U;
      }
      CHECK(wrong == 0);
    }
  }
  const pluria::packed_tensor<Int> form(grid);
  CHECK(gridded.code_bits() == 3 * 2 * 128 * Int::bits);
  CHECK(gridded.granule_bits() == grid->granule_bits());
  CHECK(any_quantizer(typed).granule_bits(weights.shape()) == grid->granule_bits());
}

TEST_CASE("a quantizer whose type is erased draws what the typed one does", "[member]") {
  draws_as_its_type(quantizer<symmetric_int<3>, pluria::per_tensor>{});
  draws_as_its_type(quantizer<symmetric_int<5>>{});
  draws_as_its_type(quantizer<symmetric_int<8>, pluria::per_group>{pluria::per_group(48)});
  draws_as_its_type(quantizer<pluria::full_range_int<4>, pluria::per_group>{pluria::per_group(32)});
}

TEST_CASE("rows of members are written as values of a weight type", "[member]") {
  const tensor weights = support::make_tensor(dtype::f32, "w", {150, 70}, support::integer_weights(150 * 70, 1.0F, 5));
  const any_quantizer int5 = quantizer<symmetric_int<5>>{};
  const pluria::gridded_tensor gridded = int5.fit(weights);
  const pluria::any_rounding rounding = pluria::bernoulli{.seed = 4, .coupling = pluria::lattice(4)};
  for (const dtype type : {dtype::f32, dtype::f16, dtype::bf16}) {
    const std::size_t row = 70 * pluria::size_of(type);
    for (const auto& [first, count] : {std::pair<std::size_t, std::size_t>{0, 150}, {7, 101}, {149, 1}, {3, 0}}) {
      std::vector<std::byte> room(2 * count * row);
      const std::span<std::byte> all(room);
      const std::vector<std::span<std::byte>> out{all.first(count * row), all.subspan(count * row)};
      gridded.write_rows(rounding, 6, first, type, out, 2);
      for (std::size_t m = 0; m < 2; ++m) {
        const tensor expected = pluria::converted(gridded.draw(rounding, 6 + m), type);
        const auto rows = expected.bytes().subspan(first * row, count * row);
        CHECK(std::equal(out[m].begin(), out[m].end(), rows.begin(), rows.end()));
      }
    }
  }
  std::vector<std::byte> room(280 * 3);
  const std::span<std::byte> all(room);
  const auto write = [&](std::size_t first, std::size_t second) {
    const std::vector<std::span<std::byte>> out{all.first(first), all.subspan(first, second)};
    gridded.write_rows(rounding, 0, 149, dtype::f32, out, 1);
  };
  CHECK_THROWS_AS(write(280, 560), pluria::precondition_error);
  CHECK_THROWS_AS(write(281, 281), pluria::precondition_error);
  CHECK_THROWS_AS(write(420, 420), pluria::precondition_error);
}

TEST_CASE("a gridded tensor keeps its weights alive", "[member]") {
  auto weights =
      std::make_unique<tensor>(support::make_tensor(dtype::f32, "w", {2, 2}, std::vector<float>{7, 1, 2, 3}));
  const any_quantizer int4 = quantizer<symmetric_int<4>, pluria::per_tensor>{};
  const pluria::gridded_tensor gridded = int4.fit(*weights);
  weights.reset();
  CHECK(gridded.draw(nearest{}, 0).to_floats() == std::vector<float>{7, 1, 2, 3});
}

TEST_CASE("errors pass through a quantizer whose type is erased", "[member]") {
  const any_quantizer int4 = quantizer<symmetric_int<4>>{};
  const tensor weights = support::make_tensor(
      dtype::f32, "w", {1, 2}, std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}, "net.safetensors");
  CHECK(support::message_of<pluria::bad_input>([&] { int4.fit(weights); }) ==
        "net.safetensors: tensor \"w\", index 1: expected a finite weight, found nan");
}

TEST_CASE("a single quantizer is a rule", "[member]") {
  const pluria::rule rule = quantizer<symmetric_int<6>>{};
  const std::vector<std::size_t> matrix{2, 3};
  REQUIRE(rule("head.weight", matrix).has_value());
  CHECK(rule("head.weight", matrix)->system() == "INT-6");
  CHECK_FALSE(rule("head.bias", std::vector<std::size_t>{2}).has_value());
}

}  // namespace
