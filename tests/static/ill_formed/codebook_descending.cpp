// SPDX-License-Identifier: MIT
// expected: the values of a codebook must ascend

#include <pluria/number/codebook.hpp>

struct descending_table {
  static std::string name() { return "descending"; }
  static constexpr std::array<float, 4> values{1.0F, 0.5F, 0.0F, -1.0F};
  static constexpr std::int32_t min_code = 0;
  static constexpr pluria::float_extremes reach{-1.0F, 1.0F};
};

int main() {
  return pluria::scaled_codebook<descending_table>::position(0.25F, {}) != 0;
}
