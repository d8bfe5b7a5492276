// SPDX-License-Identifier: MIT
#pragma once
// What the benchmark of decoding runs on: a LLaMA of made weights, as one model in bfloat16 and as members in every
// form of storage, each with a sequence that is already cached.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/ensemble/budget.hpp>
#include <pluria/ensemble/predictive.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/any_matrix.hpp>
#include <pluria/nn/key_value_cache.hpp>
#include <pluria/nn/llama.hpp>
#include <pluria/nn/stored_matrix.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bfloat16_matrix.hpp"
#include "cases.hpp"

namespace bench {

/// Layers, widths and heads of a network with made weights.
struct llama_shape {
  const char* name;
  llama_configuration configuration;
};

/// Of TinyLlama (1.1 billion parameters; Zhang et al., arXiv 2401.02385), with more positions.
inline llama_shape large_llama() {
  llama_configuration c;
  c.file = "made weights";
  c.layers = 22;
  c.width = 2048;
  c.hidden = 5632;
  c.heads = 32;
  c.key_value_heads = 4;
  c.head_width = 64;
  c.vocabulary = 32000;
  c.positions = 16384;
  c.norm_epsilon = 1e-5F;
  c.rope_theta = 10000.0;
  return {"1.1 billion", c};
}

/// One that stays in the caches, to see that everything runs.
inline llama_shape small_llama() {
  llama_configuration c = large_llama().configuration;
  c.layers = 2;
  c.width = 256;
  c.hidden = 512;
  c.heads = 4;
  c.key_value_heads = 2;
  c.vocabulary = 512;
  return {"2 million", c};
}

/// Where weights are: on the ordinary pages that a mapped file has, or on huge ones.
enum class weight_pages { mapped, huge };

inline std::shared_ptr<aligned_vector<std::byte>> room_for_weights(std::size_t bytes,
                                                                   [[maybe_unused]] weight_pages pages) {
  const auto room = std::make_shared<aligned_vector<std::byte>>(bytes);
#if defined(MADV_NOHUGEPAGE)
  constexpr std::size_t page = line_allocator<std::byte>::huge_page;
  if (pages == weight_pages::mapped && reinterpret_cast<std::uintptr_t>(room->data()) % page == 0) {
    ::madvise(room->data(), bytes / page * page, MADV_NOHUGEPAGE);
  }
#endif
  return room;
}

/// The same weights on huge pages.
inline checkpoint on_huge_pages(const checkpoint& weights) {
  checkpoint copy(weights.file(), {});
  for (const tensor& from : weights.tensors()) {
    const auto bytes = room_for_weights(from.bytes().size(), weight_pages::huge);
    std::copy(from.bytes().begin(), from.bytes().end(), bytes->begin());
    copy.add(tensor(from.name(), from.type(), from.shape(), std::span<const std::byte>(*bytes), bytes));
  }
  return copy;
}

/// bfloat16 weights of a network, tensor by tensor, as if they were mapped.
inline checkpoint made_llama(const llama_configuration& c) {
  checkpoint made(c.file, {});
  std::uint32_t number = 0;
  const auto add = [&](const std::string& name, tensor_shape shape) {
    const std::size_t size = shape.size() == 1 ? shape[0] : shape[0] * shape[1];
    const auto bytes = room_for_weights(2 * size, weight_pages::mapped);
    auto* const values = reinterpret_cast<std::uint16_t*>(bytes->data());
    const bool is_norm = shape.size() == 1;
    const std::uint32_t offset = 40503U * number++;
    constexpr std::size_t part = std::size_t{1} << 16;
    parallel_for((size + part - 1) / part, 0, [&](std::size_t index) {
      for (std::size_t i = index * part; i < std::min(size, (index + 1) * part); ++i) {
        values[i] = bfloat16_from_float(is_norm ? 1.0F : made_weight(static_cast<std::uint32_t>(i) + offset));
      }
    });
    made.add(tensor(name, dtype::bf16, std::move(shape), std::span<const std::byte>(*bytes), bytes));
  };
  const std::size_t queries = c.heads * c.head_width;
  const std::size_t keys = c.key_value_heads * c.head_width;
  add("model.embed_tokens.weight", {c.vocabulary, c.width});
  for (std::size_t n = 0; n < c.layers; ++n) {
    const std::string layer = "model.layers." + std::to_string(n) + ".";
    add(layer + "self_attn.q_proj.weight", {queries, c.width});
    add(layer + "self_attn.k_proj.weight", {keys, c.width});
    add(layer + "self_attn.v_proj.weight", {keys, c.width});
    add(layer + "self_attn.o_proj.weight", {c.width, queries});
    add(layer + "mlp.gate_proj.weight", {c.hidden, c.width});
    add(layer + "mlp.up_proj.weight", {c.hidden, c.width});
    add(layer + "mlp.down_proj.weight", {c.width, c.hidden});
    add(layer + "input_layernorm.weight", {c.width});
    add(layer + "post_attention_layernorm.weight", {c.width});
  }
  add("model.norm.weight", {c.width});
  add("lm_head.weight", {c.vocabulary, c.width});
  return made;
}

/// A matrix that adds up the time of its products.
class timed_matrix {
 public:
  timed_matrix(any_matrix matrix, std::shared_ptr<double> seconds)
      : matrix_(std::move(matrix)), seconds_(std::move(seconds)) {}

  std::size_t rows() const noexcept { return matrix_.rows(); }
  std::size_t columns() const noexcept { return matrix_.columns(); }
  std::size_t members() const noexcept { return matrix_.members(); }
  void add_product(const activations& x, activations& y) const {
    const auto started = std::chrono::steady_clock::now();
    matrix_.add_product(x, y);
    *seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  }

