// SPDX-License-Identifier: MIT
// Runs one of the two main kernels, so that callgrind can count its instructions: sample_instructions.sh.
//
//   sample_instructions one|lattice <passes>

#include <cstddef>
#include <cstdio>
#include <string>

#include "sample_cases.hpp"

int main(int count, char** arguments) {
  using namespace bench;
  if (count != 3) {
    std::fputs("sample_instructions: expected one|lattice and the number of passes\n", stderr);
    return 2;
  }
  const work run = std::string(arguments[1]) == "one"
                       ? sampling<4>(dtype::f32, in_cache, bernoulli{.seed = 1})
                       : sampling<4>(dtype::f32, in_cache, bernoulli{.seed = 1, .coupling = lattice(8)}, 8);
  for (int pass = std::stoi(arguments[2]); pass > 0; --pass) {
    run();
  }
  return 0;
}
