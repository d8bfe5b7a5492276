// SPDX-License-Identifier: MIT
// expected: half_scaled_int takes 2 to 8 bits

#include <pluria/number/half_scaled_int.hpp>

int main() {
  return pluria::half_symmetric_int<9>::max_code;
}
