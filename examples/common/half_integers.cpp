// SPDX-License-Identifier: MIT
// Integers on float16 scales whose members can be stored and multiplied, in the widths that block formats have.

#include <pluria/number/half_scaled_int.hpp>

#include "integer_names.hpp"
#include "options.hpp"

namespace pluria::examples {

any_quantizer parse_half_symmetric_int(int bits, std::string_view granularity) {
  const auto stored = [](const auto& typed) { return any_quantizer::with_products(typed); };
  switch (bits) {
    case 4:
      return quantizer_with<half_symmetric_int<4>>(granularity, stored);
    case 5:
      return quantizer_with<half_symmetric_int<5>>(granularity, stored);
    case 8:
      return quantizer_with<half_symmetric_int<8>>(granularity, stored);
    default:
      throw bad_input(mismatch_message("--bits with --scales float16", "4, 5 or 8", std::to_string(bits)));
  }
}

}  // namespace pluria::examples
