// SPDX-License-Identifier: MIT

#include "options.hpp"
#include "stored_integers.hpp"

namespace pluria::examples {

any_quantizer parse_symmetric_int(int bits, std::string_view granularity) {
  switch (bits) {
    case 2:
      return stored_integer<2>(granularity);
    case 3:
      return stored_integer<3>(granularity);
    case 4:
      return stored_integer<4>(granularity);
    case 5:
      return stored_integer<5>(granularity);
    default:
      if (const auto wider = stored_integer_6_to_8(bits, granularity)) {
        return *wider;
      }
      throw bad_input(mismatch_message("--bits", "2..8", std::to_string(bits)));
  }
}

}  // namespace pluria::examples
