// SPDX-License-Identifier: MIT
// The header alone; how its ranges must cover the data is tested with the reader.

#include <pluria/io/safetensors_header.hpp>

#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

const std::string file = "f.safetensors";

detail::safetensors_header read(const std::string& text) {
  return {text, file};
}

// What is said of a header behind "f.safetensors: "; empty when it is read.
std::string refused(const std::string& text) {
  const std::string message = refusal([&] { read(text); });
  const std::string where = "f.safetensors: ";
  return message.empty() || !message.starts_with(where) ? message : message.substr(where.size());
}

std::string one(const std::string& type, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}
std::string with_type(const std::string& type) {
  return one(type, "[2]", "[0,8]");
}
std::string with_shape(const std::string& shape) {
  return one(R"("F32")", shape, "[0,8]");
}
std::string with_offsets(const std::string& offsets) {
  return one(R"("F32")", "[2]", offsets);
}

std::string numbers(std::size_t count) {
  std::string text = "[";
  for (std::size_t i = 0; i < count; ++i) {
    text += (i == 0 ? "" : ",") + std::to_string(i);
  }
  return text + "]";
}

constexpr std::uint64_t most = ~std::uint64_t{0};

// Values of every kind, and what messages call them.
const std::vector<std::pair<std::string, std::string>> kinds{
    {"null", "null"},   {"true", "true"},
    {"false", "false"}, {"-1", "-1"},
    {"-0", "-0"},       {"1.5", "1.5"},
    {"1E2", "1E2"},     {"18446744073709551616", "18446744073709551616"},
    {"7", "7"},         {R"("text")", R"("text")"},
    {"[]", "an array"}, {"{}", "an object"}};

// Whether every kind of value but `allowed` is refused at a place, which `header` fills in.
template <class Header>
void refuses_other_kinds(const Header& header, const std::string& allowed, const std::string& message) {
  for (const auto& [value, found] : kinds) {
    if (value != allowed) {
      CHECK(refused(header(value)) == message + ", found " + found);
    }
  }
}

}  // namespace

TEST_CASE("dtypes are found by the names that they have", "[io]") {
  for (auto i = 0; i <= static_cast<int>(dtype::boolean); ++i) {
    const auto type = static_cast<dtype>(i);
    CHECK(detail::dtype_named(name_of(type)) == type);
    CHECK(read(with_type('"' + std::string(name_of(type)) + '"')).entries()[0].type == type);
  }
  CHECK(detail::dtype_named("BF16") == dtype::bf16);
  CHECK(detail::dtype_named("BOOL") == dtype::boolean);
  for (const std::string_view name : {"", "F", "f32", "F32 ", " F32", "F8_E4M3", "F8_E5M2", "C64", "float32"}) {
    CHECK_FALSE(detail::dtype_named(name).has_value());
  }
}

TEST_CASE("a header of every kind of entry is read in its order", "[io]") {
  detail::safetensors_header header =
      read(R"({ "b" : {"shape":[], "data_offsets":[0,2],"dtype":"F16"},)"
           "\n\t"
           R"("__metadata__":{"format":"pt","":"","\u0066oo":"\"\\\u00e9\ud83c\udfb2"},)"
           R"("":{"data_offsets":[2,2],"dtype":"BOOL","shape":[3,0]},)"
           R"("a\u0301 \"q\"":{"dtype":"I64","shape":[1,2,3],"data_offsets":[2,50]}}    )");
  REQUIRE(header.entries().size() == 3);
  const detail::safetensors_entry& scalar = header.entries()[0];
  CHECK(scalar.name == "b");
  CHECK(scalar.type == dtype::f16);
  CHECK(scalar.shape.empty());
  CHECK(scalar.begin == 0);
  CHECK(scalar.end == 2);
  const detail::safetensors_entry& empty = header.entries()[1];
  CHECK(empty.name.empty());
  CHECK(empty.type == dtype::boolean);
  CHECK(empty.shape == tensor_shape{3, 0});
  CHECK(empty.begin == 2);
  CHECK(empty.end == 2);
  const detail::safetensors_entry& last = header.entries()[2];
  CHECK(last.name == "a\u0301 \"q\"");
  CHECK(last.type == dtype::i64);
  CHECK(last.shape == tensor_shape{1, 2, 3});
  CHECK(last.begin == 2);
  CHECK(last.end == 50);
  CHECK(header.metadata() ==
        std::map<std::string, std::string>{{"format", "pt"}, {"", ""}, {"foo", "\"\\\u00e9\xf0\x9f\x8e\xb2"}});
}

TEST_CASE("a header without tensors or metadata has none", "[io]") {
  CHECK(read("{}").entries().empty());
  CHECK(read("{}").metadata().empty());
  CHECK(read(R"({"__metadata__":{}})").entries().empty());
}

