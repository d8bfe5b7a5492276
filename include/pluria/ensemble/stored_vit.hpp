// SPDX-License-Identifier: MIT
#pragma once
// A Vision Transformer on the members of a checkpoint in a form of storage, all of them through each layer together,
// without ever being a checkpoint each.

#include <pluria/kernel/any_members.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/any_matrix.hpp>
#include <pluria/nn/dense_matrix.hpp>
#include <pluria/nn/stored_matrix.hpp>
#include <pluria/nn/vit.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace pluria {

/// Members first, first + 1, ..., first + count - 1. Matrices that the rule keeps are shared by all. Throws as load_vit
/// and rounded_members::stored.
inline vit<any_matrix> stored_vit(const rounded_members& source, storage_form form, std::uint64_t first,
                                  std::size_t count, activation_type activations, const vit_options& options = {}) {
  const std::vector<checkpoint> members(count, source.source());
  const vit<any_matrix>::matrix_factory make = [&](std::string_view name) {
    if (const std::optional<any_members> stored = source.stored(name, form, first, count)) {
      return any_matrix(stored_matrix(*stored, activations));
    }
    return any_matrix(dense_matrix::shared(source.source()[name], count));
  };
  return {members, make, options};
}

}  // namespace pluria
