// SPDX-License-Identifier: MIT
#pragma once
// What every score is a function of: a table of N examples x C classes of log-probabilities, row by row, and one label
// per example. The table is a view; whoever made the numbers keeps them. Tables and labels come from outside, so what
// cannot be scored raises `bad_input`, naming the example.

#include <pluria/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace pluria {

/// A view of natural logarithms of probabilities, [N, C] row-major. A probability of zero is -inf.
struct log_probability_table {
  std::span<const double> values;
  std::size_t classes = 0;

  /// N. Needs classes > 0.
  constexpr std::size_t rows() const noexcept { return values.size() / classes; }
  /// The C log-probabilities of one example.
  constexpr std::span<const double> row(std::size_t example) const noexcept {
    return values.subspan(example * classes, classes);
  }
};

/// Above zero by more than this, a number is taken for a logit or a probability passed by mistake; below, for the
/// rounding of a log-softmax in float (|logit| up to 1000 leaves 6e-5).
inline constexpr double log_probability_slack = 1e-4;

/// Throws bad_input, naming the index, when a label lies outside 0..classes-1.
inline void check_labels(std::span<const std::int32_t> labels, std::size_t classes) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || static_cast<std::size_t>(labels[i]) >= classes) [[unlikely]] {
      const std::string range = classes == 0 ? "no label at all (0 classes)" : "0.." + std::to_string(classes - 1);
      throw bad_input(mismatch_message("label " + std::to_string(i), range, std::to_string(labels[i])));
    }
  }
}

/// Throws precondition_error when the values do not fill at least one row of at least one class, and bad_input, naming
/// example and class, when an entry is NaN or too far above zero to be the logarithm of a probability.
inline void check_table(const log_probability_table& table) {
  require(table.classes > 0, "a table of log-probabilities needs at least one class");
  require(!table.values.empty(), "a table of log-probabilities needs at least one example");
  require(table.values.size() % table.classes == 0, "a table of log-probabilities must have whole rows");
  for (std::size_t i = 0; i < table.values.size(); ++i) {
    if (!(table.values[i] <= log_probability_slack)) [[unlikely]] {
      throw bad_input(mismatch_message("log-probability of example " + std::to_string(i / table.classes) + ", class " +
                                           std::to_string(i % table.classes),
                                       "a number of at most 0", std::to_string(table.values[i])));
    }
  }
}

/// `check_table` and `check_labels`, and bad_input when there is not one label per example.
inline void check_examples(const log_probability_table& table, std::span<const std::int32_t> labels) {
  check_table(table);
  if (labels.size() != table.rows()) {
    throw bad_input(
        mismatch_message("labels", std::to_string(table.rows()) + ", one per example", std::to_string(labels.size())));
  }
  check_labels(labels, table.classes);
}

/// The class of the largest entry, the lowest index among ties. Needs a row that is not empty and holds no NaN.
template <class Number>
constexpr std::size_t most_probable(std::span<const Number> row) noexcept {
  std::size_t best = 0;
  for (std::size_t c = 1; c < row.size(); ++c) {
    if (row[c] > row[best]) {
      best = c;
    }
  }
  return best;
}

}  // namespace pluria
