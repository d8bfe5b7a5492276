// SPDX-License-Identifier: MIT
// Symmetric integers whose members are drawn as values, not multiplied as they are stored.

#include "sampled_integers.hpp"

#include "integer_names.hpp"

namespace pluria::examples {

any_quantizer sampled_integer(int bits, std::string_view granularity) {
  const auto erased = [](const auto& typed) { return any_quantizer(typed); };
  switch (bits) {
    case 2:
      return integer_with<2>(granularity, erased);
    case 3:
      return integer_with<3>(granularity, erased);
    case 4:
      return integer_with<4>(granularity, erased);
    case 5:
      return integer_with<5>(granularity, erased);
    case 6:
      return integer_with<6>(granularity, erased);
    case 7:
      return integer_with<7>(granularity, erased);
    case 8:
      return integer_with<8>(granularity, erased);
    default:
      throw bad_input(mismatch_message("--bits", "2..8", std::to_string(bits)));
  }
}

}  // namespace pluria::examples
