// SPDX-License-Identifier: MIT

#include <pluria/number/block_scaled.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/minifloat.hpp>

#include "stored_systems.hpp"

namespace pluria::examples {

std::optional<any_quantizer> stored_table(std::string_view system, const any_granularity& granules) {
  return stored_among<nf4, fp4_e2m1, mxfp4, nvfp4>(system, granules);
}

}  // namespace pluria::examples
