// SPDX-License-Identifier: MIT

#include <pluria/nn/vit_configuration.hpp>
#include <support/catch.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

using pluria::checkpoint;
using pluria::read_vit_configuration;
using pluria::tensor;
using pluria::tensor_shape;
using pluria::vit_configuration;
using pluria::vit_options;
using pluria::vit_tensors;

// A network with all sizes different: heads of 4, images of 2 x 2 patches.
vit_configuration small() {
  vit_configuration c;
  c.width = 12;
  c.channels = 2;
  c.patch = 3;
  c.patches = 4;
  c.depth = 2;
  c.heads = 3;
  c.hidden = 20;
  c.classes = 5;
  c.class_token = true;
  c.positions_cover_class = true;
  c.qkv_bias = true;
  c.mean = {0.5F, 0.25F};
  c.std = {0.125F, 2.0F};
  return c;
}

using shapes = std::map<std::string, tensor_shape>;

checkpoint made_of(const shapes& tensors, const std::map<std::string, std::string>& metadata = {
                                              {"num_heads", "3"}, {"mean", "0.5,0.25"}, {"std", "0.125,2"}}) {
  checkpoint made("net.safetensors", metadata);
  for (const auto& [name, shape] : tensors) {
    std::vector<float> values(pluria::element_count(shape, name));
    made.add(tensor::from_floats(name, shape, std::move(values), "net.safetensors"));
  }
  return made;
}

checkpoint with_tensor(const std::string& name, const tensor_shape& shape) {
  shapes tensors = vit_tensors(small());
  tensors[name] = shape;
  return made_of(tensors);
}

checkpoint with_metadata(const std::string& key, const std::string& value) {
  std::map<std::string, std::string> metadata = made_of({}).metadata();
  metadata[key] = value;
  return made_of(vit_tensors(small()), metadata);
}

bool same(const vit_configuration& a, const vit_configuration& b) {
  return a.width == b.width && a.channels == b.channels && a.patch == b.patch && a.patches == b.patches &&
         a.depth == b.depth && a.heads == b.heads && a.hidden == b.hidden && a.classes == b.classes &&
         a.class_token == b.class_token && a.positions_cover_class == b.positions_cover_class &&
         a.qkv_bias == b.qkv_bias && a.fc_norm == b.fc_norm && a.mean == b.mean && a.std == b.std;
}

std::string refusal(const checkpoint& source, const vit_options& options = {}) {
  return support::message_of<pluria::bad_input>([&] { read_vit_configuration(source, options); });
}

std::string where(const std::string& name) {
  return "net.safetensors: tensor \"" + name + "\": ";
}

std::size_t parameters(std::size_t width, std::size_t depth, std::size_t patch) {
  vit_configuration c;
  c.width = width;
  c.channels = 3;
  c.patch = patch;
  c.patches = 224 / patch * (224 / patch);
  c.depth = depth;
  c.hidden = 4 * width;
  c.classes = 1000;
  c.class_token = c.positions_cover_class = c.qkv_bias = true;
  std::size_t count = 0;
  for (const auto& [name, shape] : vit_tensors(c)) {
    count += pluria::element_count(shape, name);
  }
  return count;
}

TEST_CASE("the tensors of a small network are those of timm", "[nn]") {
  vit_configuration c = small();
  c.depth = 1;
  const shapes expected{
      {"cls_token", {1, 1, 12}},
      {"pos_embed", {1, 5, 12}},
      {"patch_embed.proj.weight", {12, 2, 3, 3}},
      {"patch_embed.proj.bias", {12}},
      {"blocks.0.norm1.weight", {12}},
      {"blocks.0.norm1.bias", {12}},
      {"blocks.0.attn.qkv.weight", {36, 12}},
      {"blocks.0.attn.qkv.bias", {36}},
      {"blocks.0.attn.proj.weight", {12, 12}},
      {"blocks.0.attn.proj.bias", {12}},
      {"blocks.0.norm2.weight", {12}},
      {"blocks.0.norm2.bias", {12}},
      {"blocks.0.mlp.fc1.weight", {20, 12}},
      {"blocks.0.mlp.fc1.bias", {20}},
      {"blocks.0.mlp.fc2.weight", {12, 20}},
      {"blocks.0.mlp.fc2.bias", {12}},
      {"norm.weight", {12}},
      {"norm.bias", {12}},
      {"head.weight", {5, 12}},
      {"head.bias", {5}},
  };
  CHECK(vit_tensors(c) == expected);

  shapes bare = expected;
  bare.erase("cls_token");
  bare.erase("blocks.0.attn.qkv.bias");
  bare["pos_embed"] = {1, 4, 12};
  for (const char* part : {".weight", ".bias"}) {
    bare["fc_norm" + std::string(part)] = {12};
    bare.erase("norm" + std::string(part));
  }
  c.class_token = c.positions_cover_class = c.qkv_bias = false;
  c.fc_norm = true;
  CHECK(vit_tensors(c) == bare);
}

