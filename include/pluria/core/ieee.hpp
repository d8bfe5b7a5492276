// SPDX-License-Identifier: MIT
#pragma once
// What the library's "same bits everywhere" rests on: IEEE 754 binary32 arithmetic that the compiler leaves as
// written, and little-endian storage, in which the file formats are defined.

#include <bit>
#include <limits>

#ifdef __FAST_MATH__
#error "pluria rounds weights by exact IEEE arithmetic: compile without -ffast-math"
#endif

namespace pluria {

static_assert(std::numeric_limits<float>::is_iec559 && std::numeric_limits<double>::is_iec559,
              "pluria needs IEEE 754 float and double");
static_assert(std::endian::native == std::endian::little, "pluria needs a little-endian machine");

}  // namespace pluria
