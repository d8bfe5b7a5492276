// SPDX-License-Identifier: MIT
// expected: symmetric_int<1> has no code but zero: use 2 to 8 bits

#include <pluria/number/symmetric_int.hpp>

int main() {
  return pluria::symmetric_int<1>::max_code;
}