TEST_CASE("networks have as many parameters as torchvision counts", "[nn]") {
  CHECK(parameters(768, 12, 16) == 86'567'656);
  CHECK(parameters(768, 12, 32) == 88'224'232);
  CHECK(parameters(1024, 24, 16) == 304'326'632);
  CHECK(parameters(1024, 24, 32) == 306'535'400);
}

TEST_CASE("a network's tensors say what it is, in all its variants", "[nn]") {
  for (unsigned variant = 0; variant < 16; ++variant) {
    vit_configuration c = small();
    c.class_token = (variant & 1U) != 0;
    c.positions_cover_class = c.class_token && (variant & 2U) != 0;
    c.qkv_bias = (variant & 4U) != 0;
    c.fc_norm = (variant & 8U) != 0;
    for (const std::size_t side : {1U, 2U, 7U, 14U}) {
      c.patches = side * side;
      for (const std::size_t depth : {1U, 2U, 12U}) {
        c.depth = depth;
        CAPTURE(variant, side, depth);
        CHECK(same(read_vit_configuration(made_of(vit_tensors(c))), c));
      }
    }
  }
}

TEST_CASE("tokens are the patches and the class token, where there is one", "[nn]") {
  vit_configuration c = small();
  CHECK(c.tokens() == 5);
  CHECK_FALSE(c.average_pooling());
  c.fc_norm = true;
  CHECK(c.tokens() == 5);
  CHECK(c.average_pooling());
  c.class_token = false;
  CHECK(c.tokens() == 4);
  CHECK(c.average_pooling());
  c.fc_norm = false;
  CHECK(c.average_pooling());
}

TEST_CASE("squares are told from other numbers, also beyond a double's digits", "[nn]") {
  std::size_t root = 0;
  std::size_t wrong = 0;
  for (std::size_t number = 0; number < 10'000; ++number) {
    while ((root + 1) * (root + 1) <= number) {
      ++root;
    }
    wrong += pluria::detail::is_square(number) == (root * root == number) ? 0U : 1U;
  }
  CHECK(wrong == 0);
  for (const std::size_t large : {(std::size_t{1} << 27) + 1, (std::size_t{1} << 31) - 1, (std::size_t{1} << 32) - 1}) {
    CHECK(pluria::detail::is_square(large * large));
    CHECK_FALSE(pluria::detail::is_square(large * large - 1));
    CHECK_FALSE(pluria::detail::is_square(large * large + 1));
  }
  CHECK_FALSE(pluria::detail::is_square(~std::size_t{0}));
}

TEST_CASE("every tensor of the network must be there, in its shape", "[nn]") {
  const shapes all = vit_tensors(small());
  // Without them, the network is another one, which has no tensor less.
  const std::vector<std::string> optional{"cls_token", "blocks.0.attn.qkv.bias"};
  for (const auto& [name, shape] : all) {
    CAPTURE(name);
    shapes fewer = all;
    fewer.erase(name);
    if (std::find(optional.begin(), optional.end(), name) == optional.end()) {
      CHECK(refusal(made_of(fewer)) == where(name) + "expected, not found");
    }
    for (const tensor_shape& other : {tensor_shape{}, {7}, {1, 7, 12, 1, 1}}) {
      CHECK(refusal(with_tensor(name, other)).starts_with(where(name) + "expected shape ["));
      CHECK(refusal(with_tensor(name, other)).ends_with(", found " + pluria::to_string(other)));
    }
  }
}

