// SPDX-License-Identifier: MIT

#include <pluria/core/error.hpp>
#include <pluria/tensor/rows.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

using pluria::dtype;
using pluria::for_each_row;

TEST_CASE("every row is seen once, as floats, on any number of threads", "[tensor]") {
  for (const dtype type : {dtype::f32, dtype::f16, dtype::bf16}) {
    for (const pluria::tensor_shape& shape :
         {pluria::tensor_shape{}, {7}, {3, 129}, {4, 3, 5, 5}, {3000, 100}, {3, 0}, {0, 3}}) {
      const auto weights =
          support::make_tensor(type, "w", shape, support::integer_weights(pluria::element_count(shape, "w"), 3.0F));
      const std::vector<float> expected = weights.to_floats();
      for (const int threads : {1, 2, 0}) {
        std::vector<std::vector<float>> rows(weights.rows());
        for_each_row(weights, threads, [&](std::size_t row, std::span<const float> values) {
          rows[row].insert(rows[row].end(), values.begin(), values.end());
        });
        std::vector<float> found;
        for (const auto& row : rows) {
          CHECK(row.size() == weights.columns());
          found.insert(found.end(), row.begin(), row.end());
        }
        CHECK(found == expected);
      }
    }
  }
}

TEST_CASE("of several rows that throw, the first one's exception is seen", "[tensor]") {
  const auto weights = support::make_tensor(dtype::f32, "w", {3000, 100}, support::integer_weights(300000));
  for (const int threads : {1, 2}) {
    CHECK(support::message_of<pluria::bad_input>([&] {
            for_each_row(weights, threads, [](std::size_t row, std::span<const float>) {
              if (row == 701 || row == 702 || row == 2999) {
                throw pluria::bad_input(std::to_string(row));
              }
            });
          }) == "701");
  }
}

TEST_CASE("rows of integers are not weights", "[tensor]") {
  const auto bytes = std::make_shared<const std::vector<std::byte>>(6);
  const pluria::tensor steps("steps", dtype::i8, {2, 3}, std::span(*bytes), bytes);
  CHECK_THROWS_AS(for_each_row(steps, 1, [](std::size_t, std::span<const float>) {}), pluria::bad_input);
}

}  // namespace
