// SPDX-License-Identifier: MIT
// Rules as JSON: what is written is read again, and what cannot be meant is refused with the place where it stands.

#include "../../examples/common/rule_file.hpp"

#include <pluria/io/replaced_file.hpp>

#include <unistd.h>
#include <support/catch.hpp>

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace pluria;
using examples::quantizer_named;
using examples::rule_file;

// A file of this process, removed at the end.
struct scratch_file {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("pluria-rule-" + std::to_string(::getpid()) + ".json");
  explicit scratch_file(const std::string& content) { write_file(path, content); }
  ~scratch_file() { std::filesystem::remove(path); }
};

std::string decided(const rule_file& file, const std::string& name, const tensor_shape& shape = {64, 64}) {
  const rule::decision decision = file.rule()(name, shape);
  if (!decision) {
    return "keep";
  }
  const std::string range = decision->scale_name() == "absmax" ? std::string() : " " + decision->scale_name();
  return decision->system() + " " + decision->granularity_name() + range;
}

// The message with which a file of this content is refused, without the path.
std::string refusal(const std::string& content) {
  const scratch_file file(content);
  try {
    const rule_file read(file.path);
  } catch (const bad_input& error) {
    const std::string message = error.what();
    REQUIRE(message.starts_with(file.path.string() + ": "));
    return message.substr(file.path.string().size() + 2);
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a rule that is written is read again", "[examples]") {
  const rule_file made(quantizer_named("INT-4", "group:32"),
                       {{"blocks.10.weight", quantizer_named("NF4", "channel")},
                        {"blocks.9.weight", std::nullopt},
                        {"head.weight", quantizer_named("INT-5", "", "percentile:99.5")},
                        {"pos_embed", quantizer_named("MXFP4", "")}});
  const scratch_file file(made.text());
  const rule_file read(file.path);
  CHECK(read.text() == made.text());
  CHECK(read.name() == file.path.stem());
  for (const rule_file& rule : {made, read}) {
    CHECK(decided(rule, "blocks.10.weight") == "NF4 channel");
    CHECK(decided(rule, "blocks.9.weight") == "keep");
    CHECK(decided(rule, "head.weight") == "INT-5 channel percentile:99.5");
    CHECK(decided(rule, "pos_embed") == "MXFP4 group:32");  // by name, though not by default
    CHECK(decided(rule, "blocks.1.weight") == "INT-4 group:32");
    CHECK(decided(rule, "blocks.1.bias") == "keep");
    CHECK(decided(rule, "norm.weight", {64}) == "keep");
  }
}

TEST_CASE("granularities may be left out of a rule, and so may the default", "[examples]") {
  const scratch_file file(R"({"tensors": {"a.weight": {"system": "INT-6"}, "b.weight": {"system": "MXFP8-E4M3"}}})");
  const rule_file read(file.path);
  CHECK(decided(read, "a.weight") == "INT-6 channel");
  CHECK(decided(read, "b.weight") == "MXFP8-E4M3 group:32");
  CHECK(decided(read, "c.weight") == "keep");
  const scratch_file only_default(R"({"default": {"system": "INT-3", "granularity": "tensor"}})");
  CHECK(decided(rule_file(only_default.path), "c.weight") == "INT-3 tensor");
}

TEST_CASE("a rule names quantizers of another kind where one is given", "[examples]") {
  const scratch_file file(R"({"default": {"system": "INT-6", "granularity": "tensor"}})");
  std::string asked;
  const rule_file read(file.path, [&](std::string_view system, std::string_view granularity, std::string_view range) {
    asked = std::string(system) + " " + std::string(granularity) + " " + std::string(range);
    return quantizer_named("INT-2", granularity);
  });
  CHECK(asked == "INT-6 tensor ");
  CHECK(decided(read, "c.weight") == "INT-2 tensor");
}

TEST_CASE("a rule that cannot be meant is refused with the place where it stands", "[examples]") {
  const auto contains = [](const std::string& text, const std::string& part) {
    INFO(text << "\nlacks " << part);
    CHECK(text.find(part) != std::string::npos);
  };
  contains(refusal("{"), "expected JSON, found ");
  contains(refusal(""), "expected JSON, found ");
  contains(refusal("[]"), "expected an object with \"default\" and \"tensors\", found JSON of type array");
  contains(refusal(R"({"defaults": {}})"), "keys: expected \"default\" and \"tensors\", found \"defaults\"");
  contains(refusal(R"({"tensors": []})"), "tensors: expected an object of their names, found JSON of type array");
  contains(refusal(R"({"tensors": {"a": "kept"}})"),
           "tensor \"a\": expected \"keep\" or an object with \"system\", found \"kept\"");
  contains(refusal(R"({"default": {}})"), "default: expected \"keep\" or an object with \"system\"");
  contains(refusal(R"({"tensors": {"a": {"system": "INT-4", "bits": 4}}})"),
           "tensor \"a\": keys: expected \"system\", \"granularity\" and \"range\", found \"bits\"");
  contains(refusal(R"({"tensors": {"a": {"system": 4}}})"),
           "tensor \"a\": system: expected a name, found JSON of type number");
  contains(refusal(R"({"tensors": {"a": {"system": "INT-9"}}})"), "tensor \"a\": system: expected one of INT-2, ");
  contains(refusal(R"({"default": {"system": "INT-4", "granularity": "row"}})"), "default: granularity: expected ");
  contains(refusal(R"({"default": {"system": "INT-4", "range": "most"}})"), "default: range: expected absmax, ");
  contains(refusal(R"({"default": {"system": "MXFP4", "granularity": "channel"}})"),
           "default: granularity of MXFP4: expected group:32, found \"channel\"");
  contains(refusal(R"({"tensors": {"a": "keep", "a": {"system": "INT-4"}}})"), "every key once, found \"a\" twice");
  CHECK_THROWS_WITH(rule_file("/no/such/rule.json"), Catch::Contains("/no/such/rule.json: cannot read"));
}

TEST_CASE("a rule is for checkpoints that have its tensors", "[examples]") {
  checkpoint weights("model.safetensors");
  weights.add(tensor::from_floats("a.weight", {2, 2}, std::vector<float>(4)));
  weights.add(tensor::from_floats("norm.weight", {4}, std::vector<float>(4)));
  const auto bytes = std::make_shared<const std::vector<std::byte>>(32);
  weights.add(tensor("numbers", dtype::i64, {2, 2}, *bytes, bytes));
  const auto check_refused = [&](const std::string& name, const std::string& message) {
    const rule_file file(std::nullopt, {{"a.weight", std::nullopt}, {name, quantizer_named("INT-4", "")}});
    CHECK_THROWS_WITH(file.expect_tensors(weights), Catch::Contains("tensor \"" + name + "\": expected " + message));
  };
  check_refused("b.weight", "a tensor of model.safetensors, found none of that name");
  check_refused("norm.weight", "two or more dimensions in F32, F16 or BF16, to be rounded, found [4] in F32");
  check_refused("numbers", "two or more dimensions in F32, F16 or BF16, to be rounded, found [2, 2] in I64");
  const rule_file fitting(std::nullopt, {{"a.weight", quantizer_named("INT-4", "")}, {"numbers", std::nullopt}});
  CHECK_NOTHROW(fitting.expect_tensors(weights));
}
