// SPDX-License-Identifier: MIT

#include <pluria/core/error.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/fitted_codebook.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using namespace support;
using pluria::fitted_codebook;
using pluria::k_means;
using pluria::k_means_codebook;
using pluria::least_variance;
using pluria::least_variance_codebook;
using pluria::sorted_weights;

using criteria = std::tuple<k_means, least_variance>;

// The squared error of one weight between two points, or beyond the outermost ones: of the nearer point, or expected of
// Bernoulli rounding.
template <class Criterion>
double error_between(double weight, double below, double above) {
  const double down = weight - below;
  const double up = above - weight;
  if (down <= 0.0 || up <= 0.0) {
    const double beyond = std::min(std::abs(down), std::abs(up));
    return beyond * beyond;
  }
  return std::is_same_v<Criterion, k_means> ? std::min(down * down, up * up) : down * up;
}

template <class Criterion, class Points>
double error(const std::vector<float>& weights, const Points& points, const std::vector<float>& importance = {}) {
  double sum = 0.0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto weight = static_cast<double>(weights[i]);
    std::size_t below = 0;
    while (below + 2 < points.size() && static_cast<double>(points[below + 1]) <= weight) {
      ++below;
    }
    sum += (importance.empty() ? 1.0 : static_cast<double>(importance[i])) *
           error_between<Criterion>(weight, static_cast<double>(points[below]), static_cast<double>(points[below + 1]));
  }
  return sum;
}

// Of a number system with any codes.
template <class N>
std::vector<float> values_of(const typename N::granule& granule) {
  std::vector<float> values;
  for (std::int32_t code = N::min_code; code <= N::max_code; ++code) {
    values.push_back(N::decode(code, granule));
  }
  return values;
}

// The least error of `count` points: over all ways to cut the sorted weights into cells, by dynamic programming.
template <class Criterion>
double least_error(std::vector<float> weights, std::size_t count) {
  std::sort(weights.begin(), weights.end());
  const std::size_t n = weights.size();
  // k_means: cells first..last - 1 around their mean. least_variance: cells between two weights that are points.
  const auto cell = [&](std::size_t first, std::size_t last) {
    double sum = 0.0;
    if constexpr (std::is_same_v<Criterion, k_means>) {
      double mean = 0.0;
      for (std::size_t i = first; i < last; ++i) {
        mean += static_cast<double>(weights[i]) / static_cast<double>(last - first);
      }
      for (std::size_t i = first; i < last; ++i) {
        sum += (static_cast<double>(weights[i]) - mean) * (static_cast<double>(weights[i]) - mean);
      }
    } else {
      for (std::size_t i = first; i <= last; ++i) {
        sum += error_between<Criterion>(static_cast<double>(weights[i]), static_cast<double>(weights[first]),
                                        static_cast<double>(weights[last]));
      }
    }
    return sum;
  };
  const std::size_t cells = std::is_same_v<Criterion, k_means> ? count : count - 1;
  const std::size_t ends = std::is_same_v<Criterion, k_means> ? n : n - 1;
  std::vector<std::vector<double>> cost(ends + 1, std::vector<double>(ends + 1));
  for (std::size_t first = 0; first < ends; ++first) {
    for (std::size_t last = first + 1; last <= ends; ++last) {
      cost[first][last] = cell(first, last);
    }
  }
  std::vector<double> least(ends + 1, std::numeric_limits<double>::infinity());
  least[0] = 0.0;
  for (std::size_t c = 0; c < cells; ++c) {
    for (std::size_t last = ends; last > 0; --last) {
      for (std::size_t first = 0; first < last; ++first) {
        least[last] = std::min(least[last], least[first] + cost[first][last]);
      }
    }
  }
  return least[ends];
}

// Bell-shaped, with heavy tails, of several clusters, and far from zero.
std::vector<std::vector<float>> made_weights(std::size_t count) {
  std::vector<std::vector<float>> all(4, integer_weights(count));
  for (std::size_t i = 0; i < count; ++i) {
    all[1][i] *= all[1][i] * all[1][i];
    all[2][i] = 0.1F * all[2][i] + static_cast<float>(i % 3);
    all[3][i] = 0.7F + 0x1p-16F * all[3][i];
  }
  return all;
}

