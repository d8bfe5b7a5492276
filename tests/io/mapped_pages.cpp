// SPDX-License-Identifier: MIT
#include <pluria/io/mapped_file.hpp>
#include <pluria/io/mapped_pages.hpp>

#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

// Resident bytes of this process that files stand behind, in KiB; -1 where the system does not say.
long resident_of_files() {
  std::ifstream lines("/proc/self/status");
  for (std::string word; lines >> word;) {
    if (word == "RssFile:") {
      long size = -1;
      lines >> size;
      return size;
    }
  }
  return -1;
}

}  // namespace

TEST_CASE("a pass over a mapped file of any size keeps little of it in memory, and the bytes stay readable", "[io]") {
  const temporary_folder folder;
  constexpr std::size_t size = 256U << 20;
  constexpr std::size_t step = (1U << 20) + 12345;
  std::ofstream(folder / "sparse") << "begin";
  std::filesystem::resize_file(folder / "sparse", size);
  const mapped_file file = mapped_file::open(folder / "sparse");
  const std::span<const std::byte> part = file.bytes().subspan(1);  // a header stands before what is read
  const long before = resident_of_files();
  long most = before;
  for (std::size_t first = 0; first < part.size(); first += step) {
    const auto now = part.subspan(first, std::min(step, part.size() - first));
    CHECK(std::count(now.begin(), now.end(), std::byte{1}) == 0);
    release_pages(part, first, now.size());
    most = std::max(most, resident_of_files());
  }
  CHECK(file.bytes()[0] == std::byte{'b'});
  CHECK(file.bytes()[size - 1] == std::byte{0});
  if (before >= 0) {
    // How much around an address one fault maps is the system's choice: megabytes where it uses large pages.
    CHECK(most - before < static_cast<long>(size / 1024 / 8));
  }
}

TEST_CASE("releasing never reaches beyond the mapping", "[io]") {
  const temporary_folder folder;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::ofstream(folder / "a") << std::string(100, 'x');
  // Memory of our own on both sides of a mapped page would be lost if it were released.
  auto* const room =
      static_cast<char*>(::mmap(nullptr, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(room != MAP_FAILED);
  std::fill_n(room, 3 * page, 'y');
  const std::span<const std::byte> middle = std::as_bytes(std::span(room + page, page));
  release_pages(middle.subspan(10, 50), 0, 1000);
  release_pages(middle.subspan(10, 50), 60, 1);
  CHECK(std::count(room, room + page, 'y') == static_cast<std::ptrdiff_t>(page));
  CHECK(std::count(room + 2 * page, room + 3 * page, 'y') == static_cast<std::ptrdiff_t>(page));
  ::munmap(room, 3 * page);
}
