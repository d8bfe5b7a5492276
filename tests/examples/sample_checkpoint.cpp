// SPDX-License-Identifier: MIT
#include <pluria/pluria.hpp>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../../examples/common/rule_file.hpp"
#include "../../examples/sample_checkpoint/selection.hpp"
#include "examples/program.hpp"
#include "support/catch.hpp"
#include "support/integer_weights.hpp"

namespace {

using namespace pluria;
namespace fs = std::filesystem;

const std::string tiny = PLURIA_SOURCE_DIR "/examples/evaluate_vit/models/vit-tiny.safetensors";

// A folder of this process, removed at the end.
struct scratch {
  fs::path path = fs::temp_directory_path() / ("pluria-sample-" + std::to_string(::getpid()));
  scratch() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~scratch() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

program_result sample(const std::string& arguments) {
  return run_program(PLURIA_SAMPLE_CHECKPOINT " " + arguments);
}

void check_done(const std::string& arguments) {
  const program_result result = sample(arguments);
  INFO(arguments << "\n" << result.output);
  REQUIRE(result.status == 0);
}

// Exit status 2, and a message with all of `parts`.
void check_refused(const std::string& arguments, const std::vector<std::string>& parts) {
  const program_result result = sample(arguments);
  INFO(arguments << "\n" << result.output);
  CHECK(result.status == 2);
  for (const std::string& part : parts) {
    CHECK(result.output.find(part) != std::string::npos);
  }
}

bool same_tensors(const checkpoint& a, const checkpoint& b) {
  return std::equal(a.tensors().begin(), a.tensors().end(), b.tensors().begin(), b.tensors().end(),
                    [](const tensor& x, const tensor& y) {
                      return x.name() == y.name() && x.type() == y.type() && x.shape() == y.shape() &&
                             std::equal(x.bytes().begin(), x.bytes().end(), y.bytes().begin(), y.bytes().end());
                    });
}

tensor made(const std::string& name, const tensor_shape& shape, dtype type, std::uint32_t seed) {
  return converted(tensor::from_floats(name, shape, support::integer_weights(element_count(shape, name), 1.0F, seed)),
                   type);
}

// Two shards with an index, a configuration, and weights in another form.
void make_folder(const fs::path& folder) {
  fs::create_directories(folder);
  checkpoint first("", {{"format", "pt"}});
  first.add(made("model.embed_tokens.weight", {50, 64}, dtype::bf16, 1));
  first.add(made("model.layers.0.q_proj.weight", {64, 64}, dtype::bf16, 2));
  checkpoint second("", {{"format", "pt"}});
  second.add(made("model.layers.0.up_proj.weight", {96, 64}, dtype::bf16, 3));
  second.add(made("model.norm.weight", {64}, dtype::f32, 4));
  save_safetensors(first, folder / "model-00001-of-00002.safetensors");
  save_safetensors(second, folder / "model-00002-of-00002.safetensors");
  write_file(folder / "model.safetensors.index.json",
             R"({"metadata": {"total_size": 27136}, "weight_map": {)"
             R"("model.embed_tokens.weight": "model-00001-of-00002.safetensors",)"
             R"("model.layers.0.q_proj.weight": "model-00001-of-00002.safetensors",)"
             R"("model.layers.0.up_proj.weight": "model-00002-of-00002.safetensors",)"
             R"("model.norm.weight": "model-00002-of-00002.safetensors"}})");
  write_file(folder / "config.json", "{}\n");
  write_file(folder / "pytorch_model.bin", "the same weights once more");
}

}  // namespace

TEST_CASE("sample_checkpoint writes the members that the library draws", "[examples]") {
  const scratch folder;
  check_done(tiny + " --output " + (folder / "half") + " --bits 4 --members 3 --first 2 --seed 9 --coupling lattice:4");
  check_done(tiny + " --output " + (folder / "float") +
             " --bits 4 --members 3 --first 2 --seed 9 --coupling lattice:4 --dtype F32 --threads 1");
  const checkpoint source = load_safetensors(tiny);
  const rounded_members members(source, quantizer<symmetric_int<4>>{}, bernoulli{.seed = 9, .coupling = lattice(4)});
  for (std::uint64_t k = 2; k < 5; ++k) {
    const std::string name = "/member-00" + std::to_string(k) + "/vit-tiny.safetensors";
    const checkpoint whole = load_safetensors(folder / ("float" + name));
    CHECK(whole.metadata() == members[k].metadata());
    CHECK(same_tensors(whole, members[k]));
    const checkpoint half = load_safetensors(folder / ("half" + name));
    CHECK(half.metadata() == members[k].metadata());
    CHECK(same_tensors(half, converted(members[k], dtype::f16)));
  }
}

TEST_CASE("rounding to nearest is one checkpoint", "[examples]") {
  const scratch folder;
  check_done(tiny + " --output " + (folder / "out") + " --method rtn --bits 3 --dtype F32 --granularity group:32");
  const checkpoint found = load_safetensors(folder / "out/nearest/vit-tiny.safetensors");
  const rounded_members nearest_member(load_safetensors(tiny), quantizer<symmetric_int<3>, per_group>{per_group(32)},
                                       nearest{});
  CHECK(same_tensors(found, nearest_member[0]));
  CHECK(found.metadata() == nearest_member[0].metadata());
}

TEST_CASE("a sharded checkpoint becomes sharded members with everything that loads them", "[examples]") {
  const scratch folder;
  make_folder(folder.path / "in");
  const program_result result = sample((folder / "in") + " --output " + (folder / "out") + " --members 2");
  INFO(result.output);
  REQUIRE(result.status == 0);
  CHECK(result.output.find("BF16 holds 8 binary digits") != std::string::npos);
  CHECK(result.output.find("not copied: " + (folder / "in/pytorch_model.bin")) != std::string::npos);
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder.path / "out/member-001")) {
    files.push_back(entry.path().filename());
  }
  std::sort(files.begin(), files.end());
  CHECK(files == std::vector<std::string>{"config.json", "model-00001-of-00002.safetensors",
                                          "model-00002-of-00002.safetensors", "model.safetensors.index.json"});
  CHECK(read_text(folder / "out/member-001/model.safetensors.index.json") ==
        read_text(folder / "in/model.safetensors.index.json"));
  for (const char* shard : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}) {
    const checkpoint source = load_safetensors(folder.path / "in" / shard);
    const rounded_members members(source, quantizer<symmetric_int<5>>{}, bernoulli{});
    for (std::uint64_t k = 0; k < 2; ++k) {
      const checkpoint found = load_safetensors(folder.path / "out" / ("member-00" + std::to_string(k)) / shard);
      CHECK(found.metadata() == members[k].metadata());
      CHECK(found.tensors()[1].type() == source.tensors()[1].type());
      for (const tensor& current : source.tensors()) {
        const tensor expected = converted(members[k][current.name()], current.type());
        CHECK(found[current.name()].to_floats() == expected.to_floats());
      }
    }
  }

  // In F32 the shards grow, and the index says so.
  check_done((folder / "in/model.safetensors.index.json") + " --output " + (folder / "float") +
             " --members 1 --dtype F32");
  const auto index = nlohmann::json::parse(read_text(folder / "float/member-000/model.safetensors.index.json"));
  CHECK(index["metadata"]["total_size"] == 2 * 50 * 64 + 4 * (64 * 64 + 96 * 64 + 64));
  CHECK(index["weight_map"].size() == 4);
}

