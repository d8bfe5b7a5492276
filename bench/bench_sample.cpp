// SPDX-License-Identifier: MIT
// The sampling kernel: rates from second-level cache and from memory, with the limits of the machine and the peers
// beside them, and the ratios that matter, each measured by turns.
//
//   cmake --workflow --preset bench
//
// Weights and members of all sizes stay in memory once they are made: 6 GiB for all benchmarks.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "sample_cases.hpp"
#include "sample_peers.hpp"
#include "turns.hpp"

namespace {

using namespace bench;

std::string size_name(std::size_t count) {
  return count == in_cache ? "/64Ki" : "/16Mi";
}

// Rate of one work: weights (times members) and bytes (read and written) per second.
void register_rate(const std::string& name, std::size_t count, std::size_t members, double bytes_per_weight,
                   const make_work& make) {
  benchmark::RegisterBenchmark(("rate/" + name + size_name(count)).c_str(), [=](benchmark::State& state) {
    const work run = make();
    run();
    for (auto _ : state) {
      run();
      benchmark::ClobberMemory();
    }
    const double weights = static_cast<double>(state.iterations()) * static_cast<double>(count);
    state.SetItemsProcessed(static_cast<std::int64_t>(weights * static_cast<double>(members)));
    state.SetBytesProcessed(static_cast<std::int64_t>(weights * bytes_per_weight));
  })->UseRealTime();
}

// See turns.hpp; from cache each turn is 50 runs.
void register_ratio(const std::string& name, std::size_t count, const make_work& a, const make_work& b, double factor,
                    bound kept, int turns = 25) {
  bench::register_ratio(name + size_name(count), a, b, factor, kept, {turns, count == in_cache ? 50 : 1});
}

template <int Bits, class Generator>
void register_members(std::size_t count) {
  const std::string system = "BSR INT-" + std::to_string(Bits) + ", ";
  const std::string rounds = ", Threefry-" + std::to_string(Generator::rounds);
  for (const dtype type : {dtype::f32, dtype::bf16}) {
    const std::string from = type == dtype::f32 ? "f32" : "bf16";
    for (const std::uint32_t members : {1U, 8U, 32U}) {
      for (const bool coupled : {false, true}) {
        if (coupled && members == 1) {
          continue;
        }
        const basic_bernoulli<Generator> rounding{.seed = 1, .coupling = coupling(coupled ? members : 1)};
        const double bytes = static_cast<double>(size_of(type)) + Bits / 8.0 * members;
        const std::string how = members == 1 ? "" : coupled ? " lattice" : " independent";
        register_rate(system + from + ", S=" + std::to_string(members) + how + rounds, count, members, bytes,
                      [=] { return sampling<Bits>(type, count, rounding, members); });
      }
    }
  }
}

void register_size(std::size_t count) {
  register_rate("memcpy, f32", count, 1, 8, [=] { return copying(count); });
  register_rate("read, f32", count, 1, 4, [=] { return reading(count); });
  register_rate("best RTN to int8, f32", count, 1, 5, [=] { return nearest_to_int8(count); });
  register_rate("RTN INT-4, f32", count, 1, 4.5, [=] { return sampling<4>(dtype::f32, count, nearest{}); });
  register_members<4, threefry4x32<13>>(count);
  register_members<4, threefry4x32<20>>(count);
  register_members<5, threefry4x32<13>>(count);
  register_members<5, threefry4x32<20>>(count);
  register_members<8, threefry4x32<13>>(count);
  register_members<8, threefry4x32<20>>(count);
  register_rate("xorshift loop, f32", count, 1, 5, [=] { return xorshift_loop(count); });
  register_rate("mt19937 + bernoulli_distribution, f32", count, 1, 5, [=] { return standard_library(count); });
  register_rate("Eigen expression with Random, f32", count, 1, 5, [=] { return eigen_expression(count); });
}

template <class Generator = generator>
make_work one_member(std::size_t count, dtype type = dtype::f32, int threads = 1) {
  return [=] { return sampling<4>(type, count, basic_bernoulli<Generator>{.seed = 1}, 1, threads); };
}

make_work lattice_members(std::size_t count, std::uint32_t members) {
  return [=] { return sampling<4>(dtype::f32, count, bernoulli{.seed = 1, .coupling = lattice(members)}, members); };
}

void register_targets() {
  for (const std::size_t count : {in_cache, in_memory}) {
    const bool cached = count == in_cache;
    register_ratio("INT-4 13 rounds/best RTN to int8", count, one_member<threefry4x32<13>>(count),
                   [=] { return nearest_to_int8(count); }, 1, {"at_least", cached ? 0.30 : 0.90});
    register_ratio("INT-4 20 rounds/best RTN to int8", count, one_member<threefry4x32<20>>(count),
                   [=] { return nearest_to_int8(count); }, 1, {"at_least", cached ? 0.24 : 0.85});
    register_ratio(
        "INT-4/mt19937 and bernoulli", count, one_member(count), [=] { return standard_library(count); }, 1,
        {"at_least", cached ? 30.0 : 15.0}, 5);
    register_ratio(
        "INT-4/Eigen expression", count, one_member(count), [=] { return eigen_expression(count); }, 1,
        {"at_least", cached ? 70.0 : 35.0}, 5);
  }
  register_ratio("bf16/f32", in_memory, one_member(in_memory, dtype::bf16), one_member(in_memory), 1,
                 {"at_least", 1.35});
  register_ratio("time of 8 lattice members/one", in_memory, one_member(in_memory), lattice_members(in_memory, 8), 1,
                 {"at_most", 2.0});
  register_ratio("weight-members per second of 32 lattice members/one", in_memory, lattice_members(in_memory, 32),
                 one_member(in_memory), 32, {"at_least", 5.0});
  if (sampling_for_avx2(in_cache)) {
    register_ratio("AVX2/AVX-512", in_memory, [] { return sampling_for_avx2(in_memory); }, one_member(in_memory), 1,
                   {"at_least", 0.75});
  }
  register_ratio("two threads/one", in_cache, one_member(in_cache, dtype::f32, 2), one_member(in_cache), 1,
                 {"at_least", 1.7});
}

}  // namespace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) {
    return 2;
  }
  register_size(in_cache);
  register_size(in_memory);
  register_targets();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
