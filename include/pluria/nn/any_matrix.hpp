// SPDX-License-Identifier: MIT
#pragma once
// A weight_matrix whose storage is chosen at run time, tensor by tensor: some stored, some as they are.

#include <pluria/core/error.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/weight_matrix.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

namespace pluria {

class any_matrix {
 public:
  /// A matrix of `members` members, or of one that is the same in all of them. Throws precondition_error for another
  /// number.
  template <weight_matrix W>
  any_matrix(W matrix, std::size_t members) : rows_(matrix.rows()), columns_(matrix.columns()), members_(members) {
    require(matrix.members() == members || matrix.members() == 1,
            "any_matrix: weights of one member serve all, others only their own");
    const auto shared = std::make_shared<const W>(std::move(matrix));
    add_product_ = [shared](const activations& x, activations& y) {
      if (shared->members() == y.members()) {
        return shared->add_product(x, y);
      }
      // Members below each other are more rows of one.
      const auto as_one = [](const activations& all) {
        activations one(1, all.members() * all.rows(), all.width());
        one.values() = all.values();
        return one;
      };
      activations product = as_one(y);
      if (x.members() == y.members()) {
        shared->add_product(as_one(x), product);
        y.values() = product.values();
      } else {
        product = activations(1, x.rows(), y.width());
        product.values().setZero();
        shared->add_product(x, product);
        for (std::size_t m = 0; m < y.members(); ++m) {
          y.member(m) += product.values();
        }
      }
    };
  }

  std::size_t rows() const noexcept { return rows_; }
  std::size_t columns() const noexcept { return columns_; }
  std::size_t members() const noexcept { return members_; }
  void add_product(const activations& x, activations& y) const { add_product_(x, y); }

 private:
  std::size_t rows_;
  std::size_t columns_;
  std::size_t members_;
  std::function<void(const activations&, activations&)> add_product_;
};

static_assert(weight_matrix<any_matrix>);

}  // namespace pluria