TEMPLATE_LIST_TEST_CASE("iterations do not raise the error, nor disturb the order", "[number]", criteria) {
  using codebook = fitted_codebook<4, TestType>;
  for (const auto& weights : made_weights(2000)) {
    const sorted_weights sorted(weights);
    std::array<double, 16> points = codebook::start(sorted);
    double before = error<TestType>(weights, points);
    bool has_moved = true;
    for (int i = 0; i < codebook::iterations && has_moved; ++i) {
      const std::array<double, 16> old = points;
      has_moved = TestType::improve(sorted, points);
      REQUIRE(has_moved == (points != old));
      REQUIRE(std::is_sorted(points.begin(), points.end()));
      const double after = error<TestType>(weights, points);
      REQUIRE(after <= before * (1.0 + 1e-12));
      before = after;
    }
    CHECK(before < error<TestType>(weights, codebook::start(sorted)));
  }
}

TEMPLATE_LIST_TEST_CASE("the error is close to the least of all codebooks of two bits", "[number]", criteria) {
  // Iterations end where no point can move alone, which need not be the least: 1.23 times of it here at most.
  for (const std::size_t count : {40U, 150U}) {
    for (const auto& weights : made_weights(count)) {
      const double least = least_error<TestType>(weights, 4);
      const double found = error<TestType>(weights, fitted_codebook<2, TestType>::fit(weights).values());
      CHECK(found >= least * (1.0 - 1e-4));
      CHECK(found <= least * 1.25);
    }
  }
}

TEST_CASE("k-means is Lloyd's iteration", "[number]") {
  for (const auto& weights : made_weights(100)) {
    const sorted_weights sorted(weights);
    std::array<double, 8> points = k_means_codebook<3>::start(sorted);
    std::array<double, 8> naive = points;
    for (int i = 0; i < 20; ++i) {
      k_means::improve(sorted, points);
      std::array<double, 8> sums{};
      std::array<double, 8> counts{};
      for (const float weight : weights) {
        std::size_t nearest = 0;
        for (std::size_t p = 1; p < 8; ++p) {
          const auto w = static_cast<double>(weight);
          nearest = std::abs(naive[p] - w) < std::abs(naive[nearest] - w) ? p : nearest;
        }
        sums[nearest] += static_cast<double>(weight);
        counts[nearest] += 1.0;
      }
      for (std::size_t p = 0; p < 8; ++p) {
        naive[p] = counts[p] > 0.0 ? sums[p] / counts[p] : naive[p];
        // Sums of 100 in another order, and differences of such sums.
        CHECK(std::abs(points[p] - naive[p]) <= 400.0 * 0x1p-52 * (1.0 + std::abs(naive[p])));
      }
    }
  }
}

TEST_CASE("no point of least variance can move alone to a place of less", "[number]") {
  for (const auto& weights : made_weights(60)) {
    const auto granule = least_variance_codebook<3>::fit(weights);
    std::array<float, 8> best{};
    std::copy(granule.values().begin(), granule.values().end(), best.begin());
    CHECK(best.front() == *std::min_element(weights.begin(), weights.end()));
    CHECK(best.back() == *std::max_element(weights.begin(), weights.end()));
    const double least = error<least_variance>(weights, best);
    std::size_t worse = 0;
    for (std::size_t p = 1; p < 7; ++p) {
      CHECK(std::count(weights.begin(), weights.end(), best[p]) > 0);
      for (int place = 1; place < 100; ++place) {
        std::array<float, 8> moved = best;
        moved[p] = best[p - 1] + 0.01F * static_cast<float>(place) * (best[p + 1] - best[p - 1]);
        worse += error<least_variance>(weights, moved) >= least * (1.0 - 1e-6) ? 1U : 0U;
      }
      for (const float weight : weights) {
        std::array<float, 8> moved = best;
        moved[p] = std::clamp(weight, best[p - 1], best[p + 1]);
        worse += error<least_variance>(weights, moved) >= least * (1.0 - 1e-6) ? 1U : 0U;
      }
    }
    CHECK(worse == 6 * (99 + weights.size()));
  }
}

