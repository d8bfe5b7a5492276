// SPDX-License-Identifier: MIT
#pragma once
// Symmetric integers of some widths with any granularity, whose members can be stored and multiplied.

#include <pluria/core/error.hpp>
#include <pluria/member/any_quantizer.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "options.hpp"

namespace pluria::examples {

/// INT-b; the granularity is "tensor", "channel" or "group:G".
template <int Bits>
any_quantizer stored_integer(std::string_view granularity) {
  const auto with = [](const auto& granules) {
    return any_quantizer::with_products(
        quantizer<symmetric_int<Bits>, std::remove_cvref_t<decltype(granules)>>{granules});
  };
  constexpr std::string_view prefix = "group:";
  if (granularity == "channel") {
    return with(per_channel{});
  }
  if (granularity == "tensor") {
    return with(per_tensor{});
  }
  if (granularity.starts_with(prefix)) {
    const auto size = parse_number(granularity.substr(prefix.size()), "--granularity group", 16, 1U << 30);
    if (size % 16 == 0) {
      return with(per_group(size));
    }
  }
  throw bad_input(mismatch_message("--granularity", "channel, tensor or group:G, G a multiple of 16",
                                   "\"" + std::string(granularity) + "\""));
}

/// The widths of integers_6_to_8.cpp; nothing for others.
std::optional<any_quantizer> stored_integer_6_to_8(int bits, std::string_view granularity);

}  // namespace pluria::examples
