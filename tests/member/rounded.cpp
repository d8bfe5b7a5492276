// SPDX-License-Identifier: MIT

#include <pluria/member/rounded.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/catch.hpp>
#include <support/checkpoints.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace {

using pluria::any_quantizer;
using pluria::bernoulli;
using pluria::checkpoint;
using pluria::dtype;
using pluria::lattice;
using pluria::nearest;
using pluria::quantizer;
using pluria::rounded_members;
using pluria::symmetric_int;
using pluria::tensor;
using support::make_checkpoint;

const quantizer<symmetric_int<4>> int4;

bool is_rounded(const std::string& name) {
  return name == "a.weight" || name == "b.weight" || name == "c.weight";
}

bool same_tensor(const tensor& a, const tensor& b) {
  return a.name() == b.name() && a.type() == b.type() && a.shape() == b.shape() && a.file() == b.file() &&
         std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin(), b.bytes().end());
}

// All tensors, whatever their order.
bool same_tensors(const checkpoint& a, const checkpoint& b) {
  return a.tensors().size() == b.tensors().size() &&
         std::all_of(a.tensors().begin(), a.tensors().end(), [&](const tensor& current) {
           const tensor* other = b.find(current.name());
           return other != nullptr && same_tensor(current, *other);
         });
}

// Whether `member` holds, for one tensor of the source, the values that the scalar definition gives.
template <class Int, class G = pluria::per_channel, class R>
bool follows_the_definition(const tensor& source, const tensor& member, const R& rounding, std::uint64_t k,
                            const G& granularity = {}, std::string_view stream_name = {}) {
  const auto grid = quantizer<Int, G>{granularity}.fit(source);
  const std::vector<float> before = source.to_floats();
  const std::vector<float> after = member.to_floats();
  const std::uint64_t hash = pluria::name_hash(stream_name.empty() ? source.name() : stream_name);
  const std::size_t columns = source.columns();
  bool same = after.size() == before.size();
  for (std::size_t i = 0; same && i < before.size(); ++i) {
    const auto& granule = grid.at(i / columns, i % columns);
    const std::uint64_t block = i / columns * pluria::blocks_per_row(columns) + i % columns / 128;
    const std::int32_t code = pluria::member_code(rounding, Int::position(before[i], granule), hash, block,
                                                  static_cast<std::uint32_t>(i % columns % 128), k);
    same = after[i] == Int::decode(code, granule);
  }
  return same;
}

TEST_CASE("a member is an ordinary checkpoint", "[member]") {
  const checkpoint source = make_checkpoint();
  const bernoulli rounding{.seed = 7, .coupling = lattice(4)};
  const rounded_members members(source, int4, rounding);
  for (const std::uint64_t k : {0U, 1U, 5U}) {
    const checkpoint member = members[k];
    CHECK(member.file() == source.file());
    REQUIRE(member.tensors().size() == source.tensors().size());
    for (std::size_t i = 0; i < source.tensors().size(); ++i) {
      const tensor& before = source.tensors()[i];
      const tensor& after = member.tensors()[i];
      CAPTURE(before.name(), k);
      CHECK(after.name() == before.name());
      CHECK(after.shape() == before.shape());
      CHECK(after.file() == before.file());
      if (is_rounded(before.name())) {
        CHECK(after.type() == dtype::f32);
        CHECK(after.bytes().data() != before.bytes().data());
        CHECK(follows_the_definition<symmetric_int<4>>(before, after, rounding, k));
      } else {
        CHECK(after.type() == before.type());
        CHECK(after.bytes().data() == before.bytes().data());
        CHECK(after.bytes().size() == before.bytes().size());
      }
    }
  }
  CHECK_FALSE(same_tensors(members[0], members[1]));
  CHECK(same_tensors(members.source(), source));
  CHECK(std::get<bernoulli>(members.rounding()) == rounding);
}

TEST_CASE("round to nearest is one member, whatever its number", "[member]") {
  const checkpoint source = make_checkpoint();
  const rounded_members members(source, int4, nearest{});
  const checkpoint member = members[0];
  for (const tensor& before : source.tensors()) {
    if (is_rounded(before.name())) {
      CHECK(follows_the_definition<symmetric_int<4>>(before, member[before.name()], nearest{}, 0));
    }
  }
  CHECK(same_tensors(member, members[12]));
}