TEST_CASE("patterns choose tensors and widths", "[examples]") {
  const scratch folder;
  make_folder(folder.path / "in");
  check_done((folder / "in") + " --output " + (folder / "out") +
             " --members 1 --include 'proj|embed' --exclude q_proj --bits 6 --bits-for 'up_=3' --bits-for '_proj=4'");
  const auto common = nlohmann::json::parse(read_text(folder / "out/pluria.json"));
  CHECK(common["tensors"] == nlohmann::json{{"model.embed_tokens.weight", "INT-6 channel"},
                                            {"model.layers.0.up_proj.weight", "INT-3 channel"}});
  // The files of a member say it of themselves, too.
  nlohmann::json own = nlohmann::json::object();
  for (const auto& entry : fs::directory_iterator(folder.path / "out/member-000")) {
    if (entry.path().extension() == ".safetensors") {
      own.update(nlohmann::json::parse(load_safetensors(entry.path()).metadata().at("pluria.tensors")));
    }
  }
  CHECK(own == nlohmann::json{{"model.embed_tokens.weight", "INT-6"}, {"model.layers.0.up_proj.weight", "INT-3"}});
  const program_result plan =
      sample((folder / "in") + " --dry-run --members 4 --include proj --bits-for up_proj=4 --granularity group:32");
  INFO(plan.output);
  CHECK(plan.status == 0);
  // 64 x 64 in 5 bits and 96 x 64 in 4, rows filled up to 128, 32 bits of scale for 32 weights.
  CHECK(plan.output.find("10240 of 13504 parameters in 4 tensors are rounded, 9.80 bits each with their scales") !=
        std::string::npos);
  CHECK(plan.output.find("model.norm.weight") != std::string::npos);
  CHECK_FALSE(fs::exists(folder.path / "in/pluria.json"));
}

