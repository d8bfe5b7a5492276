// SPDX-License-Identifier: MIT
// The reference logits are timm's own; make_vit_reference.py wrote them.

#include <pluria/io/npy.hpp>
#include <pluria/io/safetensors.hpp>
#include <pluria/nn/vit.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using pluria::checkpoint;
using pluria::image_view;
using pluria::load_vit;
using pluria::row_major_matrix;
using pluria::tensor;
using pluria::tensor_shape;

const std::string folder = PLURIA_SOURCE_DIR "/tests/nn/reference/";

checkpoint load(const std::string& name) {
  return pluria::load_safetensors(folder + name + ".safetensors");
}

struct configuration {
  const char* name;
  std::size_t channels, size, depth, width, heads, patch, patches, tokens, classes;
};
const configuration configurations[] = {
    {"token", 1, 28, 2, 32, 4, 4, 49, 50, 10},
    {"average_no_token_no_bias", 3, 32, 2, 48, 3, 8, 16, 16, 7},
    {"average_with_token", 3, 24, 3, 40, 5, 4, 36, 37, 5},
    {"average_norm", 1, 12, 2, 16, 2, 4, 9, 9, 4},
    {"patch16_224", 3, 224, 2, 48, 3, 16, 196, 197, 10},
};

// Byte i is the top byte of the 32-bit product i * 2654435761, as in make_vit_reference.py.
std::vector<std::uint8_t> made_pixels(std::size_t count) {
  std::vector<std::uint8_t> pixels(count);
  for (std::size_t i = 0; i < count; ++i) {
    pixels[i] = static_cast<std::uint8_t>(static_cast<std::uint32_t>(i) * 2654435761U >> 24);
  }
  return pixels;
}

struct made_images {
  std::vector<std::uint8_t> pixels;
  image_view view;
  made_images(const configuration& network, std::size_t count)
      : pixels(made_pixels(count * network.channels * network.size * network.size)),
        view{pixels, count, network.channels, network.size, network.size} {}
};

float largest_difference(const row_major_matrix& a, const row_major_matrix& b) {
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.cols() == b.cols());
  REQUIRE(a.allFinite());
  REQUIRE(b.allFinite());
  return (a - b).cwiseAbs().maxCoeff();
}

// The same network with every weight a little different: a member.
checkpoint changed(const checkpoint& source, std::uint32_t member) {
  checkpoint made(source.file(), source.metadata());
  for (const tensor& current : source.tensors()) {
    std::vector<float> values = current.to_floats();
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] += support::integer_weight(1000000 * member + static_cast<std::uint32_t>(i), 0.02F);
    }
    made.add(tensor::from_floats(current.name(), current.shape(), std::move(values), current.file()));
  }
  return made;
}

TEST_CASE("logits are those of timm", "[nn]") {
  for (const configuration& network : configurations) {
    const auto vit = load_vit(load(network.name));
    const made_images images(network, 2);
    const tensor reference = pluria::load_npy(folder + network.name + ".npy");
    REQUIRE(reference.shape() == tensor_shape{2, network.classes});
    const std::vector<float> values = reference.to_floats();
    const Eigen::Map<const row_major_matrix> expected(values.data(), 2, static_cast<Eigen::Index>(network.classes));
    const row_major_matrix logits = vit.logits(images.view);
    CAPTURE(network.name);
    CHECK(largest_difference(logits, expected) <= 1e-4F);  // about 1e-6 was measured
    CHECK(expected.cwiseAbs().maxCoeff() > 0.5F);          // the references say something
    CHECK((expected.row(0) - expected.row(1)).cwiseAbs().maxCoeff() > 0.01F);
  }
}

