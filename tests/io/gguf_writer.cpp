// SPDX-License-Identifier: MIT
#include <pluria/io/gguf_writer.hpp>

#include "io/gguf_text.hpp"
#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

const std::filesystem::path reference =
    std::filesystem::path(PLURIA_SOURCE_DIR) / "tests" / "io" / "reference" / "gguf";

std::vector<ggml_type> types_of(const gguf_checkpoint& model) {
  std::vector<ggml_type> types;
  for (const gguf_tensor& tensor : model.tensors()) {
    types.push_back(tensor.type());
  }
  return types;
}

// What becomes of the tensors of model.gguf in member.gguf.
gguf_plan member_plan(const gguf_checkpoint& model) {
  std::vector<ggml_type> types = types_of(model);
  for (const std::size_t place : {1U, 3U, 4U, 5U}) {
    types[place] = ggml_type::q4_0;
  }
  return {model, types, ggml_type::q4_0};
}

// A tensor's bytes in a type: its own, or rounded to nearest.
std::vector<std::byte> bytes_in(const gguf_tensor& tensor, ggml_type type, std::size_t bytes) {
  if (type == tensor.type()) {
    return {tensor.bytes().begin(), tensor.bytes().end()};
  }
  std::vector<std::byte> blocks(bytes);
  round_to_ggml_blocks<ggml_type::q4_0>(tensor.weights(), 0, blocks);
  return blocks;
}

gguf_checkpoint parse(const std::string& text) {
  const auto owner = std::make_shared<const std::string>(text);
  return parse_gguf(bytes_of(*owner), owner, "f.gguf");
}

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

TEST_CASE("file types have the numbers of llama.cpp", "[io]") {
  CHECK(gguf_file_type(ggml_type::f32) == 0);
  CHECK(gguf_file_type(ggml_type::f16) == 1);
  CHECK(gguf_file_type(ggml_type::q4_0) == 2);
  CHECK(gguf_file_type(ggml_type::q8_0) == 7);
  CHECK(gguf_file_type(ggml_type::q5_0) == 8);
  CHECK(gguf_file_type(ggml_type::bf16) == 32);
  CHECK_THROWS_AS(gguf_file_type(ggml_type::q4_k), precondition_error);
}

TEST_CASE("a file that is rounded to nearest is, byte for byte, the one of the gguf package and ggml", "[io]") {
  const temporary_folder folder;
  const gguf_checkpoint model = load_gguf(reference / "model.gguf");
  const gguf_plan plan = member_plan(model);
  const gguf_identity identity{{"pluria.rounding", "nearest"}, {"pluria.system", "Q4_0"}};
  gguf_writer writer(folder / "member.gguf", plan, identity);
  for (std::size_t i = 0; i < model.tensors().size(); ++i) {
    CHECK(writer.current_tensor() == i);
    writer.write(bytes_in(model.tensors()[i], plan.types()[i], plan.tensor_bytes()[i]));
  }
  CHECK(writer.current_tensor() == model.tensors().size());
  CHECK(folder.names().size() == 1);
  CHECK(folder.names().front().ends_with(".partial"));
  writer.commit();
  CHECK(folder.names() == std::vector<std::string>{"member.gguf"});
  CHECK(content_of(folder / "member.gguf") == content_of(reference / "member.gguf"));
  CHECK(plan.file_bytes(identity) == std::filesystem::file_size(reference / "member.gguf"));
}

TEST_CASE("a file with all tensors as they were is the same file", "[io]") {
  const temporary_folder folder;
  for (const char* const name : {"model.gguf", "member.gguf"}) {
    const gguf_checkpoint model = load_gguf(reference / name);
    const bool is_member = model.find("pluria.system") != nullptr;
    const gguf_plan plan(model, types_of(model), is_member ? ggml_type::q4_0 : ggml_type::f32);
    gguf_identity identity;
    if (is_member) {
      // Its own identity goes, and the new one says the same.
      identity = {{"pluria.rounding", "nearest"}, {"pluria.system", "Q4_0"}};
    }
    gguf_writer writer(folder / name, plan, identity);
    for (const gguf_tensor& tensor : model.tensors()) {
      writer.write(tensor.bytes());
    }
    writer.commit();
    const std::string written = content_of(folder / name);
    const std::string source = content_of(reference / name);
    if (is_member) {
      CHECK(written == source);
    } else {
      // Q4_K and Q8_0 tensors want the version that the source does not have: the file is longer by an entry, or its
      // padding shorter.
      const gguf_checkpoint read = load_gguf(folder / name);
      CHECK(read.find("general.quantization_version")->number() == 2U);
      CHECK(read.metadata().size() == model.metadata().size() + 1);
      for (std::size_t i = 0; i < model.metadata().size(); ++i) {
        CHECK(same_bytes(read.metadata()[i].bytes, model.metadata()[i].bytes));
      }
      for (std::size_t i = 0; i < model.tensors().size(); ++i) {
        CHECK(read.tensors()[i].name() == model.tensors()[i].name());
        CHECK(read.tensors()[i].type() == model.tensors()[i].type());
        CHECK(read.tensors()[i].shape() == model.tensors()[i].shape());
        CHECK(same_bytes(read.tensors()[i].bytes(), model.tensors()[i].bytes()));
      }
    }
  }
}

