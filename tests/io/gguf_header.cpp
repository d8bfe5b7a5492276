// SPDX-License-Identifier: MIT
// The header alone; what a file's data must be is tested with the reader.

#include <pluria/io/gguf_header.hpp>

#include "io/gguf_text.hpp"
#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

const std::string file = "f.gguf";

// What is read shows the bytes of `text`.
detail::gguf_header read(const std::string& text) {
  return {bytes_of(text), file};
}

std::string refused(const std::string& text) {
  return refusal([&] { read(text); });
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The beginning of a file that claims so many tensors and key-values.
std::string begin(std::uint64_t tensors, std::uint64_t entries) {
  return "GGUF" + stored(std::uint32_t{3}) + stored(tensors) + stored(entries);
}

std::string array(gguf_type element, std::uint64_t count, const std::string& elements) {
  return stored(element) + stored(count) + elements;
}

// Type and value of an array.
std::string array_value(gguf_type element, std::uint64_t count, const std::string& elements) {
  return stored(gguf_type::array) + array(element, count, elements);
}

std::string with_value(const std::string& value, const std::string& key = "k") {
  return begin(0, 1) + stored_text(key) + value;
}

// A value of every type, under the type's number as key.
std::vector<std::string> values() {
  const std::string strings = array(gguf_type::string, 2, stored_text("") + stored_text("two"));
  std::vector<std::string> made;
  for (const auto& [type, value] : {std::pair(gguf_type::u8, std::string("\xff")),
                                    {gguf_type::i8, "\x80"},
                                    {gguf_type::u16, "ab"},
                                    {gguf_type::i16, "cd"},
                                    {gguf_type::u32, stored(std::uint32_t{0x80000001U})},
                                    {gguf_type::i32, "efgh"},
                                    {gguf_type::f32, stored(0.1F)},
                                    {gguf_type::boolean, "\1"},
                                    {gguf_type::string, stored_text(std::string("a\0b", 3))},
                                    {gguf_type::array, array(gguf_type::array, 2, strings + strings)},
                                    {gguf_type::u64, "ijklmnop"},
                                    {gguf_type::i64, "qrstuvwx"},
                                    {gguf_type::f64, stored(0.1)}}) {
    made.push_back(stored(type) + value);
  }
  return made;
}

std::string whole_header() {
  std::vector<std::string> entries;
  for (const std::string& value : values()) {
    entries.push_back(stored_text(std::to_string(entries.size())) + value);
  }
  return gguf_text(entries, {tensor_info("first", {2, 3, 5, 7}, 8, 64), tensor_info("", {}, 0, 0)}, "");
}

// The sizes that docs/gguf.md gives.
static_assert(detail::size_of_value(gguf_type::u8) == 1 && detail::size_of_value(gguf_type::i8) == 1);
static_assert(detail::size_of_value(gguf_type::u16) == 2 && detail::size_of_value(gguf_type::i16) == 2);
static_assert(detail::size_of_value(gguf_type::u32) == 4 && detail::size_of_value(gguf_type::i32) == 4);
static_assert(detail::size_of_value(gguf_type::u64) == 8 && detail::size_of_value(gguf_type::i64) == 8);
static_assert(detail::size_of_value(gguf_type::f32) == 4 && detail::size_of_value(gguf_type::f64) == 8);
static_assert(detail::size_of_value(gguf_type::boolean) == 1);
static_assert(detail::size_of_value(gguf_type::string) == 0 && detail::size_of_value(gguf_type::array) == 0);

static_assert(detail::aligned(0, 32) == 0 && detail::aligned(1, 32) == 32 && detail::aligned(32, 32) == 32);
static_assert(detail::aligned(33, 32) == 64 && detail::aligned(33, 1) == 33);
static_assert(detail::aligned((std::uint64_t{1} << 40) + 1, 1U << 20) == (std::uint64_t{1} << 40) + (1U << 20));

}  // namespace