TEST_CASE("sizes are read from the shapes", "[nn]") {
  for (const configuration& network : configurations) {
    const auto vit = load_vit(load(network.name));
    CAPTURE(network.name);
    CHECK(vit.members() == 1);
    CHECK(vit.configuration().channels == network.channels);
    CHECK(vit.configuration().depth == network.depth);
    CHECK(vit.configuration().width == network.width);
    CHECK(vit.configuration().heads == network.heads);
    CHECK(vit.configuration().patch == network.patch);
    CHECK(vit.configuration().patches == network.patches);
    CHECK(vit.configuration().tokens() == network.tokens);
    CHECK(vit.configuration().classes == network.classes);
    CHECK(vit.batch() >= 1);
  }
  // 2 blocks of 50 tokens: qkv, projection and the two layers of the perceptron, scores and weighted sums; patches of
  // 16 pixels; 10 classes.
  const double block = 50.0 * (3 + 1 + 4 + 4) * 32 * 32 + 2 * 50.0 * 50.0 * 32;
  CHECK(load_vit(load("token")).flops_per_image() == 2 * (2 * block + 49.0 * 16 * 32 + 32 * 10));
}

TEST_CASE("the norms' epsilon is 1e-6", "[nn]") {
  // All branches are zero: the class token alone, of a variance like epsilon's, goes through the last norm to the head.
  const checkpoint source = load("token");
  checkpoint made(source.file(), source.metadata());
  for (const tensor& current : source.tensors()) {
    std::vector<float> values = current.to_floats();
    const bool is_head = current.name().starts_with("head");
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float token = support::integer_weight(static_cast<std::uint32_t>(i), 0.003F);
      values[i] = current.name() == "cls_token" ? token
                  : is_head                     ? values[i]
                                                : (current.name() == "norm.weight" ? 1.0F : 0.0F);
    }
    made.add(tensor::from_floats(current.name(), current.shape(), std::move(values), current.file()));
  }
  const std::vector<float> token = made["cls_token"].to_floats();
  const std::vector<float> weights = made["head.weight"].to_floats();
  const std::vector<float> bias = made["head.bias"].to_floats();
  double mean = 0;
  double square = 0;
  for (const float value : token) {
    mean += static_cast<double>(value) / 32;
    square += static_cast<double>(value) * static_cast<double>(value) / 32;
  }
  const double deviation = std::sqrt(square - mean * mean + 1e-6);
  const made_images images(configurations[0], 1);
  const row_major_matrix logits = load_vit(made).logits(images.view);
  for (std::size_t j = 0; j < 10; ++j) {
    auto sum = static_cast<double>(bias[j]);
    for (std::size_t i = 0; i < 32; ++i) {
      sum += static_cast<double>(weights[32 * j + i]) * (static_cast<double>(token[i]) - mean) / deviation;
    }
    CHECK(std::abs(static_cast<double>(logits(0, static_cast<Eigen::Index>(j))) - sum) <= 1e-4);
  }
}

TEST_CASE("any number of threads gives the same bits", "[nn]") {
  for (const configuration& network : {configurations[0], configurations[1], configurations[2]}) {
    const auto vit = load_vit(load(network.name));
    const made_images images(network, 3 * vit.batch() + 1);
    const row_major_matrix expected = vit.logits(images.view, 1);
    CAPTURE(network.name);
    for (const int threads : {2, 3, 0}) {
      CHECK(vit.logits(images.view, threads) == expected);
    }
  }
}

TEST_CASE("an image's logits do not depend on the others beyond rounding", "[nn]") {
  const configuration& network = configurations[2];
  const auto vit = load_vit(load(network.name));
  const made_images images(network, vit.batch() + 3);
  const row_major_matrix all = vit.logits(images.view);
  for (std::size_t i = 0; i < images.view.count; ++i) {
    const row_major_matrix alone = vit.logits(images.view.part(i, 1));
    CHECK(largest_difference(alone, all.row(static_cast<Eigen::Index>(i))) <= 1e-4F);
  }
  CHECK(vit.logits(images.view.part(0, 0)).rows() == 0);
}

