// SPDX-License-Identifier: MIT
// Kernels for two ISAs in one program: what is linked together stays apart, and gives the same bits. This file is for
// any machine: it finds out what its own can.

#include "products.hpp"

#include <support/catch.hpp>

#include <cstddef>
#include <iostream>

namespace {

TEST_CASE("files compiled for AVX2 and for AVX-512 link into one program and give the same bits", "[isa]") {
  const bool has_avx2 =
      __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 && __builtin_cpu_supports("bmi2") != 0;
  const bool has_avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                          __builtin_cpu_supports("avx512cd") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
                          __builtin_cpu_supports("avx512vl") != 0;
  if (!has_avx2 || !has_avx512) {
    std::cout << "skipped: this machine has no " << (has_avx2 ? "AVX-512" : "AVX2") << '\n';
    return;
  }
  const auto narrow = isa::products_of_avx2();
  const auto wide = isa::products_of_avx512();
  REQUIRE(narrow.size() == wide.size());
  std::size_t different = 0;
  for (std::size_t i = 0; i < narrow.size(); ++i) {
    different += narrow[i] == wide[i] ? 0U : 1U;
  }
  CHECK(different == 0);
  // Two numbers of bits, three grids, three forms of storage, two types of activations, 10 members of 19 rows.
  CHECK(narrow.size() > 2 * 3 * 3 * 2 * 10 * 19);
}

}  // namespace
