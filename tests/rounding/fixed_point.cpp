// SPDX-License-Identifier: MIT

#include <pluria/rounding/fixed_point.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_fixed_point.hpp>
#include <support/naive_packing.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using namespace support;
using pluria::basic_bernoulli;
using pluria::bernoulli;
using pluria::coupling;

template <int F>
struct with_fraction_bits : std::integral_constant<int, F> {};
using all_fraction_bits =
    std::tuple<with_fraction_bits<1>, with_fraction_bits<2>, with_fraction_bits<3>, with_fraction_bits<4>,
               with_fraction_bits<5>, with_fraction_bits<6>, with_fraction_bits<7>, with_fraction_bits<8>>;

const std::uint64_t tensor_hash = pluria::name_hash("blocks.0.attn.qkv.weight");

TEMPLATE_LIST_TEST_CASE("all fractions are rounded to F bits, ties to even, for an integer and for every lane",
                        "[rounding]", all_fraction_bits) {
  constexpr int f = TestType::value;
  using rounding = pluria::fixed_point<f>;
  std::size_t wrong = 0;
  std::size_t ties = 0;
  for (const std::int32_t below : {-127, -8, -1, 0, 1, 7, 126}) {
    for (std::int32_t fraction = 0; fraction < 65536; ++fraction) {
      const std::int32_t position = below * 65536 + fraction;
      wrong += rounding::code(position) == naive_fixed_point(position, f) ? 0U : 1U;
      ties += fraction % (65536 >> f) == 32768 >> f ? 1U : 0U;
    }
    for (std::int32_t first = 0; first < 65536; first += static_cast<std::int32_t>(lanes)) {
      const ints position = ints(below * 65536 + first) + xsimd::batch_cast<std::int32_t>(lane_numbers());
      const auto found = lanes_of(rounding::raised(position) >> (16 - f));
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        wrong += found[lane] == rounding::code(below * 65536 + first + static_cast<std::int32_t>(lane)) ? 0U : 1U;
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(ties == 7U << f);
}

TEMPLATE_LIST_TEST_CASE("a kept position is at most half a step of 2^-F away, and on its grid not at all", "[rounding]",
                        all_fraction_bits) {
  constexpr int f = TestType::value;
  std::int32_t farthest = 0;
  for (std::int32_t fraction = 0; fraction < 65536; ++fraction) {
    const std::int32_t kept = pluria::fixed_point<f>::code(fraction) * (65536 >> f);
    farthest = std::max(farthest, std::abs(kept - fraction));
  }
  CHECK(farthest == 32768 >> f);
  for (std::int32_t code = -127; code <= 127; ++code) {
    CHECK(pluria::fixed_point<f>::code(65536 * code) == code * (1 << f));
  }
}

// The law of dithers, exactly: over all bytes, each of 2^F dithers is met equally often by a member at a place of its
// lattice block.
template <class Dither>
bool is_uniform(int f, Dither dither) {
  std::array<int, 256> met{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const std::uint32_t found = dither(byte);
    if (found >> f != 0) {
      return false;
    }
    ++met[found];
  }
  return std::all_of(met.begin(), met.begin() + (1 << f), [&](int times) { return times == 256 >> f; });
}

// What follows from it: each fraction goes up for its share of all bytes.
template <class Dither>
bool goes_up_with_its_fraction(int f, Dither dither) {
  bool holds = true;
  for (std::uint32_t fraction = 0; fraction < 1U << f; ++fraction) {
    std::uint32_t up = 0;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      up += (fraction + dither(byte)) >> f;
    }
    holds = holds && up == fraction * (256U >> f);
  }
  return holds;
}

// Independent members, then lattices up to 2^F.
std::vector<coupling> couplings_up_to(int f) {
  std::vector<coupling> result;
  for (std::uint32_t block = 1; block <= 1U << f; block *= 2) {
    result.emplace_back(block);
  }
  return result;
}

TEMPLATE_LIST_TEST_CASE("over all bytes, every dither comes equally often and every fraction goes up by its share",
                        "[rounding]", all_fraction_bits) {
  constexpr int f = TestType::value;
  for (const coupling& coupled : couplings_up_to(f)) {
    for (std::uint64_t place = 0; place < coupled.block(); ++place) {
      // In the first block of members, and in one far behind.
      for (const std::uint64_t member : {place, place + std::uint64_t{1000003} * coupled.block()}) {
        const auto dither = [&](std::uint32_t byte) { return pluria::fixed_point<f>::dither(byte, coupled, member); };
        CAPTURE(coupled.name(), member);
        CHECK(is_uniform(f, dither));
        CHECK(goes_up_with_its_fraction(f, dither));
      }
    }
  }
}

TEST_CASE("the law of dithers refuses those that are not uniform", "[rounding]") {
  const auto refused = [](auto dither) { return !is_uniform(4, dither) && !goes_up_with_its_fraction(4, dither); };
  CHECK_FALSE(refused([](std::uint32_t byte) { return byte >> 4; }));
  CHECK(refused([](std::uint32_t byte) { return byte >> 4 | 1U; }));
  CHECK(refused([](std::uint32_t byte) { return std::min((byte >> 4) + 1, 15U); }));
  CHECK(refused([](std::uint32_t byte) { return byte >> 5; }));
  CHECK(refused([](std::uint32_t byte) { return ((byte >> 4) + (byte == 255 ? 1U : 0U)) & 15U; }));
}

TEMPLATE_LIST_TEST_CASE("the L dithers of one byte fall one into each of L equal intervals", "[rounding]",
                        all_fraction_bits) {
  constexpr int f = TestType::value;
  for (const coupling& coupled : couplings_up_to(f)) {
    const std::uint32_t block = coupled.block();
    std::size_t wrong = 0;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::vector<int> hit(block, 0);
      std::vector<std::uint32_t> dithers;
      for (std::uint64_t k = 0; k < block; ++k) {
        // The block's members from its first on, wherever the block is.
        const std::uint32_t dither = pluria::fixed_point<f>::dither(byte, coupled, 5 * std::uint64_t{block} + k);
        ++hit[dither / ((1U << f) / block)];
        dithers.push_back(dither);
      }
      wrong += std::all_of(hit.begin(), hit.end(), [](int times) { return times == 1; }) ? 0U : 1U;
      for (std::uint32_t fraction = 0; fraction < 1U << f; ++fraction) {
        std::uint32_t up = 0;
        for (const std::uint32_t dither : dithers) {
          up += (fraction + dither) >> f;
        }
        const std::uint32_t floor = block * fraction >> f;
        wrong += up == floor || (up == floor + 1 && (block * fraction) % (1U << f) != 0) ? 0U : 1U;
      }
    }
    CAPTURE(coupled.name());
    CHECK(wrong == 0);
  }
}

