// SPDX-License-Identifier: MIT
#pragma once
// A LLaMA on the members of a checkpoint in a form of storage, all of them through each layer together, without ever
// being a checkpoint each.

#include <pluria/core/error.hpp>
#include <pluria/ensemble/stored_matrices.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/any_matrix.hpp>
#include <pluria/nn/llama.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pluria {

/// Members first, first + 1, ..., first + count - 1. Matrices that the rule keeps, a tied head among them, are shared
/// by all; `threads` (0: all) share the rows of a product. Throws as load_llama and rounded_members::stored, and
/// bad_input where the rule rounds the token embeddings, whose rows are looked up as they are.
inline llama<any_matrix> stored_llama(const rounded_members& source, const llama_configuration& configuration,
                                      storage_form form, std::uint64_t first, std::size_t count,
                                      activation_type activations, int threads = 1) {
  const tensor& embeddings = source.source()["model.embed_tokens.weight"];
  if (source.rounds(embeddings.name())) {
    throw bad_input(embeddings.where() + ": expected a rule that keeps token embeddings, found one that rounds them");
  }
  const std::vector<checkpoint> members(count, source.source());
  return {members, stored_matrices(source, {form, first, count, activations, threads}), configuration};
}

}  // namespace pluria