TEST_CASE("what the header says of the file is replaced or added", "[io]") {
  const std::string text = stored_text("a") + stored(gguf_type::u8) + "x";
  const std::string type = stored_text("general.file_type") + stored(gguf_type::u64) + stored(std::uint64_t{15});
  const std::string old = stored_text("pluria.member") + stored(gguf_type::string) + stored_text("3");
  const std::string b = stored_text("b") + stored(gguf_type::u8) + "y";
  const auto member = [](const std::vector<std::string>& entries, ggml_type to) {
    return parse(
        gguf_plan(parse(gguf_text(entries, {tensor_info("w", {32, 2}, 0, 0)}, std::string(256, 'x'))), {to}, to)
            .header({{"pluria.member", "7"}}) +
        std::string(ggml_bytes(to, 64), 'x'));
  };
  const auto keys = [](const gguf_checkpoint& read) {
    std::vector<std::string> found;
    for (const gguf_entry& entry : read.metadata()) {
      found.push_back(entry.key);
    }
    return found;
  };
  const gguf_checkpoint replaced = member({text, type, old, b}, ggml_type::q5_0);
  CHECK(keys(replaced) ==
        std::vector<std::string>{"a", "general.file_type", "b", "general.quantization_version", "pluria.member"});
  CHECK(replaced.find("general.file_type")->number() == 8U);
  CHECK(replaced.find("general.quantization_version")->number() == 2U);
  CHECK(replaced.find("pluria.member")->text() == "7");
  CHECK(replaced.tensors()[0].type() == ggml_type::q5_0);
  CHECK(replaced.tensors()[0].shape() == tensor_shape{2, 32});

  const gguf_checkpoint added = member({text, b}, ggml_type::q8_0);
  CHECK(keys(added) ==
        std::vector<std::string>{"a", "b", "general.file_type", "general.quantization_version", "pluria.member"});
  CHECK(added.find("general.file_type")->number() == 7U);

  // Without quantized tensors there is no version of the quantization.
  CHECK(keys(member({text}, ggml_type::f16)) == std::vector<std::string>{"a", "general.file_type", "pluria.member"});
  // One that is there stays as it is.
  const std::string version = stored_text("general.quantization_version") + stored(gguf_type::u32) + stored(2U);
  CHECK(keys(member({version, text}, ggml_type::q4_0)) ==
        std::vector<std::string>{"general.quantization_version", "a", "general.file_type", "pluria.member"});
}

