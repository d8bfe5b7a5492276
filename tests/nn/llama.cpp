// SPDX-License-Identifier: MIT
// The reference logits are transformers' own; make_llama_reference.py wrote them.

#include <pluria/io/npy.hpp>
#include <pluria/io/safetensors_folder.hpp>
#include <pluria/nn/llama.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using pluria::cache_type;
using pluria::checkpoint;
using pluria::key_value_cache;
using pluria::llama_configuration;
using pluria::load_llama;
using pluria::row_major_matrix;
using pluria::tensor;
using pluria::tensor_shape;

const char* const names[] = {"llama_full", "llama_grouped_tied", "llama_scaled", "llama_bias"};

std::string folder_of(const std::string& name) {
  return PLURIA_SOURCE_DIR "/tests/nn/reference/" + name;
}

checkpoint load(const std::string& name) {
  return pluria::load_safetensors_folder(folder_of(name));
}

llama_configuration configuration_of(const std::string& name) {
  return pluria::read_llama_configuration(folder_of(name) + "/config.json");
}

std::vector<std::int32_t> tokens_of(const std::string& name) {
  const tensor stored = pluria::load_npy(folder_of(name) + "/tokens.npy");
  REQUIRE(stored.type() == pluria::dtype::i32);
  std::vector<std::int32_t> tokens(stored.size());
  std::memcpy(tokens.data(), stored.bytes().data(), stored.bytes().size());
  return tokens;
}

row_major_matrix reference_of(const std::string& name) {
  const tensor stored = pluria::load_npy(folder_of(name) + "/logits.npy");
  REQUIRE(stored.shape().size() == 2);
  const std::vector<float> values = stored.to_floats();
  return Eigen::Map<const row_major_matrix>(values.data(), static_cast<Eigen::Index>(stored.rows()),
                                            static_cast<Eigen::Index>(stored.columns()));
}

float largest_difference(const row_major_matrix& a, const row_major_matrix& b) {
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.cols() == b.cols());
  REQUIRE(a.allFinite());
  REQUIRE(b.allFinite());
  return (a - b).cwiseAbs().maxCoeff();
}

// The logits after each token of a new sequence.
template <class Network>
row_major_matrix logits_of(const Network& network, std::span<const std::int32_t> tokens,
                           cache_type type = cache_type::float32, int threads = 1) {
  key_value_cache cache = network.make_cache(tokens.size(), type);
  return network.logits(tokens, cache, tokens.size(), threads);
}

// The same network with every weight a little different: a member.
checkpoint changed(const checkpoint& source, std::uint32_t member) {
  checkpoint made(source.file(), source.metadata());
  for (const tensor& current : source.tensors()) {
    std::vector<float> values = current.to_floats();
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] += support::integer_weight(1000000 * member + static_cast<std::uint32_t>(i), 0.05F);
    }
    made.add(tensor::from_floats(current.name(), current.shape(), std::move(values), current.file()));
  }
  return made;
}

TEST_CASE("logits of a LLaMA are those of transformers", "[nn]") {
  for (const std::string name : names) {
    const auto tokens = tokens_of(name);
    const row_major_matrix expected = reference_of(name);
    const auto network = load_llama(load(name), configuration_of(name));
    CAPTURE(name);
    CHECK(network.members() == 1);
    CHECK(largest_difference(logits_of(network, tokens), expected) <= 1e-4F);  // up to 1e-5 was measured
    // The references say something: logits of order one, and the last ones depend on the first token.
    CHECK(expected.cwiseAbs().maxCoeff() > 0.5F);
    std::vector<std::int32_t> other = tokens;
    other.front() = (other.front() + 1) % static_cast<std::int32_t>(network.configuration().vocabulary);
    CHECK(largest_difference(logits_of(network, other).bottomRows(1), expected.bottomRows(1)) > 1e-3F);
  }
}

TEST_CASE("the last outputs are those that were asked for, in tokens and parts of any number", "[nn]") {
  for (const std::string name : names) {
    const auto tokens = tokens_of(name);  // llama_scaled has more than go through the layers at once
    const std::vector<checkpoint> members{load(name), changed(load(name), 1)};
    const auto network = load_llama(members, configuration_of(name));
    const row_major_matrix all = logits_of(network, tokens);
    const auto count = static_cast<Eigen::Index>(tokens.size());
    for (const std::size_t outputs : {std::size_t{0}, std::size_t{1}, std::size_t{20}, tokens.size() - 1}) {
      key_value_cache cache = network.make_cache(tokens.size(), cache_type::float32);
      const row_major_matrix last = network.logits(tokens, cache, outputs);
      const auto rows = static_cast<Eigen::Index>(outputs);
      CAPTURE(name, outputs);
      CHECK(cache.length() == tokens.size());
      REQUIRE(last.rows() == 2 * rows);
      // Eigen sums in an order that depends on the number of rows: the tolerance is that of the comparison with
      // transformers.
      for (Eigen::Index m = 0; outputs > 0 && m < 2; ++m) {
        CHECK(largest_difference(last.middleRows(m * rows, rows), all.middleRows(m * count, count).bottomRows(rows)) <=
              1e-4F);
      }
    }
  }
}

