// SPDX-License-Identifier: MIT

#include <pluria/rounding/bernoulli.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace {

using namespace support;
using pluria::bernoulli;
using pluria::coupling;
using pluria::lattice;

const std::uint64_t tensor_hash = pluria::name_hash("blocks.0.attn.qkv.weight");

// Whether, above `below`, exactly `fraction` of the 65536 dithers go up to below + 1 and the others stay. `dither`
// turns the uniform bits into a dither: what is held to this law.
template <class Dither>
bool goes_up_with_its_fraction(std::int32_t below, std::uint32_t fraction, Dither dither) {
  const auto position = ints(below * 65536 + static_cast<std::int32_t>(fraction));
  const ints numbers = xsimd::batch_cast<std::int32_t>(lane_numbers());
  auto up = ints(0);
  auto seen = ints(0);
  for (std::int32_t first = 0; first < 65536; first += static_cast<std::int32_t>(lanes)) {
    const ints step = bernoulli::code(position, dither(numbers + ints(first))) - ints(below);
    up = up + step;
    seen = seen | step;
  }
  const auto counts = lanes_of(up);
  const auto steps = lanes_of(seen);
  return std::accumulate(counts.begin(), counts.end(), 0) == static_cast<std::int32_t>(fraction) &&
         std::all_of(steps.begin(), steps.end(), [](std::int32_t s) { return s == 0 || s == 1; });
}

template <class Dither>
std::size_t broken_fractions(std::int32_t below, std::uint32_t step, Dither dither) {
  std::size_t broken = 0;
  for (std::uint32_t fraction = 0; fraction < 65536; fraction += step) {
    broken += goes_up_with_its_fraction(below, fraction, dither) ? 0U : 1U;
  }
  return broken;
}

TEST_CASE("of all dithers, as many go up as the fraction says, for every fraction", "[rounding]") {
  const auto uniform = [](ints bits) { return bits; };
  CHECK(broken_fractions(0, stride(257), uniform) == 0);
  for (const std::int32_t below : {-127, -1, 126}) {
    CHECK(broken_fractions(below, 257 * stride(31), uniform) == 0);
  }
}

TEST_CASE("the exact law refuses dithers that are not uniform", "[rounding]") {
  CHECK(broken_fractions(0, 257, [](ints bits) { return bits | ints(1); }) > 0);
  CHECK(broken_fractions(0, 257, [](ints bits) { return bits & ints(0xfffe); }) > 0);
  CHECK(broken_fractions(0, 257, [](ints bits) { return xsimd::min(bits + ints(512), ints(65535)); }) > 0);
  CHECK(broken_fractions(0, 257, [](ints bits) { return bits + ints(1); }) > 0);
}

TEST_CASE("a weight on its grid stays under every dither", "[rounding]") {
  for (std::int32_t code = -127; code <= 127; ++code) {
    CHECK(bernoulli::code(code * 65536, 0) == code);
    CHECK(bernoulli::code(code * 65536, 65535) == code);
  }
}

TEST_CASE("a lattice takes a power of two in 2..256", "[rounding]") {
  for (std::uint32_t members = 2; members <= 256; members *= 2) {
    CHECK(lattice(members).block() == members);
    CHECK(lattice(members).name() == "lattice:" + std::to_string(members));
  }
  for (const std::uint32_t members : {0U, 1U, 3U, 12U, 255U, 512U}) {
    CHECK_THROWS_AS(lattice(members), pluria::precondition_error);
  }
  CHECK(pluria::independent.name() == "independent");
  CHECK(bernoulli{}.coupling == pluria::independent);
}

