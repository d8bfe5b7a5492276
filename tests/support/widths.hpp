// SPDX-License-Identifier: MIT
#pragma once
// The widths of symmetric integers that kernels are tested with.

#include <pluria/number/symmetric_int.hpp>

#include <tuple>

namespace support {

/// 7 and 8 bits have between them the fields of all widths, alone and together, and the largest products; 4 bits have
/// tests of their own. Kernels take a compiler ten seconds a width; the digests of sampling (tests/golden) go through
/// all of them.
using field_widths = std::tuple<pluria::symmetric_int<7>, pluria::symmetric_int<8>>;

}  // namespace support
