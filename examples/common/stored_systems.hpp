// SPDX-License-Identifier: MIT
#pragma once
// Number systems whose members can be stored and multiplied, in files of their own: the products of one take a compiler
// ten seconds.

#include <pluria/member/any_quantizer.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/quantize/quantizer.hpp>

#include <optional>
#include <string_view>

#include "granularities.hpp"

namespace pluria::examples {

/// The one of N that has the name, if any.
template <number_system... N>
std::optional<any_quantizer> stored_among(std::string_view system, const any_granularity& granules) {
  std::optional<any_quantizer> found;
  const auto look_at = [&]<class System>(const quantizer<System, any_granularity>& typed) {
    if (!found && System::name() == system) {
      found = any_quantizer::with_products(typed);
    }
  };
  (look_at(quantizer<N, any_granularity>{granules}), ...);
  return found;
}

/// INT-2 to INT-5, and INT-6 to INT-8.
std::optional<any_quantizer> stored_integer_2_to_5(std::string_view system, const any_granularity& granules);
std::optional<any_quantizer> stored_integer_6_to_8(std::string_view system, const any_granularity& granules);
/// Integers on float16 scales, in the widths that block formats have.
std::optional<any_quantizer> stored_half_integer(std::string_view system, const any_granularity& granules);
/// Floats and codebooks of 4 bits.
std::optional<any_quantizer> stored_table(std::string_view system, const any_granularity& granules);

}  // namespace pluria::examples