TEST_CASE("what makes the variants of a network cannot be in half of it", "[nn]") {
  shapes tensors = vit_tensors(small());
  tensors.erase("blocks.0.attn.qkv.bias");
  CHECK(refusal(made_of(tensors)) ==
        where("blocks.1.attn.qkv.bias") + "not a tensor of the Vision Transformers that this library runs");
  tensors = vit_tensors(small());
  tensors.erase("blocks.1.attn.qkv.bias");
  CHECK(refusal(made_of(tensors)) == where("blocks.1.attn.qkv.bias") + "expected, not found");
  CHECK(refusal(with_tensor("fc_norm.weight", {12})) == where("fc_norm.bias") + "expected, not found");
  CHECK(refusal(with_tensor("fc_norm.bias", {12})) ==
        where("fc_norm.bias") + "not a tensor of the Vision Transformers that this library runs");
  // Of 5 positions one is the class token's: without it, all are patches'.
  tensors = vit_tensors(small());
  tensors.erase("cls_token");
  CHECK(read_vit_configuration(made_of(tensors)).patches == 5);
}

TEST_CASE("tensors of other networks are refused by name", "[nn]") {
  for (const std::string name :
       {"blocks", "blocks.", "blocks.0", "blocks.3.norm1.weight", "blocks.20.norm1.weight", "blocks.00.norm1.weight",
        "blocks.0.norm1.weight.", "model.head.weight", "dist_token", "norm", "", "head.weight "}) {
    CHECK(refusal(with_tensor(name, {12})) ==
          where(name) + "not a tensor of the Vision Transformers that this library runs");
  }
}

TEST_CASE("another member's tensors are held against the first one's network", "[nn]") {
  const vit_configuration c = small();
  CHECK_NOTHROW(check_vit_tensors(made_of(vit_tensors(c), {}), c));
  vit_configuration deeper = c;
  deeper.depth = 3;
  CHECK(support::message_of<pluria::bad_input>([&] { check_vit_tensors(made_of(vit_tensors(c)), deeper); }) ==
        where("blocks.2.attn.proj.bias") + "expected, not found");
  CHECK(support::message_of<pluria::bad_input>([&] { check_vit_tensors(made_of(vit_tensors(deeper)), c); }) ==
        where("blocks.2.attn.proj.bias") + "not a tensor of the Vision Transformers that this library runs");
  vit_configuration wider = c;
  wider.hidden = 21;
  CHECK(support::message_of<pluria::bad_input>([&] { check_vit_tensors(made_of(vit_tensors(c)), wider); }) ==
        where("blocks.0.mlp.fc1.bias") + "expected shape [21], found [20]");
}

TEST_CASE("heads come from the argument, the metadata, or widths of 64", "[nn]") {
  vit_configuration c = small();
  c.width = 192;
  std::map<std::string, std::string> metadata = made_of({}).metadata();
  const auto heads = [&](const vit_options& options) {
    return read_vit_configuration(made_of(vit_tensors(c), metadata), options).heads;
  };
  CHECK(heads({}) == 3);
  metadata["num_heads"] = "12";
  CHECK(heads({}) == 12);
  CHECK(heads({.heads = 6, .mean = {}, .std = {}}) == 6);
  metadata["num_heads"] = "many";
  CHECK(heads({.heads = 1, .mean = {}, .std = {}}) == 1);
  metadata.erase("num_heads");
  CHECK(heads({}) == 3);
  CHECK(heads({.heads = 192, .mean = {}, .std = {}}) == 192);
  c.width = 200;
  CHECK(refusal(made_of(vit_tensors(c), metadata), {.heads = 201, .mean = {}, .std = {}}) ==
        "net.safetensors: number of heads (the argument): expected a divisor of the width 200, found 201");
  CHECK(refusal(made_of(vit_tensors(c), metadata)) ==
        "net.safetensors: number of heads (width / 64): expected a divisor of the width 200, found 3");
}

TEST_CASE("a number of heads is digits up to 64 bits and nothing else", "[nn]") {
  for (const std::string text : {" 3", "3 ", "+3", "0x3", "3.0", "18446744073709551616", "-3"}) {
    CHECK(refusal(with_metadata("num_heads", text)) ==
          "net.safetensors: metadata \"num_heads\": expected an integer from 1 on, found \"" + text + "\"");
  }
  CHECK(refusal(with_metadata("num_heads", "18446744073709551615")) ==
        "net.safetensors: number of heads (metadata \"num_heads\"): expected a divisor of the width 12, found "
        "18446744073709551615");
}