TEST_CASE("dithers are the formula's", "[rounding]") {
  std::size_t wrong = 0;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    // F = 4: B is the byte's upper half, A = (2 * lower half + 1) * 16 / L.
    for (std::uint32_t k = 0; k < 40; ++k) {
      wrong += pluria::fixed_point<4>::dither(byte, pluria::independent, k) == byte / 16 ? 0U : 1U;
      for (const std::uint32_t block : {2U, 8U, 16U}) {
        const std::uint32_t expected = (byte / 16 + (2 * (byte % 16) + 1) * (16 / block) * (k % block)) % 16;
        wrong += pluria::fixed_point<4>::dither(byte, pluria::lattice(block), k) == expected ? 0U : 1U;
      }
    }
  }
  CHECK(wrong == 0);
  // The comment's count: with L = 16, the multipliers of a weight's block are all eight odd ones.
  std::array<int, 16> multipliers{};
  for (std::uint32_t byte = 0; byte < 16; ++byte) {
    ++multipliers[pluria::fixed_point<4>::dither(byte, pluria::lattice(16), 1)];
  }
  for (std::size_t multiplier = 0; multiplier < 16; ++multiplier) {
    CHECK(multipliers[multiplier] == (multiplier % 2 == 0 ? 0 : 2));
  }
}

