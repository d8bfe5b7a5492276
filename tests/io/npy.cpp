// SPDX-License-Identifier: MIT
#include <pluria/io/npy.hpp>

#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

const std::filesystem::path reference = std::filesystem::path(PLURIA_SOURCE_DIR) / "tests" / "io" / "reference";

/// The values of the reference files, by the formula of make_reference.py.
std::vector<float> floats(std::size_t count) {
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back((static_cast<float>(i) - 3) / 4);
  }
  return values;
}

template <class Value>
std::vector<Value> integers(std::size_t count) {
  std::vector<Value> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(static_cast<Value>(static_cast<std::int64_t>(i) * 17 - 20));
  }
  return values;
}

template <class Value>
std::vector<Value> values_of(const tensor& array) {
  REQUIRE(sizeof(Value) == size_of(array.type()));
  std::vector<Value> values(array.size());
  std::memcpy(values.data(), array.bytes().data(), array.bytes().size());
  return values;
}

template <class Value>
void check_integers(const std::string& name, dtype type) {
  INFO(name);
  const tensor array = load_npy(reference / (name + ".npy"));
  CHECK(array.type() == type);
  CHECK(array.name() == name);
  CHECK(array.shape() == tensor_shape{2, 3});
  CHECK(values_of<Value>(array) == integers<Value>(6));
}

std::string npy_text(const std::string& header, const std::string& values) {
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header + values;
}

std::string refused(const std::string& text) {
  return refusal([&] { parse_npy(bytes_of(text), nullptr, "f.npy", "f"); });
}

}  // namespace

TEST_CASE("every dtype is read as NumPy writes it", "[io]") {
  check_integers<std::int8_t>("i1", dtype::i8);
  check_integers<std::int16_t>("i2", dtype::i16);
  check_integers<std::int32_t>("i4", dtype::i32);
  check_integers<std::int64_t>("i8", dtype::i64);
  check_integers<std::uint8_t>("u1", dtype::u8);
  check_integers<std::uint16_t>("u2", dtype::u16);
  check_integers<std::uint32_t>("u4", dtype::u32);
  check_integers<std::uint64_t>("u8", dtype::u64);
  CHECK(load_npy(reference / "f2.npy").to_floats() == floats(6));
  CHECK(load_npy(reference / "f4.npy").to_floats() == floats(6));
  const std::vector<float> expected = floats(6);
  CHECK(load_npy(reference / "f8.npy").type() == dtype::f64);
  CHECK(values_of<double>(load_npy(reference / "f8.npy")) == std::vector<double>(expected.begin(), expected.end()));
  CHECK(load_npy(reference / "b1.npy").type() == dtype::boolean);
  CHECK(values_of<std::uint8_t>(load_npy(reference / "b1.npy")) == std::vector<std::uint8_t>{1, 0, 0, 1, 0, 0});
}

TEST_CASE("headers of versions 1, 2 and 3 are read", "[io]") {
  for (const char* name : {"f4.npy", "version_2.npy", "version_3.npy"}) {
    const tensor array = load_npy(reference / name);
    CHECK(array.shape() == tensor_shape{2, 3});
    CHECK(array.to_floats() == floats(6));
  }
}

TEST_CASE("scalars, vectors and empty arrays are read", "[io]") {
  CHECK(load_npy(reference / "scalar.npy").shape().empty());
  CHECK(load_npy(reference / "scalar.npy").to_floats() == floats(1));
  CHECK(load_npy(reference / "vector.npy").shape() == tensor_shape{5});
  CHECK(load_npy(reference / "empty.npy").shape() == tensor_shape{0, 4});
}

TEST_CASE("an array outlives the file it was read from", "[io]") {
  const temporary_folder folder;
  save_npy(folder / "logits.npy", {2, 3}, floats(6));
  const tensor array = load_npy(folder / "logits.npy");
  std::filesystem::remove(folder / "logits.npy");
  CHECK(array.to_floats() == floats(6));
  CHECK(array.where() == (folder / "logits.npy").string() + ": tensor \"logits\"");
}

TEST_CASE("files are written byte for byte as NumPy writes them", "[io]") {
  const temporary_folder folder;
  const auto check = [&](const char* name, const tensor_shape& shape, const auto& values) {
    INFO(name);
    save_npy(folder / "a.npy", shape, values);
    CHECK(content_of(folder / "a.npy") == content_of(reference / name));
  };
  check("f4.npy", {2, 3}, floats(6));
  check("i4.npy", {2, 3}, integers<std::int32_t>(6));
  check("i8.npy", {2, 3}, integers<std::int64_t>(6));
  check("labels.npy", {5}, integers<std::int64_t>(5));
  check("scalar.npy", {}, floats(1));
  check("vector.npy", {5}, floats(5));
  check("empty.npy", {0, 4}, floats(0));
  check("padded.npy", {0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 100}, floats(0));
}

