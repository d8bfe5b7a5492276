// SPDX-License-Identifier: MIT
#pragma once
// Predictions in files, one file a member, read row by row as log-probabilities; and the labels that they are scored
// against.

#include <pluria/ensemble/predictive.hpp>
#include <pluria/io/kld.hpp>
#include <pluria/io/mapped_pages.hpp>
#include <pluria/io/npy.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../common/integer_arrays.hpp"

namespace pluria::examples {

/// What the numbers of a file are.
enum class prediction_kind {
  logits,         ///< .npy, [N, C]
  probabilities,  ///< .npy, [N, C]
  kld             ///< log-probabilities as llama-perplexity saves them
};

/// One member's predictions, mapped: a row is read when it is asked for.
class prediction_file {
 public:
  /// Opens a file; `name` is what messages call whose predictions they are: "member 3". Throws bad_input, naming the
  /// file, unless it holds a table of at least one row and column, of float16, float32 or float64 where it is .npy.
  prediction_file(const std::string& path, prediction_kind kind, std::string name)
      : file_(path), name_(std::move(name)), kind_(kind) {
    if (kind == prediction_kind::kld) {
      saved_ = load_kld(path);
      rows_ = saved_->row_data();
      examples_ = saved_->examples();
      classes_ = saved_->classes();
      return;
    }
    array_ = load_npy(path);
    const dtype type = array_->type();
    if (type != dtype::f16 && type != dtype::f32 && type != dtype::f64) {
      throw bad_input(mismatch_message(file_, "float16, float32 or float64", std::string(name_of(type))));
    }
    if (array_->shape().size() != 2 || array_->size() == 0) {
      throw bad_input(mismatch_message(file_, "shape [N, C]: examples and classes, at least one of each",
                                       to_string(array_->shape())));
    }
    rows_ = array_->bytes();
    examples_ = array_->shape()[0];
    classes_ = array_->shape()[1];
  }

  const std::string& file() const noexcept { return file_; }
  std::size_t examples() const noexcept { return examples_; }
  std::size_t classes() const noexcept { return classes_; }
  std::size_t row_bytes() const noexcept { return rows_.size() / examples_; }

  /// The file of llama-perplexity, where it is one; else null.
  const kld_predictions* saved() const noexcept { return saved_ ? &*saved_ : nullptr; }

  /// Writes the log-probabilities of one example, [C], nats, and returns the logarithm of what the row's probabilities
  /// summed to before they were divided by it (for logits: of their exponentials). `floats` is room for a row. Throws
  /// bad_input, naming file, example and class, where the numbers give no distribution.
  double read(std::size_t example, std::vector<float>& floats, std::span<double> log_probabilities) const {
    if (saved_) {
      saved_->read(example, log_probabilities);
      const double log_sum = log_softmax(std::span<const double>(log_probabilities), log_probabilities);
      check_saved_sum(example, log_sum);
      return log_sum;
    }
    if (array_->type() == dtype::f64) {
      std::memcpy(log_probabilities.data(), rows_.data() + example * row_bytes(), row_bytes());
      return normalized(example, std::span<const double>(log_probabilities), log_probabilities);
    }
    floats.resize(classes_);
    array_->read(example * classes_, floats);
    return normalized(example, std::span<const float>(floats), log_probabilities);
  }

  /// Whether one row of logits looks like probabilities that were passed by mistake: numbers in 0..1 with sum 1.
  bool looks_like_probabilities(std::size_t example) const {
    if (kind_ != prediction_kind::logits || classes_ < 2) {
      return false;
    }
    const tensor row("row", array_->type(), {classes_}, rows_.subspan(example * row_bytes(), row_bytes()), nullptr);
    double sum = 0.0;
    for (std::size_t c = 0; c < classes_; ++c) {
      double value = 0.0;
      if (row.type() == dtype::f64) {
        std::memcpy(&value, row.bytes().data() + c * sizeof(value), sizeof(value));
      } else {
        float narrow = 0.0F;
        row.read(c, {&narrow, 1});
        value = narrow;
      }
      if (!(value >= 0.0 && value <= 1.0)) {
        return false;
      }
      sum += value;
    }
    return std::abs(sum - 1.0) <= sum_tolerance();
  }

  /// How far from 1 the sum of a row of probabilities may be. Rounding to float16 changes each by 2^-11 of itself, or
  /// by 2^-25 where it is small; float32 and float64 are usually sums of float32.
  double sum_tolerance() const noexcept {
    return array_ && array_->type() == dtype::f16 ? 1e-3 + 6e-8 * static_cast<double>(classes_) : 1e-4;
  }