 private:
  any_matrix matrix_;
  std::shared_ptr<double> seconds_;
};

static_assert(weight_matrix<timed_matrix>);

/// How the weights of a network are kept.
struct weight_form {
  const char* name;
  int bits;             // 16: one model in bfloat16
  storage_form form{};  // of members
  std::size_t members = 1;
  bool is_grouped = false;  // groups of 32 on float16 scales, else one float32 scale per channel
  bool is_nearest = false;
  weight_pages pages = weight_pages::mapped;  // of a model in bfloat16; members are on huge pages
};

inline any_quantizer quantizer_of(const weight_form& form) {
  if (form.is_grouped) {
    return any_quantizer::with_products(quantizer<half_symmetric_int<4>, per_group>{per_group(32)});
  }
#ifdef PLURIA_BENCH_SMOKE  // the products of a system take a compiler 20 s: one is enough to see that they run
  throw precondition_error("bench_decode: per channel is not in this build, which was made to be seen to run");
#else
  switch (form.bits) {
    case 8:
      return any_quantizer::with_products(quantizer<symmetric_int<8>>{});
    case 6:
      return any_quantizer::with_products(quantizer<symmetric_int<6>>{});
    case 5:
      return any_quantizer::with_products(quantizer<symmetric_int<5>>{});
    default:
      return any_quantizer::with_products(quantizer<symmetric_int<4>>{});
  }
#endif
}

/// A network on weights in a form, for products by one and by two threads.
class decoder {
 public:
  decoder(const llama_configuration& configuration, const checkpoint& made, const weight_form& form) {
    const checkpoint weights = form.pages == weight_pages::huge ? on_huge_pages(made) : made;
    std::map<std::string, any_members, std::less<>> stored;
    std::optional<rounded_members> source;
    if (form.bits == 16) {
      for (const tensor& current : weights.tensors()) {
        weight_bytes_ += current.bytes().size();
      }
    } else {
      const any_rounding rounding = form.is_nearest ? any_rounding(nearest{}) : any_rounding(bernoulli{.seed = 1});
      source.emplace(weights, quantizer_of(form), rounding);
      weight_bytes_ = storage_budget(source->packed_storage(), form.form, form.members).total_bytes;
    }
    const std::vector<checkpoint> members(form.members, weights);
    for (const int threads : {1, 2}) {
      const auto make = [&](std::string_view name) {
        if (!source) {
          return timed_matrix(any_matrix(bfloat16_matrix(weights[name], threads)), product_seconds_);
        }
        auto found = stored.find(name);
        if (found == stored.end()) {
          found = stored.emplace(name, *source->stored(name, form.form, 0, form.members)).first;
        }
        return timed_matrix(any_matrix(stored_matrix(found->second, activation_type::int8, threads)), product_seconds_);
      };
      networks_.emplace_back(members, make, configuration);
    }
  }

  const llama<timed_matrix>& network(int threads) const { return networks_[threads == 1 ? 0 : 1]; }
  std::size_t weight_bytes() const noexcept { return weight_bytes_; }
  double product_seconds() const noexcept { return *product_seconds_; }  ///< of all products so far

 private:
  std::shared_ptr<double> product_seconds_ = std::make_shared<double>(0.0);
  std::vector<llama<timed_matrix>> networks_;
  std::size_t weight_bytes_ = 0;
};

/// A sequence of `context` made tokens that a decoder's cache holds, and the step to the next token.
class decoding {
 public:
  decoding(std::shared_ptr<const decoder> model, std::size_t context, int threads)
      : model_(std::move(model)),
        threads_(threads),
        context_(context),
        cache_(model_->network(threads).make_cache(context + 1)) {
    const cache_sizes& sizes = cache_.sizes();
    constexpr std::size_t at_once = 128;
    for (std::size_t first = 0; first < context; first += at_once) {
      activations made(sizes.members, std::min(at_once, context - first), sizes.heads * sizes.head_width);
      for (Eigen::Index i = 0; i < made.values().size(); ++i) {
        made.values().data()[i] = made_weight(static_cast<std::uint32_t>(i) + static_cast<std::uint32_t>(first));
      }
      for (std::size_t layer = 0; layer < sizes.layers; ++layer) {
        cache_.store(layer, first, made, made);
      }
    }
    cache_.extend(context);
  }

  /// One token through the network, for all members, and the most probable next one in the mean of theirs.
  std::size_t step() {
    cache_.truncate(context_);
    const std::array<std::int32_t, 1> token{7};
    const row_major_matrix logits = model_->network(threads_).logits(token, cache_, 1, threads_);
    const auto vocabulary = static_cast<std::size_t>(logits.cols());
    predictive mean(1, vocabulary);
    for (Eigen::Index m = 0; m < logits.rows(); ++m) {
      mean.add(0, std::span<const float>(logits.row(m).data(), vocabulary));
    }
    const std::vector<double> probabilities = mean.log_probabilities();
    return static_cast<std::size_t>(std::max_element(probabilities.begin(), probabilities.end()) -
                                    probabilities.begin());
  }

  /// Bytes of weights and cache while the sequence has its length.
  double bytes() const { return static_cast<double>(model_->weight_bytes() + cache_.bytes()); }

  double product_seconds() const noexcept { return model_->product_seconds(); }

 private:
  std::shared_ptr<const decoder> model_;
  int threads_;
  std::size_t context_;
  key_value_cache cache_;
};

}  // namespace bench
