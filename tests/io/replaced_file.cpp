// SPDX-License-Identifier: MIT
#include <pluria/io/replaced_file.hpp>

#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

/// While it lives, no file grows beyond `bytes`: writing fails as on a full disk, with EFBIG in place of ENOSPC.
class file_size_limit {
 public:
  explicit file_size_limit(::rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const ::rlimit limited{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }
  file_size_limit(const file_size_limit&) = delete;
  file_size_limit& operator=(const file_size_limit&) = delete;
  ~file_size_limit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  ::rlimit before_{};
};

}  // namespace

TEST_CASE("a file appears under its name when it is committed, not before", "[io]") {
  const temporary_folder folder;
  replaced_file file(folder / "a.csv");
  file.write("one,");
  CHECK_FALSE(std::filesystem::exists(folder / "a.csv"));
  file.write("two\n");
  file.commit();
  CHECK(content_of(folder / "a.csv") == "one,two\n");
  CHECK(folder.names() == std::vector<std::string>{"a.csv"});
}

TEST_CASE("many small writes and few large ones keep their order", "[io]") {
  const temporary_folder folder;
  std::string expected;
  replaced_file file(folder / "a");
  for (std::size_t i = 0; i < 3000; ++i) {
    const std::string part(i % 700 == 0 ? 100'000 + i : i % 97, static_cast<char>('a' + i % 26));
    file.write(part);
    expected += part;
  }
  file.commit();
  CHECK(content_of(folder / "a") == expected);
}

TEST_CASE("without a commit nothing stays behind and an older file stays as it was", "[io]") {
  const temporary_folder folder;
  write_file(folder / "a", "old");
  {
    replaced_file file(folder / "a");
    file.write(std::string(200'000, 'x'));
  }
  CHECK(content_of(folder / "a") == "old");
  CHECK(folder.names() == std::vector<std::string>{"a"});
}

TEST_CASE("a write that fails half-way leaves the older file and no partial one", "[io]") {
  const temporary_folder folder;
  write_file(folder / "a", "old");
  {
    const file_size_limit limit(100'000);
    const std::string message = refusal([&] { write_file(folder / "a", std::string(300'000, 'x')); });
    CHECK(message == (folder / "a").string() + ": cannot write: File too large");
  }
  CHECK(content_of(folder / "a") == "old");
  CHECK(folder.names() == std::vector<std::string>{"a"});
}

TEST_CASE("a full device is reported when the last bytes are written", "[io]") {
  CHECK(refusal([] { write_file("/dev/full", "text"); }) == "/dev/full: cannot write: No space left on device");
}

TEST_CASE("a target that cannot be written is refused by its name and the reason", "[io]") {
  const temporary_folder folder;
  CHECK(refusal([&] { write_file(folder / "none/a", "text"); }) ==
        (folder / "none/a").string() + ": cannot write: No such file or directory");

  std::filesystem::create_directory(folder / "sub");
  CHECK(refusal([&] { write_file(folder / "sub", "text"); }) ==
        (folder / "sub").string() + ": expected a file to write, found a directory");

  write_file(folder / "a", "old");
  CHECK(refusal([&] { write_file(folder / "a/b", "text"); }) ==
        (folder / "a/b").string() + ": cannot write: Not a directory");
  CHECK(folder.names() == std::vector<std::string>{"a", "sub"});
}

TEST_CASE("a device gets the bytes and stays a device", "[io]") {
  write_file("/dev/null", "text");
  CHECK(std::filesystem::is_character_file("/dev/null"));
}

TEST_CASE("a link is written through", "[io]") {
  const temporary_folder folder;
  write_file(folder / "real", "old");
  std::filesystem::create_symlink("real", folder / "link");
  write_file(folder / "link", "new");
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(content_of(folder / "real") == "new");
}

TEST_CASE("a replaced file keeps its permissions", "[io]") {
  using std::filesystem::perms;
  const temporary_folder folder;
  write_file(folder / "a", "old");
  std::filesystem::permissions(folder / "a", perms::owner_read | perms::owner_write);
  write_file(folder / "a", "new");
  CHECK(std::filesystem::status(folder / "a").permissions() == (perms::owner_read | perms::owner_write));
}

TEST_CASE("two writers of one target do not disturb each other, and a moved writer goes on", "[io]") {
  const temporary_folder folder;
  replaced_file first(folder / "a");
  replaced_file second(folder / "a");
  first.write("first");
  second.write("second");
  replaced_file moved(std::move(first));
  moved.write(" moved");
  second.commit();
  moved.commit();
  CHECK(content_of(folder / "a") == "first moved");
  CHECK(folder.names() == std::vector<std::string>{"a"});
}

TEST_CASE("writing or committing after the commit is a caller's mistake", "[io]") {
  const temporary_folder folder;
  replaced_file file(folder / "a");
  file.commit();
  CHECK_THROWS_AS(file.write("more"), precondition_error);
  CHECK_THROWS_AS(file.commit(), precondition_error);
}
