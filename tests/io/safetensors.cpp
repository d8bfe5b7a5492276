// SPDX-License-Identifier: MIT
#include <pluria/io/safetensors.hpp>

#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

std::string safetensors_text(const std::string& header, const std::string& values = {}) {
  const std::uint64_t length = header.size();
  std::string text(sizeof length, '\0');
  std::memcpy(text.data(), &length, sizeof length);
  return text + header + values;
}

checkpoint parse(const std::string& text) {
  const auto owner = std::make_shared<const std::string>(text);
  return parse_safetensors(bytes_of(*owner), owner, "f.safetensors");
}

std::string refused(const std::string& header, std::size_t bytes = 8) {
  return refusal([&] { parse(safetensors_text(header, std::string(bytes, '\0'))); });
}

/// A header of one tensor "w"; a field left empty is left out.
std::string one(const std::string& type = R"("F32")", const std::string& shape = "[2]",
                const std::string& offsets = "[0,8]") {
  std::string fields;
  for (const auto& [name, value] : {std::pair("dtype", type), {"shape", shape}, {"data_offsets", offsets}}) {
    if (!value.empty()) {
      fields += (fields.empty() ? "\"" : ",\"") + std::string(name) + "\":" + value;
    }
  }
  return R"({"w":{)" + fields + "}}";
}

tensor owned(std::string name, dtype type, tensor_shape shape, const std::string& bytes) {
  const auto owner = std::make_shared<const std::string>(bytes);
  return {std::move(name), type, std::move(shape), bytes_of(*owner), owner};
}

bool same_bytes(const tensor& a, const tensor& b) {
  return std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin(), b.bytes().end());
}

bool same(const checkpoint& a, const checkpoint& b) {
  return a.metadata() == b.metadata() && std::equal(a.tensors().begin(), a.tensors().end(), b.tensors().begin(),
                                                    b.tensors().end(), [](const tensor& x, const tensor& y) {
                                                      return x.name() == y.name() && x.type() == y.type() &&
                                                             x.shape() == y.shape() && same_bytes(x, y);
                                                    });
}

/// Every dtype, an empty tensor, a scalar, names and metadata that JSON has to escape, sizes in mixed order.
checkpoint mixed() {
  checkpoint weights("mixed",
                     {{"num_heads", "4"}, {"quote \" and \\", "line\nfeed, \u00e9, \xf0\x9f\x8e\xb2"}, {"", ""}});
  std::size_t elements = 1;
  for (auto i = static_cast<int>(dtype::boolean); i >= 0; --i, ++elements) {
    const auto type = static_cast<dtype>(i);
    std::string bytes;
    for (std::size_t b = 0; b < elements * size_of(type); ++b) {
      bytes += static_cast<char>(b * 29 + elements);
    }
    weights.add(owned("tensor " + std::string(name_of(type)), type, {elements}, bytes));
  }
  weights.add(owned("empty", dtype::f32, {3, 0, 5}, ""));
  weights.add(owned("scalar", dtype::i16, {}, "ab"));
  weights.add(owned("", dtype::u8, {1, 1, 1}, "c"));
  weights.add(owned("b.\"quoted\"\t/\\\u00fc", dtype::bf16, {2, 2}, "12345678"));
  return weights;
}

}  // namespace

TEST_CASE("a checkpoint comes back from its file as it was", "[io]") {
  const temporary_folder folder;
  const checkpoint weights = mixed();
  save_safetensors(weights, folder / "a.safetensors");
  const checkpoint read = load_safetensors(folder / "a.safetensors");
  CHECK(same(read, weights));
  CHECK(read.file() == (folder / "a.safetensors").string());
  CHECK(read["scalar"].where() == (folder / "a.safetensors").string() + ": tensor \"scalar\"");

  save_safetensors(read, folder / "b.safetensors");
  CHECK(content_of(folder / "a.safetensors") == content_of(folder / "b.safetensors"));
}

TEST_CASE("an empty checkpoint has the shortest file", "[io]") {
  const temporary_folder folder;
  save_safetensors(checkpoint(), folder / "a");
  CHECK(content_of(folder / "a") == safetensors_text("{}      "));
  CHECK(load_safetensors(folder / "a").tensors().empty());
  CHECK(load_safetensors(folder / "a").metadata().empty());
}