TEST_CASE("the dithers of a lattice block fall one into each of L equal intervals", "[rounding]") {
  // So the number of members that go up is floor or ceil of L * fraction; counted one by one below.
  for (std::uint32_t members = 2; members <= 256; members *= 2) {
    const bernoulli rounding{.coupling = lattice(members)};
    const std::uint32_t width = 65536 / members;
    std::size_t wrong = 0;
    for (const std::uint32_t high : {0U, 1U, 2U, 3U, 0x5554U, 0x7fffU, 0x8000U, 0xabcdU, 0xfffeU, 0xffffU}) {
      for (std::uint32_t low = 0; low < 65536; low += stride(257)) {
        std::bitset<256> hit;
        for (std::uint32_t k = 0; k < members; ++k) {
          const std::uint32_t dither = rounding.lattice_dither(high << 16 | low, k);
          hit.set(dither / width);
        }
        wrong += hit.count() == members ? 0U : 1U;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("floor or ceil of L times the fraction of a lattice block's members go up", "[rounding]") {
  for (std::uint32_t members = 2; members <= 256; members *= 2) {
    const bernoulli rounding{.coupling = lattice(members)};
    std::size_t wrong = 0;
    for (std::uint32_t i = 0; i < 16; ++i) {
      std::vector<std::int32_t> dithers(members);
      for (std::uint32_t k = 0; k < members; ++k) {
        dithers[k] = static_cast<std::int32_t>(rounding.lattice_dither(mixed(i + 1), k));
      }
      for (std::uint32_t fraction = 0; fraction < 65536; fraction += 16 * stride(15) - 15) {
        std::uint32_t up = 0;
        for (const std::int32_t dither : dithers) {
          up += static_cast<std::uint32_t>(bernoulli::code(static_cast<std::int32_t>(fraction), dither));
        }
        const std::uint32_t floor = members * fraction / 65536;
        const std::uint32_t ceil = (members * fraction + 65535) / 65536;
        wrong += up == floor || up == ceil ? 0U : 1U;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("each member of a lattice alone has uniform dithers", "[rounding]") {
  // With the high half given, the low half goes to the dither one to one: so the exact law above holds for each member.
  for (std::uint32_t members = 2; members <= 256; members *= 2) {
    const bernoulli rounding{.coupling = lattice(members)};
    for (const std::uint64_t k : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{members / 2},
                                  std::uint64_t{members - 1}, std::uint64_t{members} * 1000 + 1}) {
      for (const std::uint32_t high : {0U, 0x1234U, 0xffffU}) {
        std::vector<bool> met(65536, false);
        for (std::uint32_t low = 0; low < 65536; ++low) {
          const std::uint32_t dither = rounding.lattice_dither(high << 16 | low, k);
          met[dither & 0xffffU] = dither < 65536;
        }
        CHECK(std::all_of(met.begin(), met.end(), [](bool is_met) { return is_met; }));
      }
    }
  }
}

TEST_CASE("in 16-bit lanes the dithers of a lattice follow each other by its step", "[rounding]") {
  using halves = xsimd::batch<std::uint16_t>;
  for (const std::uint32_t members : {2U, 8U, 256U}) {
    const bernoulli rounding{.coupling = lattice(members)};
    std::size_t wrong = 0;
    for (std::uint32_t i = 0; i < 64; ++i) {
      std::array<std::uint16_t, halves::size> lower{};
      std::array<std::uint16_t, halves::size> upper{};
      for (std::uint32_t lane = 0; lane < halves::size; ++lane) {
        lower[lane] = static_cast<std::uint16_t>(mixed(64 * i + lane));
        upper[lane] = static_cast<std::uint16_t>(mixed(64 * i + lane) >> 16);
      }
      halves dither = halves::load_unaligned(lower.data());
      const halves step = rounding.lattice_step(halves::load_unaligned(upper.data()));
      for (std::uint32_t k = 0; k < members; ++k) {
        const auto found = lanes_of(dither);
        for (std::uint32_t lane = 0; lane < halves::size; ++lane) {
          wrong += found[lane] == rounding.lattice_dither(mixed(64 * i + lane), k) ? 0U : 1U;
        }
        dither = dither + step;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a dither comes from its own address", "[rounding]") {
  const bernoulli alone{.seed = 11};
  const bernoulli coupled{.seed = 11, .coupling = lattice(8)};
  std::size_t wrong = 0;
  for (std::uint64_t member = 0; member < 20; ++member) {
    const pluria::stream own(11, tensor_hash, pluria::purpose::rounding, 0, member);
    const pluria::stream shared(11, tensor_hash, pluria::purpose::lattice, 3, member / 8);
    for (std::uint32_t element = 0; element < 128; ++element) {
      wrong +=
          alone.dither(tensor_hash, 5, element, member) == 65535 - pluria::decision_bits_16(own, 5, element) ? 0U : 1U;
      const std::uint32_t word = pluria::decision_bits_32(shared, 5, element);
      const auto place = static_cast<std::uint32_t>(member % 8);
      const std::uint32_t expected = ((word & 0xffffU) + ((word >> 16) | 1U) * (65536U / 8U) * place) % 65536U;
      wrong += coupled.dither(tensor_hash, 5, element, member) == expected ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

// Whether codes are unbiased: in each of 16 ranges of the fraction, the sum of (code - position) over weights and
// members is within 6 standard deviations of zero. A decision with fraction f varies by f (1 - f); members of a lattice
// block together vary by less than independent ones (their sum is floor or ceil of its mean), so the bound holds for
// them too. Of 16 sums, one is beyond 6 sigma by chance with probability below 4e-8.
template <class Dither>
bool is_unbiased(const bernoulli& rounding, Dither dither) {
  std::array<double, 16> sum{};
  std::array<double, 16> variance{};
  const std::uint64_t members = 16;
  const std::uint64_t blocks = exhaustive ? 256 : 32;
  for (std::uint64_t block = 0; block < blocks; ++block) {
    for (std::uint32_t element = 0; element < 128; ++element) {
      const std::uint32_t fraction = mixed(static_cast<std::uint32_t>(128 * block) + element + 1) >> 16;
      const double f = fraction / 65536.0;
      for (std::uint64_t k = 0; k < members; ++k) {
        const std::uint32_t used = dither(rounding.dither(tensor_hash, block, element, k));
        sum[fraction / 4096] +=
            bernoulli::code(static_cast<std::int32_t>(fraction), static_cast<std::int32_t>(used)) - f;
        variance[fraction / 4096] += f * (1 - f);
      }
    }
  }
  for (std::size_t range = 0; range < sum.size(); ++range) {
    if (std::abs(sum[range]) > 6 * std::sqrt(variance[range])) {
      return false;
    }
  }
  return true;
}

TEST_CASE("stochastic rounding is unbiased, and the check sees a bias", "[rounding]") {
  for (const coupling& members : {pluria::independent, lattice(2), lattice(8), lattice(16)}) {
    for (const std::uint64_t seed : {0U, 1U, 12345U}) {
      const bernoulli rounding{.seed = seed, .coupling = members};
      CHECK(is_unbiased(rounding, [](std::uint32_t dither) { return dither; }));
      // In the lowest and highest ranges 512 too much is 10 sigma or more with a strided number of weights already.
      CHECK_FALSE(is_unbiased(rounding, [](std::uint32_t dither) { return std::min(dither + 2048, 65535U); }));
      CHECK_FALSE(is_unbiased(rounding, [](std::uint32_t dither) { return dither / 2; }));
      if (exhaustive) {
        CHECK_FALSE(is_unbiased(rounding, [](std::uint32_t dither) { return std::min(dither + 512, 65535U); }));
      }
    }
  }
}

// Whether the dithers of `distance` members or elements apart are uncorrelated: the mean product of two independent
// uniform variables on -1/2..1/2 has the standard deviation 1 / (12 sqrt(n)).
template <class Pair>
bool are_uncorrelated(std::size_t count, Pair pair) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto [a, b] = pair(i);
    sum += ((a + 0.5) / 65536 - 0.5) * ((b + 0.5) / 65536 - 0.5);
  }
  return std::abs(sum) <= 6 * std::sqrt(static_cast<double>(count)) / 12;
}

TEST_CASE("independent members and neighbouring weights are uncorrelated, lattice members are not", "[rounding]") {
  const std::size_t count = 65536;
  const auto members = [&](const bernoulli& rounding, std::uint64_t k, std::uint64_t j) {
    return are_uncorrelated(count, [&, k, j](std::size_t i) {
      const auto element = static_cast<std::uint32_t>(i % 128);
      return std::array<double, 2>{static_cast<double>(rounding.dither(tensor_hash, i / 128, element, k)),
                                   static_cast<double>(rounding.dither(tensor_hash, i / 128, element, j))};
    });
  };
  const bernoulli alone{.seed = 3};
  CHECK(members(alone, 0, 1));
  CHECK(members(alone, 0, 7));
  const bernoulli coupled{.seed = 3, .coupling = lattice(2)};
  CHECK_FALSE(members(coupled, 0, 1));  // always half a step apart
  CHECK(members(coupled, 1, 2));        // in different blocks

  for (const std::uint32_t distance : {1U, 16U, 32U, 64U}) {
    CHECK(are_uncorrelated(count, [&](std::size_t i) {
      const auto element = static_cast<std::uint32_t>(i % (128 - distance));
      const std::uint64_t block = i / (128 - distance);
      return std::array<double, 2>{static_cast<double>(alone.dither(tensor_hash, block, element, 0)),
                                   static_cast<double>(alone.dither(tensor_hash, block, element + distance, 0))};
    }));
  }
}

}  // namespace
