// SPDX-License-Identifier: MIT
#pragma once
// What a checkpoint of timm's VisionTransformer says about its network: sizes from the shapes of its tensors, heads and
// pixel normalization from its metadata or the caller; and the list of the tensors it must then hold, no more and no
// less.

#include <pluria/core/error.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace pluria {

/// What the shapes do not say; a value that is not set comes from the checkpoint's metadata (`num_heads`, `mean`,
/// `std`, the last two comma-separated per channel, as C writes numbers, whatever the locale), and failing that: heads
/// = width / 64.
struct vit_options {
  std::optional<std::size_t> heads;
  std::vector<float> mean;
  std::vector<float> std;
};

/// A Vision Transformer's sizes and variants.
struct vit_configuration {
  std::size_t width = 0;
  std::size_t channels = 0;
  std::size_t patch = 0;    ///< pixels along each side of a patch
  std::size_t patches = 0;  ///< of an image
  std::size_t depth = 0;
  std::size_t heads = 0;
  std::size_t hidden = 0;  ///< width between the two layers of an MLP
  std::size_t classes = 0;
  bool class_token = false;
  bool positions_cover_class = false;  ///< whether the class token has a position embedding (timm: not no_embed_class)
  bool qkv_bias = false;
  bool fc_norm = false;     ///< a norm of the mean of the patches in place of a norm of all tokens
  std::vector<float> mean;  ///< per channel, of pixels in 0..1
  std::vector<float> std;

  std::size_t tokens() const noexcept { return patches + (class_token ? 1 : 0); }
  /// Whether the mean of the patches is classified, not the class token: with fc_norm, and where there is no class
  /// token.
  bool average_pooling() const noexcept { return fc_norm || !class_token; }
};

namespace detail {

// Comma-separated numbers of a metadata entry.
inline std::vector<float> metadata_numbers(const checkpoint& source, const std::string& key) {
  const auto entry = source.metadata().find(key);
  if (entry == source.metadata().end()) {
    throw bad_input(source.file() + ": metadata \"" + key + "\": expected, not found; give it as an argument");
  }
  std::vector<float> numbers;
  const char* text = entry->second.data();
  const char* const last = text + entry->second.size();
  for (;;) {
    text = std::find_if(text, last, [](char character) { return character != ' '; });
    float number = 0.0F;
    const auto [end, failure] = std::from_chars(text, last, number);  // as in C, whatever a program's locale
    if (failure != std::errc{} || (end != last && *end != ',') || !std::isfinite(number)) {
      throw bad_input(mismatch_message(source.file() + ": metadata \"" + key + "\"", "comma-separated numbers",
                                       "\"" + entry->second + "\""));
    }
    numbers.push_back(number);
    if (end == last) {
      return numbers;
    }
    text = end + 1;
  }
}

inline std::size_t vit_heads(const checkpoint& source, std::size_t width, const vit_options& options) {
  std::size_t heads = width / 64;
  std::string origin = "width / 64";
  if (options.heads) {
    heads = *options.heads;
    origin = "the argument";
  } else if (const auto entry = source.metadata().find("num_heads"); entry != source.metadata().end()) {
    origin = "metadata \"num_heads\"";
    const std::string& text = entry->second;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), heads);
    if (failure != std::errc{} || end != text.data() + text.size() || heads == 0) {
      throw bad_input(mismatch_message(source.file() + ": " + origin, "an integer from 1 on", "\"" + text + "\""));
    }
  }
  if (heads == 0 || width % heads != 0) {
    throw bad_input(mismatch_message(source.file() + ": number of heads (" + origin + ")",
                                     "a divisor of the width " + std::to_string(width), std::to_string(heads)));
  }
  return heads;
}

// The tensor, of as many dimensions as `shape` describes and none of them empty.
inline const tensor& shaped(const checkpoint& source, const std::string& name, std::size_t dimensions,
                            const std::string& shape) {
  const tensor& found = source[name];
  if (found.shape().size() != dimensions || found.size() == 0) {
    throw bad_input(mismatch_message(found.where(), "shape " + shape, to_string(found.shape())));
  }
  return found;
}

inline bool has_block(const checkpoint& source, std::size_t number) {
  const std::string prefix = "blocks." + std::to_string(number) + ".";
  return std::any_of(source.tensors().begin(), source.tensors().end(),
                     [&](const tensor& found) { return found.name().starts_with(prefix); });
}

inline bool is_square(std::size_t number) {
  const auto root = static_cast<std::size_t>(std::llround(std::sqrt(static_cast<double>(number))));
  return root * root == number;
}

}  // namespace detail

