// SPDX-License-Identifier: MIT
#pragma once
// The matrices of a network on the members of a checkpoint in a form of storage: what its layers are made from.

#include <pluria/kernel/any_members.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/any_matrix.hpp>
#include <pluria/nn/dense_matrix.hpp>
#include <pluria/nn/stored_matrix.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace pluria {

/// Which members, and how they are stored and multiplied: first, first + 1, ..., first + count - 1. `threads` (0: all)
/// share the rows of a product.
struct stored_form {
  storage_form form = storage_form::packed;
  std::uint64_t first = 0;
  std::size_t count = 1;
  activation_type activations = activation_type::float32;
  int threads = 1;
};

/// Makes the matrix of a tensor, by name: stored, or, where the rule keeps it, as it is and shared by all members.
/// Throws as rounded_members::stored and dense_matrix::shared. `source` must outlive the result, not the matrices.
inline std::function<any_matrix(std::string_view name)> stored_matrices(const rounded_members& source,
                                                                        const stored_form& chosen) {
  return [&source, chosen](std::string_view name) {
    if (const std::optional<any_members> stored = source.stored(name, chosen.form, chosen.first, chosen.count)) {
      return any_matrix(stored_matrix(*stored, chosen.activations, chosen.threads));
    }
    return any_matrix(dense_matrix::shared(source.source()[name], chosen.count));
  };
}

}  // namespace pluria
