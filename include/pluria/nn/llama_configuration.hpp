// SPDX-License-Identifier: MIT
#pragma once
// What config.json says of a network of transformers' LlamaForCausalLM, in the spellings of its versions 4 and 5; and
// the list of the tensors that a checkpoint must then hold, no more and no less. What is left out has the value that
// LlamaConfig gives it.

#include <pluria/core/error.hpp>
#include <pluria/nn/rotary_embedding.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace pluria {

/// A LLaMA's sizes and variants.
struct llama_configuration {
  std::string file;  ///< where it was read, for messages
  std::size_t layers = 0;
  std::size_t width = 0;
  std::size_t hidden = 0;           ///< width between the layers of an MLP
  std::size_t heads = 0;            ///< of queries
  std::size_t key_value_heads = 0;  ///< each serves heads / key_value_heads queries
  std::size_t head_width = 0;
  std::size_t vocabulary = 0;
  std::size_t positions = 0;  ///< the longest sequence: max_position_embeddings
  float norm_epsilon = 0.0F;
  double rope_theta = 0.0;
  std::optional<rotary_scaling> scaling;
  bool tied_embeddings = false;  ///< whether the head is the matrix of the token embeddings
  bool attention_bias = false;   ///< of all four projections
  bool mlp_bias = false;
  std::vector<std::int32_t> end_tokens;  ///< that end a text: none, one or several
};

namespace detail {

// The fields of a JSON object, each checked when it is read; null is no value, as in Python.
class json_fields {
 public:
  json_fields(nlohmann::json object, std::string where) : object_(std::move(object)), where_(std::move(where)) {}

  const nlohmann::json* find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  bad_input mismatch(const char* name, const std::string& expected) const {
    const nlohmann::json* value = find(name);
    const std::string place = where_ + ": \"" + name + '"';
    return bad_input(value == nullptr ? place + ": expected, not found"
                                      : mismatch_message(place, expected, value->dump()));
  }

  // An integer from 1 on; below 2^31, so that products of two do not overflow.
  std::size_t size(const char* name, std::optional<std::size_t> otherwise = std::nullopt) const {
    return value_or(name, otherwise, "an integer from 1 to 2147483647", [](const nlohmann::json& value) {
      return value.is_number_unsigned() && value.get<std::uint64_t>() - 1 < 2147483647U;
    });
  }

  double positive(const char* name, std::optional<double> otherwise = std::nullopt) const {
    return value_or(name, otherwise, "a positive number", [](const nlohmann::json& value) {
      return value.is_number() && value.get<float>() > 0.0F && std::isfinite(value.get<float>());
    });
  }

  bool flag(const char* name) const {
    return value_or(name, std::optional(false), "true or false",
                    [](const nlohmann::json& value) { return value.is_boolean(); });
  }

  std::string text(const char* name, const std::optional<std::string>& otherwise = std::nullopt) const {
    return value_or(name, otherwise, "a text", [](const nlohmann::json& value) { return value.is_string(); });
  }

  json_fields object(const char* name) const {
    const nlohmann::json* value = find(name);
    if (value != nullptr && !value->is_object()) {
      throw mismatch(name, "a JSON object");
    }
    return {value == nullptr ? nlohmann::json::object() : *value, where_ + ": \"" + name + '"'};
  }

 private:
  template <class Value, class Fits>
  Value value_or(const char* name, const std::optional<Value>& otherwise, const char* expected, Fits fits) const {
    const nlohmann::json* value = find(name);
    if (value == nullptr && otherwise) {
      return *otherwise;
    }
    if (value == nullptr || !fits(*value)) {
      throw mismatch(name, expected);
    }
    return value->get<Value>();
  }

  nlohmann::json object_;
  std::string where_;
};

inline json_fields read_json_fields(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) {
    throw bad_input(path.string() + ": cannot be opened: no such file");
  }
  std::ifstream text(path);
  nlohmann::json content = nlohmann::json::parse(text, nullptr, false);
  if (!content.is_object()) {
    throw bad_input(mismatch_message(path.string(), "a JSON object", "something else"));
  }
  return {std::move(content), path.string()};
}

inline void expect_llama(const json_fields& fields) {
  if (fields.text("model_type") != "llama") {
    throw fields.mismatch("model_type", "\"llama\"");
  }
  const nlohmann::json* architectures = fields.find("architectures");
  if (architectures != nullptr && *architectures != nlohmann::json::array({"LlamaForCausalLM"})) {
    throw fields.mismatch("architectures", "[\"LlamaForCausalLM\"]");
  }
  if (fields.text("hidden_act", "silu") != "silu") {
    throw fields.mismatch("hidden_act", "\"silu\"");
  }
}

// Version 4 has "rope_theta" beside "rope_scaling", version 5 both in "rope_parameters"; where a file has scaling
// twice, both versions take "rope_scaling".
inline void read_rotation(const json_fields& fields, llama_configuration& c) {
  const json_fields rotation =
      fields.object(fields.find("rope_scaling") != nullptr ? "rope_scaling" : "rope_parameters");
  c.rope_theta = rotation.positive("rope_theta", fields.positive("rope_theta", 10000.0));
  for (const json_fields& place : {fields, rotation}) {
    if (place.positive("partial_rotary_factor", 1.0) != 1.0) {
      throw place.mismatch("partial_rotary_factor", "1");
    }
  }
  const char* const name = rotation.find("rope_type") != nullptr ? "rope_type" : "type";
  const std::string type = rotation.text(name, "default");
  if (type == "default") {
    return;
  }
  if (type != "llama3") {
    throw rotation.mismatch(name, "\"default\" or \"llama3\"");
  }
  const auto number = [&](const char* field) { return static_cast<float>(rotation.positive(field)); };
  c.scaling = rotary_scaling{.factor = number("factor"),
                             .low_frequency_factor = number("low_freq_factor"),
                             .high_frequency_factor = number("high_freq_factor"),
                             .original_positions = rotation.size("original_max_position_embeddings")};
  if (c.scaling->low_frequency_factor >= c.scaling->high_frequency_factor) {
    throw rotation.mismatch("high_freq_factor", "more than \"low_freq_factor\"");
  }
}

