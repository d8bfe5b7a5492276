// SPDX-License-Identifier: MIT
#pragma once
// Weights as plain float32 matrices, one per member, multiplied by Eigen.

#include <pluria/core/error.hpp>
#include <pluria/kernel/float_product.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/weight_matrix.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

class dense_matrix {
 public:
  /// Throws precondition_error when there is no member, or members differ in size.
  explicit dense_matrix(std::vector<row_major_matrix> members) {
    for (row_major_matrix& values : members) {
      const auto owner = std::make_shared<const row_major_matrix>(std::move(values));
      members_.push_back({{owner->data(), owner->rows(), owner->cols()}, owner});
    }
    check();
  }

  /// The tensor `name` of every checkpoint, dimension 0 as rows and the rest flattened. Float32 values are not copied:
  /// the tensor's bytes are shared. Throws as checkpoint::operator[], tensor::read and the constructor.
  static dense_matrix load(std::span<const checkpoint> members, std::string_view name) {
    dense_matrix loaded;
    for (const checkpoint& member : members) {
      loaded.members_.push_back(view_of(member[name]));
    }
    loaded.check();
    return loaded;
  }

  /// One tensor as the weights of all of `members` members, converted once. Throws as tensor::read and the constructor.
  static dense_matrix shared(const tensor& weights, std::size_t members) {
    dense_matrix loaded;
    loaded.members_ = std::vector<shared_values>(members, view_of(weights));
    loaded.check();
    return loaded;
  }

  std::size_t rows() const noexcept { return static_cast<std::size_t>(members_.front().values.rows()); }
  std::size_t columns() const noexcept { return static_cast<std::size_t>(members_.front().values.cols()); }
  std::size_t members() const noexcept { return members_.size(); }

  void add_product(const activations& x, activations& y) const {
    require(x.width() == columns() && y.width() == rows() && x.rows() == y.rows() && y.members() == members() &&
                (x.members() == 1 || x.members() == members()),
            "dense_matrix: sizes of weights, input and output must agree");
    if (x.members() == members() && are_shared()) {
      // One product for all members reads the weights once.
      detail::add_product_of_rows(x.values(), members_.front().values, y.values());
      return;
    }
    for (std::size_t m = 0; m < members(); ++m) {
      detail::add_product_of_rows(x.member(m), members_[m].values, y.member(m));
    }
  }

 private:
  struct shared_values {
    Eigen::Map<const row_major_matrix> values;
    std::shared_ptr<const void> owner;
  };

  dense_matrix() = default;

  static shared_values view_of(const tensor& weights) {
    const auto rows = static_cast<Eigen::Index>(weights.rows());
    const auto columns = static_cast<Eigen::Index>(weights.columns());
    const auto* bytes = weights.bytes().data();
    if (weights.type() == dtype::f32 && reinterpret_cast<std::uintptr_t>(bytes) % alignof(float) == 0) {
      // The copy of the tensor keeps the bytes alive.
      return {{reinterpret_cast<const float*>(bytes), rows, columns}, std::make_shared<const tensor>(weights)};
    }
    const auto owner = std::make_shared<const std::vector<float>>(weights.to_floats());
    return {{owner->data(), rows, columns}, owner};
  }

  bool are_shared() const {
    return std::all_of(members_.begin(), members_.end(), [this](const shared_values& member) {
      return member.values.data() == members_.front().values.data();
    });
  }

  void check() const {
    require(!members_.empty(), "dense_matrix: at least one member");
    for (const shared_values& member : members_) {
      require(member.values.rows() == members_.front().values.rows() &&
                  member.values.cols() == members_.front().values.cols(),
              "dense_matrix: all members have the same size");
    }
  }

  std::vector<shared_values> members_;
};

static_assert(weight_matrix<dense_matrix>);

}  // namespace pluria
