// SPDX-License-Identifier: MIT
// LLaMAs on stored members against LLaMAs on the checkpoints that the same members are.

#include <pluria/ensemble/stored_llama.hpp>
#include <pluria/io/safetensors_folder.hpp>
#include <support/catch.hpp>
#include <support/tensors.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stored_int4.hpp"

namespace {

using namespace pluria;
using namespace support;

const char* const names[] = {"llama_grouped_tied", "llama_bias"};  // a head that the rule keeps, and one that it rounds

std::string folder_of(const std::string& name) {
  return PLURIA_SOURCE_DIR "/tests/nn/reference/" + name;
}
checkpoint source(const std::string& name) {
  return load_safetensors_folder(folder_of(name));
}
llama_configuration configuration_of(const std::string& name) {
  return read_llama_configuration(folder_of(name) + "/config.json");
}

const std::vector<std::int32_t> tokens{5, 17, 3, 90, 41, 7, 7, 12, 60, 2, 33, 95, 0, 8, 21, 50, 64, 71, 13, 29};

// Most tokens at once, and the last ones each alone: products of many tokens and of one.
template <class Network>
row_major_matrix logits_of(const Network& network) {
  constexpr std::size_t alone = 3;
  key_value_cache cache = network.make_cache(tokens.size(), cache_type::float32);
  const std::size_t first = tokens.size() - alone;
  std::vector<row_major_matrix> parts{network.logits(std::span(tokens).first(first), cache, first)};
  for (std::size_t i = first; i < tokens.size(); ++i) {
    parts.push_back(network.logits(std::span(tokens).subspan(i, 1), cache, 1));
  }
  row_major_matrix all(static_cast<Eigen::Index>(network.members() * tokens.size()), parts.front().cols());
  Eigen::Index row = 0;
  for (const row_major_matrix& part : parts) {
    all.middleRows(row, part.rows()) = part;
    row += part.rows();
  }
  return all;
}

TEST_CASE("a LLaMA's members over a shared floor, packed and as checkpoints give the same logits", "[ensemble]") {
  for (const std::string name : names) {
    const rounded_members members(source(name), stored_int4(), rounding);
    const llama_configuration configuration = configuration_of(name);
    const std::vector<checkpoint> drawn{members[2], members[3], members[4]};
    const row_major_matrix expected = logits_of(load_llama(drawn, configuration));
    const auto logits = [&](storage_form form) {
      return logits_of(stored_llama(members, configuration, form, 2, member_count, activation_type::float32));
    };
    const row_major_matrix packed = logits(storage_form::packed);
    CAPTURE(name);
    // The same weights, summed in another order: the tolerance is that of the comparison with transformers.
    CHECK(largest_difference(packed, expected) <= 1e-4F);
    CHECK(logits(storage_form::shared_floor) == packed);
    // Members are others: the comparison says something. The last rows are those of the last token.
    CHECK(largest_difference(expected.bottomRows(1), expected.bottomRows(2).topRows(1)) > 0.01F);
  }
}

TEST_CASE("a LLaMA's members drawn from fixed-point positions give the logits of their codes", "[ensemble]") {
  for (const std::string name : names) {
    const checkpoint weights = source(name);
    const rounded_members members(weights, stored_int4(), rounding);
    const llama_configuration configuration = configuration_of(name);
    CHECK(largest_difference(logits_of(stored_llama(members, configuration, storage_form::fixed_point, 2, member_count,
                                                    activation_type::float32)),
                             logits_of(load_llama(fixed_point_checkpoints(weights), configuration))) <= 1e-4F);
  }
}

TEST_CASE("int8 activations move a LLaMA's logits a little, and all forms and threads alike", "[ensemble]") {
  const rounded_members members(source("llama_bias"), stored_int4(), rounding);
  const llama_configuration configuration = configuration_of("llama_bias");
  const auto logits = [&](storage_form form, activation_type activations, int threads = 1) {
    return logits_of(stored_llama(members, configuration, form, 0, member_count, activations, threads));
  };
  const row_major_matrix floats = logits(storage_form::packed, activation_type::float32);
  const row_major_matrix int8 = logits(storage_form::packed, activation_type::int8);
  for (const int threads : {1, 2, 0}) {
    CHECK(logits(storage_form::shared_floor, activation_type::int8, threads) == int8);
  }
  const float moved = largest_difference(int8, floats);
  CHECK(moved > 0.0F);
  CHECK(moved < 0.05F * floats.cwiseAbs().maxCoeff());  // a token is rounded by 1 / 254 of its largest value at most
}

TEST_CASE("a rule that rounds what a LLaMA looks up is refused", "[ensemble]") {
  const checkpoint weights = source("llama_bias");
  const rule everything([](std::string_view, std::span<const std::size_t> shape) {
    return shape.size() == 2 ? rule::decision(stored_int4()) : std::nullopt;
  });
  const rounded_members members(weights, everything, rounding);
  CHECK(message_of<bad_input>([&] {
          stored_llama(members, configuration_of("llama_bias"), storage_form::packed, 0, 1, activation_type::float32);
        }) == weights["model.embed_tokens.weight"].where() +
                  ": expected a rule that keeps token embeddings, found one that rounds them");
}

TEST_CASE("a checkpoint that is not the configuration's is refused", "[ensemble]") {
  const checkpoint weights = source("llama_bias");
  const rounded_members members(weights, stored_int4(), rounding);
  CHECK(message_of<bad_input>([&] {
          stored_llama(members, configuration_of("llama_full"), storage_form::packed, 0, 1, activation_type::float32);
        }) == weights["model.layers.0.self_attn.q_proj.weight"].where() + ": expected shape [32, 32], found [48, 32]");
}

}  // namespace
