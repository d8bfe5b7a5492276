// SPDX-License-Identifier: MIT
#pragma once
// The Vision Transformer (Dosovitskiy et al., ICLR 2021) with the tensor names and arithmetic of timm's
// VisionTransformer: pre-norm blocks, learned position embeddings, exact GELU, LayerNorm epsilon 1e-6; with or without
// qkv bias; class token, or average pooling with fc_norm. Sizes are read from the shapes. All members go through each
// layer together.

#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/nn/activation.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/attention.hpp>
#include <pluria/nn/dense_matrix.hpp>
#include <pluria/nn/linear.hpp>
#include <pluria/nn/normalization.hpp>
#include <pluria/nn/patch_embedding.hpp>
#include <pluria/nn/vit_configuration.hpp>
#include <pluria/nn/weight_matrix.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

/// S members of one Vision Transformer on weights of any storage.
template <weight_matrix W>
class vit {
 public:
  /// Makes the weights of a layer from the name of its tensor, for all members.
  using matrix_factory = std::function<W(std::string_view name)>;

  /// `members` are checkpoints of the same network: parameters that are not matrices come from them, matrices from
  /// `make`. Throws bad_input, naming file and tensor, when a tensor is missing, misshapen or unknown, or metadata are
  /// unusable.
  vit(std::span<const checkpoint> members, const matrix_factory& make, const vit_options& options = {})
      : members_(members.size()),
        configuration_(read_vit_configuration(first_of(members), options)),
        normalization_(configuration_.mean, configuration_.std) {
    for (const checkpoint& member : members.subspan(1)) {
      check_vit_tensors(member, configuration_);
    }
    const std::size_t width = configuration_.width;
    const auto vectors = [&](const std::string& name, std::size_t size) {
      return member_vectors::load(members, name, size);
    };
    const auto norm = [&](const std::string& name) {
      return layer_norm(vectors(name + ".weight", width), vectors(name + ".bias", width), 1e-6F);
    };
    const auto layer = [&](const std::string& name, std::size_t outputs, bool biased = true) {
      return linear<W>(make(name + ".weight"), biased ? std::optional(vectors(name + ".bias", outputs)) : std::nullopt);
    };

    patch_embedding_.emplace(layer("patch_embed.proj", width));
    if (configuration_.class_token) {
      class_token_ = vectors("cls_token", width);
    }
    positions_ = vectors("pos_embed", position_count() * width);
    for (std::size_t n = 0; n < configuration_.depth; ++n) {
      const std::string prefix = "blocks." + std::to_string(n) + ".";
      blocks_.push_back({norm(prefix + "norm1"), layer(prefix + "attn.qkv", 3 * width, configuration_.qkv_bias),
                         layer(prefix + "attn.proj", width), norm(prefix + "norm2"),
                         layer(prefix + "mlp.fc1", configuration_.hidden), layer(prefix + "mlp.fc2", width)});
    }
    norm_.emplace(norm(configuration_.fc_norm ? "fc_norm" : "norm"));
    head_.emplace(layer("head", configuration_.classes));
  }

  std::size_t members() const noexcept { return members_; }
  const vit_configuration& configuration() const noexcept { return configuration_; }

  /// Multiplications and additions that one image takes in one member, counted as 2 per multiply-add of all matrix
  /// products.
  double flops_per_image() const {
    const vit_configuration& c = configuration_;
    const std::size_t of_block = c.tokens() * c.width * (4 * c.width + 2 * c.hidden + 2 * c.tokens());
    const std::size_t multiply_adds =
        c.patches * patch_embedding_->inputs() * c.width + c.depth * of_block + c.width * c.classes;
    return 2.0 * static_cast<double>(multiply_adds);
  }

  /// Floats that a token of one member takes while a batch goes through the layers: what is embedded, the residual
  /// stream, normalized, queries, keys and values, attended, and the hidden layer.
  std::size_t activation_width() const noexcept { return 7 * configuration_.width + configuration_.hidden; }

  /// Images that go through the layers together: as many as keep a layer's activations in the second-level cache.
  /// Depends on the network alone, so that results do not change with the number of threads.
  std::size_t batch() const {
    constexpr std::size_t cache = 512 * 1024;
    const std::size_t image =
        members_ * configuration_.tokens() * (configuration_.width + configuration_.hidden) * sizeof(float);
    return std::max<std::size_t>(1, cache / image);
  }

  /// The logits of all images: (members * count) x classes, members one below the other. `threads` (0: all) share the
  /// batches. Throws precondition_error when the images do not have the network's channels and number of patches.
  row_major_matrix logits(const image_view& images, int threads = 0) const {
    row_major_matrix result(static_cast<Eigen::Index>(members_ * images.count),
                            static_cast<Eigen::Index>(configuration_.classes));
    const std::size_t at_once = batch();
    parallel_for((images.count + at_once - 1) / at_once, threads, [&](std::size_t index) {
      thread_local workspace space;
      const std::size_t first = index * at_once;
      const std::size_t count = std::min(at_once, images.count - first);
      forward(images.part(first, count), space);
      for (std::size_t m = 0; m < members_; ++m) {
        result.middleRows(static_cast<Eigen::Index>(m * images.count + first), static_cast<Eigen::Index>(count)) =
            space.logits.member(m);
      }
    });
    return result;
  }

