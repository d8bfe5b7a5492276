// SPDX-License-Identifier: MIT
#include <pluria/io/gguf.hpp>

#include "io/gguf_text.hpp"
#include "io/temporary_folder.hpp"
#include "support/catch.hpp"
#include "support/integer_weights.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

const std::filesystem::path reference =
    std::filesystem::path(PLURIA_SOURCE_DIR) / "tests" / "io" / "reference" / "gguf";

gguf_checkpoint parse(const std::string& text) {
  const auto owner = std::make_shared<const std::string>(text);
  return parse_gguf(bytes_of(*owner), owner, "f.gguf");
}

std::string refused(const std::string& text) {
  return refusal([&] { parse(text); });
}

// A file with one key-value, given as type and value.
std::string with_value(const std::string& value, const std::string& key = "k") {
  return gguf_text({stored_text(key) + value}, {}, "");
}

// A file with one tensor "w" of two float32.
std::string with_tensor(const std::string& info, std::size_t bytes = 32) {
  return gguf_text({}, {stored_text("w") + info}, std::string(bytes, '\0'));
}
std::string info(std::vector<std::uint64_t> dimensions = {2}, std::uint32_t type = 0, std::uint64_t offset = 0) {
  return tensor_info("w", dimensions, type, offset).substr(stored_text("w").size());
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("a file of the gguf package is read as it was written", "[io]") {
  const gguf_checkpoint model = load_gguf(reference / "model.gguf");
  CHECK(model.file() == (reference / "model.gguf").string());
  CHECK(model.alignment() == 64);
  REQUIRE(model.find("general.architecture") != nullptr);
  CHECK(model.find("general.architecture")->text() == "llama");
  CHECK(model.find("general.name")->text() ==
        "pluria's, nur Gr\u00f6\u00dfen und \u1f00\u03c1\u03b9\u03b8\u03bc\u03bf\u03af");
  CHECK(model.find("general.file_type")->number() == 0U);
  CHECK(model.find("general.alignment")->number() == 64U);
  CHECK(model.find("general") == nullptr);

  // The values of make_reference.py.
  const auto value = [&](const char* name) {
    const gguf_entry* entry = model.find(std::string("all.") + name);
    REQUIRE(entry != nullptr);
    return *entry;
  };
  const auto is = [&](const char* name, gguf_type type, auto expected) {
    const gguf_entry entry = value(name);
    CHECK(entry.type == type);
    CHECK(text_of(entry.value) == stored(expected));
    CHECK_FALSE(entry.text().has_value());
    CHECK(entry.number().has_value() == (type == gguf_type::u32));
  };
  is("u8", gguf_type::u8, std::uint8_t{255});
  is("i8", gguf_type::i8, std::int8_t{-128});
  is("u16", gguf_type::u16, std::uint16_t{65535});
  is("i16", gguf_type::i16, std::int16_t{-32768});
  is("u32", gguf_type::u32, std::uint32_t{0xffffffffU});
  is("i32", gguf_type::i32, std::numeric_limits<std::int32_t>::min());
  is("f32", gguf_type::f32, 0.1F);
  is("bool", gguf_type::boolean, std::uint8_t{1});
  is("u64", gguf_type::u64, ~std::uint64_t{0});
  is("i64", gguf_type::i64, std::numeric_limits<std::int64_t>::min());
  is("f64", gguf_type::f64, 0.1);
  CHECK(value("string").text() == "text\nof two lines");
  CHECK_FALSE(value("string").number().has_value());
  CHECK(value("flags").type == gguf_type::array);
  CHECK(text_of(value("flags").value) == stored(gguf_type::boolean) + stored(std::uint64_t{3}) + "\1" + '\0' + "\1");
  const gguf_entry& tokens = *model.find("tokenizer.ggml.tokens");
  CHECK(text_of(tokens.value) == stored(gguf_type::string) + stored(std::uint64_t{4}) + stored_text("<s>") +
                                     stored_text("") + stored_text("\u2581the") + stored_text(std::string(100, 'a')));
  CHECK(text_of(tokens.bytes) ==
        stored_text("tokenizer.ggml.tokens") + stored(gguf_type::array) + text_of(tokens.value));

  REQUIRE(model.tensors().size() == 10);
  const auto tensor_is = [&](std::size_t place, const char* name, ggml_type type, const tensor_shape& shape,
                             std::size_t bytes) {
    const gguf_tensor& found = model.tensors()[place];
    CHECK(found.name() == name);
    CHECK(found.type() == type);
    CHECK(found.shape() == shape);
    CHECK(found.bytes().size() == bytes);
    CHECK(model.find_tensor(name) == &found);
    CHECK(found.where() == model.file() + ": tensor \"" + name + '"');
  };
  tensor_is(0, "token_embd.weight", ggml_type::bf16, {2, 32}, 128);
  tensor_is(1, "blk.0.ffn_up.weight", ggml_type::f32, {6, 64}, 1536);
  tensor_is(2, "blk.0.ffn_up.bias", ggml_type::f32, {6}, 24);
  tensor_is(3, "blk.0.ffn_down.weight", ggml_type::f16, {4, 32}, 256);
  tensor_is(4, "blk.0.ffn_gate_exps.weight", ggml_type::f32, {2, 3, 32}, 768);
  tensor_is(5, "blk.0.attn_q.weight", ggml_type::q8_0, {3, 64}, 204);
  tensor_is(6, "blk.0.attn_k.weight", ggml_type::q4_k, {2, 256}, 288);
  tensor_is(7, "four", ggml_type::f32, {2, 3, 5, 7}, 840);
  tensor_is(8, "positions", ggml_type::i32, {5}, 20);
  tensor_is(9, "one", ggml_type::f64, {1}, 8);
  CHECK(model.find_tensor("none") == nullptr);
  CHECK(text_of(model.tensors()[9].bytes()) == stored(0.5));
  CHECK(text_of(model.tensors()[8].bytes().first(8)) == stored(std::int32_t{0}) + stored(std::int32_t{1}));
}

TEST_CASE("plain weights are tensors that share their bytes", "[io]") {
  const gguf_checkpoint model = load_gguf(reference / "model.gguf");
  for (const auto& [place, type] : {std::pair(0U, dtype::bf16), {1U, dtype::f32}, {3U, dtype::f16}, {7U, dtype::f32}}) {
    const gguf_tensor& source = model.tensors()[place];
    CHECK(source.has_weights());
    const tensor weights = source.weights();
    CHECK(weights.name() == source.name());
    CHECK(weights.file() == source.file());
    CHECK(weights.type() == type);
    CHECK(weights.shape() == source.shape());
    CHECK(weights.bytes().data() == source.bytes().data());
    std::vector<float> part(3);
    source.read(2, part);
    const std::vector<float> all = weights.to_floats();
    CHECK(std::equal(part.begin(), part.end(), all.begin() + 2));
  }
}

TEST_CASE("Q8_0 weights are the products of scales and codes, from any place on", "[io]") {
  const gguf_tensor source = load_gguf(reference / "model.gguf").tensors()[5];
  const tensor weights = source.weights();
  CHECK(weights.type() == dtype::f32);
  CHECK(weights.shape() == tensor_shape{3, 64});
  CHECK(weights.where() == source.where());
  std::vector<float> expected(3 * 64);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::byte* block = source.bytes().data() + i / 32 * 34;
    std::uint16_t scale = 0;
    std::memcpy(&scale, block, 2);
    expected[i] = float_from_half(scale) * static_cast<float>(static_cast<std::int8_t>(block[2 + i % 32]));
  }
  CHECK(weights.to_floats() == expected);
  for (std::size_t first = 0; first <= expected.size(); ++first) {
    for (const std::size_t count : {0U, 1U, 31U, 32U, 33U, 70U}) {
      if (count <= expected.size() - first) {
        std::vector<float> part(count);
        source.read(first, part);
        CHECK(std::equal(part.begin(), part.end(), expected.begin() + static_cast<std::ptrdiff_t>(first)));
      }
    }
  }
  std::vector<float> beyond(2);
  CHECK_THROWS_AS(source.read(expected.size() - 1, beyond), precondition_error);
  CHECK_THROWS_AS(source.read(expected.size() + 1, {}), precondition_error);
}

