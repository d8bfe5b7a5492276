// SPDX-License-Identifier: MIT
#pragma once
// A Vision Transformer on the members of a checkpoint in a form of storage, all of them through each layer together,
// without ever being a checkpoint each.

#include <pluria/ensemble/stored_matrices.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/any_matrix.hpp>
#include <pluria/nn/vit.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pluria {

/// Members first, first + 1, ..., first + count - 1. Matrices that the rule keeps are shared by all. Throws as load_vit
/// and rounded_members::stored.
inline vit<any_matrix> stored_vit(const rounded_members& source, storage_form form, std::uint64_t first,
                                  std::size_t count, activation_type activations, const vit_options& options = {}) {
  const std::vector<checkpoint> members(count, source.source());
  return {members, stored_matrices(source, {form, first, count, activations}), options};
}

}  // namespace pluria
