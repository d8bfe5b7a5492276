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
    CHECK(per_tensor{}.map({3, columns}) == granule_map::whole(3, columns));
    CHECK(per_channel{}.map({3, columns}) == granule_map::groups(3, columns, columns));
    CHECK(per_group(16).map({3, columns}) == granule_map::groups(3, columns, 16));
  }
  CHECK(per_tensor{}.map({3, 300}).size() == 1);
  CHECK(per_channel{}.map({3, 300}).size() == 3);
  CHECK(per_group(128).map({3, 300}).size() == 9);  // 128 + 128 + 44 columns
  CHECK(per_group(320).map({3, 300}).size() == 3);
  const std::size_t largest = std::numeric_limits<std::size_t>::max() / 16 * 16;
  CHECK(per_group(largest).map({3, 300}).size() == 3);
}

TEST_CASE("an output channel of a convolution is all that dimension 0 counts once", "[quantize]") {
  for (const pluria::tensor_shape& shape : {pluria::tensor_shape{6, 3, 5, 5},
                                            {6, 64, 3, 3},
                                            {6, 3, 16, 16},
                                            {6, 3, 2, 16, 64},
                                            {6, 80, 3},
                                            {6, 1, 48},
                                            {6, 4, 60}}) {
    CAPTURE(pluria::to_string(shape));
    const std::size_t columns = pluria::element_count(shape, "w") / 6;
    CHECK(per_channel{}.map(shape) == granule_map::groups(6, columns, columns));
    CHECK(per_tensor{}.map(shape) == granule_map::whole(6, columns));
    CHECK(per_group(32).map(shape) == granule_map::groups(6, columns, 32));
  }
}

TEST_CASE("an output channel of stacked matrices is one row of one of them", "[quantize]") {
  for (const std::size_t inputs : {64U, 80U, 2880U}) {
    const granule_map map = per_channel{}.map({4, 5, inputs});
    CHECK(map.rows() == 4);
    CHECK(map.columns() == 5 * inputs);
    CHECK(map.size() == 4 * 5);
    for (const std::size_t output : {0U, 1U, 4U}) {
      CHECK(map.index(3, output * inputs) == 3 * 5 + output);
      CHECK(map.index(3, output * inputs + inputs - 1) == 3 * 5 + output);
      CHECK(map.run_end(output * inputs) == (output + 1) * inputs);
    }
  }
  CHECK(per_tensor{}.map({4, 5, 64}).size() == 1);
  CHECK(per_group(32).map({4, 5, 64}).size() == 4 * 5 * 2);
  // What a stack without matrices or outputs has: no channel to find.
  CHECK(per_channel{}.map({0, 5, 64}).size() == 0);
  CHECK(per_channel{}.map({4, 0, 64}).size() == 0);
}

TEST_CASE("vectors and scalars are one row", "[quantize]") {
  CHECK(per_channel{}.map({}) == granule_map::groups(1, 1, 1));
  CHECK(per_channel{}.map({300}) == granule_map::groups(1, 300, 300));
  CHECK(per_group(128).map({300}).size() == 3);
}

TEST_CASE("a group is a positive multiple of 16", "[quantize]") {
  for (const std::size_t size : {0U, 1U, 8U, 15U, 17U, 24U, 100U}) {
    CHECK_THROWS_AS(per_group(size), precondition_error);
  }
  CHECK(per_group(32).size() == 32);
}

}  // namespace
