// SPDX-License-Identifier: MIT

#include "stored_integers.hpp"

namespace pluria::examples {

std::optional<any_quantizer> stored_integer_6_to_8(int bits, std::string_view granularity) {
  switch (bits) {
    case 6:
      return stored_integer<6>(granularity);
    case 7:
      return stored_integer<7>(granularity);
    case 8:
      return stored_integer<8>(granularity);
    default:
      return std::nullopt;
  }
}

}  // namespace pluria::examples