 private:
  struct block {
    layer_norm norm1;
    linear<W> qkv;
    linear<W> projection;
    layer_norm norm2;
    linear<W> expand;
    linear<W> contract;
  };

  struct workspace {
    activations patches, embedded, stream, normalized, qkv, attended, hidden, pooled, logits;
    row_major_matrix attention_weights;
  };

  void forward(const image_view& images, workspace& space) const {
    gather_patches(images, configuration_.patch, normalization_, space.patches);
    require(space.patches.rows() == images.count * configuration_.patches,
            "vit: the images must have the network's number of patches");
    patch_embedding_->apply(space.patches, space.embedded);
    embed(images.count, space);
    for (const block& current : blocks_) {
      current.norm1.apply(space.stream, space.normalized);
      current.qkv.apply(space.normalized, space.qkv);
      self_attention(space.qkv, configuration_.tokens(), configuration_.heads, space.attended, space.attention_weights);
      current.projection.add(space.attended, space.stream);
      current.norm2.apply(space.stream, space.normalized);
      current.expand.apply(space.normalized, space.hidden);
      gelu(space.hidden);
      current.contract.add(space.hidden, space.stream);
    }
    pool(images.count, space);
    head_->apply(space.pooled, space.logits);
  }

  // Class token in front, position embeddings added.
  void embed(std::size_t images, workspace& space) const {
    const vit_configuration& c = configuration_;
    const auto patch_rows = static_cast<Eigen::Index>(c.patches);
    space.stream.resize(members_, images * c.tokens(), c.width);
    for (std::size_t m = 0; m < members_; ++m) {
      const Eigen::Map<const row_major_matrix> positions(positions_->member(m).data(),
                                                         static_cast<Eigen::Index>(position_count()),
                                                         static_cast<Eigen::Index>(c.width));
      auto residual = space.stream.member(m);
      const auto embedded = space.embedded.member(m);
      for (std::size_t image = 0; image < images; ++image) {
        const auto first = static_cast<Eigen::Index>(image * c.tokens());
        const Eigen::Index first_patch = first + (c.class_token ? 1 : 0);
        if (c.class_token) {
          residual.row(first) = class_token_->member(m);
          if (c.positions_cover_class) {
            residual.row(first) += positions.row(0);
          }
        }
        residual.middleRows(first_patch, patch_rows) =
            embedded.middleRows(static_cast<Eigen::Index>(image) * patch_rows, patch_rows) +
            positions.bottomRows(patch_rows);
      }
    }
  }

  // One row per image: the normalized class token, or the mean of the patches, normalized before or after.
  void pool(std::size_t images, workspace& space) const {
    const vit_configuration& c = configuration_;
    if (c.average_pooling() && !c.fc_norm) {
      norm_->apply(space.stream, space.stream);
    }
    space.pooled.resize(members_, images, c.width);
    for (std::size_t m = 0; m < members_; ++m) {
      const auto residual = space.stream.member(m);
      auto pooled = space.pooled.member(m);
      for (std::size_t image = 0; image < images; ++image) {
        const auto tokens =
            residual.middleRows(static_cast<Eigen::Index>(image * c.tokens()), static_cast<Eigen::Index>(c.tokens()));
        if (c.average_pooling()) {
          pooled.row(static_cast<Eigen::Index>(image)) =
              tokens.bottomRows(static_cast<Eigen::Index>(c.patches)).colwise().mean();
        } else {
          pooled.row(static_cast<Eigen::Index>(image)) = tokens.row(0);
        }
      }
    }
    if (c.fc_norm || !c.average_pooling()) {
      norm_->apply(space.pooled, space.pooled);  // acts on each row alone, so only the class token needs it
    }
  }

  static const checkpoint& first_of(std::span<const checkpoint> members) {
    require(!members.empty(), "vit: at least one member");
    return members.front();
  }

  std::size_t position_count() const noexcept {
    return configuration_.patches + (configuration_.positions_cover_class ? 1 : 0);
  }

  std::size_t members_;
  vit_configuration configuration_;
  pixel_normalization normalization_;
  std::optional<linear<W>> patch_embedding_;
  std::optional<member_vectors> class_token_;
  std::optional<member_vectors> positions_;
  std::vector<block> blocks_;
  std::optional<layer_norm> norm_;
  std::optional<linear<W>> head_;
};

/// The Vision Transformer of some member checkpoints, on plain float32 matrices.
inline vit<dense_matrix> load_vit(std::span<const checkpoint> members, const vit_options& options = {}) {
  return {members, [&](std::string_view name) { return dense_matrix::load(members, name); }, options};
}
inline vit<dense_matrix> load_vit(const checkpoint& weights, const vit_options& options = {}) {
  return load_vit(std::span(&weights, 1), options);
}

}  // namespace pluria
