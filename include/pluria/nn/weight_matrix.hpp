// SPDX-License-Identifier: MIT
#pragma once
// What a layer needs of its weights, whatever form they are stored in: S members of one rows x columns matrix, and
// their product with S activations in one call. Networks are templates on this concept.

#include <pluria/nn/activations.hpp>

#include <concepts>
#include <cstddef>

namespace pluria {

/// `rows` is the output width, `columns` the input width, as PyTorch stores a Linear layer. Law: add_product(x, y) adds
/// x_m * W_m^T to y_m for every member m; x may have a single member, which then is the input of all.
template <class W>
concept weight_matrix = std::movable<W> && requires(const W& w, const activations& x, activations& y) {
  { w.rows() } -> std::same_as<std::size_t>;
  { w.columns() } -> std::same_as<std::size_t>;
  { w.members() } -> std::same_as<std::size_t>;
  { w.add_product(x, y) } -> std::same_as<void>;
};

}  // namespace pluria
