// SPDX-License-Identifier: MIT

#include <pluria/nn/llama_configuration.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "io/temporary_folder.hpp"

namespace {

using nlohmann::json;
using pluria::llama_configuration;
using pluria::read_llama_configuration;
using pluria::test::refusal;

// TinyLlama 1.1B, as transformers 4 writes it.
json made() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_act", "silu"},
          {"hidden_size", 2048},
          {"intermediate_size", 5632},
          {"max_position_embeddings", 2048},
          {"num_attention_heads", 32},
          {"num_hidden_layers", 22},
          {"num_key_value_heads", 4},
          {"rms_norm_eps", 1e-05},
          {"rope_scaling", nullptr},
          {"rope_theta", 10000.0},
          {"eos_token_id", 2},
          {"vocab_size", 32000}};
}

json with(const std::string& name, const json& value) {
  json content = made();
  content[name] = value;
  return content;
}

json without(const std::string& name) {
  json content = made();
  content.erase(name);
  return content;
}

json llama3() {
  return {{"rope_type", "llama3"},
          {"factor", 8.0},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 8192}};
}

json llama3_with(const std::string& name, const json& value) {
  json content = llama3();
  content[name] = value;
  return content;
}

// A file that is there while its object is.
struct written {
  pluria::test::temporary_folder folder;
  std::string file = (folder / "config.json").string();

  explicit written(const std::string& text) { std::ofstream(file) << text; }
  explicit written(const json& content) : written(content.dump()) {}
};

llama_configuration read(const json& content) {
  return read_llama_configuration(written(content).file);
}

// What is said of a file behind its name.
template <class Content>
std::string refusal_of(const Content& content) {
  const written made_file(content);
  const std::string text = refusal([&] { read_llama_configuration(made_file.file); });
  return text.starts_with(made_file.file + ": ") ? text.substr(made_file.file.size() + 2) : "not named: " + text;
}

TEST_CASE("sizes and variants of a LLaMA come from its config.json", "[nn]") {
  const written file(made());
  const llama_configuration c = read_llama_configuration(file.file);
  CHECK(c.file == file.file);
  CHECK(c.layers == 22);
  CHECK(c.width == 2048);
  CHECK(c.hidden == 5632);
  CHECK(c.heads == 32);
  CHECK(c.key_value_heads == 4);
  CHECK(c.head_width == 64);
  CHECK(c.vocabulary == 32000);
  CHECK(c.positions == 2048);
  CHECK(c.norm_epsilon == 1e-5F);
  CHECK(c.rope_theta == 10000.0);
  CHECK_FALSE(c.scaling.has_value());
  CHECK_FALSE(c.tied_embeddings);
  CHECK_FALSE(c.attention_bias);
  CHECK_FALSE(c.mlp_bias);
  CHECK(c.end_tokens == std::vector<std::int32_t>{2});
  CHECK(read(with("tie_word_embeddings", true)).tied_embeddings);
  CHECK(read(with("attention_bias", true)).attention_bias);
  CHECK(read(with("mlp_bias", true)).mlp_bias);
  CHECK(read(with("head_dim", 96)).head_width == 96);
  CHECK(read(with("head_dim", nullptr)).head_width == 64);
  CHECK(read(with("rms_norm_eps", 1)).norm_epsilon == 1.0F);
}

