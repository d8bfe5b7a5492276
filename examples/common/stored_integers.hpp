// SPDX-License-Identifier: MIT
#pragma once
// Symmetric integers of some widths with any granularity, whose members can be stored and multiplied.

#include <pluria/member/any_quantizer.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>

#include <optional>
#include <string_view>

#include "granularities.hpp"

namespace pluria::examples {

/// INT-b; the granularity is "tensor", "channel" or "group:G".
template <int Bits>
any_quantizer stored_integer(std::string_view granularity) {
  return any_quantizer::with_products(quantizer<symmetric_int<Bits>, any_granularity>{parse_granularity(granularity)});
}

/// The widths of integers_6_to_8.cpp; nothing for others.
std::optional<any_quantizer> stored_integer_6_to_8(int bits, std::string_view granularity);

}  // namespace pluria::examples