TEST_CASE("tensors of other types can be copied, and say so when their weights are wanted", "[io]") {
  const gguf_checkpoint model = load_gguf(reference / "model.gguf");
  std::vector<float> values(1);
  for (const auto& [place, type] : {std::pair(6U, "Q4_K"), {8U, "I32"}, {9U, "F64"}}) {
    const gguf_tensor& source = model.tensors()[place];
    const std::string message = source.where() + ": expected type F32, F16, BF16 or Q8_0, found " + type;
    CHECK_FALSE(source.has_weights());
    CHECK(refusal([&] { source.weights(); }) == message);
    CHECK(refusal([&] { source.read(0, values); }) == message);
    CHECK(refusal([&] { source.expect_weights(); }) == message);
    CHECK_FALSE(source.bytes().empty());
  }
}

TEST_CASE("a mapped tensor outlives what it was read with, and the file", "[io]") {
  const temporary_folder folder;
  std::filesystem::copy_file(reference / "model.gguf", folder / "a");
  std::optional<tensor> weights;
  std::optional<gguf_tensor> source;
  {
    const gguf_checkpoint model = load_gguf(folder / "a");
    weights = model.tensors()[1].weights();
    source = model.tensors()[5];
  }
  std::filesystem::remove(folder / "a");
  const gguf_checkpoint model = load_gguf(reference / "model.gguf");
  CHECK(weights->to_floats() == model.tensors()[1].weights().to_floats());
  CHECK(text_of(source->bytes()) == text_of(model.tensors()[5].bytes()));
}

