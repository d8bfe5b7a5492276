// SPDX-License-Identifier: MIT
// expected: minifloat takes 1 to 5 exponent bits

#include <pluria/number/minifloat.hpp>

int main() {
  return pluria::minifloat<6, 1>::max_code;
}
