// SPDX-License-Identifier: MIT
#pragma once
// The `bad_input` of a system call that failed on a file: "<path>: cannot <action>: <the system's reason>".

#include <pluria/core/error.hpp>

#include <filesystem>
#include <string>
#include <system_error>

namespace pluria {

/// The exception for a file on which a system call failed with the given `errno` value.
inline bad_input file_error(const std::filesystem::path& path, const std::string& action, int code) {
  return bad_input(path.string() + ": cannot " + action + ": " + std::generic_category().message(code));
}

}  // namespace pluria
