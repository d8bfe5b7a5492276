// SPDX-License-Identifier: MIT
#pragma once
// Integers by the name of their granularity, as any kind of quantizer.

#include <pluria/core/error.hpp>
#include <pluria/member/any_quantizer.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "options.hpp"

namespace pluria::examples {

/// make(quantizer<N, G>) for the granularity "tensor", "channel" or "group:G".
template <number_system N, class Make>
any_quantizer quantizer_with(std::string_view granularity, Make&& make) {
  const auto with = [&](const auto& granules) {
    return make(quantizer<N, std::remove_cvref_t<decltype(granules)>>{granules});
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

/// The same of symmetric INT-b.
template <int Bits, class Make>
any_quantizer integer_with(std::string_view granularity, Make&& make) {
  return quantizer_with<symmetric_int<Bits>>(granularity, std::forward<Make>(make));
}

}  // namespace pluria::examples
