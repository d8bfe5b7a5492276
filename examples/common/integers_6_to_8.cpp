// SPDX-License-Identifier: MIT

#include <pluria/number/symmetric_int.hpp>

#include "stored_systems.hpp"

namespace pluria::examples {

std::optional<any_quantizer> stored_integer_6_to_8(std::string_view system, const any_granularity& granules) {
  return stored_among<symmetric_int<6>, symmetric_int<7>, symmetric_int<8>>(system, granules);
}

}  // namespace pluria::examples