/// Names and shapes of all tensors of a network, in timm's names.
inline std::map<std::string, tensor_shape> vit_tensors(const vit_configuration& c) {
  std::map<std::string, tensor_shape> tensors;
  const auto norm = [&](const std::string& name) {
    tensors[name + ".weight"] = {c.width};
    tensors[name + ".bias"] = {c.width};
  };
  const auto layer = [&](const std::string& name, std::size_t outputs, std::size_t inputs, bool biased = true) {
    tensors[name + ".weight"] = {outputs, inputs};
    if (biased) {
      tensors[name + ".bias"] = {outputs};
    }
  };
  tensors["patch_embed.proj.weight"] = {c.width, c.channels, c.patch, c.patch};
  tensors["patch_embed.proj.bias"] = {c.width};
  tensors["pos_embed"] = {1, c.patches + (c.positions_cover_class ? 1 : 0), c.width};
  if (c.class_token) {
    tensors["cls_token"] = {1, 1, c.width};
  }
  for (std::size_t n = 0; n < c.depth; ++n) {
    const std::string prefix = "blocks." + std::to_string(n) + ".";
    norm(prefix + "norm1");
    layer(prefix + "attn.qkv", 3 * c.width, c.width, c.qkv_bias);
    layer(prefix + "attn.proj", c.width, c.width);
    norm(prefix + "norm2");
    layer(prefix + "mlp.fc1", c.hidden, c.width);
    layer(prefix + "mlp.fc2", c.width, c.hidden);
  }
  norm(c.fc_norm ? "fc_norm" : "norm");
  layer("head", c.classes, c.width);
  return tensors;
}

/// Throws bad_input, naming file and tensor, at the first tensor that is missing, misshapen or unknown.
inline void check_vit_tensors(const checkpoint& weights, const vit_configuration& configuration) {
  const std::map<std::string, tensor_shape> expected = vit_tensors(configuration);
  for (const auto& [name, shape] : expected) {
    weights.expect(name, shape);
  }
  for (const tensor& found : weights.tensors()) {
    if (!expected.contains(found.name())) {
      throw bad_input(found.where() + ": not a tensor of the Vision Transformers that this library runs");
    }
  }
}

/// The network of a checkpoint, all its tensors checked. Throws bad_input, naming file and tensor, when one is missing,
/// misshapen or unknown, or metadata are unusable.
inline vit_configuration read_vit_configuration(const checkpoint& source, const vit_options& options = {}) {
  vit_configuration c;
  const tensor& projection = detail::shaped(source, "patch_embed.proj.weight", 4, "[width, channels, patch, patch]");
  c.width = projection.shape()[0];
  c.channels = projection.shape()[1];
  c.patch = projection.shape()[2];
  c.heads = detail::vit_heads(source, c.width, options);
  c.mean = options.mean.empty() ? detail::metadata_numbers(source, "mean") : options.mean;
  c.std = options.std.empty() ? detail::metadata_numbers(source, "std") : options.std;
  const auto refuse = [&](const std::string& found) {
    throw bad_input(mismatch_message(
        projection.where(),
        "a finite mean and a finite, positive std for each of its " + std::to_string(c.channels) + " channels", found));
  };
  if (c.mean.size() != c.channels || c.std.size() != c.channels) {
    refuse(std::to_string(c.mean.size()) + " means, " + std::to_string(c.std.size()) + " std");
  }
  for (std::size_t channel = 0; channel < c.channels; ++channel) {
    if (!std::isfinite(c.mean[channel]) || !std::isfinite(c.std[channel]) || !(c.std[channel] > 0.0F)) {
      refuse("mean " + std::to_string(c.mean[channel]) + " and std " + std::to_string(c.std[channel]) + " of channel " +
             std::to_string(channel));
    }
  }

  c.class_token = source.find("cls_token") != nullptr;
  const std::string width = std::to_string(c.width);
  const std::size_t positions = detail::shaped(source, "pos_embed", 3, "[1, tokens, " + width + "]").shape()[1];
  // With timm's no_embed_class only patches have positions: then their number is a square, as images are.
  c.positions_cover_class = c.class_token && !detail::is_square(positions);
  c.patches = positions - (c.positions_cover_class ? 1 : 0);

  while (detail::has_block(source, c.depth)) {
    ++c.depth;
  }
  c.hidden = detail::shaped(source, "blocks.0.mlp.fc1.weight", 2, "[hidden, " + width + "]").shape()[0];
  c.qkv_bias = source.find("blocks.0.attn.qkv.bias") != nullptr;
  c.fc_norm = source.find("fc_norm.weight") != nullptr;
  c.classes = detail::shaped(source, "head.weight", 2, "[classes, " + width + "]").shape()[0];
  check_vit_tensors(source, c);
  return c;
}

}  // namespace pluria
