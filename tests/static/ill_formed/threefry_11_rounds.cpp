// SPDX-License-Identifier: MIT
// expected: fewer than 12 rounds of Threefry4x32 fail statistical tests

#include <pluria/random/threefry.hpp>

int main() {
  return pluria::threefry4x32<11>::rounds;
}
