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
    const row_major_matrix logits = logits_of(load_llama(load(name), configuration_of(name)), tokens);
    CAPTURE(name);
    const float difference = largest_difference(logits, expected);
    CAPTURE(difference);
    CHECK(difference <= 1e-6F);  //
    CHECK(difference <= 1e-4F);  //
    // The references say something: logits of order one, which tokens before the last one change.
    CHECK(expected.cwiseAbs().maxCoeff() > 0.5F);
  }
}

}  // namespace