TEST_CASE("numbers in metadata are separated by commas, and blanks may follow", "[nn]") {
  const auto mean = [](const std::string& text) { return read_vit_configuration(with_metadata("mean", text)).mean; };
  CHECK(mean("0.485,0.456") == std::vector<float>{0.485F, 0.456F});
  CHECK(mean("0.485, 0.456") == std::vector<float>{0.485F, 0.456F});
  CHECK(mean(" 1,  2") == std::vector<float>{1.0F, 2.0F});
  CHECK(mean("-1,0") == std::vector<float>{-1.0F, 0.0F});
  CHECK(mean("1e-3,.5") == std::vector<float>{1e-3F, 0.5F});
  for (const char* key : {"mean", "std"}) {
    for (const std::string text : {"1,2,", "1,,2", "1;2", "1 ,2", "[1,2]", "1,2]", "0,inf", "nan,1", "1,1e39",
                                   "1e-60,1", "1,two", "+1,2", "0x1,2", "", " ", "1,2 "}) {
      CHECK(refusal(with_metadata(key, text)) == "net.safetensors: metadata \"" + std::string(key) +
                                                     "\": expected comma-separated numbers, found \"" + text + "\"");
    }
  }
}

TEST_CASE("a zero byte does not end what stands in metadata", "[nn]") {
  for (const std::string& text :
       {std::string("1,2\0", 4), std::string("1,2\0,3", 6), std::string("1,\0", 3), std::string("1\0 2", 4)}) {
    CHECK(refusal(with_metadata("mean", text))
              .starts_with("net.safetensors: metadata \"mean\": expected comma-separated numbers, found \"1"));
  }
  CHECK(refusal(with_metadata("num_heads", std::string("3\0", 2)))
            .starts_with("net.safetensors: metadata \"num_heads\": expected an integer from 1 on, found \"3"));
}

TEST_CASE("every channel has a mean and a positive standard deviation", "[nn]") {
  const std::string expected = where("patch_embed.proj.weight") +
                               "expected a finite mean and a finite, positive std for each of its 2 channels, found ";
  CHECK(refusal(with_metadata("mean", "1")) == expected + "1 means, 2 std");
  CHECK(refusal(with_metadata("std", "1,2,3")) == expected + "2 means, 3 std");
  CHECK(refusal(with_metadata("std", "1,0")) == expected + "mean 0.250000 and std 0.000000 of channel 1");
  CHECK(refusal(with_metadata("std", "-0,1")) == expected + "mean 0.500000 and std -0.000000 of channel 0");
  CHECK(refusal(with_metadata("std", "1,-1")) == expected + "mean 0.250000 and std -1.000000 of channel 1");
  const checkpoint source = made_of(vit_tensors(small()));
  CHECK(refusal(source, {.heads = {}, .mean = {1, 2, 3}, .std = {}}) == expected + "3 means, 2 std");
  CHECK(refusal(source, {.heads = {}, .mean = {}, .std = {1}}) == expected + "2 means, 1 std");
  CHECK(refusal(source, {.heads = {}, .mean = {}, .std = {1, std::numeric_limits<float>::quiet_NaN()}}) ==
        expected + "mean 0.250000 and std nan of channel 1");
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(refusal(source, {.heads = {}, .mean = {infinity, 1}, .std = {1, 1}}) ==
        expected + "mean inf and std 1.000000 of channel 0");
  CHECK(refusal(source, {.heads = {}, .mean = {1, 1}, .std = {1, infinity}}) ==
        expected + "mean 1.000000 and std inf of channel 1");
  CHECK(refusal(source, {.heads = {}, .mean = {1, std::numeric_limits<float>::quiet_NaN()}, .std = {1, 1}}) ==
        expected + "mean nan and std 1.000000 of channel 1");
}

TEST_CASE("metadata are not looked at where there is an argument", "[nn]") {
  const checkpoint source = made_of(vit_tensors(small()), {{"num_heads", ""}, {"mean", "grey"}});
  const vit_configuration c = read_vit_configuration(source, {.heads = 2, .mean = {1, 2}, .std = {3, 4}});
  CHECK(c.heads == 2);
  CHECK(c.mean == std::vector<float>{1, 2});
  CHECK(c.std == std::vector<float>{3, 4});
  CHECK(refusal(source, {.heads = 2, .mean = {1, 2}, .std = {}}) ==
        "net.safetensors: metadata \"std\": expected, not found; give it as an argument");
}

}  // namespace
