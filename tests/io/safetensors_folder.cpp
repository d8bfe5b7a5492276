// SPDX-License-Identifier: MIT

#include <pluria/io/safetensors_folder.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "io/temporary_folder.hpp"

namespace {

namespace fs = std::filesystem;
using pluria::checkpoint;
using pluria::load_safetensors_folder;
using pluria::safetensors_folder;
using pluria::tensor;
using pluria::test::refusal;
using pluria::test::temporary_folder;

const std::string index_name = safetensors_folder::index_name;

tensor made(const std::string& name, std::uint32_t first) {
  return tensor::from_floats(name, {2, 3}, support::integer_weights(6, 1.0F, first));
}

void save(const fs::path& path, const std::vector<tensor>& tensors, const std::string& format = "pt") {
  checkpoint weights("", {{"format", format}});
  for (const tensor& current : tensors) {
    weights.add(current);
  }
  pluria::save_safetensors(weights, path);
}

void write(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

// Two shards and their index.
struct sharded_folder {
  temporary_folder folder;
  sharded_folder() {
    save(folder / "model-1.safetensors", {made("b", 1), made("a", 100)}, "first");
    save(folder / "model-2.safetensors", {made("c", 200)}, "second");
    write_index(R"({"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"})");
  }
  void write_index(const std::string& map) const { write(folder / index_name, "{\"weight_map\": " + map + "}"); }
  std::string path(const std::string& name) const { return (folder / name).string(); }
};

std::vector<std::string> names_of(const checkpoint& weights) {
  std::vector<std::string> names;
  for (const tensor& current : weights.tensors()) {
    names.push_back(current.name());
  }
  return names;
}

TEST_CASE("shards are one checkpoint, by their folder and by their index", "[io]") {
  const sharded_folder in;
  for (const fs::path& path : {in.folder / "", in.folder / index_name}) {
    const checkpoint weights = load_safetensors_folder(path);
    CHECK(names_of(weights) == std::vector<std::string>{"b", "a", "c"});
    CHECK(weights["a"].to_floats() == made("a", 100).to_floats());
    CHECK(weights["c"].to_floats() == made("c", 200).to_floats());
    CHECK(weights.file() == path.string());
    CHECK(weights.metadata().at("format") == "first");
    CHECK(weights["c"].file() == in.path("model-2.safetensors"));

    const safetensors_folder files(path);
    REQUIRE(files.shards().size() == 2);
    CHECK(files.shards()[1].path == in.path("model-2.safetensors"));
    CHECK(files.shards()[1].weights.metadata().at("format") == "second");
    REQUIRE(files.index().has_value());
    CHECK(*files.index() == in.path(index_name));
    REQUIRE(files.folder().has_value());
    CHECK(fs::equivalent(*files.folder(), in.folder / ""));
  }
}

TEST_CASE("a file, and a folder with model.safetensors or one file, are that file's checkpoint", "[io]") {
  const temporary_folder folder;
  save(folder / "net.safetensors", {made("a", 1)});
  write(folder / "config.json", "{}");
  CHECK(load_safetensors_folder(folder / "").file() == (folder / "net.safetensors").string());
  save(folder / "model.safetensors", {made("b", 1)});
  CHECK(names_of(load_safetensors_folder(folder / "")) == std::vector<std::string>{"b"});
  const safetensors_folder file(folder / "net.safetensors");
  CHECK(names_of(load_safetensors_folder(folder / "net.safetensors")) == std::vector<std::string>{"a"});
  CHECK_FALSE(file.folder().has_value());
  CHECK_FALSE(file.index().has_value());
}

TEST_CASE("a folder without a checkpoint, or with several, is refused", "[io]") {
  const temporary_folder folder;
  const std::string expected =
      (folder / "").string() + ": expected " + index_name + ", model.safetensors or a single .safetensors file, found ";
  CHECK(refusal([&] { load_safetensors_folder(folder / ""); }) == expected + "0 .safetensors files");
  save(folder / "1.safetensors", {made("a", 1)});
  save(folder / "2.safetensors", {made("b", 1)});
  CHECK(refusal([&] { load_safetensors_folder(folder / ""); }) == expected + "2 .safetensors files");
  CHECK(refusal([&] { load_safetensors_folder(folder / "none"); }) ==
        (folder / "none").string() + ": cannot be opened: no such file or folder");
}

TEST_CASE("shards that do not fit their index are refused", "[io]") {
  const sharded_folder in;
  const auto said = [&] { return refusal([&] { load_safetensors_folder(in.folder / ""); }); };
  const std::string index = in.path(index_name);
  in.write_index(R"({"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-3.safetensors"})");
  CHECK(said() == index + ": shard model-3.safetensors: expected beside the index, not found");
  in.write_index(R"({"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"})");
  CHECK(said() == in.path("model-1.safetensors") + ": tensor \"b\": not in the weight_map of " + index);
  in.write_index(R"({"a": "model-1.safetensors", "b": "model-1.safetensors", "d": "model-2.safetensors"})");
  CHECK(said() == in.path("model-2.safetensors") + ": tensor \"d\": expected by " + index + ", not found");
  for (const char* file : {"\"../b\"", "\"b/\"", "7", "null"}) {
    in.write_index("{\"a\": " + std::string(file) + "}");
    CHECK(said() == index + ": tensor \"a\": expected the name of a file beside it, found " + file);
  }
  for (const char* text : {"[]", "{", "", "{\"weight_map\": []}", "{}"}) {
    write(in.folder / index_name, text);
    CHECK(said() == index + ": expected a JSON object with \"weight_map\", found something else");
  }
}

}  // namespace
