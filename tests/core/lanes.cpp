// SPDX-License-Identifier: MIT

#include <pluria/core/lanes.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace {

using namespace support;

// Half to even without the machine's own rounding: |value| < 2^23.
std::int32_t rounded(float value) {
  const double below = std::floor(static_cast<double>(value));
  const double fraction = static_cast<double>(value) - below;
  const auto floor = static_cast<std::int32_t>(below);
  if (fraction == 0.5) {
    return floor % 2 == 0 ? floor : floor + 1;
  }
  return fraction < 0.5 ? floor : floor + 1;
}

TEST_CASE("rounding is half to even, for a float and for every lane", "[core]") {
  // Quarters up to 2^16, their neighbours, and large values that have no fraction left to lose.
  std::vector<float> values;
  for (std::int32_t quarters = -(1 << 18); quarters < 1 << 18; quarters += 1) {
    values.push_back(static_cast<float>(quarters) / 4.0F);
  }
  for (std::int32_t halves = -511; halves <= 511; halves += 2) {
    const float tie = static_cast<float>(halves) / 2.0F;
    values.push_back(std::nextafter(tie, -1000.0F));
    values.push_back(std::nextafter(tie, 1000.0F));
  }
  for (std::uint32_t i = 0; i < 4096; ++i) {
    values.push_back(integer_weight(i, 0x1p23F));
  }
  values.resize(values.size() / lanes * lanes);

  std::size_t wrong = 0;
  for (std::size_t first = 0; first < values.size(); first += lanes) {
    const auto batch = lanes_of(pluria::lanes::round_half_even(floats::load_unaligned(&values[first])));
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const std::int32_t expected = rounded(values[first + lane]);
      wrong += pluria::lanes::round_half_even(values[first + lane]) == expected ? 0U : 1U;
      wrong += batch[lane] == expected ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("truncation leaves the fraction out, for a float and for every lane", "[core]") {
  std::vector<float> values;
  for (std::int32_t eighths = -4096; eighths < 4096; ++eighths) {
    values.push_back(static_cast<float>(eighths) / 8.0F);
  }
  std::size_t wrong = 0;
  for (std::size_t first = 0; first < values.size(); first += lanes) {
    const auto batch = lanes_of(pluria::lanes::truncated(floats::load_unaligned(&values[first])));
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const auto expected = static_cast<std::int32_t>(std::trunc(values[first + lane]));
      wrong += pluria::lanes::truncated(values[first + lane]) == expected ? 0U : 1U;
      wrong += batch[lane] == expected ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("clamp limits a float and every lane", "[core]") {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {-infinity, -3.0F, -2.0F, std::nextafter(-2.0F, 0.0F), -0.0F, 0.0F, 1.5F, 2.0F, 2.5F,
                            std::numeric_limits<float>::max(), infinity}) {
    const float expected = value < -2.0F ? -2.0F : value > 2.0F ? 2.0F : value;
    CHECK(pluria::lanes::clamp(value, -2.0F, 2.0F) == expected);
    for (const float lane : lanes_of(pluria::lanes::clamp(floats(value), -2.0F, 2.0F))) {
      CHECK(lane == expected);
    }
  }
}

TEST_CASE("limits on one side and magnitudes, of a float and of every lane", "[core]") {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {-infinity, -3.0F, -2.0F, std::nextafter(-2.0F, 0.0F), -0x1p-149F, 0.0F, 1.5F, 2.0F, 2.5F,
                            std::numeric_limits<float>::max(), infinity}) {
    const float limited = value > 2.0F ? 2.0F : value;
    const float raised = value < -2.0F ? -2.0F : value;
    const float absolute = value < 0.0F ? -value : value;
    CHECK(pluria::lanes::at_most(value, 2.0F) == limited);
    CHECK(pluria::lanes::at_least(value, -2.0F) == raised);
    CHECK(pluria::lanes::magnitude(value) == absolute);
    CHECK(lanes_of(pluria::lanes::at_most(floats(value), 2.0F)) == lanes_of(floats(limited)));
    CHECK(lanes_of(pluria::lanes::at_least(floats(value), -2.0F)) == lanes_of(floats(raised)));
    CHECK(lanes_of(pluria::lanes::magnitude(floats(value))) == lanes_of(floats(absolute)));
  }
  CHECK(!std::signbit(pluria::lanes::magnitude(-0.0F)));
  CHECK(!std::signbit(lanes_of(pluria::lanes::magnitude(floats(-0.0F))).front()));
}

TEST_CASE("bits of an integer are rounded away half to even, in every lane", "[core]") {
  std::size_t wrong = 0;
  const auto check = [&]<int Count>(std::integral_constant<int, Count>) {
    for (std::uint32_t i = 0; i < 4096; ++i) {
      // Few of the bits above, all of those that are rounded away, or half of what they count and its neighbours.
      const auto few = static_cast<std::int32_t>(i >> 2);
      const auto value =
          (i & 1U) != 0 ? (few - 512) << (Count - 1) | (i & 2U ? 1 : 0) : static_cast<std::int32_t>(mixed(i)) >> 1;
      // A quotient of 31 bits, and a power of two: exact in double.
      const auto expected = static_cast<std::int32_t>(std::nearbyint(std::ldexp(value, -Count)));
      wrong += pluria::lanes::shift_half_even<Count>(value) == expected ? 0U : 1U;
      for (const std::int32_t lane : lanes_of(pluria::lanes::shift_half_even<Count>(ints(value)))) {
        wrong += lane == expected ? 0U : 1U;
      }
    }
  };
  check(std::integral_constant<int, 1>{});
  check(std::integral_constant<int, 4>{});
  check(std::integral_constant<int, 7>{});
  check(std::integral_constant<int, 16>{});
  CHECK(wrong == 0);
}

TEST_CASE("an integer takes the sign of a float, of either zero too", "[core]") {
  for (const float sign : {1.5F, -1.5F, 0.0F, -0.0F, 0x1p-149F, -0x1p-149F}) {
    for (const std::int32_t value : {0, 1, 65536, 0x7fffffff}) {
      const std::int32_t expected = std::signbit(sign) ? -value : value;
      CHECK(pluria::lanes::with_sign_of(value, sign) == expected);
      CHECK(lanes_of(pluria::lanes::with_sign_of(ints(value), floats(sign))) == lanes_of(ints(expected)));
    }
  }
}

TEST_CASE("a comparison of floats chooses floats, and adds to integers of any bits", "[core]") {
  using pluria::lanes::as;
  std::array<float, lanes> values{};
  std::array<std::uint32_t, lanes> bits{};
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    values[lane] = static_cast<float>(lane % 3) - 1.0F;
    // Small integers are subnormal floats, and some are no numbers: they must not be taken for floats.
    bits[lane] = lane % 4 == 0 ? lane : lane % 4 == 1 ? 0x7fa00001U : mixed(lane + 1);
  }
  const floats value = floats::load_unaligned(values.data());
  const ints sum = as<std::int32_t>(words::load_unaligned(bits.data()));
  for (const std::int32_t step : {0, 1, 8, 128, -3}) {
    const auto added = lanes_of(pluria::lanes::add_where_at_least(sum, value, floats(0.0F), step));
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      const auto before = static_cast<std::int32_t>(bits[lane]);
      CHECK(added[lane] == (values[lane] >= 0.0F ? before + step : before));
      CHECK(added[lane] == pluria::lanes::add_where_at_least(before, values[lane], 0.0F, step));
    }
  }
  const auto chosen = lanes_of(pluria::lanes::where_at_least(value, floats(1.0F), floats(2.5F), value));
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    CHECK(chosen[lane] == (values[lane] >= 1.0F ? 2.5F : values[lane]));
    CHECK(chosen[lane] == pluria::lanes::where_at_least(values[lane], 1.0F, 2.5F, values[lane]));
  }
}