TEST_CASE("values that come batch by batch give the same file", "[io]") {
  const temporary_folder folder;
  const std::vector<float> all = floats(30'000);
  save_npy(folder / "whole.npy", {3000, 10}, all);
  npy_writer writer(folder / "batches.npy", {3000, 10});
  for (std::size_t first = 0, rows = 1; first < 3000; first += rows, rows = 1 + first % 700) {
    rows = std::min(rows, 3000 - first);
    writer.append(std::span(all).subspan(10 * first, 10 * rows));
  }
  CHECK_FALSE(std::filesystem::exists(folder / "batches.npy"));
  writer.close();
  CHECK(content_of(folder / "batches.npy") == content_of(folder / "whole.npy"));
}

TEST_CASE("a wrong number of values is a caller's mistake and writes no file", "[io]") {
  const temporary_folder folder;
  CHECK_THROWS_AS(save_npy(folder / "a.npy", {2, 3}, floats(5)), precondition_error);
  {
    npy_writer writer(folder / "a.npy", {2, 3});
    writer.append(floats(4));
    CHECK_THROWS_AS(writer.append(floats(3)), precondition_error);
    CHECK_THROWS_AS(writer.close(), precondition_error);
    writer.append(floats(2));
    CHECK_NOTHROW(writer.close());
    CHECK_THROWS_AS(writer.close(), precondition_error);
  }
  CHECK(folder.names() == std::vector<std::string>{"a.npy"});
  std::filesystem::remove(folder / "a.npy");
  {
    npy_writer writer(folder / "a.npy", {2, 3});
    writer.append(floats(4));
  }
  CHECK(folder.names().empty());
}

TEST_CASE("an npy file that cannot be written is named", "[io]") {
  const temporary_folder folder;
  const std::string message = refusal([&] { save_npy(folder / "none/a.npy", {6}, floats(6)); });
  CHECK(message == (folder / "none/a.npy").string() + ": cannot write: No such file or directory");
  const std::string full = refusal([] {
    npy_writer writer("/dev/full", {6});
    writer.append(floats(6));
    writer.close();
  });
  CHECK(full == "/dev/full: cannot write: No space left on device");
}

TEST_CASE("Fortran order is refused only where it differs from C order", "[io]") {
  const std::string four(16, '\0');
  CHECK(refused(npy_text("{'descr': '<f4', 'fortran_order': True, 'shape': (4,), }\n", four)).empty());
  CHECK(refused(npy_text("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n", four)) ==
        "f.npy: npy header: expected C order (numpy.ascontiguousarray), found fortran_order True for [2, 2]");
}

TEST_CASE("a header may be spaced, quoted and ordered in any way that Python reads", "[io]") {
  CHECK(refused(npy_text("{ \"shape\" :( 2 ,1 ) , \"fortran_order\":False,\"descr\":\"<f4\"}", std::string(8, '\0')))
            .empty());
}

TEST_CASE("a refused npy file is named with what was expected and found", "[io]") {
  const auto header = [](const std::string& descr, const std::string& shape) {
    return "{'descr': " + descr + ", 'fortran_order': False, 'shape': " + shape + ", }\n";
  };
  const std::string eight(8, '\0');
  CHECK(refused("PK") == "f.npy: expected an npy file, which begins with \"\\x93NUMPY\", found other bytes");
  CHECK(mentions(refused(npy_text(header("'>f4'", "(2,)"), eight)), {"f.npy", "little-endian", "found '>f4'"}));
  CHECK(mentions(refused(npy_text(header("'<c8'", "(1,)"), eight)), {"f.npy", "one of <f8, <f4", "found '<c8'"}));
  CHECK(mentions(refused(npy_text(header("[('x', '<f4')]", "(2,)"), eight)),
                 {"f.npy", "expected a plain dtype, not one with fields"}));
  CHECK(mentions(refused(npy_text(header("'<f4'", "(-2,)"), eight)), {"f.npy", "non-negative", "found \"-2,)"}));
  CHECK(refused(npy_text(header("'<f4'", "(3,)"), eight)) == "f.npy: expected 3 * 4 bytes for the shape [3], found 8");
  CHECK(refused(npy_text(header("'<f4'", "(4294967296, 4294967296)"), eight)) ==
        "f.npy: expected a shape whose product fits into 64 bits, found [4294967296, 4294967296]");
}

TEST_CASE("an npy file cut anywhere is refused", "[io]") {
  for (const char* name : {"f4.npy", "version_2.npy"}) {
    const std::string whole = content_of(reference / name);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      CHECK(mentions(refused(whole.substr(0, length)), {"f.npy", "expected", "found"}));
    }
  }
}

TEST_CASE("every hostile npy file is refused by its name", "[io]") {
  const auto files = hostile_files("npy");
  REQUIRE(files.size() >= 40);
  for (const auto& file : files) {
    INFO(file.string());
    CHECK(mentions(refusal([&] { load_npy(file); }), {file.string() + ": ", "expected", "found"}));
  }
}
