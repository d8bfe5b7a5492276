// SPDX-License-Identifier: MIT
#pragma once
// README's table of bench_sample and a picture of it.

#include <pluria/io/replaced_file.hpp>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "report_file.hpp"

namespace bench {

inline const std::vector<std::string> shown_rates{
    "memcpy, f32",
    "read, f32",
    "best RTN to int8, f32",
    "RTN INT-4, f32",
    "BSR INT-4, f32, S=1, Threefry-13",
    "BSR INT-4, f32, S=1, Threefry-20",
    "BSR INT-4, bf16, S=1, Threefry-13",
    "BSR INT-5, f32, S=1, Threefry-13",
    "BSR INT-8, f32, S=1, Threefry-13",
    "BSR INT-4, f32, S=8 independent, Threefry-13",
    "BSR INT-4, f32, S=8 lattice, Threefry-13",
    "BSR INT-5, f32, S=8 lattice, Threefry-13",
    "BSR INT-4, f32, S=32 lattice, Threefry-13",
    "xorshift loop, f32",
    "mt19937 + bernoulli_distribution, f32",
    "Eigen expression with Random, f32",
};

// 10^9 per second.
inline double weights_of(const measurement& measured) {
  return 1e-9 * measured("items_per_second");
}

inline void print_sample(const report& from) {
  std::puts("| 10^9 weights (times members) per second | L2, 64 Ki weights | memory, 16 Mi weights |\n|---|---|---|");
  for (const std::string& name : shown_rates) {
    std::string line = "| " + name + " |";
    for (const char* size : {"64Ki", "16Mi"}) {
      char cell[64] = " |";
      if (const measurement* found = from.rate(name, size)) {
        std::snprintf(cell, sizeof(cell), " %.3g (%.3g GB/s) |", weights_of(*found),
                      1e-9 * (*found)("bytes_per_second"));
      }
      line += cell;
    }
    std::puts(line.c_str());
  }
}

/// sample.png in a folder, where there is gnuplot.
inline bool draw_sample(const report& from, const std::filesystem::path& folder) {
  std::string data;
  std::string labels;
  std::size_t row = shown_rates.size();
  for (const std::string& name : shown_rates) {
    --row;
    const measurement* cached = from.rate(name, "64Ki");
    const measurement* memory = from.rate(name, "16Mi");
    data += std::to_string(row) + " " + std::to_string(cached != nullptr ? weights_of(*cached) : 0.0) + " " +
            std::to_string(memory != nullptr ? weights_of(*memory) : 0.0) + "\n";
    labels += (labels.empty() ? "'" : ", '") + name + "' " + std::to_string(row);
  }
  std::filesystem::create_directories(folder);
  pluria::write_file(folder / "sample.dat", data);
  const std::string bar = "with boxxyerror fs solid 0.8 noborder lc rgb ";
  pluria::write_file(
      folder / "sample.gnuplot",
      "set terminal pngcairo size 1100,640 font ',11'\nset output 'sample.png'\nset logscale x\nset xrange [0.02:100]\n"
      "set yrange [-0.7:" +
          std::to_string(shown_rates.size()) + "]\nset ytics (" + labels +
          ") nomirror scale 0 noenhanced\nset xtics nomirror\nset border 3\nset grid xtics lc rgb '#dddddd'\n"
          "set xlabel '10^9 weights (times members) per second, one core'\nset key bottom right\n"
          "plot 'sample.dat' using 2:1:(0.02):2:($1):($1+0.38) " +
          bar +
          "'#0072b2' title 'second-level cache (64 Ki)', "
          "'' using 3:1:(0.02):3:($1-0.38):($1) " +
          bar +
          "'#e69f00' title 'memory (16 Mi)', "
          "'' using 2:($1+0.19):(sprintf('  %.3g', $2)) with labels left font ',8' notitle, "
          "'' using 3:($1-0.19):(sprintf('  %.3g', $3)) with labels left font ',8' notitle\n");
  return std::system("command -v gnuplot > /dev/null 2>&1") == 0 &&
         std::system(("cd '" + folder.string() + "' && gnuplot sample.gnuplot").c_str()) == 0;
}

}  // namespace bench
