// SPDX-License-Identifier: MIT

#include <pluria/number/symmetric_int.hpp>

#include "stored_systems.hpp"

namespace pluria::examples {

std::optional<any_quantizer> stored_integer_2_to_5(std::string_view system, const any_granularity& granules) {
  return stored_among<symmetric_int<2>, symmetric_int<3>, symmetric_int<4>, symmetric_int<5>>(system, granules);
}

}  // namespace pluria::examples
