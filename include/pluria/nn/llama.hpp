// SPDX-License-Identifier: MIT
#pragma once
// LLaMA (Touvron et al., arXiv 2302.13971) with the tensor names and arithmetic of transformers' LlamaForCausalLM: RMS
// norms, rotary embeddings, grouped queries over a cache of keys and values, SwiGLU; heads tied to the embeddings or
// not, with or without biases. All members go through each layer together, many tokens or one at a time.

#include <pluria/core/error.hpp>
#include <pluria/nn/activation.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/attention.hpp>
#include <pluria/nn/dense_matrix.hpp>
#include <pluria/nn/key_value_cache.hpp>
#include <pluria/nn/linear.hpp>
#include <pluria/nn/llama_configuration.hpp>
#include <pluria/nn/normalization.hpp>
#include <pluria/nn/rotary_embedding.hpp>
#include <pluria/nn/weight_matrix.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

/// S members of one LLaMA on weights of any storage.
template <weight_matrix W>
class llama {
 public:
  /// Makes the weights of a layer from the name of its tensor, for all members.
  using matrix_factory = std::function<W(std::string_view name)>;

  /// `members` are checkpoints of the same network: token embeddings and parameters that are not matrices come from
  /// them, matrices from `make`. Throws bad_input, naming file and tensor, when a tensor is missing, misshapen or
  /// unknown.
  llama(std::span<const checkpoint> members, const matrix_factory& make, llama_configuration configuration)
      : configuration_(checked(members, std::move(configuration))),
        rotation_(configuration_.head_width, configuration_.rope_theta, configuration_.scaling) {
    const llama_configuration& c = configuration_;
    for (const checkpoint& member : members) {
      embeddings_.push_back(member[embedding_name]);
    }
    const auto norm = [&](const std::string& name) {
      return rms_norm(member_vectors::load(members, name + ".weight", c.width), c.norm_epsilon);
    };
    const auto layer = [&](const std::string& name, std::size_t outputs, bool biased) {
      return linear<W>(make(name + ".weight"),
                       biased ? std::optional(member_vectors::load(members, name + ".bias", outputs)) : std::nullopt);
    };
    for (std::size_t n = 0; n < c.layers; ++n) {
      const std::string prefix = "model.layers." + std::to_string(n) + ".";
      const std::size_t keys = c.key_value_heads * c.head_width;
      blocks_.push_back(
          {norm(prefix + "input_layernorm"),
           layer(prefix + "self_attn.q_proj", c.heads * c.head_width, c.attention_bias),
           layer(prefix + "self_attn.k_proj", keys, c.attention_bias),
           layer(prefix + "self_attn.v_proj", keys, c.attention_bias),
           layer(prefix + "self_attn.o_proj", c.width, c.attention_bias), norm(prefix + "post_attention_layernorm"),
           layer(prefix + "mlp.gate_proj", c.hidden, c.mlp_bias), layer(prefix + "mlp.up_proj", c.hidden, c.mlp_bias),
           layer(prefix + "mlp.down_proj", c.width, c.mlp_bias)});
    }
    norm_.emplace(norm("model.norm"));
    head_.emplace(make(c.tied_embeddings ? embedding_name : "lm_head.weight"));
  }

  std::size_t members() const noexcept { return embeddings_.size(); }
  const llama_configuration& configuration() const noexcept { return configuration_; }

  /// An empty sequence of at most `capacity` tokens. Throws bad_input when the network has fewer positions.
  key_value_cache make_cache(std::size_t capacity, cache_type type = cache_type::float16) const {
    expect_positions(capacity);
    return key_value_cache(sizes_of_cache(capacity), type);
  }

  /// Appends the tokens to the cached sequence and gives the logits that follow each of the last `outputs` of them:
  /// (members * outputs) x vocabulary, members one below the other. `threads` (0: all) share the heads of attention;
  /// products have those that their matrices were made with. Throws bad_input for a token that is not in the vocabulary
  /// and when the sequence gets longer than the cache or the network's positions, precondition_error for a cache of
  /// another network and more outputs than tokens; the cache is then as it was.
  row_major_matrix logits(std::span<const std::int32_t> tokens, key_value_cache& cache, std::size_t outputs,
                          int threads = 1) const {
    require(cache.sizes() == sizes_of_cache(cache.capacity()), "llama: the cache is one of another network");
    require(outputs <= tokens.size(), "llama: as many outputs as tokens at most");
    expect_room(tokens, cache);
    // So many tokens read a layer's weights from memory once; of 8 members of a network of 1.1 billion parameters they
    // take 100 MB on their way.
    constexpr std::size_t tokens_at_once = 128;
    workspace space;
    space.last.resize(members(), outputs, configuration_.width);
    const std::size_t first_output = tokens.size() - outputs;
    for (std::size_t first = 0; first < tokens.size(); first += tokens_at_once) {
      const std::size_t end = std::min(tokens.size(), first + tokens_at_once);
      forward(tokens.subspan(first, end - first), cache, cache.length() + first, threads, space);
      const std::size_t begin = std::max(first, first_output);
      for (std::size_t m = 0; begin < end && m < members(); ++m) {
        const auto count = static_cast<Eigen::Index>(end - begin);
        space.last.member(m).middleRows(static_cast<Eigen::Index>(begin - first_output), count) =
            space.residual.member(m).bottomRows(count);
      }
    }
    cache.extend(tokens.size());
    if (outputs == 0) {
      return {};
    }
    norm_->apply(space.last, space.last);
    head_->apply(space.last, space.logits);
    return std::move(space.logits.values());
  }