TEST_CASE("several members are written in one pass, in pieces, by threads", "[io]") {
  const temporary_folder folder;
  const gguf_checkpoint model = load_gguf(reference / "model.gguf");
  const gguf_plan plan = member_plan(model);
  const auto identity = [](std::size_t k) { return gguf_identity{{"pluria.member", std::string(k + 1, '9')}}; };
  const auto path = [&](std::size_t k) { return folder / ("member-" + std::to_string(k)); };
  std::vector<gguf_writer> writers;
  for (std::size_t k = 0; k < 4; ++k) {
    writers.emplace_back(path(k), plan, identity(k));
  }
  std::vector<std::thread> threads;
  for (std::size_t k = 0; k < writers.size(); ++k) {
    threads.emplace_back([&, k] {
      for (std::size_t i = 0; i < model.tensors().size(); ++i) {
        const std::vector<std::byte> bytes = bytes_in(model.tensors()[i], plan.types()[i], plan.tensor_bytes()[i]);
        for (std::size_t first = 0; first < bytes.size(); first += 7 + k) {
          writers[k].write(std::span(bytes).subspan(first, std::min(7 + k, bytes.size() - first)));
        }
      }
      writers[k].commit();
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(folder.names() == std::vector<std::string>{"member-0", "member-1", "member-2", "member-3"});
  const gguf_checkpoint expected = load_gguf(reference / "member.gguf");
  for (std::size_t k = 0; k < 4; ++k) {
    const gguf_checkpoint member = load_gguf(path(k));
    CHECK(std::filesystem::file_size(path(k)) == plan.file_bytes(identity(k)));
    CHECK(member.find("pluria.member")->text() == std::string(k + 1, '9'));
    REQUIRE(member.tensors().size() == expected.tensors().size());
    for (std::size_t i = 0; i < expected.tensors().size(); ++i) {
      CHECK(same_bytes(member.tensors()[i].bytes(), expected.tensors()[i].bytes()));
    }
  }
}

TEST_CASE("tensors without bytes are passed over, and alignments larger than a buffer are padded", "[io]") {
  const temporary_folder folder;
  std::string text = gguf_text({stored_text("general.alignment") + stored(gguf_type::u32) + stored(std::uint32_t{512})},
                               {tensor_info("none", {32, 0}, 0, 0), tensor_info("a", {3}, 24, 0),
                                tensor_info("nil", {0}, 0, 512), tensor_info("b", {1}, 24, 512)},
                               "abc" + std::string(509, '\0') + "d", 512);
  const gguf_checkpoint model = parse(text);
  gguf_writer writer(folder / "a", gguf_plan(model, types_of(model), ggml_type::f32));
  CHECK(writer.current_tensor() == 1);
  writer.write(model.tensors()[1].bytes());
  CHECK(writer.current_tensor() == 3);
  writer.write(model.tensors()[3].bytes());
  writer.commit();
  const std::string written = content_of(folder / "a");
  CHECK(written.substr(written.size() - 1024) == "abc" + std::string(509, '\0') + "d" + std::string(511, '\0'));

  gguf_writer empty(folder / "b", gguf_plan(parse(gguf_text({}, {}, "")), {}, ggml_type::f32));
  empty.commit();
  CHECK(load_gguf(folder / "b").tensors().empty());
}

TEST_CASE("a tensor whose rows are not whole blocks is refused by its name", "[io]") {
  const gguf_checkpoint model = parse(gguf_text({}, {tensor_info("w", {48, 2}, 0, 0)}, std::string(384, 'x')));
  CHECK(refusal([&] { gguf_plan(model, {ggml_type::q4_0}, ggml_type::q4_0); }) ==
        "f.gguf: tensor \"w\": expected rows of whole blocks of 32 elements for Q4_0, found rows of 48");
  CHECK(gguf_plan(model, {ggml_type::f16}, ggml_type::f16).tensor_bytes() == std::vector<std::size_t>{192});
}

TEST_CASE("a file that is not complete is not there", "[io]") {
  const temporary_folder folder;
  write_file(folder / "a", "old");
  const gguf_checkpoint model = parse(gguf_text({}, {tensor_info("w", {2}, 0, 0)}, "12345678"));
  const gguf_plan plan(model, types_of(model), ggml_type::f32);
  const std::span<const std::byte> bytes = model.tensors()[0].bytes();
  {
    gguf_writer writer(folder / "a", plan);
    writer.write(bytes.first(7));
    CHECK_THROWS_AS(writer.commit(), precondition_error);
    CHECK_THROWS_AS(writer.write(bytes.first(2)), precondition_error);
  }
  CHECK(content_of(folder / "a") == "old");
  CHECK(folder.names() == std::vector<std::string>{"a"});
  gguf_writer writer(folder / "a", plan);
  writer.write(bytes);
  CHECK_THROWS_AS(writer.write(bytes.first(1)), precondition_error);
  writer.commit();
  CHECK_THROWS_AS(writer.commit(), precondition_error);
  CHECK(load_gguf(folder / "a").tensors()[0].size() == 2);

  CHECK(refusal([&] { gguf_writer(folder / "none/a", plan); }) ==
        (folder / "none/a").string() + ": cannot write: No such file or directory");
  CHECK_THROWS_AS(gguf_writer(folder / "b", plan, {{"general.name", "x"}}), precondition_error);
  CHECK_THROWS_AS(gguf_plan(model, {}, ggml_type::f32), precondition_error);
  CHECK(folder.names() == std::vector<std::string>{"a"});
}

TEST_CASE("a member can be written over the file that its source is mapped from", "[io]") {
  const temporary_folder folder;
  std::filesystem::copy_file(reference / "member.gguf", folder / "a");
  const gguf_checkpoint model = load_gguf(folder / "a");
  gguf_writer writer(folder / "a", gguf_plan(model, types_of(model), ggml_type::q4_0),
                     {{"pluria.rounding", "nearest"}, {"pluria.system", "Q4_0"}});
  for (const gguf_tensor& tensor : model.tensors()) {
    writer.write(tensor.bytes());
  }
  writer.commit();
  CHECK(content_of(folder / "a") == content_of(reference / "member.gguf"));
}