TEST_CASE("members in any number system are those that the library draws", "[examples]") {
  const scratch folder;
  const checkpoint source = load_safetensors(tiny);
  const auto check_members = [&](const std::string& name, const std::string& arguments, const rule& decide) {
    check_done(tiny + " --output " + (folder / name) + " --members 2 --seed 9 --dtype F32 " + arguments);
    const rounded_members members(source, decide, bernoulli{.seed = 9});
    for (std::uint64_t k = 0; k < 2; ++k) {
      const checkpoint found =
          load_safetensors(folder / (name + "/member-00" + std::to_string(k) + "/vit-tiny.safetensors"));
      CHECK(same_tensors(found, members[k]));
      CHECK(found.metadata() == members[k].metadata());
    }
  };
  check_members("nf4", "--system NF4", quantizer<nf4>{});
  check_members("fp8", "--system FP8-E4M3 --granularity tensor", quantizer<fp8_e4m3, per_tensor>{});
  check_members("mxfp4", "--system MXFP4", quantizer<mxfp4, per_group>{per_group(32)});
  check_members("int7", "--system INT-7 --include qkv", rule([](std::string_view name, std::span<const std::size_t>) {
                  return name.ends_with("qkv.weight") ? rule::decision(quantizer<symmetric_int<7>>{}) : std::nullopt;
                }));
  CHECK(load_safetensors(folder / "mxfp4/member-000/vit-tiny.safetensors").metadata().at("pluria.granularity") ==
        "group:32");
  // One more of a folder's members, not of another system.
  check_refused(tiny + " --output " + (folder / "nf4") + " --members 3 --seed 9 --dtype F32 --system INT-4",
                {"pluria.json: pluria.system", "INT-4", "found \"NF4\""});
}

TEST_CASE("weights that a number system cannot reach are counted", "[examples]") {
  const scratch folder;
  const program_result clipped = sample(tiny + " --output " + (folder / "mxfp4") + " --members 1 --system MXFP4");
  INFO(clipped.output);
  CHECK(clipped.status == 0);
  const rounded_members members(load_safetensors(tiny), quantizer<mxfp4, per_group>{per_group(32)}, nearest{});
  const std::size_t saturated = members.packed_storage().saturated;
  CHECK(saturated > 0);
  CHECK(clipped.output.find("\n" + std::to_string(saturated) + " of these weights lie beyond their grid") !=
        std::string::npos);
  CHECK(sample(tiny + " --output " + (folder / "nf4") + " --members 1 --system NF4").output.find("beyond") ==
        std::string::npos);
}

TEST_CASE("a rule file decides tensor by tensor", "[examples]") {
  const scratch folder;
  make_folder(folder.path / "in");
  write_file(folder.path / "rule.json", R"({"default": {"system": "INT-5"}, "tensors": {
    "model.embed_tokens.weight": {"system": "MXFP4"}, "model.layers.0.up_proj.weight": "keep"}})");
  const std::string common = (folder / "in") + " --rule " + (folder / "rule.json");
  const program_result plan = sample(common + " --dry-run");
  INFO(plan.output);
  CHECK(plan.status == 0);
  // 50 x 64 in 4 bits and 64 x 64 in 5, rows filled up to 128; 8 bits of scale for 32 weights, 32 for a row.
  CHECK(plan.output.find("7296 of 13504 parameters in 4 tensors are rounded, 9.51 bits each with their scales") !=
        std::string::npos);
  CHECK(plan.output.find("MXFP4 group:32, stored as BF16") != std::string::npos);
  CHECK(plan.output.find("INT-5 channel, stored as BF16") != std::string::npos);

  check_done(common + " --output " + (folder / "out") + " --members 1");
  const auto tensors = nlohmann::json::parse(read_text(folder / "out/pluria.json"))["tensors"];
  CHECK(tensors == nlohmann::json{{"model.embed_tokens.weight", "MXFP4 group:32"},
                                  {"model.layers.0.q_proj.weight", "INT-5 channel"}});
  const checkpoint first = load_safetensors(folder.path / "in/model-00001-of-00002.safetensors");
  const checkpoint member = load_safetensors(folder / "out/member-000/model-00001-of-00002.safetensors");
  CHECK(nlohmann::json::parse(member.metadata().at("pluria.tensors")) == tensors);
  CHECK(member.metadata().at("pluria.system") == "INT-5 MXFP4");
  CHECK(member.metadata().at("pluria.granularity") == "channel group:32");
  const rounded_members members(first, examples::rule_file(folder.path / "rule.json").rule(), bernoulli{});
  CHECK(same_tensors(member, converted(members[0], dtype::bf16)));

  // Another rule is another folder's.
  write_file(folder.path / "rule.json", R"({"default": {"system": "INT-5"}, "tensors": {
    "model.embed_tokens.weight": {"system": "MXFP4"}}})");
  check_refused(common + " --output " + (folder / "out") + " --members 2", {"pluria.json: tensors", "up_proj"});
  write_file(folder.path / "rule.json", R"({"default": {"system": "INT-5"}, "tensors": {
    "model.layers.0.up_proj.weight": {"system": "INT-5", "range": "percentile:90"}}})");
  check_refused(common + " --output " + (folder / "out") + " --members 2", {"pluria.json: pluria.granularity"});
  check_done(common + " --output " + (folder / "clipped") + " --members 1");
  const checkpoint second = load_safetensors(folder / "clipped/member-000/model-00002-of-00002.safetensors");
  CHECK(second.metadata().at("pluria.scale") == "absmax percentile:90");
  CHECK(nlohmann::json::parse(second.metadata().at("pluria.tensors")) ==
        nlohmann::json{{"model.layers.0.up_proj.weight", "INT-5 channel percentile:90"}});
}

