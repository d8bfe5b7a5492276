// SPDX-License-Identifier: MIT
#pragma once
// Rotary position embeddings (Su et al., RoFormer, arXiv 2104.09864): in every head the pair (x_i, x_{i + d/2}) at
// position p turns by the angle p * theta^(-2i / d), so that the product of a query and a key depends on the distance
// of their positions alone. The halves are paired as transformers pairs them, not neighbours as in the paper. "llama3"
// scaling (Llama 3.1) divides low frequencies by a factor and interpolates between them and the high ones, which stay.

#include <pluria/core/error.hpp>
#include <pluria/nn/activations.hpp>

#include <cmath>
#include <cstddef>
#include <numbers>
#include <optional>
#include <vector>

namespace pluria {

/// The "llama3" scaling of rotary frequencies: those of a wavelength above original_positions / low_frequency_factor
/// are divided by `factor`, those below original_positions / high_frequency_factor stay.
struct rotary_scaling {
  float factor = 1.0F;
  float low_frequency_factor = 1.0F;
  float high_frequency_factor = 4.0F;
  std::size_t original_positions = 0;  ///< for which the network was trained before it was scaled
};

/// Cosines and sines of the angles at some positions: a row for each, half a head wide.
struct rotary_table {
  row_major_matrix cosines;
  row_major_matrix sines;
};

class rotary_embedding {
 public:
  /// Throws precondition_error when the head's width is odd.
  rotary_embedding(std::size_t head_width, double theta, const std::optional<rotary_scaling>& scaling = std::nullopt) {
    require(head_width > 0 && head_width % 2 == 0, "rotary_embedding: a head has two halves");
    for (std::size_t i = 0; i < head_width; i += 2) {
      const double frequency = std::pow(theta, -static_cast<double>(i) / static_cast<double>(head_width));
      frequencies_.push_back(scaling ? scaled(frequency, *scaling) : frequency);
    }
  }

  /// Radians a position, of each pair.
  const std::vector<double>& frequencies() const noexcept { return frequencies_; }

  /// The table of positions first, first + 1, ..., first + count - 1. In double, and rounded once: at position 100 000
  /// a float angle is off by 0.004.
  rotary_table table(std::size_t first, std::size_t count) const {
    const auto rows = static_cast<Eigen::Index>(count);
    const auto half = static_cast<Eigen::Index>(frequencies_.size());
    rotary_table made{row_major_matrix(rows, half), row_major_matrix(rows, half)};
    for (Eigen::Index row = 0; row < rows; ++row) {
      const auto position = static_cast<double>(first + static_cast<std::size_t>(row));
      for (Eigen::Index i = 0; i < half; ++i) {
        const double angle = position * frequencies_[static_cast<std::size_t>(i)];
        made.cosines(row, i) = static_cast<float>(std::cos(angle));
        made.sines(row, i) = static_cast<float>(std::sin(angle));
      }
    }
    return made;
  }

 private:
  static double scaled(double frequency, const rotary_scaling& scaling) {
    const auto low = static_cast<double>(scaling.low_frequency_factor);
    const auto high = static_cast<double>(scaling.high_frequency_factor);
    const double turns = static_cast<double>(scaling.original_positions) * frequency / (2 * std::numbers::pi);
    const double lowered = frequency / static_cast<double>(scaling.factor);
    if (turns < low) {
      return lowered;
    }
    return turns > high ? frequency : std::lerp(lowered, frequency, (turns - low) / (high - low));
  }

  std::vector<double> frequencies_;
};

/// Turns every head of x, in place: row i of every member by row i of the table. Throws precondition_error when the
/// sizes do not fit.
inline void rotate(activations& x, const rotary_table& table) {
  const auto half = static_cast<std::size_t>(table.cosines.cols());
  require(static_cast<std::size_t>(table.cosines.rows()) == x.rows() && x.width() % (2 * half) == 0,
          "rotate: a row of the table for every row, and whole heads");
  for (std::size_t m = 0; m < x.members(); ++m) {
    for (std::size_t row = 0; row < x.rows(); ++row) {
      float* const values = x.member(m).row(static_cast<Eigen::Index>(row)).data();
      const float* const cosines = table.cosines.row(static_cast<Eigen::Index>(row)).data();
      const float* const sines = table.sines.row(static_cast<Eigen::Index>(row)).data();
      for (std::size_t head = 0; head < x.width(); head += 2 * half) {
        for (std::size_t i = 0; i < half; ++i) {
          const float a = values[head + i];
          const float b = values[head + half + i];
          values[head + i] = a * cosines[i] - b * sines[i];
          values[head + half + i] = b * cosines[i] + a * sines[i];
        }
      }
    }
  }
}

}  // namespace pluria