TEST_CASE("token by token and in parts a text gives the logits that it gives at once", "[nn]") {
  for (const std::string name : names) {
    const auto tokens = tokens_of(name);
    const auto network = load_llama(load(name), configuration_of(name));
    const row_major_matrix expected = logits_of(network, tokens);
    for (const std::size_t at_once : {1U, 13U}) {
      key_value_cache cache = network.make_cache(tokens.size() + 3, cache_type::float32);
      for (std::size_t first = 0; first < tokens.size(); first += at_once) {
        const std::size_t count = std::min(at_once, tokens.size() - first);
        const row_major_matrix logits = network.logits(std::span(tokens).subspan(first, count), cache, count);
        CAPTURE(name, at_once, first);
        CHECK(largest_difference(logits, expected.middleRows(static_cast<Eigen::Index>(first),
                                                             static_cast<Eigen::Index>(count))) <= 1e-4F);
      }
    }
  }
}

TEST_CASE("a sequence that is cut and goes on is the one that never had what was cut", "[nn]") {
  for (const cache_type type : {cache_type::float32, cache_type::float16}) {
    const auto network = load_llama(load("llama_grouped_tied"), configuration_of("llama_grouped_tied"));
    const std::vector<std::int32_t> start{5, 17, 3, 90, 41};
    const std::vector<std::int32_t> cut{7, 7, 12};
    const std::vector<std::int32_t> rest{60, 2};
    key_value_cache cache = network.make_cache(16, type);
    network.logits(start, cache, 0);
    const row_major_matrix with_cut = network.logits(cut, cache, 1);
    network.logits(rest, cache, 0);
    cache.truncate(start.size());
    const row_major_matrix found = network.logits(rest, cache, 2);
    key_value_cache fresh = network.make_cache(16, type);
    network.logits(start, fresh, 0);
    CHECK(found == network.logits(rest, fresh, 2));
    CHECK(cache.length() == 7);
    CHECK(largest_difference(with_cut, found.bottomRows(1)) > 0.01F);
  }
}

TEST_CASE("members of a LLaMA together give what they give alone", "[nn]") {
  for (const std::string name : names) {
    const checkpoint source = load(name);
    const std::vector<checkpoint> members{source, changed(source, 1), changed(source, 2)};
    const auto tokens = tokens_of(name);
    const auto count = static_cast<Eigen::Index>(tokens.size());
    const row_major_matrix together = logits_of(load_llama(members, configuration_of(name)), tokens);
    REQUIRE(together.rows() == 3 * count);
    for (std::size_t m = 0; m < 3; ++m) {
      const row_major_matrix alone = logits_of(load_llama(members[m], configuration_of(name)), tokens);
      CAPTURE(name, m);
      CHECK(largest_difference(together.middleRows(static_cast<Eigen::Index>(m) * count, count), alone) <= 1e-4F);
    }
    CHECK(largest_difference(together.topRows(count), together.bottomRows(count)) > 0.01F);  // others are others
  }
}

TEST_CASE("any number of threads gives a LLaMA's same bits", "[nn]") {
  const checkpoint source = load("llama_scaled");
  const std::vector<checkpoint> members{source, changed(source, 1)};
  const auto network = load_llama(members, configuration_of("llama_scaled"));
  const auto tokens = tokens_of("llama_scaled");
  for (const cache_type type : {cache_type::float32, cache_type::float16}) {
    const row_major_matrix expected = logits_of(network, tokens, type, 1);
    for (const int threads : {2, 3, 0}) {
      CHECK(logits_of(network, tokens, type, threads) == expected);
    }
  }
}

