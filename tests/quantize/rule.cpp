// SPDX-License-Identifier: MIT

#include <pluria/quantize/rule.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using shape = std::vector<std::size_t>;

// What stands for a quantizer: a rule knows nothing of it.
struct width {
  int bits = 0;
  friend bool operator==(const width&, const width&) = default;
};
struct narrow {
  operator width() const { return {4}; }  // NOLINT(google-explicit-constructor): converts as a quantizer does
};
using rule = pluria::basic_rule<width>;

TEST_CASE("matrices and convolutions of common checkpoints are quantized by default", "[quantize]") {
  for (const char* name :
       {// timm
        "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.11.attn.proj.weight", "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.weight", "head.weight", "layer1.0.conv1.weight", "fc.weight",
        // transformers
        "model.layers.0.self_attn.q_proj.weight", "model.layers.31.mlp.down_proj.weight", "lm_head.weight",
        "bert.encoder.layer.0.attention.self.query.weight", "transformer.h.0.attn.c_attn.weight",
        "encoder.block.0.layer.0.SelfAttention.q.weight", "vision_model.embeddings.patch_embedding.weight",
        "vit.embeddings.patch_embeddings.projection.weight",
        // GGUF
        "blk.0.attn_q.weight", "blk.0.ffn_down.weight", "output.weight",
        // Ends alike, but is no embedding.
        "xembed_tokens.weight", "notshared.weight", "newte.weight"}) {
    CAPTURE(name);
    CHECK(pluria::quantized_by_default(name, shape{8, 16}));
    CHECK(pluria::quantized_by_default(name, shape{8, 3, 4, 4}));
    CHECK_FALSE(pluria::quantized_by_default(name, shape{8}));
    CHECK_FALSE(pluria::quantized_by_default(name, shape{}));
  }
}

TEST_CASE("embeddings of tokens and of positions are kept by default", "[quantize]") {
  for (const char* name :
       {"model.embed_tokens.weight", "embed_tokens.weight", "bert.embeddings.word_embeddings.weight",
        "transformer.wte.weight", "wte.weight", "shared.weight", "tok_embeddings.weight", "token_embd.weight",
        "text.token_embedding.weight", "text_model.embeddings.token_embedding.weight",
        "bert.embeddings.position_embeddings.weight", "transformer.wpe.weight", "wpe.weight", "position_embd.weight",
        "model.decoder.embed_positions.weight", "vision_model.embeddings.position_embedding.weight"}) {
    CAPTURE(name);
    CHECK_FALSE(pluria::quantized_by_default(name, shape{100, 16}));
  }
}

TEST_CASE("what is not called a weight is kept by default", "[quantize]") {
  for (const char* name : {"cls_token", "pos_embed", "blocks.0.attn.qkv.bias", "weight", "head.weights",
                           "head.weight_scale", "relative_position_bias_table", ""}) {
    CAPTURE(name);
    CHECK_FALSE(pluria::quantized_by_default(name, shape{1, 50, 64}));
  }
}

TEST_CASE("a single quantizer is the rule that uses it for all that is quantized by default", "[quantize]") {
  const rule all = width{5};
  CHECK(all("head.weight", shape{10, 64}) == width{5});
  CHECK(all("head.bias", shape{10}) == std::nullopt);
  CHECK(all("pos_embed", shape{1, 50, 64}) == std::nullopt);
  const rule converted = narrow{};
  CHECK(converted("head.weight", shape{10, 64}) == width{4});
}

TEST_CASE("a rule may choose by name and by shape, and keep", "[quantize]") {
  const rule mixed([](std::string_view name, std::span<const std::size_t> extents) -> rule::decision {
    if (name.starts_with("head")) {
      return std::nullopt;
    }
    return extents.size() == 4 ? width{8} : width{4};
  });
  CHECK(mixed("head.weight", shape{10, 64}) == std::nullopt);
  CHECK(mixed("patch_embed.proj.weight", shape{64, 1, 4, 4}) == width{8});
  CHECK(mixed("blocks.0.mlp.fc1.weight", shape{256, 64}) == width{4});
  CHECK(mixed("pos_embed", shape{1, 50, 64}) == width{4});  // a rule overrules the default
}

}  // namespace
