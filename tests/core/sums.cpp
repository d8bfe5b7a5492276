// SPDX-License-Identifier: MIT

#include <pluria/core/sums.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace {

using namespace support;

TEST_CASE("sixteen neighbours are summed at eight places", "[core]") {
  for (const std::size_t stride : {16U, 48U}) {
    alignas(64) std::array<std::int32_t, 8 * 48> values{};
    for (std::uint32_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<std::int32_t>(mixed(i + 1)) / 16;
    }
    std::array<std::int32_t, 8> expected{};
    for (std::size_t i = 0; i < 8; ++i) {
      for (std::size_t j = 0; j < 16; ++j) {
        expected[i] += values[i * stride + j];
      }
    }
    CHECK(pluria::lanes::sums_of_16(values.data(), stride) == expected);
    CHECK(pluria::lanes::sums_of_16_one_by_one(values.data(), stride) == expected);
  }
}

TEST_CASE("sixteen floats are summed at eight places in one order", "[core]") {
  for (const std::size_t stride : {16U, 48U}) {
    alignas(64) std::array<float, 8 * 48> values{};
    for (std::uint32_t i = 0; i < values.size(); ++i) {
      // Sums in another order differ.
      values[i] = integer_weight(i) * (i % 3 == 0 ? 1e6F : 1.0F);
    }
    std::array<float, 8> expected{};
    for (std::size_t i = 0; i < 8; ++i) {
      std::array<float, 16> sums;
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(i * stride), 16, sums.begin());
      for (std::size_t j = 0; j < 8; ++j) {
        sums[j] += sums[j + 8];
      }
      for (const std::size_t apart : {1U, 2U, 4U}) {
        for (std::size_t j = 0; j < 8; j += 2 * apart) {
          sums[j] += sums[j + apart];
        }
      }
      expected[i] = sums[0];
    }
    CHECK(pluria::lanes::sums_of_16(values.data(), stride) == expected);
    CHECK(pluria::lanes::sums_of_16_one_by_one(values.data(), stride) == expected);
  }
}

}  // namespace
