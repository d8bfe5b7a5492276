// SPDX-License-Identifier: MIT
#include <pluria/io/npy_header.hpp>

#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

const std::string file = "f.npy";

detail::npy_header read(const std::string& text) {
  return detail::npy_dictionary(text, file).read();
}

// What is said of a dictionary behind "f.npy: npy header"; empty when it is read.
std::string refused(const std::string& text) {
  const std::string message = refusal([&] { read(text); });
  const std::string where = "f.npy: npy header";
  return message.empty() || !message.starts_with(where) ? message : message.substr(where.size());
}

std::string with_descr(const std::string& descr) {
  return "{'descr': " + descr + ", 'fortran_order': False, 'shape': (2,), }";
}

std::string with_order(const std::string& order, const std::string& shape = "(2,)") {
  return "{'descr': '<f4', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

std::string with_shape(const std::string& shape) {
  return with_order("False", shape);
}

std::string dictionary_of(const std::string& preamble) {
  return preamble.substr(10);
}

constexpr std::size_t most = std::numeric_limits<std::size_t>::max();

const std::vector<tensor_shape> shapes{{}, {0}, {1}, {5}, {2, 3}, {0, 4}, {3, 0, 5}, {most, most}, tensor_shape(64, 1)};

}  // namespace

TEST_CASE("every dtype but bfloat16 has one name, which says its size", "[io]") {
  for (auto i = 0; i <= static_cast<int>(dtype::boolean); ++i) {
    const auto type = static_cast<dtype>(i);
    CHECK(std::count_if(detail::npy_types.begin(), detail::npy_types.end(),
                        [&](const auto& entry) { return entry.second == type; }) == (type == dtype::bf16 ? 0 : 1));
  }
  for (const auto& [name, type] : detail::npy_types) {
    const std::string_view safetensors_name = name_of(type);
    INFO(name);
    REQUIRE(name.size() == 3);
    CHECK(name[0] == (size_of(type) == 1 ? '|' : '<'));
    CHECK(name[1] == (safetensors_name.front() == 'B' ? 'b' : safetensors_name.front() - 'A' + 'a'));
    CHECK(static_cast<std::size_t>(name[2] - '0') == size_of(type));
  }
}

TEST_CASE("what is written is read as it was", "[io]") {
  for (const auto& [name, type] : detail::npy_types) {
    for (const tensor_shape& shape : shapes) {
      const detail::npy_header header = read(dictionary_of(detail::npy_preamble(type, shape, file)));
      CAPTURE(name, shape);
      CHECK(header.type == type);
      CHECK(header.shape == shape);
    }
  }
}

TEST_CASE("a preamble is magic, version 1.0, a length and a dictionary padded to a multiple of 64", "[io]") {
  std::vector<tensor_shape> longer = shapes;
  longer.push_back(tensor_shape(300, 10));
  for (const tensor_shape& shape : longer) {
    const std::string preamble = detail::npy_preamble(dtype::u16, shape, file);
    CAPTURE(shape);
    CHECK(preamble.substr(0, 8) == std::string("\x93NUMPY\x01\x00", 8));
    CHECK(preamble.size() % 64 == 0);
    CHECK(static_cast<unsigned char>(preamble[8]) + 256U * static_cast<unsigned char>(preamble[9]) ==
          preamble.size() - 10);
    CHECK(preamble.back() == '\n');
    CHECK(preamble[preamble.size() - 2] == ' ');
  }
}

TEST_CASE("a preamble has room for the first extent to grow in place", "[io]") {
  // A row of digits, as NumPy counts them: 20 are the most that 64 bits take, 21 have room.
  for (const tensor_shape& rest : {tensor_shape{}, {3}, {10, 10, 10}}) {
    const auto size = [&](std::size_t extent) {
      tensor_shape shape{extent};
      shape.insert(shape.end(), rest.begin(), rest.end());
      return detail::npy_preamble(dtype::f32, shape, file).size();
    };
    for (std::size_t extent = 9; extent < most / 10; extent = 10 * extent + 9) {
      CHECK(size(extent) == size(0));
    }
    CHECK(size(most) == size(0));
  }
}

