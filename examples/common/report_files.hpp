// SPDX-License-Identifier: MIT
#pragma once
// Where the results of an evaluation are written: rows as comma-separated values, everything as JSON, pictures.

#include <pluria/io/replaced_file.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evaluation.hpp"
#include "plots.hpp"

namespace pluria::examples {

/// As they stand on the command line; empty: not wanted.
struct report_options {
  std::string csv;
  std::string json;
  std::string plots;
};

inline void add_options(CLI::App& app, report_options& chosen) {
  app.add_option("--csv", chosen.csv, "write all rows as comma-separated values");
  app.add_option("--json", chosen.json, "write everything as JSON");
  app.add_option("--plots", chosen.plots, "write curves and reliability diagrams to this folder");
}

class report_files {
 public:
  /// Opens the files: whatever cannot be written is found before the work, not after it.
  explicit report_files(const report_options& chosen)
      : csv_(output(chosen.csv)), json_(output(chosen.json)), plots_(chosen.plots) {
    if (!plots_.empty()) {
      std::filesystem::create_directories(plots_);
    }
  }

  /// Writes what is wanted and says where the pictures are. `rows` are those of the evaluation that is drawn.
  void write(const nlohmann::ordered_json& report, const nlohmann::ordered_json& rows, const evaluation& drawn,
             const std::vector<reliability_curve>& reliability) {
    if (csv_) {
      csv_->write(to_csv(rows));
      csv_->commit();
    }
    if (json_) {
      json_->write(report.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
      json_->commit();
    }
    if (plots_.empty()) {
      return;
    }
    if (draw_plots(plots_, drawn, reliability)) {
      fmt::print("plots: {0}/curves.png, {0}/reliability.png (and .svg)\n", plots_);
    } else {
      fmt::print("gnuplot is not installed (gnuplot-nox) or failed; its script is {}/plots.gnuplot\n", plots_);
    }
  }

 private:
  static std::optional<replaced_file> output(const std::string& file) {
    return file.empty() ? std::nullopt : std::optional<replaced_file>(std::in_place, file);
  }

  std::optional<replaced_file> csv_;
  std::optional<replaced_file> json_;
  std::string plots_;
};

}  // namespace pluria::examples
