// SPDX-License-Identifier: MIT
#pragma once
// Every number system by its name, as quantizers whose members are drawn as values: what programs call --system.

#include <pluria/member/any_quantizer.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "granularities.hpp"

namespace pluria::examples {

/// "INT-2", ..., "NF4", "MXFP4", ...: all that quantizer_named knows, in the order of the README's table.
std::vector<std::string> number_system_names();

/// Whether a number system is a block format, whose granules are of a size of its own.
bool has_own_granularity(std::string_view system);

/// How large the granules of a number system are: "tensor", "channel" or "group:G"; empty for that of the format, or
/// the channel where a system has none. Throws bad_input naming the option, where a block format is given another
/// granularity than its own, too.
any_granularity granularity_of(std::string_view system, std::string_view granularity);

/// A number system, its granularity (see granularity_of), and how far granules reach: "absmax", also if empty,
/// "percentile:P", "mse:nearest" or "mse:bernoulli". Throws bad_input naming the option.
any_quantizer quantizer_named(std::string_view system, std::string_view granularity, std::string_view range = {});

/// The same, with absmax, whose members can be stored and multiplied, too: integers, and floats and codebooks of 4
/// bits. Throws bad_input, naming the option, for others. In stored_systems.cpp.
any_quantizer stored_quantizer_named(std::string_view system, std::string_view granularity);

}  // namespace pluria::examples
