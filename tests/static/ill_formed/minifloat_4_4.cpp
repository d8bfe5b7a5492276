// SPDX-License-Identifier: MIT
// expected: minifloat takes 2 to 8 bits

#include <pluria/number/minifloat.hpp>

int main() {
  return pluria::minifloat<4, 4>::max_code;
}
