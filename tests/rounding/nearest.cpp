// SPDX-License-Identifier: MIT

#include <pluria/rounding/nearest.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace {

using namespace support;
using pluria::nearest;

static_assert(nearest::code(0x7fff) == 0 && nearest::code(0x8000) == 0 && nearest::code(0x8001) == 1);
static_assert(nearest::code(0x18000) == 2 && nearest::code(-0x8000) == 0 && nearest::code(-0x18000) == -2);

TEST_CASE("every position goes to the nearest code, ties to the even one", "[rounding]") {
  // A position is an exact double, and llrint rounds half to even.
  std::size_t wrong = 0;
  for (std::int32_t position = -128 * 65536; position < 128 * 65536; position += static_cast<std::int32_t>(lanes)) {
    const ints positions = ints(position) + xsimd::batch_cast<std::int32_t>(lane_numbers());
    const auto codes = lanes_of(nearest::raised(positions) >> 16);
    for (std::int32_t lane = 0; lane < static_cast<std::int32_t>(lanes); ++lane) {
      const auto expected = static_cast<std::int32_t>(std::llrint((position + lane) / 65536.0));
      wrong += nearest::code(position + lane) == expected ? 0U : 1U;
      wrong += codes[static_cast<std::size_t>(lane)] == expected ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

}  // namespace
