// SPDX-License-Identifier: MIT
// How fast every number system is rounded, against symmetric INT-4: one member from float32 in second-level cache, by
// turns. A new system is a line in main.
//
//   cmake --workflow --preset bench

#include <pluria/number/affine_int.hpp>
#include <pluria/number/block_scaled.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/fitted_codebook.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/posit.hpp>
#include <pluria/number/symmetric_int.hpp>

#include <benchmark/benchmark.h>

#include "sample_cases.hpp"
#include "turns.hpp"

namespace {

using namespace bench;

// Rates against that of INT-4; the bound is for the kind of system.
constexpr bound uniform{"at_least", 0.9};
constexpr bound of_floats{"at_least", 0.6};
constexpr bound of_tables{"at_least", 0.5};
constexpr bound none{"at_least", 0.0};  // wider tables and blocks: reported

template <number_system N>
make_work one_member() {
  return [] { return sampling_of<N>(dtype::f32, in_cache, bernoulli{.seed = 1}); };
}

template <number_system N>
void add(bound kept) {
  register_ratio("rate of " + N::name() + "/INT-4", one_member<N>(), one_member<symmetric_int<4>>(), 1, kept, {25, 50});
}

}  // namespace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) {
    return 2;
  }
  add<symmetric_int<8>>(uniform);
  add<full_range_int<4>>(uniform);
  add<affine_int<4>>(uniform);
  add<affine_int<8>>(uniform);
  add<fp4_e2m1>(of_floats);
  add<fp6_e2m3>(of_floats);
  add<fp6_e3m2>(of_floats);
  add<fp8_e4m3>(of_floats);
  add<fp8_e5m2>(of_floats);
  add<nf4>(of_tables);
  add<k_means_codebook<4>>(of_tables);
  add<least_variance_codebook<4>>(of_tables);
  add<posit<4>>(of_tables);
  add<least_variance_codebook<5>>(none);
  add<posit<8>>(none);
  add<mxfp4>(none);
  add<mxint8>(none);
  add<nvfp4>(none);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