TEST_CASE("the dictionary is spelled as NumPy spells it", "[io]") {
  const auto spelled = [](dtype type, const tensor_shape& shape) {
    const std::string text = dictionary_of(detail::npy_preamble(type, shape, file));
    return text.substr(0, text.find('}') + 1);
  };
  CHECK(spelled(dtype::f32, {2, 3}) == "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  CHECK(spelled(dtype::i64, {5}) == "{'descr': '<i8', 'fortran_order': False, 'shape': (5,), }");
  CHECK(spelled(dtype::boolean, {}) == "{'descr': '|b1', 'fortran_order': False, 'shape': (), }");
  CHECK(spelled(dtype::u8, {most, 0}) ==
        "{'descr': '|u1', 'fortran_order': False, 'shape': (18446744073709551615, 0), }");
}

TEST_CASE("what version 1.0 cannot hold is not written", "[io]") {
  CHECK(refusal([] { detail::npy_preamble(dtype::bf16, {2}, file); }) ==
        "f.npy: expected a dtype of the npy format, found BF16");
  // "1, " for each dimension: the length, 10 less than the preamble's, has 16 bits.
  const std::string longest = detail::npy_preamble(dtype::f32, tensor_shape(21'800, 1), file);
  CHECK(longest.size() == 65'536);
  CHECK(longest.ends_with(" \n"));
  CHECK_THROWS_AS(detail::npy_preamble(dtype::f32, tensor_shape(21'900, 1), file), precondition_error);
}

TEST_CASE("keys may stand in any order", "[io]") {
  std::array<std::string, 3> entries{"'descr':'<i2'", "'fortran_order':False", "'shape':(4, 2)"};
  std::size_t orders = 0;
  do {
    for (const char* end : {"}", ",}", " , } \t\r\n"}) {
      const detail::npy_header header = read("{" + entries[0] + "," + entries[1] + "," + entries[2] + end);
      CHECK(header.type == dtype::i16);
      CHECK(header.shape == tensor_shape{4, 2});
    }
    ++orders;
  } while (std::next_permutation(entries.begin(), entries.end()));
  CHECK(orders == 6);
}

TEST_CASE("blanks and both quotes are Python's", "[io]") {
  const std::string text = "\n{ \"descr\"\t: '<f4'\r\n, 'fortran_order' :False , \"shape\": ( 1 , 2\t,\n3 , ) , }\n\n";
  CHECK(read(text).shape == tensor_shape{1, 2, 3});
  CHECK(refused("{'descr\": '<f4'}") == ": expected ':', found \"<f4'}\"");
}

TEST_CASE("a dictionary has the three keys, once each", "[io]") {
  const std::string descr = "'descr': '<f4', ";
  const std::string order = "'fortran_order': False, ";
  const std::string shape = "'shape': (2,), ";
  const std::string missing = ": expected the keys descr, fortran_order and shape, found no ";
  CHECK(refused("{}") == missing + "descr");
  CHECK(refused("{" + order + shape + "}") == missing + "descr");
  CHECK(refused("{" + descr + shape + "}") == missing + "fortran_order");
  CHECK(refused("{" + descr + order + "}") == missing + "shape");

  const std::string others = ": expected the keys descr, fortran_order and shape, once each, found '";
  const std::string all = "{" + descr + order + shape;
  CHECK(refused(all + descr + "}") == others + "descr'");
  CHECK(refused(all + order + "}") == others + "fortran_order'");
  CHECK(refused(all + shape + "}") == others + "shape'");
  CHECK(refused(all + "'more': 1}") == others + "more'");
  CHECK(refused(all + "'': 1}") == others + "'");
  CHECK(refused("{'Descr': '<f4'}") == others + "Descr'");
  CHECK(refused("{'" + std::string(1000, 'a') + "': 1}") == others + std::string(64, 'a') + "'");
}

TEST_CASE("a descr that is no plain little-endian number is refused with what was found", "[io]") {
  const std::string names = "<f8, <f4, <f2, <i8, <i4, <i2, |i1, <u8, <u4, <u2, |u1, |b1, found '";
  for (const std::string descr : {"<c8", "<f16", "f4", "=f4", "|f4", "<i1", "<u1", "<b1", "|i2", "|O", "<U4", "<F4",
                                  "<f4 ", " <f4", "<M8[ns]", ""}) {
    CHECK(refused(with_descr("'" + descr + "'")) == ": descr: expected one of " + names + descr + "'");
  }
  for (const std::string descr : {">f8", ">i2", ">", ">c8"}) {
    CHECK(refused(with_descr("'" + descr + "'")) ==
          ": descr: expected little-endian numbers, one of " + names + descr + "'");
  }
  CHECK(refused(with_descr("'" + std::string(100'000, 'x') + "'")) ==
        ": descr: expected one of " + names + std::string(64, 'x') + "'");
  CHECK(refused(with_descr("[('x', '<f4')]")) ==
        ": expected a plain dtype, not one with fields, found \"[('x', '<f4')], \"");
  CHECK(refused(with_descr("4")) == ": expected a string, found \"4, 'fortran_orde\"");
  CHECK(refused(with_descr("b'<f4'")) == ": expected a string, found \"b'<f4', 'fortran\"");
  CHECK(refused("{'descr': '<f4}") == ": expected a string with its closing quote, found \"'<f4}\"");
}

TEST_CASE("the order is one of Python's two truths", "[io]") {
  for (const std::string order : {"true", "0", "None", "'True'", "T", ""}) {
    const std::string rest = order + ", 'shape': (2,), }";
    CHECK(refused(with_order(order)) == ": expected True or False, found \"" + rest.substr(0, 16) + "\"");
  }
  CHECK(refused(with_order("Truely")) == ": expected '}', found \"ly, 'shape': (2,\"");
}

TEST_CASE("Fortran order is refused from two dimensions on", "[io]") {
  CHECK(read(with_order("True", "()")).shape.empty());
  CHECK(read(with_order("True", "(7,)")).shape == tensor_shape{7});
  for (const auto& [shape, found] : {std::pair("(1, 7)", "[1, 7]"), {"(7, 1)", "[7, 1]"}, {"(0, 0, 2)", "[0, 0, 2]"}}) {
    CHECK(refused(with_order("True", shape)) ==
          ": expected C order (numpy.ascontiguousarray), found fortran_order True for " + std::string(found));
    CHECK(refused(with_order("False", shape)).empty());
  }
  // Whatever the order of the keys.
  CHECK(refused("{'shape': (2, 2), 'fortran_order': True, 'descr': '<f4'}") ==
        ": expected C order (numpy.ascontiguousarray), found fortran_order True for [2, 2]");
}

TEST_CASE("a shape is a tuple of numbers up to 64 bits", "[io]") {
  CHECK(read(with_shape("()")).shape.empty());
  CHECK(read(with_shape("(0,)")).shape == tensor_shape{0});
  CHECK(read(with_shape("(1, 2)")).shape == tensor_shape{1, 2});
  CHECK(read(with_shape("(1,2,)")).shape == tensor_shape{1, 2});
  CHECK(read(with_shape("(18446744073709551615, 3)")).shape == tensor_shape{most, 3});

  const std::string tuples = ": expected a tuple of at most 64 non-negative 64-bit integers, found ";
  for (const auto& [shape, found] : {std::pair("(18446744073709551616,)", "1844674407370955"),
                                     {"(99999999999999999999999999,)", "9999999999999999"},
                                     {"(-1,)", "-1,), }"},
                                     {"(+1,)", "+1,), }"},
                                     {"(,)", ",), }"},
                                     {"(1,,2)", ",2), }"},
                                     {"(1 2)", "2), }"},
                                     {"(2.0,)", ".0,), }"},
                                     {"(2L,)", "L,), }"},
                                     {"(0x10,)", "x10,), }"},
                                     {"('2',)", "'2',), }"},
                                     {"((2,),)", "(2,),), }"},
                                     {"(None,)", "None,), }"}}) {
    CHECK(refused(with_shape(shape)) == tuples + '"' + found + '"');
  }
  CHECK(refused(with_shape("(2)")) == ": expected (n,): to Python (n) is a number, found \", }\"");
  CHECK(refused(with_shape("2")) == ": expected '(', found \"2, }\"");
  CHECK(refused(with_shape("[2]")) == ": expected '(', found \"[2], }\"");
}

TEST_CASE("a shape has at most 64 extents", "[io]") {
  const auto tuple = [](int extents) {
    std::string text = "(";
    for (int i = 0; i < extents; ++i) {
      text += "1,";
    }
    return text + ")";
  };
  CHECK(read(with_shape(tuple(64))).shape.size() == 64);
  CHECK(refused(with_shape(tuple(65))) ==
        ": expected a tuple of at most 64 non-negative 64-bit integers, found \"1,), }\"");
  CHECK(refused(with_shape(tuple(1'000'000))).size() < 200);
}

TEST_CASE("nothing but blanks stands around the dictionary", "[io]") {
  const std::string text = with_shape("(2,)");
  CHECK(refused(" \t\r\n" + text + " \t\r\n").empty());
  CHECK(refused(text + "}") == ": expected only blanks after the dictionary, found \"}\"");
  CHECK(refused(text + " # 1") == ": expected only blanks after the dictionary, found \"# 1\"");
  CHECK(mentions(refused(text + std::string(1, '\0')), {": expected only blanks after the dictionary, found "}));
  CHECK(refused("[" + text) == ": expected '{', found \"[{'descr': '<f4'\"");
  CHECK(refused("") == ": expected '{', found its end");
  CHECK(refused(" \n") == ": expected '{', found its end");
}

TEST_CASE("a dictionary cut anywhere is refused", "[io]") {
  const std::string whole = with_shape("(12, 3)");
  REQUIRE(refused(whole).empty());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    CHECK(mentions(refused(whole.substr(0, length)), {": expected ", ", found "}));
  }
}

TEST_CASE("a dictionary with any byte changed is read or refused, by its file", "[io]") {
  const std::string whole = with_shape("(12, 3)");
  std::size_t wrong = 0;
  for (std::size_t place = 0; place < whole.size(); ++place) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = whole;
      changed[place] = static_cast<char>(byte);
      const std::string message = refusal([&] { read(changed); });
      wrong += message.empty() || message.starts_with("f.npy: npy header") ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}
