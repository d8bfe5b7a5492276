// SPDX-License-Identifier: MIT
// The sampling kernel compiled for AVX2 (x86-64-v3), beside the one for AVX-512 in one program: kernels are templates
// on the architecture. What is not (fitting a grid, reading a tensor) may be either file's, and both run on this
// machine.

#include "sample_cases.hpp"

namespace bench {

work sampling_for_avx2([[maybe_unused]] std::size_t count) {
#if defined(PLURIA_BENCH_AVX2)
  return sampling<4>(dtype::f32, count, bernoulli{.seed = 1});
#else
  return {};
#endif
}

}  // namespace bench
