// SPDX-License-Identifier: MIT
// That <pluria/core/ieee.hpp> refuses -ffast-math is checked in tests/static.

#include <pluria/core/ieee.hpp>
#include <support/catch.hpp>

TEST_CASE("float arithmetic keeps subnormals", "[core]") {
  const volatile float smallest_normal = 0x1p-126F;
  const volatile float half = 0.5F;
  const volatile float subnormal = smallest_normal * half;
  CHECK(subnormal > 0.0F);
  CHECK(subnormal * 2.0F == smallest_normal);
}

TEST_CASE("float arithmetic has no excess precision and rounds half to even", "[core]") {
  const volatile float one = 1.0F;
  const volatile float even_tie = one + 0x1p-24F;
  const volatile float odd_tie = one + 0x1.8p-23F;
  CHECK(even_tie == 1.0F);
  CHECK(odd_tie == 0x1.000004p0F);
}