TEST_CASE("a rule that does not fit the checkpoint or the other options is refused", "[examples]") {
  const scratch folder;
  const std::string rule = folder / "rule.json";
  const std::string base = tiny + " --output " + (folder / "out") + " --rule " + rule;
  write_file(rule, R"({"tensors": {"blocks.7.attn.qkv.weight": {"system": "INT-4"}}})");
  check_refused(base, {"rule.json: tensor \"blocks.7.attn.qkv.weight\": expected a tensor of ", "vit-tiny",
                       "found none of that name"});
  write_file(rule, R"({"tensors": {"norm.bias": {"system": "INT-4"}}})");
  check_refused(base, {"tensor \"norm.bias\": expected two or more dimensions", "found [64] in F16"});
  write_file(rule, R"({"tensors": {"head.weight": "keep"}})");
  check_refused(base, {"rule.json: tensors to round: expected at least one", "found none"});
  write_file(rule, R"({"default": {"system": "INT-11"}})");
  check_refused(base, {"rule.json: default: system: expected one of", "found \"INT-11\""});
  check_refused(tiny + " --dry-run --rule " + (folder / "none.json"), {"none.json: cannot read"});
  for (const char* other :
       {"--bits 4", "--system INT-4", "--granularity channel", "--include qkv", "--exclude qkv", "--bits-for qkv=4"}) {
    check_refused(base + " " + other, {"excludes"});
  }
  check_refused(tiny + " --dry-run --system INT-4 --bits 4", {"excludes"});
  check_refused(tiny + " --dry-run --system INT-4 --bits-for qkv=4", {"excludes"});
  check_refused(tiny + " --dry-run --system INT4", {"--system: expected one of INT-2, ", "found \"INT4\""});
  check_refused(tiny + " --dry-run --system MXFP4 --granularity channel", {"--granularity of MXFP4", "group:32"});
  const std::string gguf = PLURIA_SOURCE_DIR "/tests/io/reference/gguf/model.gguf --dry-run --exclude attn_k";
  check_refused(gguf + " --system NF4", {"--system: expected with safetensors only", "found \"NF4\""});
  check_refused(PLURIA_SOURCE_DIR "/tests/io/reference/gguf/model.gguf --dry-run --rule " + rule,
                {"--rule: expected with safetensors only"});
  CHECK_FALSE(fs::exists(folder.path / "out"));
}

TEST_CASE("a run goes on where another was stopped, with the same bits", "[examples]") {
  const scratch folder;
  const std::string common = tiny + " --seed 5 --bits 5 --output ";
  check_done(common + (folder / "once") + " --members 6");
  check_done(common + (folder / "twice") + " --members 2 --first 3");
  // What a killed run leaves.
  fs::create_directories(folder.path / "twice/member-001.partial");
  write_file(folder.path / "twice/member-001.partial/vit-tiny.safetensors.1-0.partial", "half a file");
  const auto untouched = fs::last_write_time(folder.path / "twice/member-003/vit-tiny.safetensors");
  const program_result rest = sample(common + (folder / "twice") + " --members 6");
  INFO(rest.output);
  CHECK(rest.status == 0);
  CHECK(rest.output.find("4 written, 2 there already") != std::string::npos);
  CHECK(fs::last_write_time(folder.path / "twice/member-003/vit-tiny.safetensors") == untouched);
  CHECK_FALSE(fs::exists(folder.path / "twice/member-001.partial"));
  for (int k = 0; k < 6; ++k) {
    const std::string name = "/member-00" + std::to_string(k) + "/vit-tiny.safetensors";
    CHECK(read_text(folder / ("once" + name)) == read_text(folder / ("twice" + name)));
  }
}