TEST_CASE("members in one network give what they give alone", "[nn]") {
  for (const configuration& network : configurations) {
    const checkpoint source = load(network.name);
    const std::vector<checkpoint> members{source, changed(source, 1), changed(source, 2)};
    const auto together = load_vit(members);
    CHECK(together.members() == 3);
    const made_images images(network, network.size == 224 ? 2 : together.batch() + 1);
    const row_major_matrix logits = together.logits(images.view);
    const auto count = static_cast<Eigen::Index>(images.view.count);
    REQUIRE(logits.rows() == 3 * count);
    for (std::size_t m = 0; m < 3; ++m) {
      const row_major_matrix alone = load_vit(members[m]).logits(images.view);
      CAPTURE(network.name, m);
      // Batches of one member are larger, and Eigen sums in an order that depends on size and place: the tolerance is
      // that of the comparison with timm.
      CHECK(largest_difference(logits.middleRows(static_cast<Eigen::Index>(m) * count, count), alone) <= 1e-4F);
    }
    CHECK(largest_difference(logits.topRows(count), logits.bottomRows(count)) > 0.01F);  // other members are others
  }
}

TEST_CASE("members in one batch, of a width that fills cache lines, give the same bits as alone", "[nn]") {
  const configuration& network = configurations[0];
  const checkpoint source = load(network.name);
  const std::vector<checkpoint> members{source, changed(source, 1), changed(source, 2)};
  const auto together = load_vit(members);
  const made_images images(network, together.batch());
  const row_major_matrix logits = together.logits(images.view);
  const auto count = static_cast<Eigen::Index>(images.view.count);
  for (std::size_t m = 0; m < 3; ++m) {
    CHECK(load_vit(members[m]).logits(images.view) == logits.middleRows(static_cast<Eigen::Index>(m) * count, count));
  }
}

// The checkpoint with one tensor changed, left out (nothing is given back) or, under a new name, added.
checkpoint edited(const checkpoint& source, const std::string& name,
                  const std::function<std::optional<tensor>(const tensor*)>& edit) {
  checkpoint made("net.safetensors", source.metadata());
  bool met = false;
  for (const tensor& current : source.tensors()) {
    const auto kept = current.name() == name ? edit(&current) : std::optional(current);
    met = met || current.name() == name;
    if (kept) {
      made.add(tensor(kept->name(), kept->type(), kept->shape(), kept->bytes(), std::make_shared<const tensor>(*kept),
                      "net.safetensors"));
    }
  }
  if (!met) {
    made.add(*edit(nullptr));
  }
  return made;
}

checkpoint without(const std::string& name) {
  return edited(load("token"), name, [](const tensor*) { return std::nullopt; });
}

checkpoint with_shape(const std::string& name, const tensor_shape& shape) {
  return edited(load("token"), name, [&](const tensor*) {
    return tensor::from_floats(name, shape, std::vector<float>(pluria::element_count(shape, name)), "net.safetensors");
  });
}

std::string refusal(const checkpoint& weights, const pluria::vit_options& options = {}) {
  return support::message_of<pluria::bad_input>([&] { load_vit(weights, options); });
}

TEST_CASE("a missing tensor is named", "[nn]") {
  for (const char* name :
       {"patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed", "norm.weight", "norm.bias", "head.weight",
        "head.bias", "blocks.0.norm1.weight", "blocks.0.norm1.bias", "blocks.1.norm2.weight",
        "blocks.0.attn.qkv.weight", "blocks.1.attn.proj.bias", "blocks.0.mlp.fc1.weight", "blocks.1.mlp.fc2.bias"}) {
    CHECK(refusal(without(name)) == "net.safetensors: tensor \"" + std::string(name) + "\": expected, not found");
  }
  CHECK(refusal(checkpoint("empty.safetensors", {{"mean", "0"}, {"std", "1"}})) ==
        "empty.safetensors: tensor \"patch_embed.proj.weight\": expected, not found");
}

