// SPDX-License-Identifier: MIT
#pragma once
// Layer norm over the width of each row (Ba, Kiros & Hinton, arXiv 1607.06450): (x - mean) / sqrt(variance + epsilon) *
// weight + bias, the variance that of the population.

#include <pluria/core/error.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/linear.hpp>

#include <cmath>
#include <cstddef>
#include <utility>

namespace pluria {

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
    require(x.width() == weight_.size() && x.members() == weight_.members(),
            "layer_norm: the input's width and members are those of the weights");
    y.resize(x.members(), x.rows(), x.width());
    const auto rows = static_cast<Eigen::Index>(x.rows());
    for (std::size_t m = 0; m < x.members(); ++m) {
      const auto weight = weight_.member(m).array();
      const auto bias = bias_.member(m).array();
      for (Eigen::Index i = static_cast<Eigen::Index>(m) * rows; i < static_cast<Eigen::Index>(m + 1) * rows; ++i) {
        // Two passes, in cache: the variance of centred values loses no digits to the mean.
        auto out = y.values().row(i).array();
        out = x.values().row(i).array() - x.values().row(i).mean();
        const float variance = y.values().row(i).squaredNorm() / static_cast<float>(x.width());
        out = out * (1.0F / std::sqrt(variance + epsilon_)) * weight + bias;
      }
    }
  }

 private:
  member_vectors weight_;
  member_vectors bias_;
  float epsilon_;
};

}  // namespace pluria
