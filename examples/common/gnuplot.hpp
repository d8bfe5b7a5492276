// SPDX-License-Identifier: MIT
#pragma once

#include <pluria/io/replaced_file.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace pluria::examples {

/// Writes a script to `folder` and runs it there; returns whether gnuplot is installed and drew it.
inline bool draw_with_gnuplot(const std::filesystem::path& folder, const std::string& name, const std::string& script) {
  write_file(folder / name, script);
  std::string quoted = "'";
  for (const char character : folder.string()) {
    quoted += character == '\'' ? "'\\''" : std::string(1, character);
  }
  const std::string command = "cd " + quoted + "' && gnuplot " + name;
  return std::system("command -v gnuplot > /dev/null 2>&1") == 0 && std::system(command.c_str()) == 0;
}

}  // namespace pluria::examples