TEST_CASE("a member keeps the checkpoint's metadata and says what it is", "[member]") {
  const rounded_members members(make_checkpoint(), int4, bernoulli{.seed = 7, .coupling = lattice(4)});
  const checkpoint drawn = members[5];
  const auto& metadata = drawn.metadata();
  CHECK(metadata.at("format") == "pt");
  CHECK(metadata.at("num_heads") == "2");
  CHECK(metadata.at("pluria.stream") == "2, threefry4x32-13");
  CHECK(metadata.at("pluria.system") == "INT-4");
  CHECK(metadata.at("pluria.granularity") == "channel");
  CHECK(metadata.at("pluria.scale") == "absmax");
  CHECK(metadata.at("pluria.rounding") == "bernoulli");
  CHECK(metadata.at("pluria.seed") == "7");
  CHECK(metadata.at("pluria.coupling") == "lattice:4");
  CHECK(metadata.at("pluria.member") == "5");
  CHECK(metadata.size() == 10);

  const checkpoint alone = rounded_members(make_checkpoint(), int4, bernoulli{})[0];
  CHECK(alone.metadata().at("pluria.coupling") == "independent");
}

TEST_CASE("a member that is rounded again is not called what it was", "[member]") {
  const checkpoint drawn = rounded_members(make_checkpoint(), int4, bernoulli{.seed = 7})[5];
  const checkpoint rounded = rounded_members(drawn, quantizer<symmetric_int<3>>{}, nearest{})[0];
  CHECK(rounded.metadata().at("pluria.rounding") == "nearest");
  CHECK(rounded.metadata().at("pluria.system") == "INT-3");
  CHECK_FALSE(rounded.metadata().contains("pluria.seed"));
  CHECK_FALSE(rounded.metadata().contains("pluria.coupling"));
  CHECK_FALSE(rounded.metadata().contains("pluria.member"));
  CHECK(rounded.metadata().at("num_heads") == "2");
}

TEST_CASE("members are the same for any number of threads, any order of tensors and of drawing", "[member]") {
  const bernoulli rounding{.seed = 3};
  const rounded_members one(make_checkpoint(), int4, rounding, 1);
  const rounded_members two(make_checkpoint(), int4, rounding, 2);
  const rounded_members reversed(make_checkpoint(true), int4, rounding);
  const checkpoint last = one[4];
  for (std::uint64_t k = 0; k < 5; ++k) {
    const checkpoint member = one[k];
    CHECK(same_tensors(member, two[k]));
    CHECK(same_tensors(member, reversed[k]));
    CHECK(member.metadata() == two[k].metadata());
  }
  CHECK(same_tensors(last, one[4]));
  CHECK(reversed[0].tensors().front().name() == "steps");
}

TEST_CASE("two names that share their bytes are rounded alike, by the first name", "[member]") {
  const std::vector<float> values = support::integer_weights(200);
  checkpoint source("tied.safetensors");
  source.add(support::make_tensor(dtype::f32, "encoder.weight", {4, 50}, values, "tied.safetensors"));
  source.add(source["encoder.weight"].renamed("decoder.weight"));
  source.add(support::make_tensor(dtype::f32, "copy.weight", {4, 50}, values, "tied.safetensors"));
  const bernoulli rounding{.seed = 9};
  const checkpoint member = rounded_members(source, int4, rounding)[2];
  CHECK(member["encoder.weight"].to_floats() == member["decoder.weight"].to_floats());
  CHECK(member["encoder.weight"].to_floats() != member["copy.weight"].to_floats());
  CHECK(follows_the_definition<symmetric_int<4>>(source["decoder.weight"], member["decoder.weight"], rounding, 2, {},
                                                 "encoder.weight"));
}