TEMPLATE_LIST_TEST_CASE("a lattice of more than 2^F members is refused", "[rounding]", all_fraction_bits) {
  constexpr int f = TestType::value;
  for (std::uint32_t block = 1; block <= 256; block *= 2) {
    const bernoulli rounding{.seed = 1, .coupling = coupling{block}};
    const auto call = [&] { static_cast<void>(pluria::fixed_point<f>::bits(rounding, tensor_hash, 0)); };
    CAPTURE(block);
    CHECK(message_of<pluria::precondition_error>(call) ==
          (block <= 1U << f ? "no error" : "fixed_point: a lattice has at most 2^F members, F the fractional bits"));
    CHECK(message_of<pluria::precondition_error>([&] { pluria::fixed_point<f>::check(rounding.coupling); }) ==
          message_of<pluria::precondition_error>(call));
  }
}

TEST_CASE("bits have an address of their own: purpose, log2 L, member or block of members", "[rounding]") {
  using rounding = pluria::fixed_point<4>;
  for (const std::uint32_t block : {1U, 2U, 16U}) {
    const bernoulli drawn{.seed = 77, .coupling = coupling{block}};
    for (const std::uint64_t member : {0U, 1U, 15U, 16U, 1000U}) {
      const auto found = rounding::bits(drawn, tensor_hash, member);
      const auto log2 = static_cast<std::uint32_t>(std::countr_zero(block));
      const pluria::stream expected(77, tensor_hash, pluria::purpose::fixed_point, log2, member / block);
      CHECK(found(12345) == expected(12345));
    }
    const std::uint64_t end = std::uint64_t{block} << 32;
    CHECK_NOTHROW(rounding::bits(drawn, tensor_hash, end - 1));
    CHECK_THROWS_AS(rounding::bits(drawn, tensor_hash, end), pluria::precondition_error);
  }
}

// Outputs whose byte b of word w of output o is digit `Digit` of 16 o + 4 w + b in base 256.
template <int Digit>
struct numbered_bytes {
  template <class Word>
  static std::array<Word, 4> generate(std::array<Word, 4> counter, const std::array<std::uint32_t, 4>&) {
    std::array<Word, 4> output{};
    for (Word w = 0; w < 4; ++w) {
      for (Word b = 0; b < 4; ++b) {
        output[w] |= ((16 * counter[0] + 4 * w + b) >> (8 * Digit) & 0xffU) << (8 * b);
      }
    }
    return output;
  }
};

TEST_CASE("every weight has a byte of its own, in the order in which kernels meet it", "[rounding]") {
  using rounding = pluria::fixed_point<4>;
  const auto low = rounding::bits(basic_bernoulli<numbered_bytes<0>>{}, tensor_hash, 0);
  const auto high = rounding::bits(basic_bernoulli<numbered_bytes<1>>{}, tensor_hash, 0);
  for (const std::uint64_t blocks : {1U, 2U, 3U, 4U, 5U}) {
    const std::uint64_t pairs = (blocks + 1) / 2;
    std::vector<int> met(5 * pairs * 256, 0);
    std::size_t wrong = 0;
    for (std::uint64_t row = 0; row < 5; ++row) {
      for (std::uint64_t index = 0; index < blocks; ++index) {
        for (std::size_t e = 0; e < 128; ++e) {
          const std::uint32_t address =
              rounding::byte(low, row, blocks, index, e) + 256 * rounding::byte(high, row, blocks, index, e);
          REQUIRE(address < met.size());
          ++met[address];
          // 16 outputs of 16 bytes for two blocks; the words of one output belong to both.
          const std::size_t place = naive_place(e);
          const std::uint64_t output = 16 * (row * pairs + index / 2) + place % 64 / 4;
          wrong += address == 16 * output + 4 * (2 * (index % 2) + place / 64) + place % 4 ? 0U : 1U;
        }
      }
    }
    CAPTURE(blocks);
    CHECK(wrong == 0);
    CHECK(std::all_of(met.begin(), met.end(), [](int times) { return times <= 1; }));
    CHECK(static_cast<std::uint64_t>(std::count(met.begin(), met.end(), 1)) == 5 * blocks * 128);
  }
}

