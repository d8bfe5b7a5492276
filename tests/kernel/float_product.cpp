// SPDX-License-Identifier: MIT

#include <pluria/kernel/float_product.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace pluria::detail;

// A matrix of rows that lie `gap` floats apart; what is between them is NaN.
struct spaced {
  std::size_t rows;
  std::size_t columns;
  std::size_t gap;
  std::vector<float> values = std::vector<float>(rows * (columns + gap), std::numeric_limits<float>::quiet_NaN());

  float& at(std::size_t row, std::size_t column) { return values[row * (columns + gap) + column]; }
  auto part() { return part_of(values.data(), rows, columns, columns + gap); }
  auto part() const { return part_of(values.data(), rows, columns, columns + gap); }
};

spaced made(std::size_t rows, std::size_t columns, std::size_t gap, std::uint32_t first) {
  spaced result{rows, columns, gap};
  const std::vector<float> values = support::integer_weights(rows * columns, 1.0F, first);
  for (std::size_t i = 0; i < values.size(); ++i) {
    result.at(i / columns, i % columns) = values[i];
  }
  return result;
}

// Whether y is what it was plus x times w, or w transposed, up to the roundings of `depth` products and sums; and
// whether what is between its rows is as it was.
bool is_added(spaced& y, spaced& before, spaced& x, spaced& w, bool is_transposed) {
  const std::size_t depth = x.columns;
  for (std::size_t row = 0; row < y.rows; ++row) {
    for (std::size_t column = 0; column < y.columns; ++column) {
      double sum = before.at(row, column);
      double magnitude = std::abs(sum);
      for (std::size_t k = 0; k < depth; ++k) {
        const double term = static_cast<double>(x.at(row, k)) * (is_transposed ? w.at(column, k) : w.at(k, column));
        sum += term;
        magnitude += std::abs(term);
      }
      if (!(std::abs(y.at(row, column) - sum) <= 1.01 * static_cast<double>(depth + 1) * 0x1p-24 * magnitude)) {
        return false;
      }
    }
    for (std::size_t i = 0; i < y.gap; ++i) {
      if (!std::isnan(y.values[row * (y.columns + y.gap) + y.columns + i])) {
        return false;
      }
    }
  }
  return true;
}

TEST_CASE("products of float matrices are added to what is there, in the middle of others, too", "[kernel]") {
  // One row and one column are other products of Eigen's than many, and so are few.
  for (const std::size_t rows : {1U, 3U, 40U}) {
    for (const std::size_t columns : {1U, 5U, 33U}) {
      for (const std::size_t depth : {1U, 7U, 300U}) {
        for (const std::size_t gap : {0U, 3U}) {
          CAPTURE(rows, columns, depth, gap);
          spaced x = made(rows, depth, gap, 5);
          spaced before = made(rows, columns, gap, 99);
          spaced of_rows = made(columns, depth, gap, 17);
          spaced y = before;
          add_product_of_rows(x.part(), of_rows.part(), y.part());
          CHECK(is_added(y, before, x, of_rows, true));
          spaced weights = made(depth, columns, gap, 23);
          y = before;
          add_product(x.part(), weights.part(), y.part());
          CHECK(is_added(y, before, x, weights, false));
        }
      }
    }
  }
}

TEST_CASE("parts of matrices are multiplied where they stand, without a copy", "[kernel]") {
  const spaced constant = made(4, 6, 2, 1);
  const const_float_rows seen = constant.part();
  CHECK(seen.data() == constant.values.data());
  float_matrix whole = float_matrix::Zero(6, 8);
  const const_float_rows block = whole.block(1, 2, 3, 4);
  CHECK(block.data() == &whole(1, 2));
}

}  // namespace
