// SPDX-License-Identifier: MIT
#pragma once
// Norms over the width of each row. Layer norm (Ba, Kiros & Hinton, arXiv 1607.06450): (x - mean) / sqrt(variance +
// epsilon) * weight + bias, the variance that of the population. RMS norm (Zhang & Sennrich, arXiv 1910.07467): x /
// sqrt(mean of squares + epsilon) * weight.

#include <pluria/core/error.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/linear.hpp>

#include <cmath>
#include <cstddef>
#include <utility>

namespace pluria {

namespace detail {

// norm(row of x, row of y, member) for all rows; y gets the sizes of x, and may be x.
template <class Norm>
void normalize_rows(const activations& x, activations& y, const member_vectors& weight, Norm&& norm) {
  require(x.width() == weight.size() && x.members() == weight.members(),
          "norm: the input's width and members are those of the weights");
  y.resize(x.members(), x.rows(), x.width());
  const auto rows = static_cast<Eigen::Index>(x.rows());
  for (std::size_t m = 0; m < x.members(); ++m) {
    for (Eigen::Index i = static_cast<Eigen::Index>(m) * rows; i < static_cast<Eigen::Index>(m + 1) * rows; ++i) {
      norm(x.values().row(i), y.values().row(i), m);
    }
  }
}

// 1 / sqrt(mean of squares + epsilon).
template <class Row>
float inverse_root_mean_square(const Row& row, float epsilon) {
  return 1.0F / std::sqrt(row.squaredNorm() / static_cast<float>(row.size()) + epsilon);
}

}  // namespace detail

class layer_norm {
 public:
  /// Throws precondition_error when weight and bias differ in size.
  layer_norm(member_vectors weight, member_vectors bias, float epsilon)
      : weight_(std::move(weight)), bias_(std::move(bias)), epsilon_(epsilon) {
    require(weight_.size() == bias_.size() && weight_.members() == bias_.members(),
            "layer_norm: weight and bias have the same size");
  }

  /// y = norm(x), row by row; y gets the sizes of x. x and y may be the same.
  void apply(const activations& x, activations& y) const {
    detail::normalize_rows(x, y, weight_, [&](auto in, auto out, std::size_t m) {
      // Two passes, in cache: the variance of centred values loses no digits to the mean.
      out.array() = in.array() - in.mean();
      const float scale = detail::inverse_root_mean_square(out, epsilon_);
      out.array() = out.array() * scale * weight_.member(m).array() + bias_.member(m).array();
    });
  }

 private:
  member_vectors weight_;
  member_vectors bias_;
  float epsilon_;
};

class rms_norm {
 public:
  rms_norm(member_vectors weight, float epsilon) : weight_(std::move(weight)), epsilon_(epsilon) {}

  /// y = norm(x), row by row; y gets the sizes of x. x and y may be the same.
  void apply(const activations& x, activations& y) const {
    detail::normalize_rows(x, y, weight_, [&](auto in, auto out, std::size_t m) {
      const float scale = detail::inverse_root_mean_square(in, epsilon_);
      out.array() = in.array() * scale * weight_.member(m).array();
    });
  }

 private:
  member_vectors weight_;
  float epsilon_;
};

}  // namespace pluria
