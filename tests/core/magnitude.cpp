// SPDX-License-Identifier: MIT

#include <pluria/core/magnitude.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace {

using pluria::extremes;
using pluria::first_extreme;
using pluria::largest_magnitude;
using pluria::own_extremes;

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

TEST_CASE("extremes are found wherever they stand, and zero is among the values", "[core]") {
  for (const std::size_t count : {2U, 3U, 16U, 17U, 100U}) {
    std::vector<float> values = support::integer_weights(count);
    for (std::size_t place = 0; place + 1 < count; ++place) {
      const std::vector<float> kept = values;
      values[place] = 1.5F;
      values[place + 1] = -1.25F;
      CHECK(extremes(values).highest == 1.5F);
      CHECK(extremes(values).lowest == -1.25F);
      values = kept;
    }
  }
  const float tiny = std::numeric_limits<float>::denorm_min();
  CHECK(extremes(std::vector<float>{3.0F, 2.0F}).highest == 3.0F);
  CHECK(extremes(std::vector<float>{3.0F, 2.0F}).lowest == 0.0F);
  CHECK(extremes(std::vector<float>{-3.0F, -tiny}).lowest == -3.0F);
  CHECK(extremes(std::vector<float>{-3.0F, -tiny}).highest == 0.0F);
  CHECK(extremes(std::vector<float>{-tiny, tiny}).lowest == -tiny);
  CHECK(extremes(std::vector<float>{-tiny, tiny}).highest == tiny);
  for (const auto& zeros : {std::vector<float>{}, {0.0F}, {-0.0F}, {0.0F, -0.0F}}) {
    CHECK(extremes(zeros).lowest == 0.0F);
    CHECK_FALSE(std::signbit(extremes(zeros).lowest));
    CHECK_FALSE(std::signbit(extremes(zeros).highest));
  }
}

TEST_CASE("extremes without zero are found wherever they stand, on either side of it", "[core]") {
  for (const std::size_t count : {2U, 3U, 16U, 17U, 100U}) {
    for (const float offset : {-7.0F, 0.0F, 7.0F}) {
      std::vector<float> values = support::integer_weights(count);
      for (float& value : values) {
        value += offset;
      }
      for (std::size_t place = 0; place + 1 < count; ++place) {
        const std::vector<float> kept = values;
        values[place] = offset + 1.5F;
        values[place + 1] = offset - 1.25F;
        CHECK(own_extremes(values).highest == offset + 1.5F);
        CHECK(own_extremes(values).lowest == offset - 1.25F);
        values = kept;
      }
    }
  }
  const float tiny = std::numeric_limits<float>::denorm_min();
  const float largest = std::numeric_limits<float>::max();
  for (const float only : {tiny, -tiny, largest, -largest, 0.0F, 3.0F}) {
    CHECK(own_extremes(std::vector<float>{only, only}).lowest == only);
    CHECK(own_extremes(std::vector<float>{only, only}).highest == only);
  }
  CHECK(own_extremes(std::vector<float>{-largest, largest}).lowest == -largest);
  CHECK(own_extremes(std::vector<float>{-largest, largest}).highest == largest);
  CHECK(std::signbit(own_extremes(std::vector<float>{0.0F, -0.0F}).lowest));
  CHECK(own_extremes({}).lowest == 0.0F);
  CHECK(own_extremes({}).highest == 0.0F);
}

TEST_CASE("the extreme is the first value of largest magnitude, with its sign", "[core]") {
  for (const std::size_t count : {2U, 3U, 16U, 17U, 100U}) {
    std::vector<float> values = support::integer_weights(count);
    for (std::size_t place = 0; place + 1 < count; ++place) {
      const std::vector<float> kept = values;
      for (const float largest : {1.5F, -1.5F}) {
        values[place] = largest;
        CHECK(first_extreme(values) == largest);
        values[place + 1] = -largest;
        CHECK(first_extreme(values) == largest);
        values[place] = 0.0F;
        CHECK(first_extreme(values) == -largest);
        values = kept;
      }
    }
  }
  for (const auto& zeros : {std::vector<float>{}, {0.0F}, {-0.0F}, {0.0F, -0.0F}}) {
    CHECK(first_extreme(zeros) == 0.0F);
  }
}

}  // namespace
