// SPDX-License-Identifier: MIT
#pragma once
// Where the results of an evaluation are written: rows as comma-separated values, everything as JSON, pictures.

#include <pluria/io/replaced_file.hpp>

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "evaluation.hpp"
#include "plots.hpp"

namespace pluria::examples {

/// As they stand on the command line; empty: not wanted.
struct report_options {
  std::string csv;
  std::string json;
  std::string plots;
};

void add_options(command_line& app, report_options& chosen);

class report_files {
 public:
  /// Opens the files: whatever cannot be written is found before the work, not after it.
  explicit report_files(const report_options& chosen);

  /// Writes what is wanted and says where the pictures are. `rows` are those of the evaluation that is drawn.
  void write(const nlohmann::ordered_json& report, const nlohmann::ordered_json& rows, const evaluation& drawn,
             const std::vector<reliability_curve>& reliability);

 private:
  std::optional<replaced_file> csv_;
  std::optional<replaced_file> json_;
  std::string plots_;
};

}  // namespace pluria::examples