TEST_CASE("rotation brings leaving bits back in, by every count", "[core]") {
  std::size_t wrong = 0;
  const auto check = [&]<int Count>(std::integral_constant<int, Count>) {
    for (std::uint32_t i = 0; i < 256; ++i) {
      const std::uint32_t word = mixed(i + 1);
      wrong += pluria::lanes::rotate_left<Count>(word) == std::rotl(word, Count) ? 0U : 1U;
      for (const std::uint32_t lane : lanes_of(pluria::lanes::rotate_left<Count>(words(word)))) {
        wrong += lane == std::rotl(word, Count) ? 0U : 1U;
      }
    }
  };
  [&]<int... Count>(std::integer_sequence<int, Count...>) {
    (check(std::integral_constant<int, Count + 1>{}), ...);
  }
  (std::make_integer_sequence<int, 31>{});
  CHECK(wrong == 0);
}

TEST_CASE("a word is two halves, and halves pair up across two words", "[core]") {
  using pluria::lanes::as;
  using halves = xsimd::batch<std::uint16_t>;
  std::array<std::uint32_t, lanes> low{};
  std::array<std::uint32_t, lanes> high{};
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    low[lane] = mixed(2 * lane + 1);
    high[lane] = mixed(2 * lane + 2);
  }
  const words a = words::load_unaligned(low.data());
  const words b = words::load_unaligned(high.data());
  const auto lower = lanes_of(pluria::lanes::lower_halves(a, b));
  const auto upper = lanes_of(pluria::lanes::upper_halves(a, b));
  const auto split = lanes_of(as<std::uint16_t>(a));
  std::size_t wrong = 0;
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    wrong += lower[2 * lane] == (low[lane] & 0xffffU) && lower[2 * lane + 1] == (high[lane] & 0xffffU) ? 0U : 1U;
    wrong += upper[2 * lane] == low[lane] >> 16 && upper[2 * lane + 1] == high[lane] >> 16 ? 0U : 1U;
    wrong += split[2 * lane] == (low[lane] & 0xffffU) && split[2 * lane + 1] == low[lane] >> 16 ? 0U : 1U;
  }
  CHECK(wrong == 0);
  CHECK(lanes_of(as<std::uint32_t>(as<std::uint16_t>(a))) == low);
  CHECK(lanes_of(as<float>(words(0x3fc00000U)))[0] == 1.5F);
  CHECK(lanes_of(pluria::lanes::numbers<words::arch_type>()) == lanes_of(lane_numbers()));
  static_assert(halves::size == 2 * lanes);
}

