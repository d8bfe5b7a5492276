// SPDX-License-Identifier: MIT
#pragma once
// Files packed by gzip, as zlib's own writer makes them.

#include <zlib.h>

#include <filesystem>
#include <string_view>

#include "support/catch.hpp"

namespace pluria::test {

/// Writes `text` to a file, or behind what is in it with the mode "ab".
inline void write_gzip(const std::filesystem::path& path, std::string_view text, const char* mode = "wb") {
  gzFile file = gzopen(path.c_str(), mode);
  REQUIRE(file != nullptr);
  REQUIRE(gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size()));
  REQUIRE(gzclose(file) == Z_OK);
}

}  // namespace pluria::test