TEST_CASE("values of a GGUF header keep their bytes, whatever their type", "[io]") {
  const std::string text = whole_header();
  detail::gguf_header header = read(text);
  REQUIRE(header.entries().size() == 13);
  std::string all;
  for (std::size_t i = 0; i < 13; ++i) {
    const gguf_entry& entry = header.entries()[i];
    const std::string value = values()[i];
    CAPTURE(i);
    CHECK(entry.key == std::to_string(i));
    CHECK(static_cast<std::size_t>(entry.type) == i);
    CHECK(text_of(entry.value) == value.substr(4));
    CHECK(text_of(entry.bytes) == stored_text(entry.key) + value);
    CHECK(entry.text().has_value() == (entry.type == gguf_type::string));
    CHECK(entry.number().has_value() == (entry.type == gguf_type::u32));
    all += text_of(entry.bytes);
  }
  CHECK(header.entries()[8].text() == std::string_view("a\0b", 3));
  CHECK(header.entries()[4].number() == 0x80000001U);
  // Entries are copied as they are: one behind the other they are the file's.
  CHECK(text.substr(24, all.size()) == all);
  CHECK(static_cast<const void*>(header.entries()[0].bytes.data()) == text.data() + 24);
}

TEST_CASE("the text of an empty string is empty", "[io]") {
  const std::string text = with_value(stored(gguf_type::string) + stored_text(""));
  const auto found = read(text).entries()[0].text();
  REQUIRE(found.has_value());
  CHECK(found->empty());
}

TEST_CASE("tensors of a GGUF header have their outermost dimension first", "[io]") {
  const std::string text = whole_header();
  detail::gguf_header header = read(text);
  REQUIRE(header.tensors().size() == 2);
  CHECK(header.tensors()[0].name == "first");
  CHECK(header.tensors()[0].shape == tensor_shape{7, 5, 3, 2});
  CHECK(header.tensors()[0].type == 8);
  CHECK(header.tensors()[0].offset == 64);
  CHECK(header.tensors()[1].name.empty());
  CHECK(header.tensors()[1].shape.empty());
}

TEST_CASE("shapes, types and offsets are read without being held against the data", "[io]") {
  const std::uint64_t most = ~std::uint64_t{0};
  const std::string text = gguf_text({}, {tensor_info("w", {most, most, 0, 1}, 0xffffffffU, most)}, "");
  const detail::gguf_tensor_info info = read(text).tensors()[0];
  CHECK(info.shape == tensor_shape{1, 0, most, most});
  CHECK(info.type == 0xffffffffU);
  CHECK(info.offset == most);
}

TEST_CASE("the data of a GGUF file begin at a multiple of the alignment or at its end", "[io]") {
  const std::string entry = stored_text("general.alignment") + stored(gguf_type::u32);
  const auto begins = [&](std::uint32_t alignment, std::size_t behind) {
    const std::string text = gguf_text({entry + stored(alignment)}, {}, "") + std::string(behind, 'x');
    CHECK(read(text).alignment() == alignment);
    return read(text).data_begin();
  };
  // 24 bytes, then 25 of the key, 4 of the type, 4 of the value.
  constexpr std::size_t header = 57;
  for (std::uint32_t alignment = 1; alignment <= 1U << 20; alignment *= 2) {
    CAPTURE(alignment);
    CHECK(begins(alignment, 1U << 21) == (header + alignment - 1) / alignment * alignment);
    CHECK(begins(alignment, 0) == header);
  }
  CHECK(begins(64, 6) == 63);
  CHECK(begins(64, 7) == 64);
  CHECK(begins(64, 8) == 64);
  const std::string bare = begin(0, 0) + std::string(40, 'x');
  CHECK(read(bare).alignment() == 32);
  CHECK(read(bare).data_begin() == 32);
}

TEST_CASE("a header that ends at a multiple of the alignment has no padding", "[io]") {
  const std::string text = with_value(array_value(gguf_type::u8, 15, std::string(15, 'a'))) + "data";
  REQUIRE(text.size() == 64 + 4);
  CHECK(read(text).data_begin() == 64);
}

TEST_CASE("an alignment of another type, or none that a machine has, is refused", "[io]") {
  const auto refused_alignment = [](const std::string& value) {
    return refused(with_value(value, "general.alignment"));
  };
  const std::string where = "f.gguf: key \"general.alignment\": expected a power of two up to 2^20 as u32, found ";
  for (const std::uint32_t alignment : {0U, 3U, 31U, 33U, 1U << 21, 1U << 31, 0xffffffffU}) {
    CHECK(refused_alignment(stored(gguf_type::u32) + stored(alignment)) == where + std::to_string(alignment));
  }
  CHECK(refused_alignment(stored(gguf_type::i32) + stored(std::int32_t{32})) == where + "a value of type 5");
  CHECK(refused_alignment(stored(gguf_type::string) + stored_text("32")) == where + "a value of type 8");
  CHECK(refused_alignment(array_value(gguf_type::u32, 1, stored(32U))) == where + "a value of type 9");
}