TEST_CASE("a run that is killed leaves nothing that looks finished", "[examples]") {
  const scratch folder;
  {
    checkpoint large("large");
    for (std::uint32_t i = 0; i < 8; ++i) {
      large.add(made("layers." + std::to_string(i) + ".weight", {512, 1024}, dtype::f32, i));
    }
    save_safetensors(large, folder.path / "large.safetensors");
  }
  const std::string input = folder / "large.safetensors";
  const std::string output = folder / "out";
  for (const int milliseconds : {5, 20, 60, 150}) {
    const ::pid_t child = ::fork();
    if (child == 0) {
      ::close(STDOUT_FILENO);
      ::execl(PLURIA_SAMPLE_CHECKPOINT, "sample_checkpoint", input.c_str(), "--output", output.c_str(), "--members",
              "4", nullptr);
      ::_exit(127);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    for (int k = 0; fs::exists(output) && k < 4; ++k) {
      const fs::path member = fs::path(output) / ("member-00" + std::to_string(k));
      if (fs::exists(member)) {
        CHECK(load_safetensors(member / "large.safetensors").tensors().size() == 8);
      }
    }
  }
  check_done(input + " --output " + output + " --members 4");
  check_done(input + " --output " + (folder / "undisturbed") + " --members 4");
  for (int k = 0; k < 4; ++k) {
    const std::string name = "/member-00" + std::to_string(k) + "/large.safetensors";
    CHECK(read_text(output + name) == read_text((folder / "undisturbed") + name));
  }
}

TEST_CASE("members of other bits are not put beside those that are there", "[examples]") {
  const scratch folder;
  make_folder(folder.path / "in");
  const std::string output = " --output " + (folder / "out");
  check_done((folder / "in") + output + " --members 1 --seed 1");
  check_refused((folder / "in") + output + " --members 2 --seed 2",
                {"pluria.json: pluria.seed", "\"2\"", "found \"1\""});
  check_refused((folder / "in") + output + " --members 2 --seed 1 --bits 4", {"pluria.system", "INT-4", "INT-5"});
  check_refused((folder / "in") + output + " --members 2 --seed 1 --exclude q_proj", {"tensors", "q_proj"});
  // The input changed between the runs.
  checkpoint changed("", {{"format", "pt"}});
  changed.add(made("model.layers.0.up_proj.weight", {96, 64}, dtype::bf16, 30));
  changed.add(made("model.norm.weight", {64}, dtype::f32, 4));
  save_safetensors(changed, folder.path / "in/model-00002-of-00002.safetensors");
  check_refused((folder / "in") + output + " --members 2 --seed 1", {"pluria.json: input", "expected", "found"});
  CHECK_FALSE(fs::exists(folder.path / "out/member-001"));
  write_file(folder.path / "in/notes", "");
  check_refused(tiny + " --output " + (folder / "in"), {"a new or empty folder", "no pluria.json"});
}

TEST_CASE("sample_checkpoint names what is wrong with its input", "[examples]") {
  const scratch folder;
  const std::string output = " --output " + (folder / "out");
  make_folder(folder.path / "in");
  check_refused(tiny, {"--output: expected a folder"});
  check_refused((folder / "none") + output, {"none: cannot be opened"});
  check_refused(tiny + output + " --members 0", {"--members: expected 1..65535, found 0"});
  check_refused(tiny + output + " --first 4294967292", {"--first: expected at most 4294967288", "found 4294967292"});
  check_refused(tiny + output + " --first 18446744073709551615", {"--first: expected at most 4294967288"});
  check_refused(tiny + output + " --bits 9", {"--bits"});
  check_refused(tiny + output + " --method median", {"--method: expected bsr or rtn"});
  check_refused(tiny + output + " --granularity row", {"--granularity: expected channel, tensor or group:G"});
  check_refused(tiny + output + " --coupling lattice:3", {"--coupling: expected"});
  check_refused(tiny + output + " --dtype F8", {"--dtype: expected input or F32"});
  check_refused(tiny + output + " --include 'a('", {"--include: expected a regular expression"});
  check_refused(tiny + output + " --include nothing", {"--include \"nothing\"", "none of that name"});
  check_refused(tiny + output + " --exclude nothing", {"--exclude \"nothing\"", "none of that name"});
  check_refused(tiny + output + " --exclude .", {"tensors to round: expected at least one"});
  check_refused(tiny + output + " --bits-for 'cls=4'", {"--bits-for \"cls\"", "none of that name"});
  check_refused(tiny + output + " --bits-for head", {"--bits-for: expected REGEX=BITS"});
  check_refused(tiny + output + " --bits-for head=1", {"--bits-for", "2..8"});
  check_refused(tiny + " --output " + (folder / "in/config.json") + "/out", {"config.json/out"});
  CHECK_FALSE(fs::exists(folder.path / "out"));

  fs::rename(folder.path / "in/model-00001-of-00002.safetensors", folder.path / "away");
  check_refused((folder / "in") + output, {"shard model-00001-of-00002.safetensors: expected beside the index"});
  checkpoint wrong("");
  wrong.add(made("model.embed_tokens.weight", {5, 64}, dtype::bf16, 1));
  save_safetensors(wrong, folder.path / "in/model-00001-of-00002.safetensors");
  check_refused((folder / "in") + output, {"tensor \"model.layers.0.q_proj.weight\": expected by", "not found"});
  wrong.add(made("model.layers.0.q_proj.weight", {64, 64}, dtype::bf16, 2));
  wrong.add(made("extra.weight", {64, 64}, dtype::bf16, 2));
  save_safetensors(wrong, folder.path / "in/model-00001-of-00002.safetensors");
  check_refused((folder / "in") + output, {"tensor \"extra.weight\": not in the weight_map"});
  write_file(folder.path / "in/model.safetensors.index.json", "{\"weight_map\": {\"a\": \"../b\"}}");
  check_refused((folder / "in") + output, {"tensor \"a\": expected the name of a file beside it, found \"../b\""});
  write_file(folder.path / "in/model.safetensors.index.json", "[]");
  check_refused((folder / "in") + output, {"expected a JSON object with \"weight_map\""});
  fs::remove(folder.path / "in/model.safetensors.index.json");
  check_refused((folder / "in") + output, {"model.safetensors or a single .safetensors file, found 2"});

  std::vector<float> values(64 * 64, 1.0F);
  values[70] = std::numeric_limits<float>::quiet_NaN();
  checkpoint broken("");
  broken.add(made("a.weight", {64, 64}, dtype::f32, 1));
  broken.add(tensor::from_floats("b.weight", {64, 64}, values));
  save_safetensors(broken, folder.path / "broken.safetensors");
  check_refused((folder / "broken.safetensors") + output + "/nan",
                {"broken.safetensors: tensor \"b.weight\", index 70: expected a finite weight, found nan"});
  for (const auto& entry : fs::directory_iterator(folder.path / "out/nan")) {
    CHECK(entry.path().filename() == "pluria.json");
  }
}

TEST_CASE("a disk that is full ends a run and leaves nothing that looks finished", "[examples]") {
  const scratch folder;
  // No file may be longer than 200 blocks of 512 bytes; the members are of 400 kB.
  const program_result result = run_program("trap '' XFSZ; ulimit -f 200; " PLURIA_SAMPLE_CHECKPOINT " " + tiny +
                                            " --members 2 --output " + (folder / "out"));
  INFO(result.output);
  CHECK(result.status == 2);
  CHECK(result.output.find("vit-tiny.safetensors: cannot write: File too large") != std::string::npos);
  for (const auto& entry : fs::directory_iterator(folder.path / "out")) {
    CHECK(entry.path().filename() == "pluria.json");
  }
}

TEST_CASE("members of a GGUF file are blocks that were rounded on the scale they store", "[examples]") {
  const scratch folder;
  const fs::path model = fs::path(PLURIA_SOURCE_DIR) / "tests/io/reference/gguf/model.gguf";
  check_done(model.string() + " --output " + (folder / "out") +
             " --members 2 --first 5 --seed 3 --bits 4 --bits-for ffn_down=5 --bits-for ffn_up=8 --exclude attn_k");
  const gguf_checkpoint source = load_gguf(model);
  const bernoulli rounding{.seed = 3};
  std::size_t rounded = 0;
  for (std::uint64_t k = 5; k < 7; ++k) {
    const gguf_checkpoint member = load_gguf(folder.path / "out" / ("member-00" + std::to_string(k)) / "model.gguf");
    const auto expect_blocks = [&]<ggml_type Type, class N>(const gguf_tensor& before, const gguf_tensor& after) {
      const tensor weights = before.weights();
      const tensor rows(before.name(), weights.type(), {before.size() / before.row_elements(), before.row_elements()},
                        weights.bytes(), std::make_shared<tensor>(weights));
      const auto grid = std::make_shared<const tensor_grid<N>>(quantizer<N, per_group>{per_group(32)}.fit(rows));
      const auto expected = pluria::sample(rows, grid, rounding, k, 1).front();
      std::vector<std::byte> blocks(after.bytes().size() / rows.rows());
      for (std::size_t row = 0; row < rows.rows(); ++row) {
        write_ggml_row<Type>(expected, row, blocks);
        CHECK(std::equal(blocks.begin(), blocks.end(),
                         after.bytes().begin() + static_cast<std::ptrdiff_t>(row * blocks.size())));
      }
      ++rounded;
    };
    REQUIRE(member.tensors().size() == source.tensors().size());
    for (std::size_t i = 0; i < source.tensors().size(); ++i) {
      const gguf_tensor& before = source.tensors()[i];
      const gguf_tensor& after = member.tensors()[i];
      INFO(before.name());
      CHECK(after.name() == before.name());
      CHECK(after.shape() == before.shape());
      if (after.name() == "blk.0.ffn_down.weight") {
        CHECK(after.type() == ggml_type::q5_0);
        expect_blocks.operator()<ggml_type::q5_0, full_range_int<5>>(before, after);
      } else if (after.name() == "blk.0.ffn_up.weight") {
        CHECK(after.type() == ggml_type::q8_0);
        expect_blocks.operator()<ggml_type::q8_0, half_symmetric_int<8>>(before, after);
      } else if (after.type() == ggml_type::q4_0) {
        expect_blocks.operator()<ggml_type::q4_0, full_range_int<4>>(before, after);
      } else {
        CHECK(after.type() == before.type());
        CHECK(std::equal(after.bytes().begin(), after.bytes().end(), before.bytes().begin(), before.bytes().end()));
      }
    }
    CHECK(member.find("pluria.member") != nullptr);
  }
  CHECK(rounded == 2 * 4);
}

TEST_CASE("what llama.cpp keeps of a GGUF file stays by default", "[examples]") {
  using pluria::examples::quantized_in_gguf_by_default;
  const std::vector<std::size_t> shape{64, 64};
  for (const char* name : {"blk.0.attn_q.weight", "output.weight", "blk.0.ffn_down_exps.weight",
                           "blk.0.time_mix_value.weight", "blk.0.time_mix_gate.weight", "blk.0.ssm_in.weight"}) {
    CAPTURE(name);
    CHECK(quantized_in_gguf_by_default(name, shape));
  }
  for (const char* name :
       {"token_embd.weight", "blk.0.ssm_conv1d.weight", "blk.0.ffn_gate_inp.weight", "blk.0.time_mix_w1.weight",
        "blk.0.attn_q_norm.weight", "token_types.weight", "rope_freqs"}) {
    CAPTURE(name);
    CHECK_FALSE(quantized_in_gguf_by_default(name, shape));
  }
}

TEST_CASE("a GGUF file's type is that of most of its weights", "[examples]") {
  const scratch folder;
  const std::string model = PLURIA_SOURCE_DIR "/tests/io/reference/gguf/model.gguf";
  const auto type_of = [&](const std::string& name, const std::string& arguments) {
    check_done(model + " --output " + (folder / name) + " --members 1 --exclude attn_k " + arguments);
    const gguf_checkpoint member = load_gguf(folder.path / name / "member-000/model.gguf");
    const gguf_entry* const entry = member.find("general.file_type");
    return entry == nullptr ? std::nullopt : entry->number();
  };
  CHECK(type_of("most", "--bits 4") == gguf_file_type(ggml_type::q4_0));
  CHECK(type_of("few", "--bits 4 --include ffn_up.weight") != gguf_file_type(ggml_type::q4_0));
}

TEST_CASE("rows of a GGUF file that are no whole blocks become F16", "[examples]") {
  const scratch folder;
  const std::string model = PLURIA_SOURCE_DIR "/tests/io/reference/gguf/model.gguf";
  check_done(model + " --output " + (folder / "out") + " --members 1 --include 'ffn_up.weight|four'");
  const gguf_checkpoint source = load_gguf(model);
  const gguf_checkpoint member = load_gguf(folder / "out/member-000/model.gguf");
  const auto four = [](const gguf_checkpoint& file) {
    const auto found = std::find_if(file.tensors().begin(), file.tensors().end(),
                                    [](const gguf_tensor& current) { return current.name() == "four"; });
    REQUIRE(found != file.tensors().end());
    return *found;
  };
  const gguf_tensor before = four(source);
  const gguf_tensor after = four(member);
  CHECK(before.type() == ggml_type::f32);
  CHECK(after.type() == ggml_type::f16);
  std::vector<float> values(before.size());
  std::vector<float> halves(after.size());
  before.read(0, values);
  after.read(0, halves);
  std::size_t moved = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(std::abs(halves[i] - values[i]) <= std::abs(values[i]) * 0x1p-11F + 0x1p-25F);
    moved += halves[i] == values[i] ? 0 : 1;
  }
  CHECK(moved > 0);
  // Excluded, it stays.
  check_done(model + " --output " + (folder / "kept") + " --members 1 --include ffn_up.weight");
  CHECK(four(load_gguf(folder / "kept/member-000/model.gguf")).type() == ggml_type::f32);
}

