// SPDX-License-Identifier: MIT
#pragma once
// A vector of parameters of every member (a bias, a norm's weight), and the linear layer y = x W^T + b on any storage.

#include <pluria/core/error.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/weight_matrix.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace pluria {

/// One row per member; where all have the same, as of tensors that are not rounded, it is kept once.
class member_vectors {
 public:
  /// The tensor `name`, of `size` elements in any shape, of every checkpoint. Throws bad_input when it is missing or of
  /// another size.
  static member_vectors load(std::span<const checkpoint> members, std::string_view name, std::size_t size) {
    member_vectors vectors;
    vectors.members_ = members.size();
    vectors.values_.resize(static_cast<Eigen::Index>(members.size()), static_cast<Eigen::Index>(size));
    bool is_shared = true;
    for (std::size_t m = 0; m < members.size(); ++m) {
      const tensor& source = members[m][name];
      if (source.size() != size) {
        throw bad_input(
            mismatch_message(source.where(), std::to_string(size) + " elements", to_string(source.shape())));
      }
      float* const values = vectors.values_.row(static_cast<Eigen::Index>(m)).data();
      source.read(0, std::span<float>(values, size));
      is_shared = is_shared && std::memcmp(values, vectors.values_.data(), size * sizeof(float)) == 0;
    }
    if (is_shared && members.size() > 1) {
      vectors.values_.conservativeResize(1, Eigen::NoChange);
    }
    return vectors;
  }

  std::size_t members() const noexcept { return members_; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(values_.cols()); }
  auto member(std::size_t m) const { return values_.row(values_.rows() == 1 ? 0 : static_cast<Eigen::Index>(m)); }

 private:
  std::size_t members_ = 0;
  row_major_matrix values_;
};

template <weight_matrix W>
class linear {
 public:
  /// Throws precondition_error when the bias does not fit the weights.
  explicit linear(W weights, std::optional<member_vectors> bias = std::nullopt)
      : weights_(std::move(weights)), bias_(std::move(bias)) {
    require(!bias_ || (bias_->size() == weights_.rows() && bias_->members() == weights_.members()),
            "linear: one bias per output and member");
  }

  std::size_t outputs() const noexcept { return weights_.rows(); }
  std::size_t inputs() const noexcept { return weights_.columns(); }
  std::size_t members() const noexcept { return weights_.members(); }

  /// y = x W^T + b; y gets the weights' members and outputs.
  void apply(const activations& x, activations& y) const {
    y.resize(weights_.members(), x.rows(), weights_.rows());
    if (bias_) {
      for (std::size_t m = 0; m < y.members(); ++m) {
        y.member(m).rowwise() = bias_->member(m);
      }
    } else {
      y.values().setZero();
    }
    weights_.add_product(x, y);
  }

  /// y += x W^T + b: the layer at the end of a residual branch.
  void add(const activations& x, activations& y) const {
    if (bias_) {
      for (std::size_t m = 0; m < y.members(); ++m) {
        y.member(m).rowwise() += bias_->member(m);
      }
    }
    weights_.add_product(x, y);
  }

 private:
  W weights_;
  std::optional<member_vectors> bias_;
};

}  // namespace pluria