TEST_CASE("a written header is the one that the format describes", "[io]") {
  const temporary_folder folder;
  checkpoint weights("", {{"format", "pt"}});
  weights.add(owned("a", dtype::u8, {3}, "abc"));
  weights.add(owned("b", dtype::f16, {1, 2}, "defg"));
  save_safetensors(weights, folder / "a");
  // The header is in the checkpoint's order, the bytes are in the order of the elements' sizes.
  CHECK(content_of(folder / "a") == safetensors_text(R"({"__metadata__":{"format":"pt"},)"
                                                     R"("a":{"dtype":"U8","shape":[3],"data_offsets":[4,7]},)"
                                                     R"("b":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]}})"
                                                     "     ",
                                                     "defgabc"));
}

TEST_CASE("in a written file every element is aligned", "[io]") {
  const temporary_folder folder;
  save_safetensors(mixed(), folder / "a");
  const checkpoint weights = load_safetensors(folder / "a");
  for (const tensor& weight : weights.tensors()) {
    INFO(weight.name());
    CHECK(reinterpret_cast<std::uintptr_t>(weight.bytes().data()) % size_of(weight.type()) == 0);
  }
}

TEST_CASE("a file that is written in parts is the one that is written at once", "[io]") {
  const temporary_folder folder;
  const checkpoint weights = mixed();
  save_safetensors(weights, folder / "whole");
  std::vector<tensor_description> entries;
  for (const tensor& current : weights.tensors()) {
    entries.push_back({current.name(), current.type(), current.shape()});
    CHECK(entries.back().bytes() == current.bytes().size());
  }
  safetensors_writer output(folder / "parts", entries, weights.metadata());
  for (const std::size_t i : output.order()) {
    const auto bytes = weights.tensors()[i].bytes();
    CHECK_THROWS_AS(output.commit(), precondition_error);
    output.write(bytes.first(bytes.size() / 3));
    output.write(bytes.subspan(bytes.size() / 3));
    CHECK_FALSE(std::filesystem::exists(folder / "parts"));
  }
  const std::string more = "x";
  CHECK_THROWS_AS(output.write(bytes_of(more)), precondition_error);
  output.commit();
  CHECK(content_of(folder / "parts") == content_of(folder / "whole"));
}

TEST_CASE("tensors keep the header's order, whatever the order of their bytes", "[io]") {
  const checkpoint weights = parse(safetensors_text(R"({"z":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},)"
                                                    R"("__metadata__":{},)"
                                                    R"("a":{"data_offsets":[0,2],"shape":[2],"dtype":"I8"}}  )",
                                                    "xyz"));
  REQUIRE(weights.tensors().size() == 2);
  CHECK(weights.tensors()[0].name() == "z");
  CHECK(weights.tensors()[0].bytes()[0] == std::byte{'z'});
  CHECK(weights.tensors()[1].name() == "a");
  CHECK(weights.tensors()[1].bytes()[1] == std::byte{'y'});
}

TEST_CASE("the committed models come back identical", "[io]") {
  const temporary_folder folder;
  std::size_t models = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(PLURIA_SOURCE_DIR) / "examples/evaluate_vit/models")) {
    if (entry.path().extension() != ".safetensors") {
      continue;
    }
    INFO(entry.path().string());
    const checkpoint weights = load_safetensors(entry.path());
    CHECK(weights.tensors().size() > 10);
    CHECK(weights.metadata().count("num_heads") == 1);
    save_safetensors(weights, folder / "copy");
    CHECK(same(load_safetensors(folder / "copy"), weights));
    // The bytes after the header are the same too: the format's own implementation lays tensors out by size as well.
    const std::string before = content_of(entry.path());
    const std::string after = content_of(folder / "copy");
    std::size_t bytes = 0;
    for (const tensor& weight : weights.tensors()) {
      bytes += weight.bytes().size();
    }
    CHECK(before.substr(before.size() - bytes) == after.substr(after.size() - bytes));
    ++models;
  }
  CHECK(models >= 3);
}

TEST_CASE("a mapped tensor outlives its checkpoint and its file", "[io]") {
  const temporary_folder folder;
  save_safetensors(mixed(), folder / "a");
  std::optional<tensor> kept;
  {
    const checkpoint weights = load_safetensors(folder / "a");
    kept = weights["b.\"quoted\"\t/\\\u00fc"];
  }
  std::filesystem::remove(folder / "a");
  CHECK(same_bytes(*kept, mixed()["b.\"quoted\"\t/\\\u00fc"]));
}

TEST_CASE("a checkpoint can be written over the file that it is mapped from", "[io]") {
  const temporary_folder folder;
  save_safetensors(mixed(), folder / "a");
  checkpoint weights = load_safetensors(folder / "a");
  weights.metadata()["more"] = "text";
  save_safetensors(weights, folder / "a");
  CHECK(same(load_safetensors(folder / "a"), weights));
  CHECK(weights.metadata().size() == 4);
}