TEST_CASE("a weight that F16 cannot hold is refused where rows become F16", "[examples]") {
  const scratch folder;
  const std::string model = PLURIA_SOURCE_DIR "/tests/io/reference/gguf/model.gguf";
  std::string content = read_text(model);
  const gguf_checkpoint source = load_gguf(model);
  const auto four = std::find_if(source.tensors().begin(), source.tensors().end(),
                                 [](const gguf_tensor& current) { return current.name() == "four"; });
  REQUIRE(four != source.tensors().end());
  const std::string weights(reinterpret_cast<const char*>(four->bytes().data()), four->bytes().size());
  const std::size_t place = content.find(weights);
  REQUIRE(place != std::string::npos);
  const float large = 1e6F;
  content.replace(place + 8, sizeof(large), reinterpret_cast<const char*>(&large), sizeof(large));
  write_file(folder.path / "large.gguf", content);
  check_refused((folder / "large.gguf") + " --output " + (folder / "out") + " --include 'ffn_up.weight|four'",
                {"large.gguf: tensor \"four\", index 2: expected a value that F16 holds", "found 1000000"});
  CHECK_FALSE(fs::exists(folder.path / "out/member-000"));
}

TEST_CASE("a GGUF file that is rounded to nearest has the tensors of ggml's own", "[examples]") {
  const scratch folder;
  const std::string reference = PLURIA_SOURCE_DIR "/tests/io/reference/gguf";
  check_done(reference + "/model.gguf --output " + (folder / "out") + " --bits 4 --method rtn --exclude attn_k");
  const gguf_checkpoint found = load_gguf(folder / "out/nearest/model.gguf");
  const gguf_checkpoint expected = load_gguf(reference + "/member.gguf");
  REQUIRE(found.tensors().size() == expected.tensors().size());
  for (std::size_t i = 0; i < found.tensors().size(); ++i) {
    const auto own = found.tensors()[i].bytes();
    const auto ggml = expected.tensors()[i].bytes();
    CHECK(found.tensors()[i].type() == expected.tensors()[i].type());
    CHECK(std::equal(own.begin(), own.end(), ggml.begin(), ggml.end()));
  }
}