TEST_CASE("a float16 cache moves logits a little", "[nn]") {
  for (const std::string name : names) {
    const auto tokens = tokens_of(name);
    const auto network = load_llama(load(name), configuration_of(name));
    const row_major_matrix expected = logits_of(network, tokens, cache_type::float32);
    const row_major_matrix found = logits_of(network, tokens, cache_type::float16);
    CAPTURE(name);
    CHECK(found != expected);
    // Keys and values are rounded by at most 2^-11 of themselves; up to 1.1 * 2^-11 of the largest logit was measured.
    CHECK(largest_difference(found, expected) <= 4 * 0x1p-11F * expected.cwiseAbs().maxCoeff());
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

checkpoint with_shape(const std::string& network, const std::string& name, const tensor_shape& shape) {
  return edited(load(network), name, [&](const tensor*) {
    return tensor::from_floats(name, shape, std::vector<float>(pluria::element_count(shape, name)), "net.safetensors");
  });
}

std::string refusal(const checkpoint& weights, const std::string& name) {
  return support::message_of<pluria::bad_input>([&] { load_llama(weights, configuration_of(name)); });
}

TEST_CASE("every tensor of a LLaMA that is missing or misshapen is named", "[nn]") {
  for (const std::string network : names) {
    const checkpoint source = load(network);
    for (const tensor& current : source.tensors()) {
      const std::string where = "net.safetensors: tensor \"" + current.name() + '"';
      CHECK(refusal(edited(source, current.name(), [](const tensor*) { return std::nullopt; }), network) ==
            where + ": expected, not found");
      tensor_shape shape = current.shape();
      ++shape.back();
      CHECK(refusal(with_shape(network, current.name(), shape), network) ==
            where + ": expected shape " + pluria::to_string(current.shape()) + ", found " + pluria::to_string(shape));
    }
  }
}

TEST_CASE("a tensor that a LLaMA does not use is refused by name, a table of frequencies is not", "[nn]") {
  const std::string file = configuration_of("llama_full").file;
  for (const char* name : {"model.layers.2.input_layernorm.weight", "model.layers.0.self_attn.q_proj.bias",
                           "model.layers.0.mlp.up_proj.bias", "model.layers.0.self_attn.q_norm.weight", "head"}) {
    CHECK(refusal(with_shape("llama_full", name, {32}), "llama_full") ==
          "net.safetensors: tensor \"" + std::string(name) + "\": not a tensor of the network that " + file +
              " describes");
  }
  for (const char* name : {"model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"}) {
    CHECK(refusal(with_shape("llama_full", name, {4}), "llama_full") == "no error");
  }
  CHECK(refusal(edited(load("llama_full"), "model.norm.weight",
                       [](const tensor* current) {
                         const auto bytes = std::make_shared<const std::vector<std::byte>>(4 * current->size());
                         return tensor(current->name(), pluria::dtype::i32, current->shape(), *bytes, bytes);
                       }),
                "llama_full") ==
        "net.safetensors: tensor \"model.norm.weight\": expected dtype F32, F16 or BF16, found I32");
}

TEST_CASE("a head beside embeddings that it is tied to is not used", "[nn]") {
  const std::string name = "llama_grouped_tied";
  const auto tokens = tokens_of(name);
  const auto beside = with_shape(name, "lm_head.weight", {96, 32});
  CHECK(logits_of(load_llama(beside, configuration_of(name)), tokens) ==
        logits_of(load_llama(load(name), configuration_of(name)), tokens));
}

TEST_CASE("a token that is not in the vocabulary is named, and the cache stays as it was", "[nn]") {
  const auto network = load_llama(load("llama_full"), configuration_of("llama_full"));
  key_value_cache cache = network.make_cache(8);
  const std::vector<std::int32_t> start{1, 2, 3};
  network.logits(start, cache, 0);
  for (const auto& [token, text] : {std::pair<std::int32_t, std::string>{96, "96"}, {-1, "-1"}}) {
    const std::vector<std::int32_t> tokens{0, 95, token};
    CHECK(support::message_of<pluria::bad_input>([&] { network.logits(tokens, cache, 1); }) ==
          "token 2: expected an id below the vocabulary's 96, found " + text);
  }
  CHECK(cache.length() == 3);
}

TEST_CASE("sequences longer than the cache or the positions are refused", "[nn]") {
  const auto network = load_llama(load("llama_full"), configuration_of("llama_full"));
  const std::string file = network.configuration().file;
  key_value_cache cache = network.make_cache(5);
  const std::vector<std::int32_t> tokens(4, 1);
  network.logits(tokens, cache, 0);
  CHECK(support::message_of<pluria::bad_input>([&] { network.logits(tokens, cache, 1); }) ==
        "tokens after the 4 that are cached: expected at most 1 for the cache's capacity of 5, found 4");
  CHECK(cache.length() == 4);
  CHECK_NOTHROW(network.make_cache(64));
  const std::string too_long =
      file + ": \"max_position_embeddings\": expected at least 65 for a sequence as long, found 64";
  CHECK(support::message_of<pluria::bad_input>([&] { network.make_cache(65); }) == too_long);
  key_value_cache own({1, 2, 100, 4, 8});
  CHECK(support::message_of<pluria::bad_input>([&] { network.logits(std::vector<std::int32_t>(65, 1), own, 1); }) ==
        too_long);
  CHECK(own.length() == 0);
}

TEST_CASE("caches of other networks, and more outputs than tokens, are refused", "[nn]") {
  const auto network = load_llama(load("llama_full"), configuration_of("llama_full"));
  const std::vector<std::int32_t> tokens(4, 1);
  key_value_cache cache = network.make_cache(5);
  CHECK_THROWS_AS(network.logits(tokens, cache, 5), pluria::precondition_error);
  for (const pluria::cache_sizes& sizes :
       {pluria::cache_sizes{2, 2, 5, 4, 8}, {1, 3, 5, 4, 8}, {1, 2, 5, 2, 8}, {1, 2, 5, 4, 16}}) {
    key_value_cache other(sizes);
    CHECK_THROWS_AS(network.logits(tokens, other, 1), pluria::precondition_error);
  }
  CHECK_THROWS_AS(load_llama(std::vector<checkpoint>(), configuration_of("llama_full")), pluria::precondition_error);
}

TEST_CASE("no tokens leave a sequence as it is", "[nn]") {
  const auto network = load_llama(load("llama_full"), configuration_of("llama_full"));
  key_value_cache cache = network.make_cache(5);
  CHECK(network.logits({}, cache, 0).size() == 0);
  CHECK(cache.length() == 0);
}

}  // namespace
