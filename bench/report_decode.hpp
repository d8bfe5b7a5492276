// SPDX-License-Identifier: MIT
#pragma once
// README's tables of bench_decode: milliseconds a token and megabytes resident, beside one bfloat16 model.

#include <cstdio>
#include <string>
#include <vector>

#include "report_file.hpp"
#include "report_products.hpp"

namespace bench {

namespace detail {

inline std::vector<std::string> sizes_with(const report& from, const std::string& part, bool are_with) {
  auto sizes = distinct(from.rates, [](const measurement& measured) { return measured.size; });
  std::erase_if(sizes, [&](const std::string& size) { return (size.find(part) != std::string::npos) != are_with; });
  return sizes;
}

// A table of one figure, or text, for each form and size.
template <class Cell>
void print_forms(const report& from, const std::string& title, const std::vector<std::string>& sizes, Cell&& cell) {
  print_markdown(title, distinct(from.rates, [](const measurement& measured) { return measured.name; }), sizes,
                 [&](const std::string& name, const std::string& size) -> std::string {
                   const measurement* found = from.rate(name, size);
                   return found == nullptr ? "" : cell(*found);
                 });
}

}  // namespace detail

/// Time of a step, bytes of weights and caches, and how long a prompt takes.
inline void print_decode(const report& from) {
  const auto contexts = detail::sizes_with(from, "context", true);
  detail::print_forms(from, "ms a token (of one bfloat16 model)", contexts, [](const measurement& measured) {
    char text[48];
    std::snprintf(text, sizeof(text), "%.3g (%.2f)", 1e3 * measured("seconds"), measured("of_reference"));
    return std::string(text);
  });
  std::puts("");
  detail::print_forms(
      from, "MB of weights and caches (of one bfloat16 model)", contexts, [](const measurement& measured) {
        char text[48];
        std::snprintf(text, sizeof(text), "%.4g (%.2f)", 1e-6 * measured("bytes"), measured("of_reference_bytes"));
        return std::string(text);
      });
  std::puts("");
  detail::print_forms(from, "part of a step that is not products", contexts, [](const measurement& measured) {
    char text[16];
    std::snprintf(text, sizeof(text), "%.0f %%", 100 * measured("other"));
    return std::string(text);
  });
  std::puts("");
  detail::print_forms(from, "seconds to the first token", detail::sizes_with(from, "prompt", true),
                      [](const measurement& measured) {
                        char text[16];
                        std::snprintf(text, sizeof(text), "%.3g", measured("seconds"));
                        return std::string(text);
                      });
}

}  // namespace bench