TEST_CASE("the shortest files are read", "[io]") {
  CHECK(parse(gguf_text({}, {}, "")).tensors().empty());
  CHECK(parse(gguf_text({}, {}, "")).alignment() == 32);
  const gguf_checkpoint scalar = parse(gguf_text({}, {tensor_info("", {}, 0, 0)}, "abcd"));
  CHECK(scalar.tensors()[0].shape().empty());
  CHECK(scalar.tensors()[0].size() == 1);
  CHECK(scalar.tensors()[0].row_elements() == 1);
  CHECK(text_of(scalar.tensors()[0].bytes()) == "abcd");
  // A tensor without elements takes no place.
  const gguf_checkpoint empty =
      parse(gguf_text({}, {tensor_info("a", {32, 0}, 2, 0), tensor_info("b", {1}, 24, 0)}, "x"));
  CHECK(empty.tensors()[0].shape() == tensor_shape{0, 32});
  CHECK(empty.tensors()[0].bytes().empty());
  CHECK(text_of(empty.tensors()[1].bytes()) == "x");
  // Padding behind the last tensor, or none; behind a header without tensors, too.
  CHECK(refused(with_tensor(info(), 8)).empty());
  CHECK(refused(with_tensor(info(), 20)).empty());
  CHECK(refused(with_tensor(info(), 32)).empty());
  CHECK(refused(gguf_text({}, {}, "") + std::string(8, '\0')).empty());
}

TEST_CASE("a file that is no GGUF file of version 3 is refused by what it is", "[io]") {
  CHECK(refusal([] { load_gguf("none.gguf"); }) == "none.gguf: cannot open: No such file or directory");
  CHECK(refused("") == "f.gguf: expected 4 bytes for the word GGUF, found 0 until the end of the file");
  CHECK(refused("GGUF") == "f.gguf: expected 4 bytes for the version, found 0 until the end of the file");
  CHECK(refused("ggml" + std::string(20, '\0')) == "f.gguf: expected a file that begins with GGUF, found \"ggml\"");
  CHECK(refused("\xff\x01GU") == "f.gguf: expected a file that begins with GGUF, found \"??GU\"");
  const std::string rest(16, '\0');
  CHECK(refused("GGUF" + stored(std::uint32_t{1}) + rest) == "f.gguf: expected GGUF version 3, found version 1");
  CHECK(refused("GGUF" + stored(std::uint32_t{2}) + rest) == "f.gguf: expected GGUF version 3, found version 2");
  CHECK(refused("GGUF" + stored(std::uint32_t{4}) + rest) == "f.gguf: expected GGUF version 3, found version 4");
  CHECK(refused("GGUF" + stored(std::uint32_t{0x03000000}) + rest) ==
        "f.gguf: expected a little-endian GGUF file, found a big-endian one");
  CHECK(refused("GGUF" + stored(std::uint32_t{3}) + rest).empty());
}

