// SPDX-License-Identifier: MIT
#pragma once
// Activations, matrices and checkpoints made from integers for the tests of layers, and a matrix product in double.

#include <pluria/nn/activations.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// The unit roundoff of float: one operation errs by at most this, relatively.
inline constexpr double unit = 0x1p-24;

inline pluria::row_major_matrix made_matrix(std::size_t rows, std::size_t columns, std::uint32_t first,
                                            float scale = 1.0F) {
  pluria::row_major_matrix matrix(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns));
  for (Eigen::Index i = 0; i < matrix.size(); ++i) {
    matrix.data()[i] = integer_weight(first + static_cast<std::uint32_t>(i), scale);
  }
  return matrix;
}

inline pluria::activations made_activations(std::size_t members, std::size_t rows, std::size_t width,
                                            std::uint32_t first, float scale = 1.0F) {
  pluria::activations made(members, rows, width);
  made.values() = made_matrix(members * rows, width, first, scale);
  return made;
}

/// One checkpoint with one float32 tensor per (name, shape), its values beginning at integer weight `first`.
inline pluria::checkpoint made_checkpoint(const std::vector<std::pair<std::string, pluria::tensor_shape>>& tensors,
                                          std::uint32_t first) {
  pluria::checkpoint made("net.safetensors");
  for (const auto& [name, shape] : tensors) {
    const std::size_t size = pluria::element_count(shape, name);
    made.add(make_tensor(pluria::dtype::f32, name, shape, integer_weights(size, 1.0F, first), "net.safetensors"));
    first += static_cast<std::uint32_t>(size);
  }
  return made;
}

/// Whether y = start + x W^T for one member, start a matrix of y's size. A sum of n products and a start, in any order,
/// with or without fused operations, errs by at most (n + 1) unit times the sum of magnitudes, to first order.
template <class Y, class X, class Start>
bool is_product(const Y& y, const X& x, const pluria::row_major_matrix& weights, const Start& start) {
  bool within = y.rows() == x.rows() && y.cols() == weights.rows();
  for (Eigen::Index i = 0; within && i < y.rows(); ++i) {
    for (Eigen::Index j = 0; j < y.cols(); ++j) {
      double sum = start(i, j);
      double magnitude = std::abs(sum);
      for (Eigen::Index k = 0; k < x.cols(); ++k) {
        const double product = static_cast<double>(x(i, k)) * static_cast<double>(weights(j, k));
        sum += product;
        magnitude += std::abs(product);
      }
      const double bound = 1.01 * static_cast<double>(x.cols() + 1) * unit * magnitude;
      within = within && std::abs(static_cast<double>(y(i, j)) - sum) <= bound;
    }
  }
  return within;
}

}  // namespace support
