// SPDX-License-Identifier: MIT
#include <pluria/io/mapped_file.hpp>

#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

using namespace pluria;
using namespace pluria::test;

TEST_CASE("a mapped file shows the bytes of the file", "[io]") {
  const temporary_folder folder;
  const std::string text("one\0two", 7);
  std::ofstream(folder / "a", std::ios::binary) << text;
  const mapped_file file = mapped_file::open(folder / "a");
  REQUIRE(file.bytes().size() == 7);
  CHECK(std::equal(file.bytes().begin(), file.bytes().end(), bytes_of(text).begin()));
}

TEST_CASE("an empty file maps to no bytes", "[io]") {
  const temporary_folder folder;
  std::ofstream(folder / "empty").flush();
  CHECK(mapped_file::open(folder / "empty").bytes().empty());
}

TEST_CASE("a mapping lives as long as its last owner, also after the file is gone", "[io]") {
  const temporary_folder folder;
  std::ofstream(folder / "a") << std::string(100'000, 'x');
  std::shared_ptr<const void> owner;
  std::span<const std::byte> bytes;
  std::weak_ptr<const void> watched;
  {
    const mapped_file file = mapped_file::open(folder / "a");
    const mapped_file copy = file;
    owner = copy.owner();
    bytes = copy.bytes();
    watched = file.owner();
  }
  std::filesystem::remove(folder / "a");
  CHECK(bytes.back() == std::byte{'x'});
  owner.reset();
  CHECK(watched.expired());
}

TEST_CASE("a file that cannot be mapped is refused by its name and the reason", "[io]") {
  const temporary_folder folder;
  CHECK(refusal([&] { mapped_file::open(folder / "none"); }) ==
        (folder / "none").string() + ": cannot open: No such file or directory");

  std::filesystem::create_directory(folder / "sub");
  CHECK(refusal([&] { mapped_file::open(folder / "sub"); }) ==
        (folder / "sub").string() + ": expected a regular file, found a directory");

  // Without a writer an ordinary open would wait for ever.
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(refusal([&] { mapped_file::open(folder / "pipe"); }) ==
        (folder / "pipe").string() + ": expected a regular file, found a device or pipe");
}
