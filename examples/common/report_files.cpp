// SPDX-License-Identifier: MIT

#include "report_files.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

namespace pluria::examples {
namespace {

std::optional<replaced_file> output(const std::string& file) {
  return file.empty() ? std::nullopt : std::optional<replaced_file>(std::in_place, file);
}

}  // namespace

void add_options(command_line& app, report_options& chosen) {
  app.add_option("--csv", chosen.csv, "write all rows as comma-separated values");
  app.add_option("--json", chosen.json, "write everything as JSON");
  app.add_option("--plots", chosen.plots, "write curves and reliability diagrams to this folder");
}

report_files::report_files(const report_options& chosen)
    : csv_(output(chosen.csv)), json_(output(chosen.json)), plots_(chosen.plots) {
  if (!plots_.empty()) {
    std::filesystem::create_directories(plots_);
  }
}

void report_files::write(const nlohmann::ordered_json& report, const nlohmann::ordered_json& rows,
                         const evaluation& drawn, const std::vector<reliability_curve>& reliability) {
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

}  // namespace pluria::examples