TEST_CASE("names that stand twice and ranges of any kind are left to the reader", "[io]") {
  const std::string fields = R"({"dtype":"U8","shape":[1],"data_offsets":[9,3]})";
  detail::safetensors_header header = read(R"({"w":)" + fields + R"(,"w":)" + fields + "}");
  REQUIRE(header.entries().size() == 2);
  CHECK(header.entries()[1].name == "w");
  CHECK(header.entries()[1].begin == 9);
  CHECK(header.entries()[1].end == 3);
}

TEST_CASE("numbers go up to 64 bits", "[io]") {
  const std::string text = std::to_string(most);
  const detail::safetensors_entry entry =
      read(one(R"("F32")", "[" + text + ",0]", "[" + text + "," + text + "]")).entries()[0];
  CHECK(entry.shape == tensor_shape{most, 0});
  CHECK(entry.begin == most);
  CHECK(entry.end == most);
  CHECK(refused(with_shape("[18446744073709551616]")) ==
        "tensor \"w\": shape: expected at most 64 non-negative integers, found 18446744073709551616");
  // Beyond the range of double a number is no JSON to the parser.
  CHECK(mentions(refused(with_shape("[1e400]")), {"header: expected JSON, found a syntax error at its byte "}));
}

TEST_CASE("a shape has at most 64 numbers, a range two", "[io]") {
  CHECK(read(with_shape(numbers(64))).entries()[0].shape.size() == 64);
  CHECK(read(with_shape(numbers(64))).entries()[0].shape[63] == 63);
  const std::string shapes = "tensor \"w\": shape: expected at most 64 non-negative integers, found ";
  CHECK(refused(with_shape(numbers(65))) == shapes + "more than 64 numbers");
  CHECK(refused(with_shape(numbers(100'000))) == shapes + "more than 64 numbers");
  for (const std::size_t count : {0U, 1U, 3U, 64U}) {
    CHECK(refused(with_offsets(numbers(count))) ==
          "tensor \"w\": data_offsets: expected begin and end, found " + std::to_string(count) + " numbers");
  }
  CHECK(refused(with_offsets(numbers(65))) ==
        "tensor \"w\": data_offsets: expected two non-negative integers, found more than 64 numbers");
}

TEST_CASE("a value of another kind is refused wherever it stands", "[io]") {
  refuses_other_kinds([](const std::string& value) { return R"({"w":)" + value + "}"; }, "{}",
                      "tensor \"w\": expected an object with dtype, shape and data_offsets");
  refuses_other_kinds([](const std::string& value) { return R"({"__metadata__":)" + value + "}"; }, "{}",
                      "__metadata__: expected an object of strings");
  refuses_other_kinds([](const std::string& value) { return R"({"__metadata__":{"k":)" + value + "}}"; }, R"("text")",
                      "__metadata__: \"k\": expected a string");
  refuses_other_kinds(with_type, R"("text")", "tensor \"w\": dtype: expected a string");
  refuses_other_kinds(with_shape, "[]", "tensor \"w\": shape: expected an array of non-negative integers");
  refuses_other_kinds(with_offsets, "[]", "tensor \"w\": data_offsets: expected an array of non-negative integers");
  refuses_other_kinds([](const std::string& value) { return with_shape("[1," + value + "]"); }, "7",
                      "tensor \"w\": shape: expected at most 64 non-negative integers");
  refuses_other_kinds([](const std::string& value) { return with_offsets("[" + value + ",8]"); }, "7",
                      "tensor \"w\": data_offsets: expected two non-negative integers");
}

TEST_CASE("the message is about the tensor at hand, not the one before", "[io]") {
  const std::string first = one(R"("F32")", "[2]", "[0,8]");
  const std::string begin = first.substr(0, first.size() - 1) + ",";
  CHECK(refused(begin + R"("v":{}})") ==
        "tensor \"v\": expected the fields dtype, shape and data_offsets, found no dtype");
  CHECK(refused(begin + R"("v":{"shape":[1],"dtype":"F32"}})") ==
        "tensor \"v\": expected the fields dtype, shape and data_offsets, found no data_offsets");
  CHECK(refused(begin + R"("v":{"data_offsets":[0,4],"dtype":"F32"}})") ==
        "tensor \"v\": expected the fields dtype, shape and data_offsets, found no shape");
  CHECK(refused(begin + R"("v":{"":0}})") ==
        "tensor \"v\": expected the fields dtype, shape and data_offsets, found \"\"");
  CHECK(refused(begin + R"("__metadata__":[]})") == "__metadata__: expected an object of strings, found an array");
  CHECK(refused(R"({"__metadata__":{"k":"v"},"v":7})") ==
        "tensor \"v\": expected an object with dtype, shape and data_offsets, found 7");
}

TEST_CASE("a field, a key or the metadata that stands twice is refused, also behind an escape", "[io]") {
  for (const auto& [field, value] : {std::pair("dtype", R"("F32")"), {"shape", "[2]"}, {"data_offsets", "[0,8]"}}) {
    CHECK(refused(with_offsets("[0,8],\"" + std::string(field) + "\":" + value)) ==
          "tensor \"w\": " + std::string(field) + ": the field stands twice");
  }
  CHECK(refused(with_offsets(R"([0,8],"\u0073hape":[2])")) == "tensor \"w\": shape: the field stands twice");
  CHECK(refused(R"({"__metadata__":{"k":"a","j":"b","\u006b":"c"}})") == "__metadata__: \"k\": the key stands twice");
  CHECK(refused(R"({"__metadata__":{},"\u005f_metadata__":{}})") == "__metadata__ stands twice in the header");
}

TEST_CASE("long texts are cut in messages", "[io]") {
  const std::string longest(64, 'x');
  const std::string longer(100'000, 'x');
  CHECK(mentions(refused(with_type('"' + longest + '"')), {"found \"" + longest + '"'}));
  CHECK(mentions(refused(with_type('"' + longer + '"')),
                 {"tensor \"w\": dtype: expected one of F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, "
                  "BOOL, found \"" +
                  longest + "...\""}));
  CHECK(refused(with_offsets("[0,8],\"" + longer + "\":1")) ==
        "tensor \"w\": expected the fields dtype, shape and data_offsets, found \"" + longest + "...\"");
  CHECK(refused(with_shape("[0." + std::string(1000, '1') + "]")) ==
        "tensor \"w\": shape: expected at most 64 non-negative integers, found 0." + std::string(62, '1') + "...");
}

TEST_CASE("what begins with no brace is called by its first byte", "[io]") {
  const std::string begins = "header: expected a JSON object that begins with '{', found ";
  CHECK(refused("") == begins + "nothing");
  CHECK(refused(" {}") == begins + "byte 32");
  CHECK(refused("\xef\xbb\xbf{}") == begins + "byte 239");
  CHECK(refused("null") == begins + "byte 110");
  CHECK(refused(std::string(1, '\0')) == begins + "byte 0");
}

TEST_CASE("a syntax error is named by its byte, counted from 1", "[io]") {
  const std::string at = "header: expected JSON, found a syntax error at its byte ";
  CHECK(refused("{") == at + "2");
  CHECK(refused("{,}") == at + "2");
  CHECK(refused("{} {}") == at + "4");
  CHECK(refused("{}]") == at + "3");
  CHECK(refused("{'w':{}}") == at + "2");
  CHECK(refused("{/**/}") == at + "2");
  CHECK(refused(R"({"__metadata__":{},})") == at + "20");
  CHECK(refused(with_shape("[1,]")) == at + "32");
  CHECK(refused(with_shape("[01]")) == at + "31");
  CHECK(refused("{\"\xff\":{}}") == at + "3");
  CHECK(refused("{\"a\nb\":{}}") == at + "4");
  CHECK(refused(R"({"\ud800":{}})") == at + "9");
}

TEST_CASE("a zero byte ends nothing", "[io]") {
  for (const std::size_t place : {1U, 2U, 7U}) {
    std::string text = R"({"w":{}})";
    text.insert(place, 1, '\0');
    CHECK(refused(text) == "header: expected JSON, found a syntax error at its byte " + std::to_string(place + 1));
  }
  CHECK(refused(std::string("{}\0{}", 5)) == "header: expected JSON, found a syntax error at its byte 3");
}

TEST_CASE("what is nested without end is refused where it begins", "[io]") {
  const std::string arrays(1'000'000, '[');
  CHECK(refused(R"({"w":)" + arrays) ==
        "tensor \"w\": expected an object with dtype, shape and data_offsets, found an array");
  CHECK(refused(with_shape(arrays)) ==
        "tensor \"w\": shape: expected at most 64 non-negative integers, found an array");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) {
    objects += R"({"w":)";
  }
  CHECK(refused(objects) == "tensor \"w\": expected the fields dtype, shape and data_offsets, found \"w\"");
}

TEST_CASE("a safetensors header cut anywhere is refused", "[io]") {
  const std::string whole =
      R"({"__metadata__":{"k":"v\u00e9"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";
  REQUIRE(refused(whole).empty());
  for (std::size_t length = 1; length < whole.size(); ++length) {
    CAPTURE(length);
    CHECK(mentions(refused(whole.substr(0, length)), {"header: expected JSON, found a syntax error at its byte "}));
  }
}

TEST_CASE("a header with any byte changed is read or refused, by its file", "[io]") {
  const std::string whole = R"({"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  std::size_t wrong = 0;
  for (std::size_t place = 0; place < whole.size(); ++place) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = whole;
      changed[place] = static_cast<char>(byte);
      const std::string message = refusal([&] { read(changed); });
      wrong += message.empty() || message.starts_with("f.safetensors: ") ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}
