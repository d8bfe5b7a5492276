// SPDX-License-Identifier: MIT
// expected: posit takes 2 to 8 bits

#include <pluria/number/posit.hpp>

int main() {
  return pluria::posit<9>::max_code;
}
