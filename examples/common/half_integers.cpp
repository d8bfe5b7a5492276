// SPDX-License-Identifier: MIT
// Integers on float16 scales whose members can be stored and multiplied, in the widths that block formats have.

#include <pluria/core/error.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/quantize/quantizer.hpp>

#include "granularities.hpp"
#include "options.hpp"

namespace pluria::examples {

any_quantizer parse_half_symmetric_int(int bits, std::string_view granularity) {
  const any_granularity granules = parse_granularity(granularity);
  switch (bits) {
    case 4:
      return any_quantizer::with_products(quantizer<half_symmetric_int<4>, any_granularity>{granules});
    case 5:
      return any_quantizer::with_products(quantizer<half_symmetric_int<5>, any_granularity>{granules});
    case 8:
      return any_quantizer::with_products(quantizer<half_symmetric_int<8>, any_granularity>{granules});
    default:
      throw bad_input(mismatch_message("--bits with --scales float16", "4, 5 or 8", std::to_string(bits)));
  }
}

}  // namespace pluria::examples
