// SPDX-License-Identifier: MIT

#include "stored_systems.hpp"

#include <pluria/core/error.hpp>

#include <string>

#include "number_systems.hpp"

namespace pluria::examples {

any_quantizer stored_quantizer_named(std::string_view system, std::string_view granularity) {
  const any_granularity granules = granularity_of(system, granularity);  // refuses unknown names
  for (const auto& stored : {stored_integer_2_to_5, stored_integer_6_to_8, stored_half_integer, stored_table}) {
    if (const auto found = stored(system, granules)) {
      return *found;
    }
  }
  throw bad_input(mismatch_message("--system with --engine packed, shared or fixed",
                                   "INT-b, half-INT-b, NF4, FP4-E2M1, MXFP4 or NVFP4",
                                   "\"" + std::string(system) + "\", which needs --engine float"));
}

}  // namespace pluria::examples
