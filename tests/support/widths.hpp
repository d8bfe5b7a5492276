// SPDX-License-Identifier: MIT
#pragma once
// The widths of symmetric integers, for tests that go through all of them.

#include <pluria/number/symmetric_int.hpp>
#include <support/exhaustive.hpp>

#include <tuple>
#include <type_traits>

namespace support {

using all_widths =
    std::tuple<pluria::symmetric_int<2>, pluria::symmetric_int<3>, pluria::symmetric_int<4>, pluria::symmetric_int<5>,
               pluria::symmetric_int<6>, pluria::symmetric_int<7>, pluria::symmetric_int<8>>;

/// For what takes a compiler ten seconds a width. Under sanitizers, which take it longest, three of them: two fields,
/// one field, and codes whose products overflow 16 bits.
using product_widths =
    std::conditional_t<exhaustive, all_widths,
                       std::tuple<pluria::symmetric_int<3>, pluria::symmetric_int<4>, pluria::symmetric_int<8>>>;

}  // namespace support
