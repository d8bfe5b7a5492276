// SPDX-License-Identifier: MIT
// expected: affine_int takes 1 to 8 bits

#include <pluria/number/affine_int.hpp>

int main() {
  return pluria::affine_int<9>::max_code;
}
