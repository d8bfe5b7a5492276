// SPDX-License-Identifier: MIT
#pragma once
// A weight_matrix whose storage is chosen at run time, tensor by tensor: some stored, some as they are.

#include <pluria/nn/activations.hpp>
#include <pluria/nn/weight_matrix.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

namespace pluria {

class any_matrix {
 public:
  /// The first constraint ends the second's question whether any_matrix can be moved.
  template <class W>
  requires(!std::same_as<W, any_matrix> && weight_matrix<W>) explicit any_matrix(W matrix)
      : rows_(matrix.rows()), columns_(matrix.columns()), members_(matrix.members()) {
    const auto shared = std::make_shared<const W>(std::move(matrix));
    add_product_ = [shared](const activations& x, activations& y) { shared->add_product(x, y); };
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
