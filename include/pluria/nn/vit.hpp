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
#include <pluria/nn/weight_matrix.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

/// What the shapes do not say; a value that is not set comes from the checkpoint's metadata (`num_heads`, `mean`,
/// `std`, the last two comma-separated per channel), and failing that: heads = width / 64.
struct vit_options {
  std::optional<std::size_t> heads;
  std::vector<float> mean;
  std::vector<float> std;
};

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
      : members_(members.size()), normalization_(read_normalization(members, options)) {
    const checkpoint& source = members.front();
    const tensor& projection = source["patch_embed.proj.weight"];
    if (projection.shape().size() != 4 || projection.shape()[2] != projection.shape()[3] || projection.size() == 0) {
      throw bad_input(
          mismatch_message(projection.where(), "shape [width, channels, patch, patch]", to_string(projection.shape())));
    }
    width_ = projection.shape()[0];
    channels_ = projection.shape()[1];
    patch_ = projection.shape()[2];
    if (normalization_.channels() != channels_) {
      throw bad_input(mismatch_message(projection.where(),
                                       std::to_string(normalization_.channels()) +
                                           " channels, one for each mean and std of the metadata or arguments",
                                       std::to_string(channels_)));
    }
    const tensor& positions = source["pos_embed"];
    if (positions.shape().size() != 3 || positions.shape()[0] != 1 || positions.shape()[2] != width_ ||
        positions.size() == 0) {
      throw bad_input(mismatch_message(positions.where(), "shape [1, tokens, " + std::to_string(width_) + "]",
                                       to_string(positions.shape())));
    }
    heads_ = read_heads(source, options);

    const auto matrix = [&](const std::string& name, const tensor_shape& shape) {
      source.expect(name, shape);
      known_.insert(name);
      return make(name);
    };
    const auto vectors = [&](const std::string& name, std::size_t size) {
      known_.insert(name);
      return member_vectors::load(members, name, size);
    };
    const auto layer = [&](const std::string& name, std::size_t outputs, std::size_t inputs, bool biased = true) {
      return linear<W>(matrix(name + ".weight", {outputs, inputs}),
                       biased ? std::optional(vectors(name + ".bias", outputs)) : std::nullopt);
    };
    const auto norm = [&](const std::string& name) {
      return layer_norm(vectors(name + ".weight", width_), vectors(name + ".bias", width_), 1e-6F);
    };

    patch_embedding_.emplace(matrix("patch_embed.proj.weight", projection.shape()),
                             vectors("patch_embed.proj.bias", width_));
    if (source.find("cls_token") != nullptr) {
      class_token_ = vectors("cls_token", width_);
    }
    const std::size_t position_count = positions.shape()[1];
    positions_ = vectors("pos_embed", position_count * width_);
    for (std::size_t n = 0; source.find("blocks." + std::to_string(n) + ".norm1.weight") != nullptr; ++n) {
      const std::string prefix = "blocks." + std::to_string(n) + ".";
      const tensor& hidden = source[prefix + "mlp.fc1.weight"];
      const std::size_t hidden_width = hidden.shape().empty() ? 0 : hidden.shape()[0];
      const bool qkv_bias = source.find(prefix + "attn.qkv.bias") != nullptr;
      blocks_.push_back({norm(prefix + "norm1"), layer(prefix + "attn.qkv", 3 * width_, width_, qkv_bias),
                         layer(prefix + "attn.proj", width_, width_), norm(prefix + "norm2"),
                         layer(prefix + "mlp.fc1", hidden_width, width_),
                         layer(prefix + "mlp.fc2", width_, hidden_width)});
    }
    if (blocks_.empty()) {
      source["blocks.0.norm1.weight"];  // throws: expected, not found
    }
    // timm has either a norm of all tokens before the class token is read, or, with average pooling, one of the mean.
    if (source.find("fc_norm.weight") != nullptr) {
      pooled_norm_ = norm("fc_norm");
    } else {
      norm_ = norm("norm");
    }
    average_pooling_ = pooled_norm_.has_value() || !class_token_;
    const tensor& head = source["head.weight"];
    if (head.shape().size() != 2 || head.size() == 0) {
      throw bad_input(
          mismatch_message(head.where(), "shape [classes, " + std::to_string(width_) + "]", to_string(head.shape())));
    }
    head_.emplace(layer("head", head.shape()[0], width_));
    for (const tensor& other : source.tensors()) {
      if (!known_.contains(other.name())) {
        throw bad_input(other.where() + ": not a tensor of the Vision Transformers that this library runs");
      }
    }
    // timm's no_embed_class adds positions to the patches only: then their number is a square (square images are
    // assumed).
    positions_cover_class_ = class_token_ && !is_square(position_count);
    patches_ = position_count - (positions_cover_class_ ? 1 : 0);
  }

  std::size_t members() const noexcept { return members_; }
  std::size_t classes() const noexcept { return head_->outputs(); }
  std::size_t width() const noexcept { return width_; }
  std::size_t depth() const noexcept { return blocks_.size(); }
  std::size_t heads() const noexcept { return heads_; }
  std::size_t channels() const noexcept { return channels_; }
  std::size_t patch() const noexcept { return patch_; }
  std::size_t patches() const noexcept { return patches_; }
  std::size_t tokens() const noexcept { return patches_ + (class_token_ ? 1 : 0); }

  /// Multiplications and additions that one image takes in one member, counted as 2 per multiply-add of all matrix
  /// products.
  double flops_per_image() const {
    const auto tokens_count = static_cast<double>(tokens());
    double multiply_adds = static_cast<double>(patches_ * patch_embedding_->inputs() * width_);
    for (const block& current : blocks_) {
      multiply_adds += tokens_count * static_cast<double>(4 * width_ * width_ + 2 * width_ * current.expand.outputs());
      multiply_adds += 2 * tokens_count * tokens_count * static_cast<double>(width_);
    }
    return 2.0 * (multiply_adds + static_cast<double>(width_ * classes()));
  }

  /// Images that go through the layers together: as many as keep a layer's activations in the second-level cache.
  /// Depends on the network alone, so that results do not change with the number of threads.
  std::size_t batch() const {
    constexpr std::size_t cache = 512 * 1024;
    const std::size_t image = members_ * tokens() * (width_ + blocks_.front().expand.outputs()) * sizeof(float);
    return std::max<std::size_t>(1, cache / image);
  }

  /// The logits of all images: (members * count) x classes, members one below the other. `threads` (0: all) share the
  /// batches. Throws precondition_error when the images do not have the network's channels and number of patches.
  row_major_matrix logits(const image_view& images, int threads = 0) const {
    row_major_matrix result(static_cast<Eigen::Index>(members_ * images.count), static_cast<Eigen::Index>(classes()));
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
    gather_patches(images, patch_, normalization_, space.patches);
    require(space.patches.rows() == images.count * patches_,
            "vit: the images must have the network's number of patches");
    patch_embedding_->apply(space.patches, space.embedded);
    embed(images.count, space);
    for (const block& current : blocks_) {
      current.norm1.apply(space.stream, space.normalized);
      current.qkv.apply(space.normalized, space.qkv);
      self_attention(space.qkv, tokens(), heads_, space.attended, space.attention_weights);
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
    const std::size_t before = class_token_ ? 1 : 0;
    const auto patch_rows = static_cast<Eigen::Index>(patches_);
    const auto columns = static_cast<Eigen::Index>(width_);
    space.stream.resize(members_, images * tokens(), width_);
    for (std::size_t m = 0; m < members_; ++m) {
      const Eigen::Map<const row_major_matrix> positions(positions_->member(m).data(),
                                                         patch_rows + (positions_cover_class_ ? 1 : 0), columns);
      auto stream = space.stream.member(m);
      const auto embedded = space.embedded.member(m);
      for (std::size_t image = 0; image < images; ++image) {
        const auto row = static_cast<Eigen::Index>(image * tokens());
        if (class_token_) {
          stream.row(row) = class_token_->member(m);
          if (positions_cover_class_) {
            stream.row(row) += positions.row(0);
          }
        }
        stream.middleRows(row + static_cast<Eigen::Index>(before), patch_rows) =
            embedded.middleRows(static_cast<Eigen::Index>(image) * patch_rows, patch_rows) +
            positions.bottomRows(patch_rows);
      }
    }
  }

  void pool(std::size_t images, workspace& space) const {
    space.pooled.resize(members_, images, width_);
    const auto patch_rows = static_cast<Eigen::Index>(patches_);
    for (std::size_t m = 0; m < members_; ++m) {
      const auto stream = space.stream.member(m);
      auto pooled = space.pooled.member(m);
      if (!average_pooling_) {
        for (std::size_t image = 0; image < images; ++image) {
          pooled.row(static_cast<Eigen::Index>(image)) = stream.row(static_cast<Eigen::Index>(image * tokens()));
        }
      }
    }
    if (!average_pooling_) {
      norm_->apply(space.pooled, space.pooled);  // the norm acts on each token alone, so only the one read needs it
      return;
    }
    if (norm_) {
      norm_->apply(space.stream, space.stream);
    }
    for (std::size_t m = 0; m < members_; ++m) {
      const auto stream = space.stream.member(m);
      auto pooled = space.pooled.member(m);
      for (std::size_t image = 0; image < images; ++image) {
        const auto last = static_cast<Eigen::Index>((image + 1) * tokens());
        pooled.row(static_cast<Eigen::Index>(image)) =
            stream.middleRows(last - patch_rows, patch_rows).colwise().mean();
      }
    }
    if (pooled_norm_) {
      pooled_norm_->apply(space.pooled, space.pooled);
    }
  }

  static bool is_square(std::size_t number) {
    std::size_t root = 0;
    while (root * root < number) {
      ++root;
    }
    return root * root == number;
  }

  std::size_t read_heads(const checkpoint& source, const vit_options& options) const {
    std::size_t heads = width_ / 64;
    std::string origin = "width / 64";
    if (options.heads) {
      heads = *options.heads;
      origin = "the argument";
    } else if (const auto entry = source.metadata().find("num_heads"); entry != source.metadata().end()) {
      heads = static_cast<std::size_t>(read_numbers(source, "num_heads").front());
      origin = "metadata \"num_heads\"";
    }
    if (heads == 0 || width_ % heads != 0) {
      throw bad_input(mismatch_message(source.file() + ": number of heads (" + origin + ")",
                                       "a divisor of the width " + std::to_string(width_), std::to_string(heads)));
    }
    return heads;
  }

  static pixel_normalization read_normalization(std::span<const checkpoint> members, const vit_options& options) {
    require(!members.empty(), "vit: at least one member");
    const std::vector<float> mean = options.mean.empty() ? read_numbers(members.front(), "mean") : options.mean;
    const std::vector<float> std = options.std.empty() ? read_numbers(members.front(), "std") : options.std;
    if (mean.size() != std.size() || *std::min_element(std.begin(), std.end()) <= 0.0F) {
      throw bad_input(mismatch_message(members.front().file() + ": mean and std", "as many positive std as means",
                                       std::to_string(mean.size()) + " means, " + std::to_string(std.size()) + " std"));
    }
    return {mean, std};
  }

  // Comma-separated numbers of a metadata entry.
  static std::vector<float> read_numbers(const checkpoint& source, const std::string& key) {
    const auto entry = source.metadata().find(key);
    if (entry == source.metadata().end()) {
      throw bad_input(source.file() + ": metadata \"" + key + "\": expected, not found; give it as an argument");
    }
    std::vector<float> numbers;
    const char* text = entry->second.c_str();
    for (;;) {
      char* end = nullptr;
      numbers.push_back(std::strtof(text, &end));
      if (end == text || (*end != ',' && *end != '\0') || !std::isfinite(numbers.back()) ||
          (key == "num_heads" && (*end != '\0' || numbers.back() < 1 || numbers.back() > 65536 ||
                                  numbers.back() != std::floor(numbers.back())))) {
        throw bad_input(mismatch_message(source.file() + ": metadata \"" + key + "\"",
                                         key == "num_heads" ? "an integer from 1 on" : "comma-separated numbers",
                                         "\"" + entry->second + "\""));
      }
      if (*end == '\0') {
        return numbers;
      }
      text = end + 1;
    }
  }

  std::size_t members_;
  pixel_normalization normalization_;
  std::size_t width_ = 0;
  std::size_t channels_ = 0;
  std::size_t patch_ = 0;
  std::size_t heads_ = 0;
  std::size_t patches_ = 0;
  bool positions_cover_class_ = false;
  bool average_pooling_ = false;
  std::set<std::string, std::less<>> known_;
  std::optional<linear<W>> patch_embedding_;
  std::optional<member_vectors> class_token_;
  std::optional<member_vectors> positions_;
  std::vector<block> blocks_;
  std::optional<layer_norm> norm_;
  std::optional<layer_norm> pooled_norm_;
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
