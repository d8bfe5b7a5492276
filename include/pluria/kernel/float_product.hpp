// SPDX-License-Identifier: MIT
#pragma once
// Products of float matrices, by Eigen, each in one form: Eigen's product is hundreds of templates on the types of both
// sides and of the result, which every program would compile anew for each form it is written in.

#include <Eigen/Core>

#include <cstddef>
#include <type_traits>

namespace pluria::detail {

using float_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Rows of floats, a whole matrix or a part of one.
using const_float_rows = Eigen::Ref<const float_matrix, 0, Eigen::OuterStride<>>;
using float_rows = Eigen::Ref<float_matrix, 0, Eigen::OuterStride<>>;

/// Rows of `columns` floats, one `stride` floats behind the other.
template <class Value>
auto part_of(Value* values, std::size_t rows, std::size_t columns, std::size_t stride) {
  using matrix = std::conditional_t<std::is_const_v<Value>, const float_matrix, float_matrix>;
  const auto index = [](std::size_t value) { return static_cast<Eigen::Index>(value); };
  return Eigen::Map<matrix, 0, Eigen::OuterStride<>>(values, index(rows), index(columns),
                                                     Eigen::OuterStride<>(index(stride)));
}

/// y += x w^T. Sizes must agree, and y must not overlap the others.
inline void add_product_of_rows(const const_float_rows& x, const const_float_rows& w, float_rows y) {
  y.noalias() += x * w.transpose();
}

/// y += x w; likewise.
inline void add_product(const const_float_rows& x, const const_float_rows& w, float_rows y) {
  y.noalias() += x * w;
}

}  // namespace pluria::detail
