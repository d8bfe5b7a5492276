// SPDX-License-Identifier: MIT
#pragma once
// Weights in a form of storage (kernel/any_members.hpp), multiplied as they are stored, all members in one call.

#include <pluria/core/error.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/weight_matrix.hpp>

#include <cstddef>
#include <span>
#include <utility>

namespace pluria {

class stored_matrix {
 public:
  /// `threads` (0: all) share the rows of a product; 1 where images or tokens are spread over threads already.
  explicit stored_matrix(any_members members, activation_type activations = activation_type::float32, int threads = 1)
      : members_(std::move(members)), activations_(activations), threads_(threads) {}

  std::size_t rows() const noexcept { return members_.rows(); }
  std::size_t columns() const noexcept { return members_.columns(); }
  std::size_t members() const noexcept { return members_.members(); }
  const any_members& storage() const noexcept { return members_; }

  /// Throws as matmul.
  void add_product(const activations& x, activations& y) const {
    require(x.width() == columns() && y.width() == rows() && x.rows() == y.rows() && y.members() == members() &&
                (x.members() == 1 || x.members() == members()),
            "stored_matrix: sizes of weights, input and output must agree");
    members_.add_matmul({x.values().data(), static_cast<std::size_t>(x.values().size())}, x.rows(),
                        {y.values().data(), static_cast<std::size_t>(y.values().size())}, activations_, threads_);
  }

 private:
  any_members members_;
  activation_type activations_;
  int threads_;
};

static_assert(weight_matrix<stored_matrix>);

}  // namespace pluria
