// SPDX-License-Identifier: MIT
// expected: symmetric_int takes 2 to 8 bits

#include <pluria/number/symmetric_int.hpp>

int main() {
  return pluria::symmetric_int<9>::max_code;
}