TEST_CASE("a misshapen tensor is named with both shapes", "[nn]") {
  const std::map<std::string, std::pair<tensor_shape, std::string>> cases{
      {"patch_embed.proj.weight", {{32, 16}, "shape [width, channels, patch, patch], found [32, 16]"}},
      {"pos_embed", {{1, 50, 31}, "shape [1, 50, 32], found [1, 50, 31]"}},
      {"cls_token", {{1, 1, 31}, "shape [1, 1, 32], found [1, 1, 31]"}},
      {"norm.weight", {{31}, "shape [32], found [31]"}},
      {"blocks.0.attn.qkv.weight", {{95, 32}, "shape [96, 32], found [95, 32]"}},
      {"blocks.1.attn.proj.weight", {{32}, "shape [32, 32], found [32]"}},
      {"blocks.1.attn.proj.bias", {{33}, "shape [32], found [33]"}},
      {"blocks.0.mlp.fc1.weight", {{128, 31}, "shape [128, 32], found [128, 31]"}},
      {"blocks.0.mlp.fc1.bias", {{127}, "shape [128], found [127]"}},
      {"blocks.0.mlp.fc2.weight", {{32, 127}, "shape [32, 128], found [32, 127]"}},
      {"head.weight", {{10, 31}, "shape [10, 32], found [10, 31]"}},
      {"head.bias", {{9}, "shape [10], found [9]"}},
  };
  for (const auto& [name, change] : cases) {
    const std::string expected = "net.safetensors: tensor \"" + name + "\": expected " + change.second;
    CHECK(refusal(with_shape(name, change.first)) == expected);
  }
  CHECK(refusal(with_shape("patch_embed.proj.weight", {32, 1, 4, 3})) ==
        "net.safetensors: tensor \"patch_embed.proj.weight\": expected shape [32, 1, 4, 4], "
        "found [32, 1, 4, 3]");
  CHECK(refusal(with_shape("head.weight", {10})) ==
        "net.safetensors: tensor \"head.weight\": expected shape [classes, 32], found [10]");
  CHECK(refusal(with_shape("patch_embed.proj.weight", {32, 3, 4, 4})) ==
        "net.safetensors: tensor \"patch_embed.proj.weight\": expected a finite mean and a finite, positive std for "
        "each of its 3 "
        "channels, found 1 means, 1 std");
}

TEST_CASE("sizes of zero are refused, not divided by", "[nn]") {
  CHECK(refusal(with_shape("patch_embed.proj.weight", {0, 1, 4, 4})) ==
        "net.safetensors: tensor \"patch_embed.proj.weight\": expected shape [width, channels, patch, patch], "
        "found [0, 1, 4, 4]");
  CHECK(refusal(with_shape("patch_embed.proj.weight", {32, 1, 0, 0})) ==
        "net.safetensors: tensor \"patch_embed.proj.weight\": expected shape [width, channels, patch, patch], "
        "found [32, 1, 0, 0]");
  CHECK(refusal(with_shape("pos_embed", {1, 0, 32})) ==
        "net.safetensors: tensor \"pos_embed\": expected shape [1, tokens, 32], found [1, 0, 32]");
  CHECK(refusal(with_shape("head.weight", {0, 32})) ==
        "net.safetensors: tensor \"head.weight\": expected shape [classes, 32], found [0, 32]");
}

TEST_CASE("one tensor of a block makes the others expected", "[nn]") {
  CHECK(refusal(with_shape("blocks.2.mlp.fc1.weight", {32})) ==
        "net.safetensors: tensor \"blocks.2.attn.proj.bias\": expected, not found");
}

TEST_CASE("a tensor that the network does not use is refused by name", "[nn]") {
  for (const char* name : {"reg_token", "blocks.0.ls1.gamma", "fc_norm.bias", "head"}) {
    CHECK(refusal(with_shape(name, {32})) == "net.safetensors: tensor \"" + std::string(name) +
                                                 "\": not a tensor of the Vision Transformers that this library runs");
  }
}

