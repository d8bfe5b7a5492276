// SPDX-License-Identifier: MIT
#include <pluria/io/idx.hpp>
#include <pluria/io/replaced_file.hpp>

#include "io/gzip_file.hpp"
#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

std::string idx_text(std::vector<std::uint32_t> shape, std::string_view values) {
  std::string text("\0\0\x08", 3);
  text += static_cast<char>(shape.size());
  for (const std::uint32_t extent : shape) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
      text += static_cast<char>(extent >> shift & 0xffU);
    }
  }
  return text.append(values);
}

std::string integers(std::size_t count) {
  std::string values;
  for (std::size_t i = 0; i < count; ++i) {
    values += static_cast<char>(i * i * 37 % 251);
  }
  return values;
}

}  // namespace

TEST_CASE("an idx file of any 1 to 4 dimensions is read", "[io]") {
  const temporary_folder folder;
  for (const std::vector<std::uint32_t>& shape :
       {std::vector<std::uint32_t>{24}, {6, 4}, {2, 3, 4}, {2, 3, 1, 4}, {256, 300}, {0, 28, 28}}) {
    std::size_t count = 1;
    for (const std::uint32_t extent : shape) {
      count *= extent;
    }
    const std::string values = integers(count);
    write_file(folder / "a", idx_text(shape, values));
    const idx_array array = load_idx(folder / "a");
    CHECK(array.shape == tensor_shape(shape.begin(), shape.end()));
    CHECK(std::string(array.values.begin(), array.values.end()) == values);
  }
}

TEST_CASE("a gzip file holds the same array as the plain one, also over many chunks", "[io]") {
  const temporary_folder folder;
  const std::string values = integers(2'500'000);
  const std::string text = idx_text({25, 100, 1000}, values);
  write_file(folder / "plain", text);
  write_gzip(folder / "packed.gz", text);
  const idx_array plain = load_idx(folder / "plain");
  const idx_array packed = load_idx(folder / "packed.gz");
  CHECK(plain.shape == tensor_shape{25, 100, 1000});
  CHECK(packed.shape == plain.shape);
  CHECK(packed.values == plain.values);
  CHECK(std::string(packed.values.begin(), packed.values.end()) == values);
}

TEST_CASE("a gzip file of several members is one array", "[io]") {
  const temporary_folder folder;
  const std::string text = idx_text({10, 10}, integers(100));
  write_gzip(folder / "a.gz", text.substr(0, 7));
  write_gzip(folder / "a.gz", text.substr(7, 60), "ab");
  write_gzip(folder / "a.gz", "", "ab");
  write_gzip(folder / "a.gz", text.substr(67), "ab");
  CHECK(load_idx(folder / "a.gz").values == parse_idx(bytes_of(text), "a").values);
}

TEST_CASE("a refused idx file is named with what was expected and found", "[io]") {
  const auto refused = [](const std::string& text) { return refusal([&] { parse_idx(bytes_of(text), "f.idx"); }); };
  CHECK(refused("") == "f.idx: expected the 4 bytes 0, 0, type, dimensions of an idx file, found 0 of them");
  CHECK(refused("PK\3\4") == "f.idx: expected an idx file that begins with the bytes 0, 0, found 80, 75");
  CHECK(refused(std::string("\0\0\x0d\1\0\0\0\0", 8)) ==
        "f.idx: expected element type 8 (unsigned bytes), found type 13");
  CHECK(refused(std::string("\0\0\x08\0", 4)) == "f.idx: expected 1 to 4 dimensions, found 0");
  CHECK(refused(idx_text({1, 1, 1, 1, 1}, "x")) == "f.idx: expected 1 to 4 dimensions, found 5");
  CHECK(refused(idx_text({2, 3}, "").substr(0, 10)) == "f.idx: expected the 4 bytes of dimension 1, found 2 of them");
  CHECK(refused(idx_text({2, 3}, "12345")) == "f.idx: expected 6 bytes for the shape [2, 3], found 5");
  CHECK(refused(idx_text({2, 3}, "1234567")) == "f.idx: expected 6 bytes for the shape [2, 3], found more");
  CHECK(refused(idx_text({4'294'967'295U, 4'294'967'295U, 2}, "12")) ==
        "f.idx: expected a shape whose product fits into 64 bits, found [4294967295, 4294967295, 2]");
  CHECK(refused(idx_text({4'294'967'295U}, "12")) ==
        "f.idx: expected 4294967295 bytes for the shape [4294967295], found 2");
}

TEST_CASE("gzip data that was cut or changed anywhere is refused", "[io]") {
  const temporary_folder folder;
  const std::string text = idx_text({10, 10}, integers(100));
  write_gzip(folder / "a.gz", text);
  const std::string packed = content_of(folder / "a.gz");
  REQUIRE_NOTHROW(parse_idx(bytes_of(packed), "a.gz"));
  for (std::size_t length = 0; length < packed.size(); ++length) {
    CHECK(mentions(refusal([&] { parse_idx(bytes_of(packed.substr(0, length)), "a.gz"); }), {"a.gz: expected"}));
  }
  // Bytes 4 to 9 of the header are time, flags and system: no reader looks at them.
  for (std::size_t place = 10; place < packed.size(); ++place) {
    std::string changed = packed;
    changed[place] = static_cast<char>(changed[place] ^ 1);
    CHECK(mentions(refusal([&] { parse_idx(bytes_of(changed), "a.gz"); }), {"a.gz: expected"}));
  }
}

TEST_CASE("every hostile idx file is refused by its name", "[io]") {
  const auto files = hostile_files("idx");
  REQUIRE(files.size() >= 30);
  for (const auto& file : files) {
    INFO(file.string());
    CHECK(mentions(refusal([&] { load_idx(file); }), {file.string() + ": expected", "found"}));
  }
}

TEST_CASE("an idx file that is not there is refused by its name", "[io]") {
  CHECK(refusal([] { load_idx("none.idx"); }) == "none.idx: cannot open: No such file or directory");
}