TEST_CASE("numbers of things beyond the file are refused before there is a loop over them", "[io]") {
  const std::string begin = "GGUF" + stored(std::uint32_t{3});
  const std::uint64_t many = ~std::uint64_t{0};
  CHECK(refused(begin + stored(many) + stored(std::uint64_t{0})) ==
        "f.gguf: expected at most the 0 tensors that the rest of the file has room for, found 18446744073709551615");
  CHECK(refused(begin + stored(std::uint64_t{0}) + stored(many) + std::string(30, '\0')) ==
        "f.gguf: expected at most the 2 key-values that the rest of the file has room for, found "
        "18446744073709551615");
  CHECK(refused(with_value(stored(gguf_type::array) + stored(gguf_type::u64) + stored(std::uint64_t{1} << 61))) ==
        "f.gguf: key \"k\": expected at most the 0 elements that the rest of the file has room for, found "
        "2305843009213693952");
  CHECK(refused(with_value(stored(gguf_type::array) + stored(gguf_type::string) + stored(std::uint64_t{3}) +
                           stored_text("") + stored_text(""))) ==
        "f.gguf: key \"k\": expected at most the 2 elements that the rest of the file has room for, found 3");
}

TEST_CASE("a key-value out of place is refused by its key", "[io]") {
  const std::string where = "f.gguf: key \"k\": ";
  CHECK(refused(with_value(stored(gguf_type::u8) + "a")).empty());
  CHECK(refused(with_value(stored(std::uint32_t{13}) + "a")) ==
        where + "expected a value of type 0 to 12, found type 13");
  CHECK(refused(with_value(stored(gguf_type::u64) + "abcdefg")) ==
        where + "expected at most the 0 elements that the rest of the file has room for, found 1");
  CHECK(refused(with_value(stored(gguf_type::string) + stored(std::uint64_t{5}) + "four")) ==
        where + "expected 5 bytes for a string, found 4 until the end of the file");
  CHECK(refused(with_value(stored(gguf_type::string) + stored(~std::uint64_t{0}) + "four")) ==
        where + "expected 18446744073709551615 bytes for a string, found 4 until the end of the file");
  CHECK(refused(with_value(stored(gguf_type::boolean) + "\2")) == where + "expected a boolean that is 0 or 1, found 2");
  CHECK(refused(with_value(stored(gguf_type::array) + stored(gguf_type::boolean) + stored(std::uint64_t{2}) +
                           "\1\xff")) == where + "expected a boolean that is 0 or 1, found 255");
  CHECK(refused(with_value(stored(gguf_type::array) + stored(std::uint32_t{99}) + stored(std::uint64_t{0}))) ==
        where + "expected a value of type 0 to 12, found type 99");
  CHECK(
      refused(gguf_text({stored_text("k") + stored(gguf_type::u8) + "a", stored_text("j") + stored(gguf_type::u8) + "a",
                         stored_text("k") + stored(gguf_type::i8) + "a"},
                        {}, "")) == where + "the key stands twice");

  const std::string keys = "f.gguf: key-value 0: expected a key of 1 to 65535 printable ASCII characters, found ";
  const std::string value = stored(gguf_type::u64) + "12345678";
  CHECK(refused(with_value(value, "")) == keys + "\"\"");
  CHECK(refused(with_value(value, "\u00fc")) == keys + "\"??\"");
  CHECK(refused(with_value(value, std::string("a\0b", 3))) == keys + "\"a?b\"");
  CHECK(refused(with_value(value, std::string(65535, 'a'))).empty());
  CHECK(refused(with_value(value, std::string(65536, 'a'))) == keys + '"' + std::string(64, 'a') + "...\"");
  CHECK(refused("GGUF" + stored(std::uint32_t{3}) + stored(std::uint64_t{0}) + stored(std::uint64_t{1}) +
                stored(std::uint64_t{100}) + "only so much") ==
        "f.gguf: key-value 0: expected 100 bytes for the key, found 12 until the end of the file");
}

