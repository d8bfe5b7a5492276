// SPDX-License-Identifier: MIT

#include "number_systems.hpp"

#include <pluria/core/error.hpp>
#include <pluria/number/affine_int.hpp>
#include <pluria/number/block_scaled.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/fitted_codebook.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/posit.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ranges.hpp"

namespace pluria::examples {
namespace {

struct known_system {
  std::string name;
  std::string granularity;  // a block format's own; empty where any will do
  any_quantizer (*make)(const any_granularity&, std::string_view range);
};

template <number_system N>
known_system known() {
  known_system entry{
      N::name(), {}, [](const any_granularity& granules, std::string_view range) {
        return with_range(range, [&](const auto& scale) {
          return any_quantizer(quantizer<N, any_granularity, std::decay_t<decltype(scale)>>{granules, scale});
        });
      }};
  if constexpr (requires { N::block; }) {
    entry.granularity = "group:" + std::to_string(N::block);
  }
  return entry;
}

template <number_system... N>
std::vector<known_system> all_known() {
  return {known<N>()...};
}

const std::vector<known_system>& known_systems() {
  static const std::vector<known_system> all = all_known<  //
      symmetric_int<2>, symmetric_int<3>, symmetric_int<4>, symmetric_int<5>, symmetric_int<6>, symmetric_int<7>,
      symmetric_int<8>,                                                                                         //
      half_symmetric_int<4>, half_symmetric_int<5>, half_symmetric_int<8>,                                      //
      full_range_int<3>, full_range_int<4>, full_range_int<5>, full_range_int<6>, full_range_int<8>,            //
      ggml_full_range_int<4>, ggml_full_range_int<5>,                                                           //
      affine_int<1>, affine_int<2>, affine_int<3>, affine_int<4>, affine_int<5>, affine_int<6>, affine_int<8>,  //
      minifloat<2, 0>, fp4_e2m1, minifloat<2, 2>, minifloat<3, 1>, fp6_e2m3, fp6_e3m2, fp8_e4m3, fp8_e5m2,      //
      mxfp4, mx_covering<fp4_e2m1>, mxfp6_e2m3, mxfp6_e3m2, mxfp8_e4m3, mxfp8_e5m2, mxint8,                     //
      nvfp4, nvfp4_covering,                                                                                    //
      ternary, nf4,                                                                                             //
      k_means_codebook<3>, k_means_codebook<4>, k_means_codebook<5>, k_means_codebook<6>,                       //
      least_variance_codebook<3>, least_variance_codebook<4>, least_variance_codebook<5>,
      least_variance_codebook<6>,  //
      posit<3>, posit<4>, posit<5>, posit<6>, posit<8>>();
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

any_granularity granularity_of(std::string_view system, std::string_view granularity) {
  const known_system& found = find_system(system);
  if (found.granularity.empty()) {
    return parse_granularity(granularity);
  }
  if (!granularity.empty() && granularity != found.granularity) {
    throw bad_input(
        mismatch_message("--granularity of " + found.name, found.granularity, "\"" + std::string(granularity) + "\""));
  }
  return parse_granularity(found.granularity);
}

any_quantizer quantizer_named(std::string_view system, std::string_view granularity, std::string_view range) {
  return find_system(system).make(granularity_of(system, granularity), range);
}

}  // namespace pluria::examples
