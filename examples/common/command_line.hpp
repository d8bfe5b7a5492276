// SPDX-License-Identifier: MIT
#pragma once
// A program's command line, errors and exit status. What is asked of CLI11 is compiled once, in command_line.cpp: it
// would take a compiler as long as the rest of a program.

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace pluria::examples {

class command_line {
 public:
  /// What is said of an option.
  class option {
   public:
    explicit option(CLI::Option& described) : described_(&described) {}

    void required();
    void non_negative();
    void within(int low, int high);

   private:
    CLI::Option* described_;
  };

  explicit command_line(const std::string& description);
  ~command_line();

  /// The value that stands in `value` is the default, and is shown as such. Of std::string, int, unsigned
  /// long (long), double,
  /// std::vector<std::string>, and std::optional<> of std::string, std::int64_t and double.
  template <class Value>
  option add_option(const std::string& name, Value& value, const std::string& help);
  void add_flag(const std::string& name, bool& value, const std::string& help);

  /// An option is refused beside any of the others, all of which were added before.
  void excludes(const std::string& name, std::initializer_list<const char*> others);

  /// What --help says at its end.
  void footer(const std::string& text);

  /// Parses the command line and calls work(). The exit status: 0; 2 after a message for arguments, input or files that
  /// will not do; 1 after one for anything else.
  int run(int argument_count, char** arguments, const std::string& program, const std::function<void()>& work);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace pluria::examples