 private:
  static constexpr const char* embedding_name = "model.embed_tokens.weight";

  struct block {
    rms_norm attention_norm;
    linear<W> query;
    linear<W> key;
    linear<W> value;
    linear<W> output;
    rms_norm mlp_norm;
    linear<W> gate;
    linear<W> up;
    linear<W> down;
  };

  struct workspace {
    activations residual, normalized, queries, keys, values, attended, gate, up, last, logits;
  };

  // Before anything is made of the sizes that it says.
  static llama_configuration checked(std::span<const checkpoint> members, llama_configuration configuration) {
    require(!members.empty(), "llama: at least one member");
    for (const checkpoint& member : members) {
      check_llama_tensors(member, configuration);
    }
    return configuration;
  }

  cache_sizes sizes_of_cache(std::size_t capacity) const {
    const llama_configuration& c = configuration_;
    return {members(), c.layers, capacity, c.key_value_heads, c.head_width};
  }

  void expect_positions(std::size_t count) const {
    if (count > configuration_.positions) {
      throw bad_input(mismatch_message(configuration_.file + ": \"max_position_embeddings\"",
                                       "at least " + std::to_string(count) + " for a sequence as long",
                                       std::to_string(configuration_.positions)));
    }
  }

  void expect_room(std::span<const std::int32_t> tokens, const key_value_cache& cache) const {
    if (tokens.size() > cache.capacity() - cache.length()) {
      throw bad_input(mismatch_message("tokens after the " + std::to_string(cache.length()) + " that are cached",
                                       "at most " + std::to_string(cache.capacity() - cache.length()) +
                                           " for the cache's capacity of " + std::to_string(cache.capacity()),
                                       std::to_string(tokens.size())));
    }
    expect_positions(cache.length() + tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= configuration_.vocabulary) {
        throw bad_input(mismatch_message("token " + std::to_string(i),
                                         "an id below the vocabulary's " + std::to_string(configuration_.vocabulary),
                                         std::to_string(tokens[i])));
      }
    }
  }

  // The tokens at positions first, first + 1, ... through all layers, which store their keys and values.
  void forward(std::span<const std::int32_t> tokens, key_value_cache& cache, std::size_t first, int threads,
               workspace& space) const {
    embed(tokens, space.residual);
    const rotary_table angles = rotation_.table(first, tokens.size());
    for (std::size_t n = 0; n < blocks_.size(); ++n) {
      const block& current = blocks_[n];
      current.attention_norm.apply(space.residual, space.normalized);
      current.query.apply(space.normalized, space.queries);
      current.key.apply(space.normalized, space.keys);
      current.value.apply(space.normalized, space.values);
      rotate(space.queries, angles);
      rotate(space.keys, angles);
      cache.store(n, first, space.keys, space.values);
      causal_attention(space.queries, cache, n, first, space.attended, threads);
      current.output.add(space.attended, space.residual);
      current.mlp_norm.apply(space.residual, space.normalized);
      current.gate.apply(space.normalized, space.gate);
      current.up.apply(space.normalized, space.up);
      silu_gate(space.gate, space.up);
      current.down.add(space.gate, space.residual);
    }
  }

  // Row by row out of the checkpoints: the table as floats would take twice the memory of the file's.
  void embed(std::span<const std::int32_t> tokens, activations& residual) const {
    const std::size_t width = configuration_.width;
    residual.resize(members(), tokens.size(), width);
    for (std::size_t m = 0; m < members(); ++m) {
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        embeddings_[m].read(static_cast<std::size_t>(tokens[i]) * width,
                            std::span<float>(residual.member(m).row(static_cast<Eigen::Index>(i)).data(), width));
      }
    }
  }

  llama_configuration configuration_;
  rotary_embedding rotation_;
  std::vector<tensor> embeddings_;  // of every member
  std::vector<block> blocks_;
  std::optional<rms_norm> norm_;
  std::optional<linear<W>> head_;
};

/// The LLaMA of some member checkpoints, on plain float32 matrices.
inline llama<dense_matrix> load_llama(std::span<const checkpoint> members, const llama_configuration& configuration) {
  return {members, [&](std::string_view name) { return dense_matrix::load(members, name); }, configuration};
}
inline llama<dense_matrix> load_llama(const checkpoint& weights, const llama_configuration& configuration) {
  return load_llama(std::span(&weights, 1), configuration);
}

}  // namespace pluria