TEST_CASE("a rule rounds different tensors to different systems, and keeps others", "[member]") {
  using int8_groups = quantizer<symmetric_int<8>, pluria::per_group>;
  const pluria::rule mixed([](std::string_view name, std::span<const std::size_t>) -> std::optional<any_quantizer> {
    if (name == "a.weight") {
      return int8_groups{pluria::per_group(48)};
    }
    return name == "c.weight" ? std::optional<any_quantizer>(quantizer<symmetric_int<3>, pluria::per_tensor>{})
                              : std::nullopt;
  });
  const checkpoint source = make_checkpoint();
  const bernoulli rounding{.seed = 5};
  const rounded_members members(source, mixed, rounding);
  const checkpoint member = members[1];
  CHECK(follows_the_definition<symmetric_int<8>>(source["a.weight"], member["a.weight"], rounding, 1,
                                                 pluria::per_group(48)));
  CHECK(follows_the_definition<symmetric_int<3>>(source["c.weight"], member["c.weight"], rounding, 1,
                                                 pluria::per_tensor{}));
  CHECK(member["b.weight"].bytes().data() == source["b.weight"].bytes().data());
  CHECK(members.rounds("a.weight"));
  CHECK_FALSE(members.rounds("b.weight"));
  CHECK_THROWS_AS(members.rounds("none.weight"), pluria::bad_input);
  CHECK(member.metadata().at("pluria.system") == "INT-3 INT-8");
  CHECK(member.metadata().at("pluria.granularity") == "group:48 tensor");
}

TEST_CASE("weights that cannot be rounded are refused with file, tensor and index", "[member]") {
  std::vector<float> values = support::integer_weights(60);
  values[37] = std::numeric_limits<float>::infinity();
  checkpoint source("bad.safetensors");
  source.add(support::make_tensor(dtype::f16, "head.weight", {6, 10}, values, "bad.safetensors"));
  CHECK(support::message_of<pluria::bad_input>([&] { rounded_members(source, int4, nearest{}); }) ==
        "bad.safetensors: tensor \"head.weight\", index 37: expected a finite weight, found inf");

  const pluria::rule all(
      [](std::string_view, std::span<const std::size_t>) { return std::optional<any_quantizer>(int4); });
  CHECK(support::message_of<pluria::bad_input>([&] { rounded_members(make_checkpoint(), all, nearest{}); }) ==
        "net.safetensors: tensor \"steps\": expected dtype F32, F16 or BF16, found I32");
  CHECK_THROWS_AS(rounded_members(make_checkpoint(), int4, bernoulli{})[std::uint64_t{1} << 32],
                  pluria::precondition_error);
}

TEST_CASE("what is kept may hold anything", "[member]") {
  checkpoint source("odd.safetensors");
  source.add(support::make_tensor(dtype::f32, "head.bias", {2},
                                  std::vector<float>{std::numeric_limits<float>::quiet_NaN(), 1.0F}));
  const rounded_members members(source, int4, bernoulli{});
  CHECK(members[3]["head.bias"].bytes().data() == source["head.bias"].bytes().data());
  CHECK(rounded_members(checkpoint{}, int4, bernoulli{})[0].tensors().empty());
}

TEST_CASE("a head tied to an embedding stays as the embedding does, and shared bytes are counted once", "[member]") {
  const pluria::tensor embedding =
      pluria::tensor::from_floats("embed_tokens.weight", {4, 16}, std::vector<float>(64, 0.3F));
  const pluria::tensor layer = pluria::tensor::from_floats("a.weight", {2, 128}, std::vector<float>(256, 0.7F));
  checkpoint source("tied.safetensors");
  source.add(embedding);
  source.add(embedding.renamed("lm_head.weight"));
  source.add(layer);
  source.add(layer.renamed("b.weight"));
  const rounded_members members(source, quantizer<symmetric_int<4>>{}, bernoulli{.seed = 1});
  const checkpoint member = members[0];
  CHECK(member["lm_head.weight"].bytes().data() == embedding.bytes().data());
  CHECK(member["b.weight"].bytes().data() == member["a.weight"].bytes().data());
  CHECK_FALSE(members.rounds("lm_head.weight"));
  CHECK(members.rounds("b.weight"));
  CHECK(member["a.weight"].bytes().data() != layer.bytes().data());
  CHECK(members.packed_storage().weights == 256);
  CHECK(members.packed_storage().code_bits == 4 * 256);
  CHECK(members.packed_storage().kept_bytes == 4 * 64);
}

}  // namespace