TEST_CASE("fitted tables have less variance than the fixed grids that cover the weights", "[number]") {
  const auto check = [](const std::vector<float>& weights) {
    const auto of = [&]<class N>(N) { return error<least_variance>(weights, values_of<N>(N::fit(weights))); };
    const double fitted = of(least_variance_codebook<4>{});
    CHECK(fitted < of(pluria::symmetric_int<4>{}));
    CHECK(fitted < of(pluria::nf4{}));
    // The squared error of rounding to nearest is that of k-means to lose.
    const auto nearest_of = [&]<class N>(N) { return error<k_means>(weights, values_of<N>(N::fit(weights))); };
    CHECK(nearest_of(k_means_codebook<4>{}) < nearest_of(least_variance_codebook<4>{}));
    // k-means has fewer squares still, by leaving weights outside, with a bias; stretched to cover them it has more.
    auto stretched = values_of<k_means_codebook<4>>(k_means_codebook<4>::fit(weights));
    stretched.front() = *std::min_element(weights.begin(), weights.end());
    stretched.back() = *std::max_element(weights.begin(), weights.end());
    CHECK(fitted < error<least_variance>(weights, stretched));
  };
  std::vector<float> weights = integer_weights(768);
  check(weights);
  for (float& weight : weights) {
    weight *= weight * weight;
  }
  check(weights);
  check(integer_weights(20'000, 0.02F));
}

TEMPLATE_LIST_TEST_CASE("importance counts as so many equal weights", "[number]", criteria) {
  using codebook = fitted_codebook<3, TestType>;
  const std::vector<float> weights = integer_weights(200);
  std::vector<float> importance(weights.size());
  std::vector<float> repeated;
  for (std::uint32_t i = 0; i < weights.size(); ++i) {
    const std::size_t times = weights[i] > 0.1F ? 9 : mixed(i + 1) % 2;
    importance[i] = static_cast<float>(times);
    repeated.insert(repeated.end(), times, weights[i]);
  }
  const auto granule = codebook::fit(weights, importance);
  CHECK(error<TestType>(weights, granule.values(), importance) <
        0.97 * error<TestType>(weights, codebook::fit(weights).values(), importance));
  // The same number of times for all is no difference. (Sums of multiples of 2^-15 are exact.)
  CHECK(codebook::fit(weights, std::vector<float>(weights.size(), 2.0F)) == codebook::fit(weights));
  // From the same points the iterations are the same.
  std::array<double, 8> points = codebook::start(sorted_weights(repeated));
  std::array<double, 8> same = points;
  for (int i = 0; i < 10; ++i) {
    TestType::improve(sorted_weights(repeated), points);
    TestType::improve(sorted_weights(weights, importance), same);
    for (std::size_t p = 0; p < points.size(); ++p) {
      CHECK(std::abs(points[p] - same[p]) <= 1e-12);
    }
  }
  CHECK_THROWS_AS(codebook::fit(weights, std::vector<float>(3, 1.0F)), pluria::precondition_error);
}

TEMPLATE_LIST_TEST_CASE("weights without importance move nothing", "[number]", criteria) {
  using codebook = fitted_codebook<2, TestType>;
  const std::vector<float> weights = integer_weights(50);
  const sorted_weights sorted(weights, std::vector<float>(weights.size(), 0.0F));
  std::array<double, 4> points = codebook::start(sorted);
  CHECK_FALSE(TestType::improve(sorted, points));
  CHECK(points == codebook::start(sorted));
}

TEMPLATE_LIST_TEST_CASE("the order of the weights does not matter, nor the sign of zeros", "[number]", criteria) {
  std::vector<float> weights = integer_weights(300);
  weights[7] = 0.0F;
  weights[90] = 0.0F;
  const auto granule = fitted_codebook<4, TestType>::fit(weights);
  weights[7] = -0.0F;
  std::rotate(weights.begin(), weights.begin() + 100, weights.end());
  CHECK(fitted_codebook<4, TestType>::fit(weights) == granule);
}

TEMPLATE_LIST_TEST_CASE("no more different weights than codes are values, all of them", "[number]", criteria) {
  using codebook = fitted_codebook<3, TestType>;
  const std::vector<float> weights{0.5F, -2.0F, 0.0F, 0.5F, 0.25F, -2.0F};
  const auto granule = codebook::fit(weights);
  const float next = std::nextafter(0.5F, 1.0F);
  CHECK(granule.values()[0] == -2.0F);
  CHECK(granule.values()[1] == 0.0F);
  CHECK(granule.values()[2] == 0.25F);
  CHECK(granule.values()[3] == 0.5F);
  CHECK(granule.values()[4] == next);
  CHECK(granule.values()[5] == std::nextafter(next, 1.0F));
  // Zeros, nothing and tiny weights: steps of 2^-110.
  for (const auto& few : {std::vector<float>{}, {0.0F, -0.0F}}) {
    const auto steps = codebook::fit(few);
    for (std::int32_t code = 0; code < 8; ++code) {
      CHECK(codebook::decode(code, steps) == 0x1p-110F * static_cast<float>(code));
      CHECK((code == 7 || steps.table().points[static_cast<std::size_t>(8 + code)] == 0x1p126F));
    }
  }
  CHECK(codebook::fit(std::vector{0x1p-149F, 0x1p-148F}).values()[1] == 0x1p-110F);
}

TEMPLATE_LIST_TEST_CASE("weights are found between their points", "[number]", criteria) {
  using codebook = fitted_codebook<4, TestType>;
  const std::vector<float> weights = integer_weights(5000);
  const auto granule = codebook::fit(weights);
  std::size_t wrong = 0;
  for (const float weight : weights) {
    const auto values = granule.values();
    const float inside = std::clamp(weight, values.front(), values.back());
    const auto above = std::upper_bound(values.begin() + 1, values.end() - 1, inside) - values.begin();
    const double low = values[static_cast<std::size_t>(above) - 1];
    const double high = values[static_cast<std::size_t>(above)];
    const double exact = 65536.0 * (static_cast<double>(above - 1) + (inside - low) / (high - low));
    // Half a unit, and 65536 times three errors of 2^-24.
    wrong += std::abs(codebook::position(weight, granule) - exact) <= 0.512 ? 0U : 1U;
  }
  CHECK(wrong == 0);
  CHECK(k_means_codebook<4>::name() == "k-means-4");
  CHECK(least_variance_codebook<4>::name() == "fitted-4");
  CHECK(codebook::granule_bits == 512);
  CHECK(codebook::decode(3, {}) == 3.0F);
}

TEST_CASE("a table reaches its extremes beside weights too small to count", "[number]") {
  std::vector<float> weights{-1.0F};
  for (int i = 1; i <= 200; ++i) {
    weights.push_back(1e-30F * static_cast<float>(i));
  }
  const auto granule = pluria::least_variance_codebook<3>::fit(weights);
  CHECK(granule.values().front() == -1.0F);
  CHECK(granule.values().back() >= weights.back());
}

TEST_CASE("an outlier on either side leaves the other weights their table", "[number]") {
  for (const float outlier : {-1e20F, 1e20F}) {
    std::vector<float> weights{outlier};
    for (int i = 0; i < 200; ++i) {
      weights.push_back(1.0F + 0.01F * static_cast<float>(i));
    }
    const auto among = [](const auto& granule) {
      const auto& values = granule.values();
      return std::count_if(values.begin(), values.end(), [](float value) { return value >= 1.0F && value < 3.0F; });
    };
    CHECK(among(pluria::k_means_codebook<3>::fit(weights)) == 7);
    CHECK(among(pluria::least_variance_codebook<3>::fit(weights)) == 7);
  }
}

}  // namespace