TEST_CASE("a GGUF header cut anywhere is refused", "[io]") {
  const std::string whole = whole_header();
  REQUIRE(refused(whole).empty());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    CHECK(mentions(refused(whole.substr(0, length)), {"f.gguf: ", "expected", "found"}));
  }
}

TEST_CASE("a header says what was missing where it ends", "[io]") {
  CHECK(refused("GGU") == "f.gguf: expected 4 bytes for the word GGUF, found 3 until the end of the file");
  CHECK(refused(begin(0, 0).substr(0, 7)) ==
        "f.gguf: expected 4 bytes for the version, found 3 until the end of the file");
  CHECK(refused(begin(0, 0).substr(0, 15)) ==
        "f.gguf: expected 8 bytes for the number of tensors, found 7 until the end of the file");
  CHECK(refused(begin(0, 0).substr(0, 16)) ==
        "f.gguf: expected 8 bytes for the number of key-values, found 0 until the end of the file");
  CHECK(refused(begin(0, 1) + stored_text("key-of-ten") + "abc") ==
        "f.gguf: key \"key-of-ten\": expected 4 bytes for the type, found 3 until the end of the file");

  // Enough for the claim of two tensors, not for the second.
  const std::string tensors = begin(2, 0) + tensor_info("long enough for two", {1, 1}, 0, 0);
  const std::string second = stored_text("b") + stored(std::uint32_t{2}) + stored(std::uint64_t{1});
  CHECK(refused(tensors + stored_text("b")) ==
        "f.gguf: tensor \"b\": expected 4 bytes for the number of dimensions, found 0 until the end of the file");
  CHECK(refused(tensors + second) ==
        "f.gguf: tensor \"b\": expected 8 bytes for the dimensions, found 0 until the end of the file");
  CHECK(refused(tensors + second + stored(std::uint64_t{1})) ==
        "f.gguf: tensor \"b\": expected 4 bytes for the type, found 0 until the end of the file");
  CHECK(refused(tensors + second + stored(std::uint64_t{1}) + stored(0U)) ==
        "f.gguf: tensor \"b\": expected 8 bytes for the offset, found 0 until the end of the file");
  CHECK(refused(tensors) == "f.gguf: tensor 1: expected 8 bytes for the name, found 0 until the end of the file");
  CHECK(refused(tensors + stored(~std::uint64_t{0}) + "b") ==
        "f.gguf: tensor 1: expected 18446744073709551615 bytes for the name, found 1 until the end of the file");
}

TEST_CASE("as many of the shortest things as fit are read, and one more is refused", "[io]") {
  std::string entries;
  for (char key = 'a'; key < 'e'; ++key) {
    entries += stored_text({key}) + stored(gguf_type::u8) + "x";
  }
  CHECK(refused(begin(0, 4) + entries).empty());
  CHECK(refused(begin(0, 5) + entries) ==
        "f.gguf: expected at most the 4 key-values that the rest of the file has room for, found 5");
  CHECK(refused(begin(1, 0) + tensor_info("", {}, 0, 0)).empty());
  CHECK(refused(begin(2, 0) + tensor_info("", {}, 0, 0)) ==
        "f.gguf: expected at most the 1 tensors that the rest of the file has room for, found 2");

  const auto claims = [](gguf_type element, std::uint64_t count, const std::string& elements) {
    return refused(with_value(array_value(element, count, elements)));
  };
  const auto one_more = [](int room, std::uint64_t found) {
    return "f.gguf: key \"k\": expected at most the " + std::to_string(room) +
           " elements that the rest of the file has room for, found " + std::to_string(found);
  };
  const std::string strings = stored_text("") + stored_text("") + stored_text("");
  CHECK(claims(gguf_type::string, 3, strings).empty());
  CHECK(claims(gguf_type::string, 4, strings) == one_more(3, 4));
  const std::string arrays = array(gguf_type::u8, 0, "") + array(gguf_type::string, 0, "");
  CHECK(claims(gguf_type::array, 2, arrays).empty());
  CHECK(claims(gguf_type::array, 3, arrays) == one_more(2, 3));
  CHECK(claims(gguf_type::u16, 3, "abcdef").empty());
  CHECK(claims(gguf_type::u16, 4, "abcdefg") == one_more(3, 4));
  // Counts whose bytes do not fit into 64 bits.
  for (const gguf_type element : {gguf_type::u16, gguf_type::f64, gguf_type::string, gguf_type::array}) {
    CHECK(claims(element, std::uint64_t{1} << 63, "") == one_more(0, std::uint64_t{1} << 63));
  }
}

