// SPDX-License-Identifier: MIT

#include <pluria/core/magnitude.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace {

using pluria::largest_magnitude;

TEST_CASE("the largest magnitude is found wherever it stands and whatever its sign", "[core]") {
  for (const std::size_t count : {1U, 2U, 15U, 16U, 17U, 100U}) {
    std::vector<float> values = support::integer_weights(count);
    for (std::size_t place = 0; place < count; ++place) {
      const float kept = values[place];
      for (const float largest : {1.5F, -1.5F}) {
        values[place] = largest;
        CHECK(largest_magnitude(values) == 1.5F);
      }
      values[place] = kept;
    }
  }
}

TEST_CASE("nothing and zeros have magnitude zero, subnormals their own", "[core]") {
  CHECK(largest_magnitude({}) == 0.0F);
  const std::vector<float> zeros{0.0F, -0.0F};
  CHECK(largest_magnitude(zeros) == 0.0F);
  CHECK_FALSE(std::signbit(largest_magnitude(zeros)));
  const float tiny = -std::numeric_limits<float>::denorm_min();
  CHECK(largest_magnitude(std::vector<float>{0.0F, tiny}) == -tiny);
}

TEST_CASE("a value that is not finite makes the result so", "[core]") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float largest = std::numeric_limits<float>::max();
  CHECK(largest_magnitude(std::vector<float>{1.0F, -largest, 2.0F}) == largest);
  CHECK(largest_magnitude(std::vector<float>{1.0F, -infinity, largest}) == infinity);
  CHECK(std::isnan(largest_magnitude(std::vector<float>{infinity, -nan, 1.0F})));
}

}  // namespace