// Whether, for every fraction of 4 bits, the number of moves up over weights and members is within 5 standard
// deviations of fraction / 16 of them. A decision varies by f (1 - f); the sum over a whole lattice block is floor or
// ceil of its mean and so varies by less. Of 15 sums, one is beyond 5 sigma by chance with probability below 1e-5, and
// the seed is fixed.
template <class Dither>
bool is_unbiased(const bernoulli& drawn, Dither changed) {
  using rounding = pluria::fixed_point<4>;
  const std::uint64_t rows = exhaustive ? 128 : 16;
  const std::uint64_t members = 16;
  std::array<double, 16> ups{};
  std::array<double, 16> count{};
  for (std::uint64_t k = 0; k < members; ++k) {
    const auto random = rounding::bits(drawn, tensor_hash, k);
    for (std::uint64_t row = 0; row < rows; ++row) {
      for (std::uint64_t index = 0; index < 3; ++index) {
        for (std::size_t e = 0; e < 128; ++e) {
          const std::uint32_t fraction = mixed(static_cast<std::uint32_t>(1000 * row + 128 * index + e)) >> 28;
          const std::uint32_t dither = rounding::dither(rounding::byte(random, row, 3, index, e), drawn.coupling, k);
          ups[fraction] += static_cast<double>((fraction + changed(dither)) >> 4);
          count[fraction] += 1;
        }
      }
    }
  }
  bool within = ups[0] == 0;
  for (std::size_t fraction = 1; fraction < 16; ++fraction) {
    const double f = static_cast<double>(fraction) / 16;
    const double sigma = std::sqrt(count[fraction] * f * (1 - f));
    within = within && count[fraction] > 0 && std::abs(ups[fraction] - count[fraction] * f) <= 5 * sigma;
  }
  return within;
}

TEST_CASE("a weight goes up as often as its kept fraction says, and the check sees a bias", "[rounding]") {
  for (const std::uint32_t block : {1U, 2U, 16U}) {
    for (const std::uint64_t seed : {0U, 1U, 12345U}) {
      const bernoulli drawn{.seed = seed, .coupling = coupling{block}};
      CAPTURE(block, seed);
      CHECK(is_unbiased(drawn, [](std::uint32_t dither) { return dither; }));
      // With a stride about 6000 decisions a fraction: one dither too many is 375 moves, 10 sigma or more.
      CHECK_FALSE(is_unbiased(drawn, [](std::uint32_t dither) { return std::min(dither + 1, 15U); }));
      CHECK_FALSE(is_unbiased(drawn, [](std::uint32_t dither) { return dither - std::min(dither, 1U); }));
      CHECK_FALSE(is_unbiased(drawn, [](std::uint32_t) { return 8U; }));  // nearest
    }
  }
}

TEST_CASE("members and neighbours are uncorrelated when they are independent", "[rounding]") {
  // Moves up at fraction 1/2 are fair coins, +1 or -1; the sum of products of two independent ones over n pairs has the
  // standard deviation sqrt(n), and is within 5 of them with a probability above 1 - 1e-6.
  using rounding = pluria::fixed_point<4>;
  const bernoulli drawn{.seed = 3};
  const auto coin = [&](std::uint64_t k, std::uint64_t index, std::size_t e) {
    const auto random = rounding::bits(drawn, tensor_hash, k);
    return rounding::dither(rounding::byte(random, 0, 300, index, e), drawn.coupling, k) >= 8 ? 1 : -1;
  };
  const std::uint64_t blocks = exhaustive ? 300 : 40;
  int between_members = 0;
  int between_elements = 0;
  int between_blocks = 0;
  int with_itself = 0;
  for (std::uint64_t index = 0; index < blocks; ++index) {
    for (std::size_t e = 0; e < 128; ++e) {
      between_members += coin(0, index, e) * coin(1, index, e);
      between_elements += coin(0, index, e) * coin(0, index, (e + 1) % 128);
      between_blocks += coin(0, index, e) * coin(0, index ^ 1U, e);
      with_itself += coin(0, index, e) * coin(0, index, e);
    }
  }
  const double bound = 5 * std::sqrt(128.0 * static_cast<double>(blocks));
  CHECK(std::abs(between_members) <= bound);
  CHECK(std::abs(between_elements) <= bound);
  // Each pair of blocks is met twice.
  CHECK(std::abs(between_blocks) <= std::sqrt(2.0) * bound);
  CHECK(with_itself > bound);
}

}  // namespace
