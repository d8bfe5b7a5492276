// SPDX-License-Identifier: MIT
#pragma once
// README's tables of bench_matvec and bench_matmul: milliseconds, and beside them in units of one Eigen float product
// of the same size and batch, and GB/s of weights or GFLOP/s; of bench_engines: images per second.

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "report_file.hpp"

namespace bench {

namespace detail {

template <class Field>
std::vector<std::string> distinct(const std::vector<measurement>& from, Field&& field) {
  std::vector<std::string> values;
  for (const measurement& measured : from) {
    const std::string value = field(measured);
    if (std::find(values.begin(), values.end(), value) == values.end()) {
      values.push_back(value);
    }
  }
  return values;
}

// One row for each name, one column for each value: " cell(row, column) |".
template <class Cell>
void print_markdown(const std::string& title, const std::vector<std::string>& rows,
                    const std::vector<std::string>& columns, Cell&& cell) {
  std::string head = "| " + title + " |";
  std::string rule = "|---|";
  for (const std::string& column : columns) {
    head += " " + column + " |";
    rule += "---|";
  }
  std::printf("%s\n%s\n", head.c_str(), rule.c_str());
  for (const std::string& row : rows) {
    std::string line = "| " + row + " |";
    for (const std::string& column : columns) {
      const std::string text = cell(row, column);
      line += (text.empty() ? "" : " " + text) + " |";
    }
    std::puts(line.c_str());
  }
}

inline const std::string members_mark = ", S=";

inline std::string members_in(const std::string& name) {
  const std::size_t mark = name.rfind(members_mark);
  return mark == std::string::npos ? "" : name.substr(mark + members_mark.size());
}

}  // namespace detail

/// All works, or those that `shown` picks, at all sizes.
template <class Shown>
void print_products(const report& from, const std::string& title, const char* per_second, const char* unit,
                    Shown&& shown) {
  auto names = detail::distinct(from.rates, [](const measurement& measured) { return measured.name; });
  std::erase_if(names, [&](const std::string& name) { return !shown(name); });
  const auto sizes = detail::distinct(from.rates, [](const measurement& measured) { return measured.size; });
  detail::print_markdown(title, names, sizes, [&](const std::string& name, const std::string& size) -> std::string {
    const measurement* found = from.rate(name, size);
    if (found == nullptr) {
      return "";
    }
    char text[96];
    std::snprintf(text, sizeof(text), "%.3g (%.2f, %.3g %s)", 1e3 * (*found)("seconds"), (*found)("of_reference"),
                  1e-9 * (*found)(per_second), unit);
    return text;
  });
}

/// Single models and limits, ten members of every form; then what members cost, by their number.
inline void print_matvec(const report& from) {
  print_products(from, "ms (of one Eigen float product, GB/s of weights)", "bytes_per_second", "GB/s",
                 [](const std::string& name) {
                   const std::string members = detail::members_in(name);
                   return members.empty() || members.starts_with("10") ||
                          (members == "1" && name.starts_with("packed"));
                 });
  for (const std::string& size :
       detail::distinct(from.rates, [](const measurement& measured) { return measured.size; })) {
    std::vector<measurement> counted;
    for (const measurement& measured : from.rates) {
      const std::string members = detail::members_in(measured.name);
      if (measured.size == size && !members.empty() && members.find(' ') == std::string::npos &&
          !measured.name.starts_with("reading")) {
        counted.push_back(measured);
      }
    }
    const auto form_of = [](const measurement& measured) {
      return measured.name.substr(0, measured.name.rfind(detail::members_mark));
    };
    const auto columns =
        detail::distinct(counted, [](const measurement& measured) { return "S=" + detail::members_in(measured.name); });
    std::puts("");
    detail::print_markdown(size + ", of one Eigen float product", detail::distinct(counted, form_of), columns,
                           [&](const std::string& form, const std::string& members) -> std::string {
                             const measurement* found = from.rate(form + ", " + members, size);
                             char text[32] = "";
                             if (found != nullptr) {
                               std::snprintf(text, sizeof(text), "%.2f", (*found)("of_reference"));
                             }
                             return text;
                           });
  }
}

inline void print_matmul(const report& from) {
  print_products(from, "ms (of one Eigen float product of the same batch, GFLOP/s)", "operations_per_second", "GFLOP/s",
                 [](const std::string&) { return true; });
}

/// Images per second through all members of a network.
inline void print_engines(const report& from) {
  std::puts("| engine, activations | images or tokens per second | time / float engine |\n|---|---|---|");
  for (const measurement& measured : from.rates) {
    std::printf("| %s | %.3g | %.2f |\n", measured.name.c_str(), measured("operations_per_second"),
                measured("of_reference"));
  }
}

}  // namespace bench