checkpoint with_metadata(const std::string& key, const std::optional<std::string>& value) {
  checkpoint made = load("token");
  made.metadata().erase(key);
  if (value) {
    made.metadata()[key] = *value;
  }
  return made;
}

TEST_CASE("metadata that is missing or no number is refused with its text", "[nn]") {
  const std::string file = load("token").file();
  for (const std::string key : {"mean", "std"}) {
    CHECK(refusal(with_metadata(key, std::nullopt)) ==
          file + ": metadata \"" + key + "\": expected, not found; give it as an argument");
    for (const std::string text : {"", "grey", "0.5;0.5", "0.5,", ",0.5", "0.5 0.5", "inf", "nan", "1e999"}) {
      CHECK(refusal(with_metadata(key, text)) ==
            file + ": metadata \"" + key + "\": expected comma-separated numbers, found \"" + text + "\"");
    }
  }
  for (const std::string text : {"", "four", "0", "-1", "3.5", "2,2", "4 ", "1e30", "nan"}) {
    CHECK(refusal(with_metadata("num_heads", text)) ==
          file + ": metadata \"num_heads\": expected an integer from 1 on, found \"" + text + "\"");
  }
  CHECK(refusal(with_metadata("mean", "0.1,0.2")) == file +
                                                         ": tensor \"patch_embed.proj.weight\": expected a finite mean "
                                                         "and a finite, positive std for each of its 1 channels, "
                                                         "found 2 means, 1 std");
  CHECK(refusal(with_metadata("std", "0")).find("positive std") != std::string::npos);
  CHECK(refusal(with_metadata("std", "-0.5")).find("positive std") != std::string::npos);
}

TEST_CASE("heads must divide the width, whoever gives them", "[nn]") {
  const std::string file = load("token").file();
  CHECK(refusal(with_metadata("num_heads", "3")) ==
        file + ": number of heads (metadata \"num_heads\"): expected a divisor of the width 32, found 3");
  CHECK(refusal(load("token"), {.heads = 5, .mean = {}, .std = {}}) ==
        file + ": number of heads (the argument): expected a divisor of the width 32, found 5");
  CHECK(refusal(load("token"), {.heads = 0, .mean = {}, .std = {}}) ==
        file + ": number of heads (the argument): expected a divisor of the width 32, found 0");
  CHECK(refusal(with_metadata("num_heads", std::nullopt)) ==
        file + ": number of heads (width / 64): expected a divisor of the width 32, found 0");
}

TEST_CASE("arguments take the place of metadata", "[nn]") {
  const configuration& network = configurations[0];
  const made_images images(network, 2);
  checkpoint bare("bare.safetensors");
  for (const tensor& current : load(network.name).tensors()) {
    bare.add(current);
  }
  const row_major_matrix expected = load_vit(load(network.name)).logits(images.view);
  CHECK(load_vit(bare, {.heads = 4, .mean = {0.286F}, .std = {0.353F}}).logits(images.view) == expected);
  const auto other_heads = load_vit(load(network.name), {.heads = 2, .mean = {}, .std = {}});
  CHECK(other_heads.configuration().heads == 2);
  CHECK(largest_difference(other_heads.logits(images.view), expected) > 1e-3F);
  const auto other_mean = load_vit(load(network.name), {.heads = {}, .mean = {0.5F}, .std = {}});
  CHECK(largest_difference(other_mean.logits(images.view), expected) > 1e-3F);
}

TEST_CASE("images of other sizes or channels are refused", "[nn]") {
  const auto vit = load_vit(load("token"));
  for (const auto& [channels, size] : {std::pair<std::size_t, std::size_t>{1, 32}, {1, 27}, {3, 28}}) {
    const std::vector<std::uint8_t> pixels(channels * size * size);
    CHECK_THROWS_AS(vit.logits({pixels, 1, channels, size, size}), pluria::precondition_error);
  }
  CHECK_THROWS_AS(load_vit(std::span<const checkpoint>{}), pluria::precondition_error);
}

}  // namespace