TEST_CASE("sample_checkpoint says what it cannot do with a GGUF file", "[examples]") {
  const scratch folder;
  const std::string model = PLURIA_SOURCE_DIR "/tests/io/reference/gguf/model.gguf";
  const std::string output = " --output " + (folder / "out");
  check_refused(model + output, {"in F32, F16, BF16 or Q8_0 (or --exclude them), found blk.0.attn_k.weight (Q4_K)"});
  check_refused(model + output + " --exclude attn_k --bits 6",
                {"4, 5 or 8 (Q4_0, Q5_0, Q8_0) for a GGUF file, found 6"});
  check_refused(model + output + " --exclude attn_k --granularity group:64", {"--granularity", "group:32"});
  check_refused(model + output + " --exclude attn_k --dtype F32", {"--dtype: expected with safetensors only"});
  check_refused(model + output + " --include nothing", {"--include \"nothing\"", "none of that name"});
  check_refused(model + output + " --format onnx", {"--format: expected safetensors or gguf"});
  check_refused(tiny + output + " --format gguf", {"vit-tiny.safetensors", "GGUF"});
  check_refused((folder / "none.gguf") + output, {"none.gguf: cannot be opened"});
  CHECK_FALSE(fs::exists(folder.path / "out"));

  // Rows that are no whole blocks become F16, and it is said.
  const program_result plan = sample(model + " --dry-run --include 'ffn_up.weight|four'");
  INFO(plan.output);
  CHECK(plan.status == 0);
  CHECK(plan.output.find("four: its rows are not multiples of 32 weights: F16, as llama.cpp makes it") !=
        std::string::npos);
  CHECK(plan.output.find("384 of 1694 parameters in 10 tensors are rounded, 5.50 bits each") != std::string::npos);
}