TEST_CASE("bits are added where one half is greater, in unsigned order", "[core]") {
  using halves = xsimd::batch<std::uint16_t>;
  std::size_t wrong = 0;
  for (const std::uint32_t b : {0U, 1U, 0x7ffeU, 0x7fffU, 0x8000U, 0x8001U, 0xfffeU, 0xffffU}) {
    for (std::uint32_t first = 0; first < 65536; first += halves::size) {
      std::array<std::uint16_t, halves::size> values{};
      for (std::uint32_t lane = 0; lane < halves::size; ++lane) {
        values[lane] = static_cast<std::uint16_t>(first + lane);
      }
      const halves a = halves::load_unaligned(values.data());
      const auto sum = lanes_of(pluria::lanes::add_where_greater(
          a, pluria::lanes::ordered(a), pluria::lanes::ordered(halves(static_cast<std::uint16_t>(b))),
          std::uint16_t{64}));
      for (std::uint32_t lane = 0; lane < halves::size; ++lane) {
        const std::uint32_t value = first + lane;
        wrong += sum[lane] == static_cast<std::uint16_t>(value > b ? value + 64 : value) ? 0U : 1U;
      }
    }
  }
  CHECK(wrong == 0);
}

// How many lanes of a choice among integers are not that of two integers.
template <class Int>
std::size_t wrong_choices() {
  using batch = xsimd::batch<Int>;
  alignas(64) std::array<Int, batch::size> a;
  alignas(64) std::array<Int, batch::size> b;
  alignas(64) std::array<Int, batch::size> chosen;
  std::size_t wrong = 0;
  for (std::uint32_t round = 0; round < 64; ++round) {
    for (std::size_t lane = 0; lane < batch::size; ++lane) {
      a[lane] = static_cast<Int>(mixed(static_cast<std::uint32_t>(lane) + 1000 * round));
      b[lane] = static_cast<Int>(mixed(static_cast<std::uint32_t>(lane) + 1000 * round + 500));
    }
    const batch left = batch::load_aligned(a.data());
    const batch right = batch::load_aligned(b.data());
    pluria::lanes::where<xsimd::default_arch>(left > right, left, right).store_aligned(chosen.data());
    for (std::size_t lane = 0; lane < batch::size; ++lane) {
      wrong += chosen[lane] == std::max(a[lane], b[lane]) ? 0U : 1U;
    }
  }
  return wrong;
}

TEST_CASE("a condition chooses among integers, lane by lane", "[core]") {
  CHECK(wrong_choices<std::uint16_t>() == 0);
  CHECK(wrong_choices<std::int32_t>() == 0);
  CHECK(wrong_choices<std::uint32_t>() == 0);
}

TEST_CASE("what is stored past the caches arrives", "[core]") {
  alignas(64) std::array<std::uint32_t, 4 * lanes> stored{};
  for (std::uint32_t batch = 0; batch < 4; ++batch) {
    pluria::lanes::store_past_cache(lane_numbers() + words(100 * batch), &stored[lanes * batch]);
  }
  pluria::lanes::fence_past_cache();
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < stored.size(); ++i) {
    wrong += stored[i] == 100 * (i / lanes) + i % lanes ? 0U : 1U;
  }
  CHECK(wrong == 0);
}

TEST_CASE("a loop is unrolled in order", "[core]") {
  std::vector<std::size_t> seen;
  pluria::lanes::unrolled<3>([&](auto index) {
    static_assert(decltype(index)::value < 3);
    seen.push_back(index);
  });
  CHECK(seen == std::vector<std::size_t>{0, 1, 2});
}

}  // namespace
