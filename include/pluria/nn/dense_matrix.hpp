// SPDX-License-Identifier: MIT
#pragma once
// Weights as plain float32 matrices, one per member, multiplied by Eigen.

#include <pluria/core/error.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/weight_matrix.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

class dense_matrix {
 public:
  /// Throws precondition_error when there is no member, or members differ in size.
  explicit dense_matrix(std::vector<row_major_matrix> members) : members_(std::move(members)) {
    require(!members_.empty(), "dense_matrix: at least one member");
    for (const row_major_matrix& member : members_) {
      require(member.rows() == members_.front().rows() && member.cols() == members_.front().cols(),
              "dense_matrix: all members have the same size");
    }
  }

  /// The tensor `name` of every checkpoint, dimension 0 as rows and the rest flattened.
  static dense_matrix load(std::span<const checkpoint> members, std::string_view name) {
    std::vector<row_major_matrix> matrices;
    matrices.reserve(members.size());
    for (const checkpoint& member : members) {
      const tensor& weights = member[name];
      matrices.emplace_back(static_cast<Eigen::Index>(weights.rows()), static_cast<Eigen::Index>(weights.columns()));
      weights.read(0, std::span<float>(matrices.back().data(), weights.size()));
    }
    return dense_matrix(std::move(matrices));
  }

  std::size_t rows() const noexcept { return static_cast<std::size_t>(members_.front().rows()); }
  std::size_t columns() const noexcept { return static_cast<std::size_t>(members_.front().cols()); }
  std::size_t members() const noexcept { return members_.size(); }

  void add_product(const activations& x, activations& y) const {
    require(x.width() == columns() && y.width() == rows() && x.rows() == y.rows() && y.members() == members() &&
                (x.members() == 1 || x.members() == members()),
            "dense_matrix: sizes of weights, input and output must agree");
    for (std::size_t m = 0; m < members(); ++m) {
      y.member(m).noalias() += x.member(m) * members_[m].transpose();
    }
  }

 private:
  std::vector<row_major_matrix> members_;
};

static_assert(weight_matrix<dense_matrix>);

}  // namespace pluria
