// SPDX-License-Identifier: MIT
// How choose_precision spends its budget, against all choices there are.

#include "../../examples/choose_precision/bit_allocation.hpp"

#include <support/catch.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace {

using pluria::examples::allocate_bits;
using pluria::examples::bit_candidate;
using tensors = std::vector<std::vector<bit_candidate>>;

struct totals {
  std::uint64_t bits = 0;
  double cost = 0.0;
};

totals of(const tensors& all, const std::vector<std::size_t>& chosen) {
  totals sum;
  for (std::size_t i = 0; i < all.size(); ++i) {
    sum.bits += all[i].at(chosen[i]).bits;
    sum.cost += all[i].at(chosen[i]).cost;
  }
  return sum;
}

// The least cost of all choices within a budget, by trying every one.
double least_cost(const tensors& all, std::uint64_t budget) {
  double least = std::numeric_limits<double>::infinity();
  std::vector<std::size_t> chosen(all.size());
  while (true) {
    const totals sum = of(all, chosen);
    if (sum.bits <= budget && sum.cost < least) {
      least = sum.cost;
    }
    std::size_t i = 0;
    while (i < all.size() && ++chosen[i] == all[i].size()) {
      chosen[i++] = 0;
    }
    if (i == all.size()) {
      return least;
    }
  }
}

// Tensors of different sizes whose costs fall with the bits on the whole, with noise of either sign: small dyadic
// fractions, so that sums are exact.
tensors made(std::uint32_t seed, std::size_t count) {
  std::uint32_t state = seed;
  const auto draw = [&](std::uint32_t below) {
    state = state * 1664525U + 1013904223U;
    return (state >> 8) % below;
  };
  tensors all(count);
  for (auto& candidates : all) {
    const std::uint64_t weights = 16 * (1 + draw(20));
    for (std::uint64_t bits = 2; bits <= 6; ++bits) {
      const double sensitivity = static_cast<double>(draw(4096));
      candidates.push_back({weights * bits + 32, (sensitivity - 256.0) / static_cast<double>(1U << (2 * bits))});
    }
  }
  return all;
}

}  // namespace

TEST_CASE("a choice of bits keeps to its budget and costs least of all that take no more", "[examples]") {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    const tensors all = made(seed, 5);
    const std::uint64_t fewest = of(all, std::vector<std::size_t>(5, 0)).bits;
    const std::uint64_t most = of(all, std::vector<std::size_t>(5, 4)).bits;
    totals before{};
    for (std::uint64_t budget = fewest; budget <= most + 16; budget += 16) {
      const auto chosen = allocate_bits(all, budget);
      REQUIRE(chosen.has_value());
      const totals sum = of(all, *chosen);
      CAPTURE(seed, budget, sum.bits);
      CHECK(sum.bits <= budget);
      // A larger budget never costs more, nor takes fewer bits.
      CHECK(sum.bits >= before.bits);
      CHECK((before.bits == 0 || sum.cost <= before.cost));
      if (sum.bits != before.bits) {
        CHECK(sum.cost == least_cost(all, sum.bits));
      }
      before = sum;
    }
  }
}

TEST_CASE("a width of bad cost does not block those behind it", "[examples]") {
  // Of the first tensor three bits cost more than two, and much more than four.
  const tensors all{{{200, 1.0}, {300, 9.0}, {400, 0.0}}, {{200, 3.0}, {300, 0.5}, {400, 0.0}}};
  CHECK(allocate_bits(all, 800) == std::vector<std::size_t>{2, 2});
  // The steps to two bits of the first and to three of the second cost as much per bit: the first comes first.
  CHECK(allocate_bits(all, 600) == std::vector<std::size_t>{0, 2});
  CHECK(allocate_bits(all, 599) == std::vector<std::size_t>{0, 1});
  CHECK(allocate_bits(all, 400) == std::vector<std::size_t>{0, 0});
}

TEST_CASE("steps that cost less than nothing are taken within the budget, too", "[examples]") {
  const tensors all{{{200, -0.5}, {400, 0.0}}, {{200, 0.5}, {400, 0.0}}};
  CHECK(allocate_bits(all, 1000) == std::vector<std::size_t>{0, 1});
  // Of two candidates of as many bits the cheaper one.
  CHECK(allocate_bits(tensors{{{300, 1.0}, {300, 0.5}, {100, 2.0}, {100, 1.5}}}, 300) == std::vector<std::size_t>{1});
  CHECK(allocate_bits(tensors{{{300, 1.0}, {300, 0.5}, {100, 2.0}, {100, 1.5}}}, 299) == std::vector<std::size_t>{3});
}

TEST_CASE("a budget below the fewest bits has no choice", "[examples]") {
  const tensors all{{{200, 1.0}, {400, 0.0}}, {{200, 3.0}}};
  CHECK_FALSE(allocate_bits(all, 399).has_value());
  CHECK(allocate_bits(all, 400) == std::vector<std::size_t>{0, 0});
  CHECK_THROWS_AS(allocate_bits(tensors{{}}, 10), pluria::precondition_error);
  CHECK_THROWS_AS(allocate_bits(tensors{{{1, std::nan("")}}}, 10), pluria::precondition_error);
}
