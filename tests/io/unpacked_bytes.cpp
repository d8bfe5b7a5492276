// SPDX-License-Identifier: MIT
#include <pluria/io/replaced_file.hpp>
#include <pluria/io/unpacked_bytes.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "io/gzip_file.hpp"
#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

using namespace pluria;
using namespace pluria::test;

namespace {

std::string text_of(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += static_cast<char>(i * i % 251 + i % 7);
  }
  return text;
}

std::string loaded(const std::filesystem::path& path) {
  const std::vector<std::uint8_t> bytes = load_unpacked(path);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("a packed file has the bytes of the plain one, whatever their number", "[io]") {
  const temporary_folder folder;
  // Around the megabyte that is read at a time, too.
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, (std::size_t{1} << 20) - 1,
                                  std::size_t{1} << 20, (std::size_t{1} << 20) + 1, (std::size_t{5} << 19) + 3}) {
    CAPTURE(count);
    const std::string text = text_of(count);
    write_file(folder / "plain", text);
    write_gzip(folder / "packed", text);
    CHECK(loaded(folder / "plain") == text);
    CHECK(loaded(folder / "packed") == text);
  }
}

TEST_CASE("a packed file that is cut is refused by name, and so is a missing one", "[io]") {
  const temporary_folder folder;
  write_gzip(folder / "text.gz", text_of(5000));
  write_file(folder / "cut.gz", content_of(folder / "text.gz").substr(0, 1000));
  CHECK(mentions(refusal([&] { load_unpacked(folder / "cut.gz"); }), {"cut.gz", "gzip", "truncated"}));
  CHECK(mentions(refusal([&] { load_unpacked(folder / "none.gz"); }), {"none.gz", "No such file"}));
}