  /// Gives back the memory of rows first..last.
  void release(std::size_t first, std::size_t last) const noexcept {
    release_pages(rows_, first * row_bytes(), (last - first + 1) * row_bytes());
  }

 private:
  std::string place(std::size_t example) const { return name_ + ", example " + std::to_string(example); }

  template <class Number>
  double normalized(std::size_t example, std::span<const Number> row, std::span<double> log_probabilities) const {
    if (kind_ == prediction_kind::logits) {
      try {
        check_logit_row(row, [&] { return place(example); });
      } catch (const bad_input& error) {
        throw bad_input(file_ + ": " + error.what());
      }
      return log_softmax(row, log_probabilities);
    }
    double sum = 0.0;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const double probability = row[c];
      if (!(probability >= 0.0 && probability <= 1.0 + sum_tolerance())) [[unlikely]] {
        throw bad_input(mismatch_message(file_ + ": probability of " + place(example) + ", class " + std::to_string(c),
                                         "a number in 0..1", std::to_string(probability)));
      }
      sum += probability;
    }
    if (!(std::abs(sum - 1.0) <= sum_tolerance())) [[unlikely]] {
      throw bad_input(mismatch_message(file_ + ": probabilities of " + place(example),
                                       "a sum within " + std::to_string(sum_tolerance()) + " of 1",
                                       std::to_string(sum)));
    }
    for (std::size_t c = 0; c < row.size(); ++c) {
      log_probabilities[c] = std::log(static_cast<double>(row[c]) / sum);
    }
    return std::log(sum);
  }

  // What is 16 nats below the largest or less was raised to that; anything else is rounded by 1.3e-4 at most.
  void check_saved_sum(std::size_t example, double log_sum) const {
    constexpr double rounding = 1e-3;
    const double raised = std::log1p(static_cast<double>(classes_) * std::exp(-16.0));
    if (!(log_sum >= -rounding && log_sum <= raised + rounding)) [[unlikely]] {
      throw bad_input(mismatch_message(
          file_ + ": probabilities of " + place(example),
          "a sum in " + std::to_string(1.0 - rounding) + ".." + std::to_string(std::exp(raised + rounding)),
          std::to_string(std::exp(log_sum))));
    }
  }

  std::string file_;
  std::string name_;
  prediction_kind kind_;
  std::optional<tensor> array_;
  std::optional<kld_predictions> saved_;
  std::span<const std::byte> rows_;
  std::size_t examples_ = 0;
  std::size_t classes_ = 0;
};

/// Throws bad_input, naming both files, unless they cover the same examples and classes.
inline void check_same_table(const prediction_file& file, const prediction_file& first) {
  const auto shape = [](const prediction_file& of) {
    return "[" + std::to_string(of.examples()) + ", " + std::to_string(of.classes()) + "]";
  };
  if (file.examples() != first.examples() || file.classes() != first.classes()) {
    throw bad_input(mismatch_message(file.file(), "shape " + shape(first) + " as in " + first.file(), shape(file)));
  }
  if (file.saved() != nullptr && first.saved() != nullptr && !file.saved()->same_tokens(*first.saved())) {
    throw bad_input(mismatch_message(file.file(), "the tokens of " + first.file(), "others"));
  }
}

/// The examples that are scored: their rows in the files, and their labels.
struct labelled_rows {
  std::vector<std::size_t> rows;
  std::vector<std::int32_t> labels;
  std::size_t ignored = 0;
};

/// Drops the examples with the label `ignored`. Throws bad_input, naming file and index, for a label that is neither
/// that nor in 0..classes-1, and when nothing is left.
inline labelled_rows scored_rows(const std::vector<std::int64_t>& labels, std::size_t classes,
                                 std::optional<std::int64_t> ignored, const std::string& file) {
  labelled_rows result;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == ignored) {
      ++result.ignored;
      continue;
    }
    if (labels[i] < 0 || static_cast<std::uint64_t>(labels[i]) >= classes ||
        labels[i] > std::numeric_limits<std::int32_t>::max()) {
      throw bad_input(mismatch_message(
          file + ": label " + std::to_string(i),
          "0.." + std::to_string(classes - 1) + (ignored ? " or " + std::to_string(*ignored) + ", ignored" : ""),
          std::to_string(labels[i])));
    }
    result.rows.push_back(i);
    result.labels.push_back(static_cast<std::int32_t>(labels[i]));
  }
  if (result.rows.empty()) {
    throw bad_input(mismatch_message(file, "at least one label that is not ignored", "none"));
  }
  return result;
}

}  // namespace pluria::examples
