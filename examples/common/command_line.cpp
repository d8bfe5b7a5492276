// SPDX-License-Identifier: MIT

#include "command_line.hpp"

#include <pluria/core/error.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <type_traits>
#include <vector>

namespace pluria::examples {

void command_line::option::required() {
  described_->required();
}

void command_line::option::non_negative() {
  described_->check(CLI::NonNegativeNumber);
}

void command_line::option::within(int low, int high) {
  described_->check(CLI::Range(low, high));
}

command_line::command_line(const std::string& description) : app_(std::make_unique<CLI::App>(description)) {
  app_->option_defaults()->always_capture_default();
}

command_line::~command_line() = default;

template <class Value>
command_line::option command_line::add_option(const std::string& name, Value& value, const std::string& help) {
  CLI::Option* const added = app_->add_option(name, value, help);
  if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
    added->default_str("");  // not "[]"
  }
  return option(*added);
}

template command_line::option command_line::add_option(const std::string&, std::string&, const std::string&);
template command_line::option command_line::add_option(const std::string&, int&, const std::string&);
template command_line::option command_line::add_option(const std::string&, unsigned long&, const std::string&);
template command_line::option command_line::add_option(const std::string&, unsigned long long&, const std::string&);
template command_line::option command_line::add_option(const std::string&, double&, const std::string&);
template command_line::option command_line::add_option(const std::string&, std::vector<std::string>&,
                                                       const std::string&);
template command_line::option command_line::add_option(const std::string&, std::optional<std::string>&,
                                                       const std::string&);
template command_line::option command_line::add_option(const std::string&, std::optional<std::int64_t>&,
                                                       const std::string&);
template command_line::option command_line::add_option(const std::string&, std::optional<double>&, const std::string&);

void command_line::add_flag(const std::string& name, bool& value, const std::string& help) {
  app_->add_flag(name, value, help);
}

void command_line::excludes(const std::string& name, std::initializer_list<const char*> others) {
  for (const char* const other : others) {
    app_->get_option(name)->excludes(app_->get_option(other));
  }
}

void command_line::footer(const std::string& text) {
  app_->footer(text);
}

int command_line::run(int argument_count, char** arguments, const std::string& program,
                      const std::function<void()>& work) {
  try {
    app_->parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app_->exit(error) == 0 ? 0 : 2;
  }
  try {
    work();
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
