// SPDX-License-Identifier: MIT
#pragma once
// The widths of symmetric integers that kernels are tested with.

#include <pluria/number/symmetric_int.hpp>
#include <support/exhaustive.hpp>

#include <tuple>
#include <type_traits>

namespace support {

/// 4, 7 and 8 bits have between them the fields of all widths, alone and together, and the largest products. Kernels
/// take a compiler ten seconds a width; the digests of sampling (tests/golden) go through all of them. Under
/// sanitizers, which take it longest, two: 4 bits have tests of their own.
using field_widths =
    std::conditional_t<exhaustive,
                       std::tuple<pluria::symmetric_int<4>, pluria::symmetric_int<7>, pluria::symmetric_int<8>>,
                       std::tuple<pluria::symmetric_int<7>, pluria::symmetric_int<8>>>;

}  // namespace support
