// SPDX-License-Identifier: MIT
#pragma once

#include <pluria/member/any_quantizer.hpp>

#include <string_view>

namespace pluria::examples {

/// INT-b, b = 2..8; the granularity is "tensor", "channel" or "group:G". Throws bad_input naming the option.
any_quantizer sampled_integer(int bits, std::string_view granularity);

}  // namespace pluria::examples
