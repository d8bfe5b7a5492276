// SPDX-License-Identifier: MIT
// Number systems by name whose members can be stored and multiplied. Not all: each takes a compiler ten seconds.

#include <pluria/core/error.hpp>

#include <string_view>

#include "number_systems.hpp"
#include "options.hpp"

namespace pluria::examples {
namespace {

// The digit behind "INT-" or "half-INT-", else 0.
int bits_behind(std::string_view prefix, std::string_view name) {
  return name.starts_with(prefix) && name.size() == prefix.size() + 1 ? name.back() - '0' : 0;
}

}  // namespace

any_quantizer stored_quantizer_named(std::string_view system, std::string_view granularity) {
  const any_quantizer drawn = quantizer_named(system, granularity);  // refuses unknown names
  if (const int bits = bits_behind("INT-", system); bits != 0) {
    return parse_symmetric_int(bits, granularity);
  }
  if (const int bits = bits_behind("half-INT-", system); bits != 0) {
    return parse_half_symmetric_int(bits, granularity);
  }
  throw bad_input(mismatch_message("--system with --engine packed, shared or fixed", "INT-b or half-INT-b",
                                   "\"" + drawn.system() + "\", which needs --engine float"));
}

}  // namespace pluria::examples
