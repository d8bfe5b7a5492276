// SPDX-License-Identifier: MIT
#pragma once
// What the programs' main functions have in common: the command line, errors and exit status.

#include <pluria/core/error.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

namespace pluria::examples {

/// Parses the command line and calls run(). The exit status: 0; 2 after a message for arguments, input or files that
/// will not do; 1 after one for anything else.
template <class Run>
int run_main(CLI::App& app, int argument_count, char** arguments, const std::string& program, Run&& run) {
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    run();
  } catch (const bad_input& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    return 2;
  } catch (const std::filesystem::filesystem_error& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    return 1;
  }
  return 0;
}

}  // namespace pluria::examples
