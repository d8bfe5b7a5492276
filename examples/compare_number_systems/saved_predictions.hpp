// SPDX-License-Identifier: MIT
#pragma once
// Logits of members that another program ran, in files: predict.py writes them.

#include <pluria/core/error.hpp>
#include <pluria/io/npy.hpp>
#include <pluria/member/any_quantizer.hpp>
#include <pluria/nn/vit.hpp>
#include <pluria/rounding/bernoulli.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "../common/image_evaluation.hpp"

namespace pluria::examples {

/// A folder with test.npy and validation.npy, [N, C] in float32, for every member:
/// full, INT-4/channel/nearest, INT-4/channel/lattice:8/seed-1/member-000, ...
class saved_predictions {
 public:
  explicit saved_predictions(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// Where the predictions of the checkpoint itself are.
  static constexpr const char* full = "full";

  /// Of RTN.
  static std::string place(const any_quantizer& rounded) {
    return fmt::format("{}/{}/nearest", rounded.system(), rounded.granularity_name());
  }

  /// Of an ensemble: the folder of its members.
  static std::string place(const any_quantizer& rounded, const bernoulli& rounding) {
    return fmt::format("{}/{}/{}/seed-{}", rounded.system(), rounded.granularity_name(), rounding.coupling.name(),
                       rounding.seed);
  }

  static std::string place(const any_quantizer& rounded, const bernoulli& rounding, std::size_t member) {
    return fmt::format("{}/member-{:03}", place(rounded, rounding), member);
  }

  /// Throws bad_input, naming file, image and class, unless the checkpoint's own test predictions begin with these rows
  /// of logits, but for rounding: they are of another network or of other images, else.
  void check(const row_major_matrix& first_logits) const {
    const std::filesystem::path file = folder_ / full / "test.npy";
    const tensor saved = load_npy(file);
    const std::vector<float> values = saved.to_floats();
    const auto classes = static_cast<std::size_t>(first_logits.cols());
    for (std::size_t i = 0; i < std::min(values.size(), static_cast<std::size_t>(first_logits.size())); ++i) {
      const float expected = first_logits.data()[i];
      if (!(std::abs(values[i] - expected) <= 1e-3F * (1.0F + std::abs(expected)))) {
        throw bad_input(mismatch_message(fmt::format("{}: image {}, class {}", file.string(), i / classes, i % classes),
                                         fmt::format("{}, as the checkpoint predicts", expected),
                                         fmt::format("{}", values[i])));
      }
    }
  }

  /// Adds one member. Throws bad_input, naming the file, where one is missing or is not a row of finite logits for
  /// every label.
  void add(const std::string& place, evaluator::both& result) const {
    add(folder_ / place / "test.npy", result.test);
    add(folder_ / place / "validation.npy", *result.calibration);
  }

 private:
  static void add(const std::filesystem::path& file, scores& target) {
    const tensor logits = load_npy(file);
    const tensor_shape expected{target.labels().size(), target.prediction().classes()};
    if (logits.shape() != expected) {
      throw bad_input(mismatch_message(file.string(), "shape " + to_string(expected), to_string(logits.shape())));
    }
    try {
      target.add(logits.to_floats());
    } catch (const bad_input& error) {
      throw bad_input(file.string() + ": " + error.what());
    }
  }

  std::filesystem::path folder_;
};

}  // namespace pluria::examples
