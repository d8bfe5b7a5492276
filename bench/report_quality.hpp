// SPDX-License-Identifier: MIT
#pragma once
// README's pictures of quality against cost: the NLL that an evaluation found for single models and ensembles, with one
// temperature and without, against the time of a product or of a token, and against size.

#include <pluria/core/error.hpp>
#include <pluria/io/replaced_file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "report_file.hpp"

namespace bench {

/// One model or ensemble.
struct quality_point {
  std::string name;
  std::string curve;                   ///< points of one curve are joined; "" for a single model
  std::optional<double> milliseconds;  ///< none: not measured
  double size = 0.0;
  double nll = 0.0;
  double calibrated_nll = 0.0;
};

/// What a picture shows, with what its axes are called.
struct quality {
  std::vector<quality_point> points;
  std::string time_label;
  std::string size_label;
  std::string size_unit;
  std::string nll_label;
};

namespace detail {

inline double milliseconds_of(const report& from, const std::string& name, const std::string& size) {
  const measurement* found = from.rate(name, size);
  if (found == nullptr) {
    throw pluria::bad_input("the benchmark's file: expected rate/" + name + "/" + size + ", not found");
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

// Whether a row is one of an ensemble's, of a number of members that a picture shows.
inline bool is_shown(const nlohmann::json& row) {
  const std::size_t members = row.at("members");
  return row.at("method") != "bsr" || members == 2 || members == 4 || members == 8 || members == 16;
}

}  // namespace detail

/// Full precision as float32; bfloat16 and every INT-b to nearest; ensembles of 2, 4, 8 and 16 INT-5 or INT-4 members
/// over a shared floor. `from` has the products of bench_matvec, `evaluation` was written by evaluate_vit with
/// calibration images. Throws bad_input where the benchmark has no such product.
inline quality quality_of_products(const report& from, const nlohmann::json& evaluation) {
  const std::string size = "4096x4096";
  const double mebibyte = 1 << 20;
  quality shown{{},
                "ms for one token times a matrix of 4096 x 4096 from memory, one core",
                "MiB of weights, all of the model",
                "MiB",
                "negative log-likelihood, test images"};
  shown.points.push_back({"float", "", detail::milliseconds_of(from, "Eigen float", size),
                          4 * evaluation.at("parameters").get<double>() / mebibyte,
                          evaluation.at("full_precision").at("nll"),
                          evaluation.at("full_precision_calibrated").at("nll")});
  for (const nlohmann::json& row : evaluation.at("rows")) {
    const std::string system = row.at("system");
    const std::string members = std::to_string(row.at("members").get<std::size_t>());
    const bool is_ensemble = row.at("method") == "bsr";
    if (is_ensemble && !((system == "INT-5" || system == "INT-4") && detail::is_shown(row) && members != "1")) {
      continue;
    }
    const std::string product =
        system == "bfloat16" ? system
                             : (is_ensemble ? "shared floor " : "packed ") + system + ", channel, int8, S=" + members;
    shown.points.push_back({is_ensemble ? members : system, is_ensemble ? system : "",
                            detail::milliseconds_of(from, product, size),
                            row.at("total_bytes").get<double>() / mebibyte, row.at("nll"), row.at("calibrated_nll")});
  }
  return shown;
}

/// Full precision at the time of bfloat16; every INT-b to nearest; ensembles of 2 to 16 INT-4 members over a shared
/// floor, per channel and in groups of 32. `from` has the steps of bench_decode, `evaluations` were written by
/// evaluate_llama with calibration text, one for each granularity. What was not timed has no time.
inline quality quality_of_decoding(const report& from, const std::vector<nlohmann::json>& evaluations) {
  const std::string size = "1.1 billion, context 128";
  quality shown{{},
                "ms a token, 1.1 billion parameters, context 128, one core",
                "bits per weight, of all members",
                "bits",
                "negative log-likelihood, nats per byte of held-out text"};
  const nlohmann::json& first = evaluations.at(0);
  // Scored as the float16 file that it is; the time is that of as many bits.
  shown.points.push_back({"16 bits", "", detail::milliseconds_of(from, "bfloat16", size), 16.0,
                          first.at("full_precision").at("nll"), first.at("full_precision_calibrated").at("nll")});
  for (const nlohmann::json& evaluation : evaluations) {
    for (const nlohmann::json& row : evaluation.at("rows")) {
      const bool is_grouped = row.at("granularity") == "group:32";
      const std::string granules = is_grouped ? "groups of 32" : "channel";
      const std::string bits = "INT-" + std::to_string(row.at("bits").get<int>());
      const std::string members = std::to_string(row.at("members").get<std::size_t>());
      const bool is_ensemble = row.at("method") == "bsr";
      // INT-8 in groups has the NLL of INT-8 per channel, and no time.
      if ((is_ensemble && !(bits == "INT-4" && detail::is_shown(row) && members != "1")) ||
          (bits == "INT-8" && is_grouped)) {
        continue;
      }
      const std::string form = is_ensemble       ? "shared floor " + bits + ", " + granules + ", S=" + members
                               : bits == "INT-8" ? "INT-8 to nearest, channel"
                                                 : "packed " + bits + ", " + granules + ", S=1";
      const measurement* const timed = from.rate(form, size);
      shown.points.push_back({is_ensemble ? members : bits + (is_grouped ? " (32)" : ""),
                              is_ensemble ? bits + ", " + granules : "",
                              timed == nullptr ? std::nullopt : std::optional(1e3 * (*timed)("seconds")),
                              row.at("bits_per_weight"), row.at("nll"), row.at("calibrated_nll")});
    }
  }
  return shown;
}

inline void print_quality(const quality& shown) {
  std::printf("| | ms | %s | NLL | NLL, T |\n|---|---|---|---|---|\n", shown.size_unit.c_str());
  for (const quality_point& point : shown.points) {
    const std::string name = point.curve.empty() ? point.name : point.name + " members " + point.curve;
    char time[16] = "";
    if (point.milliseconds) {
      std::snprintf(time, sizeof(time), " %.3g", *point.milliseconds);
    }
    std::printf("| %s |%s | %.3g | %.4f | %.4f |\n", name.c_str(), time, point.size, point.nll, point.calibrated_nll);
  }
}

/// <name>.png in a folder, where there is gnuplot.
inline bool draw_quality(const quality& shown, const std::filesystem::path& folder, const std::string& name) {
  // One block of data for the single models, then one per curve.
  std::vector<std::string> curves{""};
  for (const quality_point& point : shown.points) {
    if (std::find(curves.begin(), curves.end(), point.curve) == curves.end()) {
      curves.push_back(point.curve);
    }
  }
  std::string blocks;
  for (const std::string& curve : curves) {
    for (const quality_point& point : shown.points) {
      if (point.curve == curve) {
        blocks += (point.milliseconds ? std::to_string(*point.milliseconds) : "NaN") + " " +
                  std::to_string(point.size) + " " + std::to_string(point.nll) + " " +
                  std::to_string(point.calibrated_nll) + " \"" + point.name + "\"\n";
      }
    }
    blocks += "\n\n";
  }
  std::filesystem::create_directories(folder);
  pluria::write_file(folder / (name + ".dat"), blocks);
  const char* const colours[] = {"#444444", "#0072b2", "#d55e00", "#009e73"};
  const auto panel = [&](int column, const std::string& label, const std::string& key) {
    double least = std::numeric_limits<double>::infinity();
    double most = 0.0;
    for (const quality_point& point : shown.points) {
      const double x = column == 1 ? point.milliseconds.value_or(point.size) : point.size;
      if (column != 1 || point.milliseconds) {
        least = std::min(least, x);
        most = std::max(most, x);
      }
    }
    std::string text = "set xlabel '" + label + "'\n" + key + "\nset xrange [" + std::to_string(0.75 * least) + ":" +
                       std::to_string(1.3 * most) + "]\nplot ";
    for (std::size_t i = 0; i < curves.size(); ++i) {
      const std::string index =
          "'" + name + ".dat' index " + std::to_string(i) + " using " + std::to_string(column) + ":";
      const std::string colour = std::string("lc rgb '") + colours[i % 4] + "' ";
      const std::string style = i == 0 ? "with points " : "with linespoints lw 2 ";
      const std::string what = i == 0 ? "single models, to nearest" : curves[i] + " ensembles, S members";
      text += (i == 0 ? "" : ", ") + index + "3 " + style + "pt 7 ps 1.1 " + colour + "title '" + what + "', " + index +
              "4 " + (i == 0 ? "with points " : "with linespoints lw 1 dt 2 ") + "pt 6 ps 1.1 " + colour +
              "title '   the same, one temperature', " + index + "3:5 with labels " +
              (i == 0 ? "offset 0,0.8" : "left offset 0.8,0.3") + " font ',8' tc rgb '" + colours[i % 4] + "' notitle";
    }
    return text + "\n";
  };
  pluria::write_file(folder / (name + ".gnuplot"),
                     "set terminal pngcairo size 1320,520 font ',11'\nset output '" + name +
                         ".png'\nset grid lc rgb '#eeeeee'\nset border 3\nset tics nomirror\nset logscale x\nset xtics "
                         "(0.5,1,2,3,4,5,8,10,15,20,30,50,70,100,150,200,300,500)\nset ylabel '" +
                         shown.nll_label + "'\nset multiplot\nset origin 0,0\nset size 0.42,1\n" +
                         panel(1, shown.time_label, "unset key") +
                         "set origin 0.42,0\nset size 0.58,1\nunset ylabel\n" +
                         panel(2, shown.size_label, "set key outside right center reverse Left") + "unset multiplot\n");
  return std::system("command -v gnuplot > /dev/null 2>&1") == 0 &&
         std::system(("cd '" + folder.string() + "' && gnuplot " + name + ".gnuplot").c_str()) == 0;
}

}  // namespace bench
