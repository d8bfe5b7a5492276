// SPDX-License-Identifier: MIT

#include <pluria/core/float16.hpp>
#include <pluria/core/widen.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

using namespace support;
namespace widening = pluria::lanes;
using arch = xsimd::default_arch;

// A batch of consecutive patterns from `first` on, at an odd address.
struct patterns {
  explicit patterns(std::uint32_t first) {
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      const auto bits = static_cast<std::uint16_t>(first + lane);
      std::memcpy(&bytes[1 + 2 * lane], &bits, 2);
    }
  }
  const std::byte* data() const { return &bytes[1]; }
  std::array<std::byte, 2 * lanes + 1> bytes{};
};

bool same(float a, float b) {
  return std::isnan(a) ? std::isnan(b) && std::signbit(a) == std::signbit(b)
                       : std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

TEST_CASE("16-bit values widen as they do one by one", "[core]") {
  std::size_t wrong = 0;
  for (std::uint32_t first = 0; first < 65536; first += lanes) {
    const patterns values(first);
    const auto found = lanes_of(widening::widened<arch>(values.data()));
    const auto expected = lanes_of(widening::widened_one_by_one<arch>(values.data()));
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      wrong += found[lane] == first + lane ? 0U : 1U;
      wrong += expected[lane] == first + lane ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("lanes of 16-bit floats are the single ones, for every pattern", "[core]") {
  std::size_t wrong = 0;
  for (std::uint32_t first = 0; first < 65536; first += lanes) {
    const patterns values(first);
    const auto half = lanes_of(widening::floats_from_half<arch>(values.data()));
    const auto twin = lanes_of(widening::floats_from_half_by_integers<arch>(values.data()));
    const auto brain = lanes_of(widening::floats_from_bfloat16<arch>(values.data()));
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      const auto bits = static_cast<std::uint16_t>(first + lane);
      wrong += same(half[lane], pluria::float_from_half(bits)) ? 0U : 1U;
      wrong += same(twin[lane], pluria::float_from_half(bits)) ? 0U : 1U;
      wrong += same(brain[lane], pluria::float_from_bfloat16(bits)) ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("four 16-bit floats are repeated to the end of a batch", "[core]") {
  std::size_t wrong = 0;
  for (std::uint32_t first = 0; first < 65536; first += 4) {
    const std::array<std::uint16_t, 4> four{static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(first + 1),
                                            static_cast<std::uint16_t>(first + 2),
                                            static_cast<std::uint16_t>(first + 3)};
    const auto* const bytes = reinterpret_cast<const std::byte*>(four.data());
    const auto found = lanes_of(widening::repeated_from_half<arch>(bytes));
    const auto twin = lanes_of(widening::repeated_from_half_one_by_one<arch>(bytes));
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      wrong += same(found[lane], pluria::float_from_half(four[lane % 4])) ? 0U : 1U;
      wrong += same(twin[lane], pluria::float_from_half(four[lane % 4])) ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

}  // namespace
