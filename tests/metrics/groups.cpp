// SPDX-License-Identifier: MIT
#include <pluria/metrics/groups.hpp>

#include <vector>

#include "support/catch.hpp"

using namespace pluria;

TEST_CASE("groups are numbered in the order of their first examples, whatever their names", "[metrics]") {
  const numbered_groups numbered(std::vector<std::int32_t>{7, -1, 7, 2147483647, -1, 0});
  CHECK(numbered.count == 4);
  CHECK(numbered.of_example == std::vector<std::size_t>{0, 1, 0, 2, 1, 3});
}

TEST_CASE("no examples have no groups", "[metrics]") {
  CHECK(numbered_groups({}).count == 0);
}