inline std::vector<std::int32_t> read_end_tokens(const json_fields& fields) {
  const nlohmann::json* value = fields.find("eos_token_id");
  if (value == nullptr) {
    return {};
  }
  std::vector<std::int32_t> tokens;
  for (const nlohmann::json& token : value->is_array() ? *value : nlohmann::json::array({*value})) {
    if (!token.is_number_unsigned() || token.get<std::uint64_t>() > 2147483647U) {
      throw fields.mismatch("eos_token_id", "a token id or an array of them");
    }
    tokens.push_back(token.get<std::int32_t>());
  }
  return tokens;
}

// visit(name, shape) for every tensor of a network, in transformers' names.
template <class Visit>
void for_each_llama_tensor(const llama_configuration& c, Visit&& visit) {
  const auto layer = [&](const std::string& name, std::size_t outputs, std::size_t inputs, bool biased) {
    visit(name + ".weight", tensor_shape{outputs, inputs});
    if (biased) {
      visit(name + ".bias", tensor_shape{outputs});
    }
  };
  visit("model.embed_tokens.weight", tensor_shape{c.vocabulary, c.width});
  for (std::size_t n = 0; n < c.layers; ++n) {
    const std::string prefix = "model.layers." + std::to_string(n) + ".";
    visit(prefix + "input_layernorm.weight", tensor_shape{c.width});
    layer(prefix + "self_attn.q_proj", c.heads * c.head_width, c.width, c.attention_bias);
    layer(prefix + "self_attn.k_proj", c.key_value_heads * c.head_width, c.width, c.attention_bias);
    layer(prefix + "self_attn.v_proj", c.key_value_heads * c.head_width, c.width, c.attention_bias);
    layer(prefix + "self_attn.o_proj", c.width, c.heads * c.head_width, c.attention_bias);
    visit(prefix + "post_attention_layernorm.weight", tensor_shape{c.width});
    layer(prefix + "mlp.gate_proj", c.hidden, c.width, c.mlp_bias);
    layer(prefix + "mlp.up_proj", c.hidden, c.width, c.mlp_bias);
    layer(prefix + "mlp.down_proj", c.width, c.hidden, c.mlp_bias);
  }
  visit("model.norm.weight", tensor_shape{c.width});
  if (!c.tied_embeddings) {
    visit("lm_head.weight", tensor_shape{c.vocabulary, c.width});
  }
}

}  // namespace detail

/// Throws bad_input, naming file and tensor, at the first tensor that is missing, misshapen, not of weights, or
/// unknown. Let be are tables of frequencies, which older versions stored, and a head beside embeddings that it is tied
/// to.
inline void check_llama_tensors(const checkpoint& weights, const llama_configuration& configuration) {
  std::set<std::string> expected;
  // Tensor by tensor: the number of layers may be any that a file claims.
  detail::for_each_llama_tensor(configuration, [&](const std::string& name, const tensor_shape& shape) {
    weights.expect(name, shape).expect_weights();
    expected.insert(name);
  });
  for (const tensor& found : weights.tensors()) {
    if (!expected.contains(found.name()) && !found.name().ends_with("rotary_emb.inv_freq") &&
        found.name() != "lm_head.weight") {
      throw bad_input(found.where() + ": not a tensor of the network that " + configuration.file + " describes");
    }
  }
}

/// The network that the config.json of a LlamaForCausalLM describes. Throws bad_input, naming file and field, for
/// another architecture, activation or rotary embedding, and for values that are missing or impossible.
inline llama_configuration read_llama_configuration(const std::filesystem::path& config_json) {
  const detail::json_fields fields = detail::read_json_fields(config_json);
  detail::expect_llama(fields);
  llama_configuration c;
  c.file = config_json.string();
  c.layers = fields.size("num_hidden_layers");
  c.width = fields.size("hidden_size");
  c.hidden = fields.size("intermediate_size");
  c.heads = fields.size("num_attention_heads");
  c.key_value_heads = fields.size("num_key_value_heads", c.heads);
  if (c.heads % c.key_value_heads != 0) {
    throw fields.mismatch("num_key_value_heads", "a divisor of the " + std::to_string(c.heads) + " heads");
  }
  if (fields.find("head_dim") == nullptr && c.width % c.heads != 0) {
    throw fields.mismatch("num_attention_heads", "a divisor of the width " + std::to_string(c.width));
  }
  c.head_width = fields.size("head_dim", c.width / c.heads);
  if (c.head_width == 0 || c.head_width % 2 != 0) {
    throw bad_input(mismatch_message(c.file + ": width of a head", "an even number", std::to_string(c.head_width)));
  }
  c.vocabulary = fields.size("vocab_size");
  c.positions = fields.size("max_position_embeddings", 2048);
  c.norm_epsilon = static_cast<float>(fields.positive("rms_norm_eps", 1e-6));
  c.tied_embeddings = fields.flag("tie_word_embeddings");
  c.attention_bias = fields.flag("attention_bias");
  c.mlp_bias = fields.flag("mlp_bias");
  c.end_tokens = detail::read_end_tokens(fields);
  detail::read_rotation(fields, c);
  return c;
}

}  // namespace pluria