TEST_CASE("arrays side by side do not count as levels", "[io]") {
  std::string rows;
  for (int row = 0; row < 100; ++row) {
    rows += array(gguf_type::array, 1, array(gguf_type::u8, 1, "x"));
  }
  CHECK(refused(with_value(array_value(gguf_type::array, 100, rows))).empty());
}

TEST_CASE("every boolean is looked at, in arrays too, and no other byte", "[io]") {
  const std::string where = "f.gguf: key \"k\": expected a boolean that is 0 or 1, found ";
  for (int value = 0; value < 256; ++value) {
    const std::string byte(1, static_cast<char>(value));
    const std::string expected = value <= 1 ? "" : where + std::to_string(value);
    CHECK(refused(with_value(stored(gguf_type::boolean) + byte)) == expected);
    CHECK(refused(with_value(array_value(gguf_type::boolean, 3, "\1\1" + byte))) == expected);
    CHECK(refused(with_value(array_value(gguf_type::array, 1, array(gguf_type::boolean, 1, byte)))) == expected);
    CHECK(refused(with_value(stored(gguf_type::u8) + byte)).empty());
  }
}

TEST_CASE("types are those from 0 to 12, of values and of elements", "[io]") {
  for (const std::uint32_t type : {13U, 14U, 255U, 0x80000000U, 0xffffffffU}) {
    const std::string expected =
        "f.gguf: key \"k\": expected a value of type 0 to 12, found type " + std::to_string(type);
    CHECK(refused(with_value(stored(type) + std::string(16, '\0'))) == expected);
    CHECK(refused(with_value(stored(gguf_type::array) + stored(type) + std::string(16, '\0'))) == expected);
  }
}

TEST_CASE("keys are printable ASCII, from blank to tilde", "[io]") {
  for (int character = 0; character < 256; ++character) {
    const std::string key{'a', static_cast<char>(character)};
    const bool is_printable = character >= 32 && character <= 126;
    CHECK(refused(with_value(stored(gguf_type::u8) + "x", key)) ==
          (is_printable
               ? ""
               : "f.gguf: key-value 0: expected a key of 1 to 65535 printable ASCII characters, found \"a?\""));
  }
}

TEST_CASE("a key or name that stands twice is named", "[io]") {
  const std::string entry = stored(gguf_type::u8) + "x";
  CHECK(refused(begin(0, 2) + stored_text("a") + entry + stored_text("a") + entry) ==
        "f.gguf: key \"a\": the key stands twice");
  CHECK(refused(begin(0, 2) + stored_text("a") + entry + stored_text("A") + entry).empty());
  CHECK(refused(gguf_text({}, {tensor_info("", {}, 0, 0), tensor_info("b", {}, 0, 0), tensor_info("", {}, 0, 0)},
                          "")) == "f.gguf: tensor \"\": the name stands twice in the file");
}

TEST_CASE("a message about a key shows its place until the key is known", "[io]") {
  const std::string entry = stored(gguf_type::u8) + "x";
  CHECK(refused(begin(0, 3) + stored_text("a") + entry + stored_text("b") + entry + stored_text("") + entry + "x") ==
        "f.gguf: key-value 2: expected a key of 1 to 65535 printable ASCII characters, found \"\"");
  CHECK(refused(begin(0, 2) + stored_text("a") + entry + stored_text("b") + stored(99U) + "x") ==
        "f.gguf: key \"b\": expected a value of type 0 to 12, found type 99");
  CHECK(refused(with_value(stored(99U), std::string(65, 'k'))) ==
        "f.gguf: key \"" + std::string(64, 'k') + "...\": expected a value of type 0 to 12, found type 99");
}
