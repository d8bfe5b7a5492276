// SPDX-License-Identifier: MIT
#include <pluria/io/file_error.hpp>

#include "support/catch.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <type_traits>

using namespace pluria;

namespace {

static_assert(std::is_same_v<decltype(file_error("a", "open", ENOENT)), bad_input>);

std::string text_of(const std::filesystem::path& path, const std::string& action, int code) {
  return file_error(path, action, code).what();
}

}  // namespace

TEST_CASE("a failed system call is told with the file, the action and the reason", "[io]") {
  CHECK(text_of("models/a.gguf", "open", ENOENT) == "models/a.gguf: cannot open: No such file or directory");
  CHECK(text_of("/dev/full", "write", ENOSPC) == "/dev/full: cannot write: No space left on device");
  CHECK(text_of("a", "map", EFBIG) == "a: cannot map: File too large");
}

TEST_CASE("every reason is the system's own text", "[io]") {
  for (int code = 1; code <= 133; ++code) {
    CHECK(text_of("a", "read", code) == "a: cannot read: " + std::string(std::strerror(code)));
  }
}

TEST_CASE("the reason is that of the given value, whatever has failed since", "[io]") {
  errno = ENOENT;
  CHECK(text_of("a", "replace", EACCES) == "a: cannot replace: Permission denied");
}

TEST_CASE("a path stands in the message as it was given", "[io]") {
  for (const std::string path : {"../a//b/./c", "two words: \"quoted\"", "Gr\u00f6\u00dfen", "\xfc", ""}) {
    CHECK(text_of(path, "open", ENOENT) == path + ": cannot open: No such file or directory");
  }
}
