// SPDX-License-Identifier: MIT
// The products of all members with one input each: from second-level cache and from memory, with the single models and
// the limit of the machine beside them, and the ratios that matter, each measured by turns. Every rate is measured by
// turns with one Eigen float product of the same size.
//
//   cmake --workflow --preset bench
//
// The same file compiled for AVX2 is bench_matvec_avx2; it has bounds of its own. Up to 7 GiB of memory.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <string>

#include "matvec_cases.hpp"
#include "matvec_peers.hpp"
#include "turns.hpp"

namespace {

using namespace bench;

constexpr activation_type float32 = activation_type::float32;
constexpr activation_type int8 = activation_type::int8;

effort effort_for(const matrix_size& size) {
  return size.is_cached() ? effort{11, 20} : effort{size.weights() > square.weights() ? 7 : 11, 1};
}

void register_product(const std::string& name, const matrix_size& size, const make_product& make) {
  register_rate(
      name + "/" + size.name(), make, [=] { return eigen_product(size); }, effort_for(size));
}

std::string name_of_members(const std::string& form, const std::string& granules, activation_type activations,
                            std::size_t members) {
  return form + ", " + granules + ", " + (activations == int8 ? "int8" : "float32") + ", S=" + std::to_string(members);
}

template <class Form, granularity G>
void register_members(const matrix_size& size, const Form& form, const G& granules, std::size_t members,
                      int threads = 1) {
  for (const activation_type activations : {int8, float32}) {
    const std::string name = name_of_members(Form::name(), granules.name(), activations, members) +
                             (threads == 1 ? "" : ", " + std::to_string(threads) + " threads");
    register_product(name, size, [=] { return members_product(form, size, granules, members, activations, threads); });
  }
}

void register_size(const matrix_size& size) {
  register_product("Eigen float", size, [=] { return eigen_product(size); });
  register_product("bfloat16", size, [=] { return bfloat16_product(size); });
  register_members(size, packed_form<8>{}, per_channel{}, 1);
  const auto register_granules = [&](const auto& granules) {
    for (const std::size_t members : {1U, 4U, 10U, 16U}) {
      register_members(size, packed_form<4>{}, granules, members);
    }
    register_product("ten separate products, packed INT-4, " + granules.name() + ", int8", size,
                     [=] { return separate_products(size, granules, 10, int8); });
    for (const std::size_t members : {1U, 4U, 10U, 16U}) {
      register_members(size, shared_floor_form<4>{}, granules, members);
    }
    for (const std::size_t members : {1U, 4U, 10U, 16U}) {
      register_members(size, fixed_point_form{}, granules, members);
    }
  };
  register_granules(per_channel{});
  register_granules(per_group(32));
  register_product("reading shared floor INT-4, channel, S=10", size, [=] { return reading(size, per_channel{}, 10); });
  register_product("Eigen float, 2 threads", size, [=] { return eigen_product(size, 2); });
  register_product("bfloat16, 2 threads", size, [=] { return bfloat16_product(size, 2); });
  register_members(size, shared_floor_form<4>{}, per_channel{}, 10, 2);
}

// What else the picture of quality against cost shows: single models of other widths, and ensembles of two of them.
void register_picture() {
  const auto add = [](const auto& form, std::size_t members) {
    register_product(name_of_members(form.name(), "channel", int8, members), square,
                     [=] { return members_product(form, square, per_channel{}, members, int8); });
  };
  add(packed_form<6>{}, 1);
  add(packed_form<5>{}, 1);
  add(shared_floor_form<4>{}, 2);
  add(shared_floor_form<4>{}, 8);
  for (const std::size_t members : {2U, 4U, 8U, 16U}) {
    add(shared_floor_form<5>{}, members);
  }
}

// The time of b in units of that of a.
void register_target(const std::string& name, const make_product& b, const make_product& a, double at_most) {
  register_ratio(
      name + "/" + square.name(), [=] { return a().run; }, [=] { return b().run; }, 1, {"at_most", at_most}, {25, 1});
}

template <class Form, granularity G>
make_product members(const Form& form, const G& granules, std::size_t count, activation_type activations,
                     int threads = 1) {
  return [=] { return members_product(form, square, granules, count, activations, threads); };
}

void register_targets() {
  const make_product eigen = [] { return eigen_product(square); };
  const make_product bfloat16 = [] { return bfloat16_product(square); };
  const make_product read = [] { return reading(square, per_channel{}, 10); };
  const make_product ten = members(shared_floor_form<4>{}, per_channel{}, 10, int8);
  const make_product ten_float = members(shared_floor_form<4>{}, per_channel{}, 10, float32);
  if (xsimd::batch<float>::size < 16) {
    register_target("AVX2 ten INT-4 shared floor int8/Eigen float", ten, eigen, 1.0);
    register_target("AVX2 ten INT-4 shared floor int8/bfloat16", ten, bfloat16, 1.6);
    register_target("AVX2 ten INT-4 shared floor int8/reading it", ten, read, 1.6);
    register_target("AVX2 ten INT-4 shared floor float32/Eigen float", ten_float, eigen, 2.2);
    return;
  }
  register_target("ten INT-4 shared floor int8/Eigen float", ten, eigen, 0.60);
  register_target("ten INT-4 shared floor int8/bfloat16", ten, bfloat16, 1.0);
  register_target("ten INT-4 shared floor int8/reading it", ten, read, 1.30);
  register_target(
      "ten INT-4 shared floor int8/ten separate products", ten,
      [] { return separate_products(square, per_channel{}, 10, int8); }, 0.50);
  register_target("ten INT-4 shared floor int8 groups of 32/Eigen float",
                  members(shared_floor_form<4>{}, per_group(32), 10, int8), eigen, 0.85);
  register_target("ten INT-4 shared floor float32/Eigen float", ten_float, eigen, 1.6);
  register_target("ten INT-4.4 fixed point int8/Eigen float", members(fixed_point_form{}, per_channel{}, 10, int8),
                  eigen, 2.0);
  register_target("one packed INT-4 int8/Eigen float", members(packed_form<4>{}, per_channel{}, 1, int8), eigen, 0.15);
  register_target("ten INT-4 shared floor int8 two threads/one",
                  members(shared_floor_form<4>{}, per_channel{}, 10, int8, 2), ten, 0.6);
}

}  // namespace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) {
    return 2;
  }
  for (const matrix_size& size : {cached, square, wide}) {
    register_size(size);
  }
  register_picture();
  register_targets();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