TEST_CASE("a checkpoint that the format cannot hold leaves the older file as it was", "[io]") {
  const temporary_folder folder;
  write_file(folder / "a", "old");
  const std::string file = (folder / "a").string();
  const auto failed = [&](const checkpoint& weights) {
    const std::string message = refusal([&] { save_safetensors(weights, folder / "a"); });
    CHECK(content_of(folder / "a") == "old");
    CHECK(folder.names() == std::vector<std::string>{"a"});
    return message;
  };
  checkpoint reserved;
  reserved.add(owned("__metadata__", dtype::u8, {1}, "x"));
  CHECK(failed(reserved) == file + ": tensor \"__metadata__\": the format keeps this name for the metadata");
  checkpoint latin;
  latin.add(owned("\xfc", dtype::u8, {1}, "x"));
  CHECK(failed(latin) == file + ": tensor \"\xfc\": expected UTF-8, found other bytes");
  CHECK(failed(checkpoint("", {{"key", "\xfc"}})) ==
        file + ": __metadata__: \"key\": expected UTF-8, found other bytes");
  CHECK(refusal([&] { save_safetensors(mixed(), folder / "none/a"); }) ==
        (folder / "none/a").string() + ": cannot write: No such file or directory");
}

TEST_CASE("a file that is no safetensors file is refused by its name", "[io]") {
  CHECK(refusal([] { load_safetensors("none.safetensors"); }) ==
        "none.safetensors: cannot open: No such file or directory");
  CHECK(refusal([] { parse("1234567"); }) ==
        "f.safetensors: expected at least 8 bytes of a safetensors file, found 7 bytes");
  CHECK(refusal([] { parse(safetensors_text("{}").substr(0, 9)); }) ==
        "f.safetensors: header: expected at most 1 bytes, found a length of 2 (is this a safetensors file?)");
  CHECK(refused("[]") == "f.safetensors: header: expected a JSON object that begins with '{', found byte 91");
  CHECK(refused("") == "f.safetensors: header: expected a JSON object that begins with '{', found nothing");
  CHECK(refused("{\"w\"]") == "f.safetensors: header: expected JSON, found a syntax error at its byte 5");
  CHECK(refused(std::string("{}\0", 3)) == "f.safetensors: header: expected JSON, found a syntax error at its byte 3");
}

TEST_CASE("a header above 100 MB is refused before anything of it is read", "[io]") {
  const temporary_folder folder;
  write_file(folder / "a", safetensors_text("{}"));
  const std::uint64_t length = 100'000'001;
  std::string begin(sizeof length, '\0');
  std::memcpy(begin.data(), &length, sizeof length);
  write_file(folder / "a", begin + "{");
  std::filesystem::resize_file(folder / "a", 200'000'000);  // sparse
  CHECK(refusal([&] { load_safetensors(folder / "a"); }) ==
        (folder / "a").string() +
            ": header: expected at most 100000000 bytes, found a length of 100000001 (is this a safetensors file?)");
}

TEST_CASE("a tensor out of place is refused by its name, with what was expected and found", "[io]") {
  const std::string where = "f.safetensors: tensor \"w\": ";
  CHECK(refused(one()).empty());
  CHECK(refused(R"({"w":3})") == where + "expected an object with dtype, shape and data_offsets, found 3");
  CHECK(refused(one("")) == where + "expected the fields dtype, shape and data_offsets, found no dtype");
  CHECK(refused(one(R"("F32")", "")) == where + "expected the fields dtype, shape and data_offsets, found no shape");
  CHECK(refused(one(R"("F32")", "[2]", "")) ==
        where + "expected the fields dtype, shape and data_offsets, found no data_offsets");
  CHECK(refused(one(R"("F32","strides":[1])")) ==
        where + "expected the fields dtype, shape and data_offsets, found \"strides\"");
  CHECK(refused(one(R"("F32","dtype":"F16")")) == where + "dtype: the field stands twice");
  CHECK(mentions(refused(one(R"("F8_E5M2")")), {where + "dtype: expected one of F64, F32, ", "found \"F8_E5M2\""}));
  CHECK(refused(one("32")) == where + "dtype: expected a string, found 32");
  CHECK(refused(one(R"("F32")", "2")) == where + "shape: expected an array of non-negative integers, found 2");
  CHECK(refused(one(R"("F32")", "[-2]")) == where + "shape: expected at most 64 non-negative integers, found -2");
  CHECK(refused(one(R"("F32")", "[2.0]")) == where + "shape: expected at most 64 non-negative integers, found 2.0");
  CHECK(refused(one(R"("F32")", "[\"2\"]")) == where + "shape: expected at most 64 non-negative integers, found \"2\"");
  CHECK(refused(one(R"("F32")", "[[2]]")) ==
        where + "shape: expected at most 64 non-negative integers, found an array");
  CHECK(refused(one(R"("F32")", "[4294967296,4294967296]")) ==
        where + "expected a shape whose product fits into 64 bits, found [4294967296, 4294967296]");
  CHECK(refused(one(R"("F32")", "[4611686018427387906]")) ==
        where +
            "data_offsets: expected 4611686018427387906 * 4 bytes for the shape [4611686018427387906] of F32, "
            "found 8 bytes");
  CHECK(refused(one(R"("F32")", "[2]", "[8]")) == where + "data_offsets: expected begin and end, found 1 numbers");
  CHECK(refused(one(R"("F32")", "[2]", "[8,0]")) == where + "data_offsets: expected begin <= end, found [8, 0]");
  CHECK(refused(one(R"("F32")", "[2]", "[4,12]")) ==
        where + "data_offsets: expected at most the 8 bytes of data, found [4, 12]");
  CHECK(refused(one(R"("F32")", "[3]")) ==
        where + "data_offsets: expected 3 * 4 bytes for the shape [3] of F32, found 8 bytes");
}

