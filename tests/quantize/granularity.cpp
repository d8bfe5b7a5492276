// SPDX-License-Identifier: MIT

#include <pluria/quantize/granularity.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <limits>

namespace {

using pluria::granule_map;
using pluria::per_channel;
using pluria::per_group;
using pluria::per_tensor;
using pluria::precondition_error;

static_assert(pluria::granularity<per_tensor> && pluria::granularity<per_channel> && pluria::granularity<per_group>);
static_assert(!pluria::granularity<granule_map>);

TEST_CASE("a granularity has the literature's name", "[quantize]") {
  CHECK(per_tensor{}.name() == "tensor");
  CHECK(per_channel{}.name() == "channel");
  CHECK(per_group(48).name() == "group:48");
}

TEST_CASE("a granule is the tensor, a row, or a group of columns", "[quantize]") {
  for (const std::size_t columns : {0U, 1U, 16U, 100U, 300U}) {
    CHECK(per_tensor{}.map(3, columns) == granule_map::whole(3, columns));
    CHECK(per_channel{}.map(3, columns) == granule_map::groups(3, columns, columns));
    CHECK(per_group(16).map(3, columns) == granule_map::groups(3, columns, 16));
  }
  CHECK(per_tensor{}.map(3, 300).size() == 1);
  CHECK(per_channel{}.map(3, 300).size() == 3);
  CHECK(per_group(128).map(3, 300).size() == 9);  // 128 + 128 + 44 columns
  CHECK(per_group(320).map(3, 300).size() == 3);
  const std::size_t largest = std::numeric_limits<std::size_t>::max() / 16 * 16;
  CHECK(per_group(largest).map(3, 300).size() == 3);
}

TEST_CASE("a group is a positive multiple of 16", "[quantize]") {
  for (const std::size_t size : {0U, 1U, 8U, 15U, 17U, 24U, 100U}) {
    CHECK_THROWS_AS(per_group(size), precondition_error);
  }
  CHECK(per_group(32).size() == 32);
}

}  // namespace
