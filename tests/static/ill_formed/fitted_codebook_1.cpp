// SPDX-License-Identifier: MIT
// expected: fitted_codebook takes 2 to 8 bits

#include <pluria/number/fitted_codebook.hpp>

int main() {
  return pluria::k_means_codebook<1>::max_code;
}