TEST_CASE("arrays may stand in arrays, to a limit", "[io]") {
  const auto nested = [](std::size_t levels) {
    std::string value = stored(gguf_type::u8) + stored(std::uint64_t{1}) + "x";
    for (std::size_t level = 1; level < levels; ++level) {
      value = stored(gguf_type::array) + stored(std::uint64_t{1}) + value;
    }
    return with_value(stored(gguf_type::array) + value);
  };
  CHECK(refused(nested(1)).empty());
  CHECK(refused(nested(8)).empty());
  CHECK(refused(nested(9)) == "f.gguf: key \"k\": expected arrays in at most 8 levels, found deeper ones");
  CHECK(refused(nested(20'000)) == refused(nested(9)));
}

TEST_CASE("the alignment is a power of two", "[io]") {
  const auto aligned_to = [](const std::string& value, std::uint64_t offset = 0, std::size_t bytes = 8) {
    std::string text = gguf_text({stored_text("general.alignment") + value}, {tensor_info("w", {2}, 0, offset)}, "", 1);
    text.resize((text.size() + 127) / 128 * 128);
    return text + std::string(bytes, 'x');
  };
  CHECK(parse(aligned_to(stored(gguf_type::u32) + stored(std::uint32_t{128}))).alignment() == 128);
  const std::string where = "f.gguf: key \"general.alignment\": expected a power of two up to 2^20 as u32, found ";
  CHECK(refused(aligned_to(stored(gguf_type::u32) + stored(std::uint32_t{0}))) == where + "0");
  CHECK(refused(aligned_to(stored(gguf_type::u32) + stored(std::uint32_t{48}))) == where + "48");
  CHECK(refused(aligned_to(stored(gguf_type::u64) + stored(std::uint64_t{64}))) == where + "a value of type 10");
  CHECK(refused(aligned_to(stored(gguf_type::u32) + stored(std::uint32_t{1U << 21}))) == where + "2097152");
  // An alignment beyond the file leaves no data.
  CHECK(refused(aligned_to(stored(gguf_type::u32) + stored(std::uint32_t{1U << 20}))) ==
        "f.gguf: tensor \"w\": expected 8 bytes for [2] of F32, found 0 until the end of the file");
}

TEST_CASE("a tensor out of place is refused by its name", "[io]") {
  const std::string where = "f.gguf: tensor \"w\": ";
  CHECK(refused(with_tensor(info())).empty());
  CHECK(refused(with_tensor(info({1, 1, 1, 1, 1}))) == where + "expected at most 4 dimensions, found 5");
  CHECK(refused(with_tensor(info({2}, 4))) == where + "expected a type that ggml has, found type 4");
  CHECK(refused(with_tensor(info({2}, 31))) == where + "expected a type that ggml has, found type 31");
  CHECK(refused(with_tensor(info({2}, 0xffffffffU))) == where + "expected a type that ggml has, found type 4294967295");
  CHECK(refused(with_tensor(info({48, 2}, 2))) ==
        where + "expected rows of whole blocks of 32 elements for Q4_0, found rows of 48");
  // ggml's dimensions begin with the innermost: it is the first that blocks have to divide.
  CHECK(refused(with_tensor(info({2, 32}, 2))) ==
        where + "expected rows of whole blocks of 32 elements for Q4_0, found rows of 2");
  CHECK(refused(with_tensor(info({}, 12))) ==
        where + "expected rows of whole blocks of 256 elements for Q4_K, found rows of 1");
  CHECK(refused(with_tensor(info({1ULL << 32, 1ULL << 32}))) ==
        where + "expected a shape whose product fits into 64 bits, found [4294967296, 4294967296]");
  CHECK(refused(with_tensor(info({1ULL << 62}))) ==
        where + "expected a size in bytes that fits into 64 bits, found [4611686018427387904] of F32");
  CHECK(refused(with_tensor(info({9}))) ==
        where + "expected 36 bytes for [9] of F32, found 32 until the end of the file");
  CHECK(refused(with_tensor(info({32, 2}, 8), 67)) ==
        where + "expected 68 bytes for [2, 32] of Q8_0, found 67 until the end of the file");
  CHECK(refused(with_tensor(info({2}, 0, 32), 64)) ==
        where + "offset: expected 0, found 32, a hole behind the tensor before");
  CHECK(refused(with_tensor(info({2}, 0, 1), 64)) == where + "offset: expected 0, found 1, no multiple of 32");
  CHECK(refused(with_tensor(info({2}, 0, ~std::uint64_t{31}), 64)) ==
        where + "offset: expected 0, found 18446744073709551584, a hole behind the tensor before");
  CHECK(refused(with_tensor(info(), 33)) ==
        "f.gguf: expected 32 bytes of data, where the last tensor ends, found 33 bytes");

  const auto named = [](const std::string& name) {
    return refused(gguf_text({}, {tensor_info(name, {2}, 0, 0)}, "12345678"));
  };
  const std::string names = "f.gguf: tensor 0: expected a name of at most 64 bytes, none of them zero, found ";
  CHECK(named(std::string(64, 'a')).empty());
  CHECK(named(std::string(65, 'a')) == names + '"' + std::string(64, 'a') + "...\"");
  CHECK(named(std::string("a\0", 2)) == names + "\"a?\"");
}

TEST_CASE("tensors lie one behind the other", "[io]") {
  const auto two = [](std::uint64_t second, std::size_t bytes, const std::string& name = "b") {
    return refused(
        gguf_text({}, {tensor_info("a", {9}, 0, 0), tensor_info(name, {2}, 0, second)}, std::string(bytes, 'x')));
  };
  const std::string where = "f.gguf: tensor \"b\": ";
  CHECK(two(64, 72).empty());
  CHECK(two(64, 96).empty());
  CHECK(two(64, 97) == "f.gguf: expected 96 bytes of data, where the last tensor ends, found 97 bytes");
  CHECK(two(64, 71) == where + "expected 8 bytes for [2] of F32, found 7 until the end of the file");
  CHECK(two(64, 40) == where + "expected 8 bytes for [2] of F32, found 0 until the end of the file");
  CHECK(two(0, 96) == where + "offset: expected 64, found 0, an overlap with the tensor before");
  CHECK(two(32, 96) == where + "offset: expected 64, found 32, an overlap with the tensor before");
  CHECK(two(96, 128) == where + "offset: expected 64, found 96, a hole behind the tensor before");
  CHECK(two(40, 96) == where + "offset: expected 64, found 40, no multiple of 32");
  CHECK(two(64, 96, "a") == "f.gguf: tensor \"a\": the name stands twice in the file");
}

TEST_CASE("a GGUF file cut anywhere is refused", "[io]") {
  const std::string whole = content_of(reference / "model.gguf");
  // The last tensor, one double, ends 56 bytes before the file does: the rest is padding.
  for (std::size_t length = 0; length + 56 < whole.size(); ++length) {
    CHECK(mentions(refused(whole.substr(0, length)), {"f.gguf: ", "expected", "found"}));
  }
  CHECK(refused(whole.substr(0, whole.size() - 56)).empty());
}

TEST_CASE("every hostile GGUF file is refused by its name", "[io]") {
  const auto files = hostile_files("gguf");
  REQUIRE(files.size() >= 40);
  for (const auto& file : files) {
    INFO(file.string());
    CHECK(refusal([&] { load_gguf(file); }).starts_with(file.string() + ": "));
  }
}

TEST_CASE("a tensor whose bytes are not those of its shape is a caller's mistake", "[io]") {
  const std::string bytes(36, '\0');
  CHECK_THROWS_AS(gguf_tensor("w", ggml_type::q8_0, {1, 32}, bytes_of(bytes), nullptr), precondition_error);
  CHECK_THROWS_AS(gguf_tensor("w", ggml_type::q8_0, {33}, bytes_of(bytes), nullptr), precondition_error);
  CHECK(gguf_tensor("w", ggml_type::f32, {3, 3}, bytes_of(bytes), nullptr).where() == "tensor \"w\"");
}
