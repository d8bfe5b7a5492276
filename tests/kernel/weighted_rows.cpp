// SPDX-License-Identifier: MIT

#include <pluria/kernel/weighted_rows.hpp>
#include <pluria/tensor/convert.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace {

using pluria::dtype;
using pluria::stored_rows;

// Rows of a type, and the floats that they are.
struct made_rows {
  std::vector<std::byte> bytes;
  std::vector<float> floats;
  stored_rows rows;

  made_rows(dtype type, std::size_t count, std::size_t width)
      : bytes(count * width * pluria::size_of(type)), floats(support::integer_weights(count * width, 2.0F, 17)) {
    pluria::write_weights(floats, type, bytes);
    const pluria::tensor stored("rows", type, {count, width}, bytes, nullptr);
    floats = stored.to_floats();
    rows = {bytes.data(), type, count, width};
  }
};

constexpr std::size_t weight_stride = 40;
constexpr float untouched = 77.0F;

// A sum of n products and a start, fused or not, errs by at most (n + 1) u of the sum of magnitudes, to first order;
// what lies between the sums must stay.
template <class Arch>
bool adds_weighted_rows(const made_rows& made, std::size_t queries) {
  const std::size_t width = made.rows.width;
  const std::size_t sum_stride = width + 3;
  const std::vector<float> weights = support::integer_weights(queries * weight_stride, 1.0F, 9000);
  const std::vector<float> start = support::integer_weights(queries * sum_stride, 1.0F, 70000);
  std::vector<float> sums = start;
  for (std::size_t q = 0; q < queries; ++q) {
    std::fill_n(&sums[q * sum_stride + width], 3, untouched);
  }
  pluria::add_weighted_rows<Arch>(made.rows, queries, {weights.data(), weight_stride}, {sums.data(), sum_stride});
  bool within = true;
  for (std::size_t q = 0; q < queries; ++q) {
    for (std::size_t i = 0; i < width; ++i) {
      double sum = start[q * sum_stride + i];
      double magnitude = std::abs(sum);
      for (std::size_t r = 0; r < made.rows.count; ++r) {
        const double product =
            static_cast<double>(weights[q * weight_stride + r]) * static_cast<double>(made.floats[r * width + i]);
        sum += product;
        magnitude += std::abs(product);
      }
      const double bound = 1.01 * static_cast<double>(made.rows.count + 1) * 0x1p-24 * magnitude;
      within = within && std::abs(static_cast<double>(sums[q * sum_stride + i]) - sum) <= bound;
    }
    within = within && std::all_of(&sums[q * sum_stride + width], &sums[q * sum_stride + width] + 3,
                                   [](float value) { return value == untouched; });
  }
  return within;
}

TEST_CASE("weighted rows are added for any number of queries and rows, on every ISA", "[kernel]") {
  xsimd::supported_architectures::for_each([](auto arch) {
    using Arch = decltype(arch);
    for (const dtype type : {dtype::f32, dtype::f16}) {
      for (const std::size_t width : {16U, 32U, 48U, 64U, 80U, 128U}) {
        for (const std::size_t count : {0U, 1U, 7U, 40U}) {
          const made_rows made(type, count, width);
          for (const std::size_t queries : {0U, 1U, 3U, 4U, 5U, 8U}) {
            CAPTURE(std::string(Arch::name()), pluria::name_of(type), width, count, queries);
            CHECK(adds_weighted_rows<Arch>(made, queries));
          }
        }
      }
    }
  });
}

TEST_CASE("a query's sums are the same bits alone and among others", "[kernel]") {
  const made_rows made(dtype::f16, 33, 80);
  const std::vector<float> weights = support::integer_weights(6 * weight_stride);
  std::vector<float> together(6 * std::size_t{80});
  pluria::add_weighted_rows(made.rows, 6, {weights.data(), weight_stride}, {together.data(), 80});
  for (std::size_t q = 0; q < 6; ++q) {
    std::vector<float> alone(80);
    pluria::add_weighted_rows(made.rows, 1, {&weights[q * weight_stride], weight_stride}, {alone.data(), 80});
    CHECK(std::equal(alone.begin(), alone.end(), &together[q * 80]));
  }
}

TEST_CASE("rows of other types and widths are refused", "[kernel]") {
  made_rows made(dtype::f32, 3, 16);
  const std::vector<float> weights(3);
  std::vector<float> sums(16);
  for (const auto& [type, width] : {std::pair{dtype::bf16, std::size_t{16}}, {dtype::f32, std::size_t{15}}}) {
    made.rows.type = type;
    made.rows.width = width;
    CHECK_THROWS_AS(pluria::add_weighted_rows(made.rows, 1, {weights.data(), 3}, {sums.data(), 16}),
                    pluria::precondition_error);
  }
}

}  // namespace
