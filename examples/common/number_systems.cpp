// SPDX-License-Identifier: MIT

#include "number_systems.hpp"

#include <pluria/core/error.hpp>
#include <pluria/number/block_scaled.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "granularities.hpp"

namespace pluria::examples {
namespace {

struct known_system {
  std::string name;
  std::string granularity;  // a block format's own; empty where any will do
  any_quantizer (*make)(const any_granularity&);
};

template <number_system N>
known_system known() {
  known_system entry{N::name(), {}, [](const any_granularity& granules) {
                       return any_quantizer(quantizer<N, any_granularity>{granules});
                     }};
  if constexpr (requires { N::block; }) {
    entry.granularity = "group:" + std::to_string(N::block);
  }
  return entry;
}

const std::vector<known_system>& known_systems() {
  static const std::vector<known_system> all{
      known<symmetric_int<2>>(),
      known<symmetric_int<3>>(),
      known<symmetric_int<4>>(),
      known<symmetric_int<5>>(),
      known<symmetric_int<6>>(),
      known<symmetric_int<7>>(),
      known<symmetric_int<8>>(),
      known<half_symmetric_int<4>>(),
      known<half_symmetric_int<5>>(),
      known<half_symmetric_int<8>>(),
      known<full_range_int<3>>(),
      known<full_range_int<4>>(),
      known<full_range_int<5>>(),
      known<full_range_int<6>>(),
      known<full_range_int<8>>(),
      known<minifloat<2, 0>>(),
      known<fp4_e2m1>(),
      known<minifloat<2, 2>>(),
      known<minifloat<3, 1>>(),
      known<fp6_e2m3>(),
      known<fp6_e3m2>(),
      known<fp8_e4m3>(),
      known<fp8_e5m2>(),
      known<mxfp4>(),
      known<mx_covering<fp4_e2m1>>(),
      known<mxfp6_e2m3>(),
      known<mxfp6_e3m2>(),
      known<mxfp8_e4m3>(),
      known<mxfp8_e5m2>(),
      known<mxint8>(),
      known<nvfp4>(),
      known<nvfp4_covering>(),
  };
  return all;
}

// Throws bad_input where no system has the name.
const known_system& find_system(std::string_view system) {
  const std::vector<known_system>& all = known_systems();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const known_system& entry) { return entry.name == system; });
  if (found == all.end()) {
    throw bad_input(mismatch_message("--system", fmt::format("one of {}", fmt::join(number_system_names(), ", ")),
                                     "\"" + std::string(system) + "\""));
  }
  return *found;
}

}  // namespace

std::vector<std::string> number_system_names() {
  std::vector<std::string> names;
  for (const known_system& system : known_systems()) {
    names.push_back(system.name);
  }
  return names;
}

bool has_own_granularity(std::string_view system) {
  return !find_system(system).granularity.empty();
}

any_quantizer quantizer_named(std::string_view system, std::string_view granularity) {
  const known_system& found = find_system(system);
  if (found.granularity.empty()) {
    return found.make(parse_granularity(granularity));
  }
  if (!granularity.empty() && granularity != found.granularity) {
    throw bad_input(
        mismatch_message("--granularity of " + found.name, found.granularity, "\"" + std::string(granularity) + "\""));
  }
  return found.make(parse_granularity(found.granularity));
}

}  // namespace pluria::examples
