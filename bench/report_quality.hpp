// SPDX-License-Identifier: MIT
#pragma once
// README's picture of quality against cost: the NLL that evaluate_vit found for single models and ensembles, with one
// temperature and without, against the time of a product and against bytes.

#include <pluria/core/error.hpp>
#include <pluria/io/replaced_file.hpp>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "report_file.hpp"

namespace bench {

/// One model or ensemble.
struct quality_point {
  std::string name;
  std::string curve;  ///< points of one curve are joined; "" for a single model
  double milliseconds = 0.0;
  double mebibytes = 0.0;
  double nll = 0.0;
  double calibrated_nll = 0.0;
};

namespace detail {

inline constexpr const char* picture_size = "4096x4096";

inline double milliseconds_of(const report& from, const std::string& name) {
  const measurement* found = from.rate(name, picture_size);
  if (found == nullptr) {
    throw pluria::bad_input("bench_matvec's file: expected rate/" + name + "/" + picture_size + ", not found");
  }
  return 1e3 * (*found)("seconds");
}

inline nlohmann::json read_json(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) {
    throw pluria::bad_input(file + ": cannot be opened");
  }
  return nlohmann::json::parse(stream);
}

}  // namespace detail

/// Full precision as float32; bfloat16 and every INT-b to nearest; ensembles of 2, 4, 8 and 16 INT-5 or INT-4 members
/// over a shared floor. `evaluation` was written by evaluate_vit with calibration images. Throws bad_input where the
/// benchmark has no such product.
inline std::vector<quality_point> quality_points(const report& from, const nlohmann::json& evaluation) {
  const double mebibyte = 1 << 20;
  std::vector<quality_point> points{{"float", "", detail::milliseconds_of(from, "Eigen float"),
                                     4 * evaluation.at("parameters").get<double>() / mebibyte,
                                     evaluation.at("full_precision").at("nll"),
                                     evaluation.at("full_precision_calibrated").at("nll")}};
  for (const nlohmann::json& row : evaluation.at("rows")) {
    const std::string system = row.at("system");
    const std::size_t members = row.at("members");
    const bool is_ensemble = row.at("method") == "bsr";
    if (is_ensemble && (!(system == "INT-5" || system == "INT-4") ||
                        !(members == 2 || members == 4 || members == 8 || members == 16))) {
      continue;
    }
    const std::string product = system == "bfloat16" ? system
                                                     : (is_ensemble ? "shared floor " : "packed ") + system +
                                                           ", channel, int8, S=" + std::to_string(members);
    points.push_back({is_ensemble ? std::to_string(members) : system, is_ensemble ? system : "",
                      detail::milliseconds_of(from, product), row.at("total_bytes").get<double>() / mebibyte,
                      row.at("nll"), row.at("calibrated_nll")});
  }
  return points;
}

inline void print_quality(const std::vector<quality_point>& points) {
  std::puts("| | ms | MiB | NLL | NLL, T |\n|---|---|---|---|---|");
  for (const quality_point& point : points) {
    const std::string name = point.curve.empty() ? point.name : point.name + " members " + point.curve;
    std::printf("| %s | %.3g | %.3g | %.4f | %.4f |\n", name.c_str(), point.milliseconds, point.mebibytes, point.nll,
                point.calibrated_nll);
  }
}

/// quality.png in a folder, where there is gnuplot.
inline bool draw_quality(const std::vector<quality_point>& points, const std::filesystem::path& folder) {
  // One block of data for the single models, then one per curve.
  std::vector<std::string> curves{""};
  for (const quality_point& point : points) {
    if (point.curve != curves.back()) {
      curves.push_back(point.curve);
    }
  }
  std::vector<std::string> names;
  std::string data;
  for (const std::string& curve : curves) {
    if (curve.empty() && !names.empty()) {
      continue;
    }
    names.push_back(curve);
    for (const quality_point& point : points) {
      if (point.curve == curve) {
        data += std::to_string(point.milliseconds) + " " + std::to_string(point.mebibytes) + " " +
                std::to_string(point.nll) + " " + std::to_string(point.calibrated_nll) + " \"" + point.name + "\"\n";
      }
    }
    data += "\n\n";
  }
  std::filesystem::create_directories(folder);
  pluria::write_file(folder / "quality.dat", data);
  const char* const colours[] = {"#444444", "#0072b2", "#d55e00", "#009e73"};
  const auto panel = [&](int column, const std::string& label, const std::string& key) {
    std::string text = "set xlabel '" + label + "'\n" + key + "\nplot ";
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string index = "'quality.dat' index " + std::to_string(i) + " using " + std::to_string(column) + ":";
      const std::string colour = std::string("lc rgb '") + colours[i % 4] + "' ";
      const std::string style = i == 0 ? "with points " : "with linespoints lw 2 ";
      const std::string what = i == 0 ? "single models, to nearest" : names[i] + " ensembles, S members";
      text += (i == 0 ? "" : ", ") + index + "3 " + style + "pt 7 ps 1.1 " + colour + "title '" + what + "', " + index +
              "4 " + (i == 0 ? "with points " : "with linespoints lw 1 dt 2 ") + "pt 6 ps 1.1 " + colour +
              "title '   the same, one temperature', " + index + "3:5 with labels " +
              (i == 0 ? "offset 0,0.8" : "left offset 0.8,0.3") + " font ',8' tc rgb '" + colours[i % 4] + "' notitle";
    }
    return text + "\n";
  };
  pluria::write_file(
      folder / "quality.gnuplot",
      "set terminal pngcairo size 1320,520 font ',11'\nset output 'quality.png'\nset grid lc rgb "
      "'#eeeeee'\nset border 3\nset tics nomirror\nset logscale x\nset xtics (0.5,1,2,3,4,5,8,10,15,20)\n"
      "set ylabel 'negative log-likelihood, test images'\nset multiplot\nset origin 0,0\nset size "
      "0.42,1\n" +
          panel(1, "ms for one token times a matrix of 4096 x 4096 from memory, one core",
                "unset key\nset xrange [0.5:6]") +
          "set origin 0.42,0\nset size 0.58,1\nunset ylabel\n" +
          panel(2, "MiB of weights, all of the model", "set key outside right center reverse Left\nset xrange [2:22]") +
          "unset multiplot\n");
  return std::system("command -v gnuplot > /dev/null 2>&1") == 0 &&
         std::system(("cd '" + folder.string() + "' && gnuplot quality.gnuplot").c_str()) == 0;
}

}  // namespace bench