TEST_CASE("two tensors of one name are refused, also where an escape hides it", "[io]") {
  const std::string second = R"({"dtype":"F32","shape":[0],"data_offsets":[8,8]}})";
  for (const std::string name : {R"("w":)", R"("\u0077":)"}) {
    const std::string first = one();
    CHECK(refused(first.substr(0, first.size() - 1) + "," + name + second) ==
          "f.safetensors: tensor \"w\": the name stands twice in the checkpoint");
  }
}

TEST_CASE("the bytes of the tensors have no overlap, no hole and no rest", "[io]") {
  const auto two = [](const std::string& second) {
    return R"({"b":{"dtype":"U8","shape":[2],"data_offsets":)" + second +
           R"(},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
  };
  const std::string where = "f.safetensors: tensor \"b\": data_offsets: ";
  CHECK(refused(two("[4,6]"), 6).empty());
  CHECK(refused(two("[3,5]"), 5) == where + "expected begin 4, found 3, an overlap with tensor \"a\"");
  CHECK(refused(two("[5,7]"), 7) == where + "expected begin 4, found 5, a hole after tensor \"a\"");
  CHECK(refused(two("[4,6]"), 7) ==
        "f.safetensors: expected 6 bytes of data, where the last tensor ends, found 7 bytes");
  CHECK(refused(one(R"("F32")", "[2]", "[1,9]"), 9) ==
        "f.safetensors: tensor \"w\": data_offsets: expected begin 0, found 1, a hole after the header");
}

TEST_CASE("metadata is one object of strings", "[io]") {
  const std::string where = "f.safetensors: __metadata__";
  CHECK(refused(R"({"__metadata__":{"a":"b"}})", 0).empty());
  CHECK(refused(R"({"__metadata__":"a"})", 0) == where + ": expected an object of strings, found \"a\"");
  CHECK(refused(R"({"__metadata__":["a"]})", 0) == where + ": expected an object of strings, found an array");
  CHECK(refused(R"({"__metadata__":null})", 0) == where + ": expected an object of strings, found null");
  CHECK(refused(R"({"__metadata__":{"a":1}})", 0) == where + ": \"a\": expected a string, found 1");
  CHECK(refused(R"({"__metadata__":{"a":true}})", 0) == where + ": \"a\": expected a string, found true");
  CHECK(refused(R"({"__metadata__":{"a":{}}})", 0) == where + ": \"a\": expected a string, found an object");
  CHECK(refused(R"({"__metadata__":{"a":"b","a":"b"}})", 0) == where + ": \"a\": the key stands twice");
  CHECK(refused(R"({"__metadata__":{},"__metadata__":{}})", 0) == where + " stands twice in the header");
}

TEST_CASE("a safetensors file cut anywhere is refused", "[io]") {
  const temporary_folder folder;
  save_safetensors(mixed(), folder / "a");
  const std::string whole = content_of(folder / "a");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CHECK(mentions(refusal([&] { parse(whole.substr(0, length)); }), {"f.safetensors: ", "expected", "found"}));
  }
}

TEST_CASE("every hostile safetensors file is refused by its name", "[io]") {
  const auto files = hostile_files("safetensors");
  REQUIRE(files.size() >= 70);
  for (const auto& file : files) {
    INFO(file.string());
    CHECK(refusal([&] { load_safetensors(file); }).starts_with(file.string() + ": "));
  }
}