TEST_CASE("what config.json leaves out has LlamaConfig's value", "[nn]") {
  CHECK(read(without("num_key_value_heads")).key_value_heads == 32);
  CHECK(read(without("rms_norm_eps")).norm_epsilon == 1e-6F);
  CHECK(read(without("rope_theta")).rope_theta == 10000.0);
  CHECK(read(without("max_position_embeddings")).positions == 2048);
  CHECK(read(without("architectures")).layers == 22);
  CHECK(read(without("hidden_act")).layers == 22);
  for (const char* name :
       {"hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "model_type"}) {
    CHECK(refusal_of(without(name)) == "\"" + std::string(name) + "\": expected, not found");
  }
}

TEST_CASE("a text ends at no token, one, or any of several", "[nn]") {
  CHECK(read(without("eos_token_id")).end_tokens.empty());
  CHECK(read(with("eos_token_id", nullptr)).end_tokens.empty());
  CHECK(read(with("eos_token_id", {128001, 128008, 128009})).end_tokens ==
        std::vector<std::int32_t>{128001, 128008, 128009});
  for (const json& value : {json("</s>"), json(2.5), json(std::int64_t{1} << 32), json(~std::uint64_t{0}), json(-1),
                            json{{"a", 1}}, json{1, nullptr}}) {
    CHECK(refusal_of(with("eos_token_id", value)) ==
          "\"eos_token_id\": expected a token id or an array of them, found " + value.dump());
  }
}

TEST_CASE("a number that is zero as a float is not positive", "[nn]") {
  CHECK(refusal_of(with("rms_norm_eps", 1e-60)) == "\"rms_norm_eps\": expected a positive number, found 1e-60");
}

TEST_CASE("rotary settings are read in the spellings of transformers 4 and 5", "[nn]") {
  const auto check_llama3 = [](const llama_configuration& c, double theta) {
    REQUIRE(c.scaling.has_value());
    CHECK(c.rope_theta == theta);
    CHECK(c.scaling->factor == 8.0F);
    CHECK(c.scaling->low_frequency_factor == 1.0F);
    CHECK(c.scaling->high_frequency_factor == 4.0F);
    CHECK(c.scaling->original_positions == 8192);
  };
  json four = with("rope_scaling", llama3());
  four["rope_theta"] = 500000.0;
  check_llama3(read(four), 500000.0);
  json older = llama3();
  older.erase("rope_type");
  older["type"] = "llama3";
  check_llama3(read(with("rope_scaling", older)), 10000.0);

  json five = without("rope_theta");
  five.erase("rope_scaling");
  five["rope_parameters"] = llama3_with("rope_theta", 250000.0);
  check_llama3(read(five), 250000.0);
  five["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1000.0}};
  CHECK(read(five).rope_theta == 1000.0);
  CHECK_FALSE(read(five).scaling.has_value());
  // Version 5 reads what it finds of version 4.
  check_llama3(read(with("rope_parameters", llama3())), 10000.0);
}

TEST_CASE("other rotary embeddings, and settings that are missing or impossible, are refused", "[nn]") {
  CHECK(refusal_of(with("rope_scaling", {{"type", "linear"}, {"factor", 2.0}})) ==
        "\"rope_scaling\": \"type\": expected \"default\" or \"llama3\", found \"linear\"");
  CHECK(refusal_of(with("rope_parameters", {{"rope_type", "yarn"}})) ==
        "\"rope_parameters\": \"rope_type\": expected \"default\" or \"llama3\", found \"yarn\"");
  CHECK(refusal_of(with("rope_scaling", "llama3")) == "\"rope_scaling\": expected a JSON object, found \"llama3\"");
  for (const char* name : {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    json content = llama3();
    content.erase(name);
    CHECK(refusal_of(with("rope_scaling", content)) ==
          "\"rope_scaling\": \"" + std::string(name) + "\": expected, not found");
  }
  CHECK(refusal_of(with("rope_scaling", llama3_with("factor", 0))) ==
        "\"rope_scaling\": \"factor\": expected a positive number, found 0");
  CHECK(refusal_of(with("rope_scaling", llama3_with("low_freq_factor", 4))) ==
        "\"rope_scaling\": \"high_freq_factor\": expected more than \"low_freq_factor\", found 4.0");
  CHECK(refusal_of(with("partial_rotary_factor", 0.5)) == "\"partial_rotary_factor\": expected 1, found 0.5");
  CHECK(refusal_of(with("rope_scaling", llama3_with("partial_rotary_factor", 0.5))) ==
        "\"rope_scaling\": \"partial_rotary_factor\": expected 1, found 0.5");
}

TEST_CASE("another architecture or activation is refused", "[nn]") {
  CHECK(refusal_of(with("model_type", "mistral")) == "\"model_type\": expected \"llama\", found \"mistral\"");
  CHECK(refusal_of(with("architectures", {"LlamaForSequenceClassification"})) ==
        "\"architectures\": expected [\"LlamaForCausalLM\"], found [\"LlamaForSequenceClassification\"]");
  CHECK(refusal_of(with("hidden_act", "gelu")) == "\"hidden_act\": expected \"silu\", found \"gelu\"");
}

TEST_CASE("values that are impossible are refused with what was found", "[nn]") {
  for (const char* name : {"hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size",
                           "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const json& value : {json(0), json(-1), json(1.5), json("8"), json(std::int64_t{1} << 31), json(true)}) {
      CHECK(refusal_of(with(name, value)) ==
            "\"" + std::string(name) + "\": expected an integer from 1 to 2147483647, found " + value.dump());
    }
  }
  for (const char* name : {"rms_norm_eps", "rope_theta"}) {
    for (const json& value : {json(0), json(-1e-5), json("1"), json(1e300)}) {
      CHECK(refusal_of(with(name, value)) ==
            "\"" + std::string(name) + "\": expected a positive number, found " + value.dump());
    }
  }
  for (const char* name : {"tie_word_embeddings", "attention_bias", "mlp_bias"}) {
    CHECK(refusal_of(with(name, 1)) == "\"" + std::string(name) + "\": expected true or false, found 1");
  }
  CHECK(refusal_of(with("num_key_value_heads", 5)) ==
        "\"num_key_value_heads\": expected a divisor of the 32 heads, found 5");
  CHECK(refusal_of(with("hidden_size", 2056)) ==
        "\"num_attention_heads\": expected a divisor of the width 2056, found 32");
  CHECK(refusal_of(with("head_dim", 7)) == "width of a head: expected an even number, found 7");
  CHECK(refusal_of(with("hidden_size", 32)) == "width of a head: expected an even number, found 1");
}

TEST_CASE("a file that is not there, or no JSON object, is refused", "[nn]") {
  CHECK(refusal_of(std::string("[1, 2]")) == "expected a JSON object, found something else");
  CHECK(refusal_of(std::string("{\"a\": ")) == "expected a JSON object, found something else");
  CHECK(refusal([] { read_llama_configuration("nowhere/config.json"); }) ==
        "nowhere/config.json: cannot be opened: no such file");
}

TEST_CASE("a file may claim any number of layers without taking memory for them", "[nn]") {
  llama_configuration c = read(with("num_hidden_layers", 2147483647));
  CHECK(refusal([&] { check_llama_tensors(pluria::checkpoint("net.safetensors"), c); }) ==
        "net.safetensors: tensor \"model.embed_tokens.weight\": expected, not found");
}

}  // namespace