#if PLURIA_EXHAUSTIVE  // sanitizers need more memory than the limit
TEST_CASE("a checkpoint larger than memory needs little of it", "[examples]") {
  // Three gigabytes of zeros, a hole on the disk: five tensors that are copied and one that is rounded.
  const scratch folder;
  const std::size_t rows = 8192;
  const std::size_t columns = 32768;  // 512 MiB in bfloat16
  std::vector<tensor_description> entries;
  for (int i = 0; i < 6; ++i) {
    entries.push_back({"layers." + std::to_string(i) + ".weight", dtype::bf16, {rows, columns}});
  }
  {
    // The header of a safetensors_writer, and a hole instead of the bytes.
    std::string header = "{";
    std::uint64_t begin = 0;
    for (const tensor_description& entry : entries) {
      header += (begin == 0 ? "" : ",") +
                ("\"" + entry.name + R"(":{"dtype":"BF16","shape":[8192,32768],)" + "\"data_offsets\":[" +
                 std::to_string(begin) + "," + std::to_string(begin + entry.bytes()) + "]}");
      begin += entry.bytes();
    }
    header += "}";
    header.append((8 - header.size() % 8) % 8, ' ');
    std::ofstream file(folder.path / "sparse.safetensors", std::ios::binary);
    const std::uint64_t length = header.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file << header;
    file.close();
    fs::resize_file(folder.path / "sparse.safetensors", 8 + header.size() + begin);
  }
  // The peak counts the pages of the mapped input, too.
  const ::pid_t child = ::fork();
  if (child == 0) {
    ::close(STDOUT_FILENO);
    const std::string input = folder / "sparse.safetensors";
    const std::string output = folder / "out";
    ::execl(PLURIA_SAMPLE_CHECKPOINT, "sample_checkpoint", input.c_str(), "--output", output.c_str(), "--members", "1",
            "--include", "layers.5", nullptr);
    ::_exit(127);
  }
  int status = 0;
  struct rusage usage {};
  REQUIRE(::wait4(child, &status, 0, &usage) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(usage.ru_maxrss < 900 * 1024);  // KiB
}
#endif
