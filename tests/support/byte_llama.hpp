// SPDX-License-Identifier: MIT
#pragma once
// A small LLaMA out of integers, in the files that transformers would write: config.json and model.safetensors. Its
// weights are large enough for distributions far from uniform, and for members that differ.

#include <pluria/io/replaced_file.hpp>
#include <pluria/io/safetensors.hpp>
#include <pluria/nn/llama_configuration.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <support/integer_weights.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace support {

struct byte_llama {
  std::size_t vocabulary = 256;
  std::size_t width = 32;
  std::size_t hidden = 48;
  std::size_t layers = 2;
  std::size_t heads = 4;
  std::size_t key_value_heads = 2;
  std::size_t positions = 64;
  bool tied_embeddings = false;
  std::vector<std::int32_t> end_tokens = {};
};

/// config.json of transformers 4.
inline nlohmann::json configuration_of(const byte_llama& made) {
  nlohmann::json fields{{"architectures", {"LlamaForCausalLM"}},
                        {"model_type", "llama"},
                        {"hidden_act", "silu"},
                        {"vocab_size", made.vocabulary},
                        {"hidden_size", made.width},
                        {"intermediate_size", made.hidden},
                        {"num_hidden_layers", made.layers},
                        {"num_attention_heads", made.heads},
                        {"num_key_value_heads", made.key_value_heads},
                        {"max_position_embeddings", made.positions},
                        {"rms_norm_eps", 1e-5},
                        {"rope_theta", 10000.0},
                        {"tie_word_embeddings", made.tied_embeddings}};
  if (!made.end_tokens.empty()) {
    fields["eos_token_id"] = made.end_tokens;
  }
  return fields;
}

/// Writes both files into the folder, which is made.
inline void write_byte_llama(const std::filesystem::path& folder, const byte_llama& made = {}) {
  std::filesystem::create_directories(folder);
  pluria::write_file(folder / "config.json", configuration_of(made).dump(1) + "\n");
  pluria::checkpoint weights("", {{"format", "pt"}});
  const auto add = [&](const std::string& name, std::size_t rows, std::size_t columns, float scale) {
    // Every tensor has other integers.
    const auto first = static_cast<std::uint32_t>(weights.tensors().size()) << 20;
    weights.add(pluria::tensor::from_floats(name, {rows, columns}, integer_weights(rows * columns, scale, first)));
  };
  const auto add_norm = [&](const std::string& name) {
    std::vector<float> values =
        integer_weights(made.width, 0.25F, static_cast<std::uint32_t>(weights.tensors().size()) << 20);
    for (float& value : values) {
      value += 1.0F;
    }
    weights.add(pluria::tensor::from_floats(name, {made.width}, std::move(values)));
  };
  // The standard deviation of an integer weight is a third of its scale: products keep theirs.
  const auto scale_of = [](std::size_t columns) { return 3.0F / std::sqrt(static_cast<float>(columns)); };
  const std::size_t head_width = made.width / made.heads;
  const std::size_t keys = made.key_value_heads * head_width;
  add("model.embed_tokens.weight", made.vocabulary, made.width, 1.5F);
  for (std::size_t n = 0; n < made.layers; ++n) {
    const std::string prefix = "model.layers." + std::to_string(n) + ".";
    add_norm(prefix + "input_layernorm.weight");
    add(prefix + "self_attn.q_proj.weight", made.width, made.width, scale_of(made.width));
    add(prefix + "self_attn.k_proj.weight", keys, made.width, scale_of(made.width));
    add(prefix + "self_attn.v_proj.weight", keys, made.width, scale_of(made.width));
    add(prefix + "self_attn.o_proj.weight", made.width, made.width, scale_of(made.width));
    add_norm(prefix + "post_attention_layernorm.weight");
    add(prefix + "mlp.gate_proj.weight", made.hidden, made.width, scale_of(made.width));
    add(prefix + "mlp.up_proj.weight", made.hidden, made.width, scale_of(made.width));
    add(prefix + "mlp.down_proj.weight", made.width, made.hidden, scale_of(made.hidden));
  }
  add_norm("model.norm.weight");
  if (!made.tied_embeddings) {
    add("lm_head.weight", made.vocabulary, made.width, 1.5F);
  }
  pluria::save_safetensors(weights, folder / "model.safetensors");
}

}  // namespace support
