// SPDX-License-Identifier: MIT

#include <pluria/number/half_scaled_int.hpp>

#include "stored_systems.hpp"

namespace pluria::examples {

std::optional<any_quantizer> stored_half_integer(std::string_view system, const any_granularity& granules) {
  return stored_among<half_symmetric_int<4>, half_symmetric_int<5>, half_symmetric_int<8>>(system, granules);
}

}  // namespace pluria::examples
