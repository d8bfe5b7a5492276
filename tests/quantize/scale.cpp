// SPDX-License-Identifier: MIT

#include <pluria/core/magnitude.hpp>
#include <pluria/number/affine_int.hpp>
#include <pluria/number/block_scaled.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/quantize/saturation.hpp>
#include <pluria/quantize/scale.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>
#include <support/two_level_int.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using pluria::absmax;
using pluria::granule_fit;
using pluria::largest_magnitude;
using pluria::mse_bernoulli;
using pluria::mse_nearest;
using pluria::percentile;
using pluria::symmetric_int;
using support::integer_weights;

using int2 = symmetric_int<2>;
using int4 = symmetric_int<4>;
using int8 = symmetric_int<8>;
using systems =
    std::tuple<int2, int4, int8, pluria::full_range_int<4>, pluria::ggml_full_range_int<4>, pluria::affine_int<4>,
               pluria::fp4_e2m1, pluria::nf4, pluria::mxfp4, pluria::nvfp4, support::two_level_int>;

static_assert(pluria::scale_method<absmax, int4> && pluria::scale_method<percentile, int4> &&
              pluria::scale_method<mse_nearest, int4> && pluria::scale_method<mse_bernoulli, support::two_level_int>);
static_assert(!pluria::scale_method<pluria::per_channel, int4> && !pluria::scale_method<absmax, int>);
static_assert(!absmax::clips && percentile::clips && mse_nearest::clips && mse_bernoulli::clips);

// On the scale that the weights alone would share, four times as large: a granule among others.
template <class N>
granule_fit<N> fit_among_others(const std::vector<float>& weights) {
  granule_fit<N> fit;
  if constexpr (pluria::two_level_system<N>) {
    fit.tensor_scale = N::tensor_scale(4.0F * largest_magnitude(weights));
  }
  return fit;
}

// The largest distance of two neighbours.
template <class N>
double widest_step(const typename N::granule& granule) {
  double widest = 0.0;
  for (std::int32_t code = N::min_code; code < N::max_code; ++code) {
    const double value = N::decode(code, granule);
    widest = std::max(widest, std::abs(static_cast<double>(N::decode(code + 1, granule)) - value));
  }
  return widest;
}

std::vector<float> clamped(std::vector<float> weights, float reach) {
  for (float& weight : weights) {
    weight = std::min(std::max(weight, -reach), reach);
  }
  return weights;
}

// Cubes of bell-shaped weights: few are large.
std::vector<float> heavy_tailed_weights(std::size_t count) {
  std::vector<float> weights = integer_weights(count, 1.0F, 900);
  for (float& weight : weights) {
    weight = weight * weight * weight;
  }
  return weights;
}

// From -1 to 1 in even steps.
std::vector<float> even_weights(std::size_t count) {
  std::vector<float> weights(count);
  for (std::size_t i = 0; i < count; ++i) {
    weights[i] = static_cast<float>(2 * i) / static_cast<float>(count - 1) - 1.0F;
  }
  return weights;
}

TEST_CASE("a scale has the literature's name", "[quantize]") {
  CHECK(absmax{}.name() == "absmax");
  CHECK(percentile(99.9).name() == "percentile:99.9");
  CHECK(percentile(99.99999).name() == "percentile:99.99999");
  CHECK(percentile(100).name() == "percentile:100");
  CHECK(mse_nearest{}.name() == "mse:nearest");
  CHECK(mse_bernoulli{}.name() == "mse:bernoulli");
}

TEST_CASE("a percentile is above 0 and at most 100", "[quantize]") {
  for (const double percent :
       {0.0, -1.0, 100.1, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS(percentile(percent), pluria::precondition_error);
  }
  CHECK(percentile(0x1p-60).percent() == 0x1p-60);
}

TEMPLATE_LIST_TEST_CASE("absmax is the number system's own fit", "[quantize]", systems) {
  for (const auto& weights : {integer_weights(1000), heavy_tailed_weights(100), {-3.0F}, {0.0F, -0.0F}, {}}) {
    const auto fit = fit_among_others<TestType>(weights);
    CHECK(absmax{}.fit(std::span(weights), fit) == fit(weights));
  }
}

TEMPLATE_LIST_TEST_CASE("a percentile reaches to the magnitude of its rank", "[quantize]", systems) {
  for (const std::size_t count : {1U, 2U, 15U, 16U, 17U, 100U, 1000U, 2001U}) {
    const std::vector<float> weights = integer_weights(count, 1.0F, 33);
    const auto fit = fit_among_others<TestType>(weights);
    std::vector<float> sorted;
    for (const float weight : weights) {
      sorted.push_back(std::abs(weight));
    }
    std::sort(sorted.begin(), sorted.end());
    for (const std::size_t thousandths : {1U, 50000U, 90000U, 99000U, 99900U, 100000U}) {
      const std::size_t rank = (thousandths * count + 99999) / 100000;
      CAPTURE(count, thousandths);
      CHECK(percentile(static_cast<double>(thousandths) / 1000.0).fit(std::span(weights), fit) ==
            fit(clamped(weights, sorted[rank - 1])));
    }
  }
}

// The squared error by definition, in double: to the nearest of all values; or expected, up with the probability of the
// place between two neighbours.
template <class N>
double naive_error(const std::vector<float>& weights, const typename N::granule& granule, bool is_nearest) {
  std::vector<double> values;
  for (std::int32_t code = N::min_code; code <= N::max_code; ++code) {
    values.push_back(N::decode(code, granule));
  }
  std::sort(values.begin(), values.end());
  double sum = 0.0;
  for (const double weight : weights) {
    const auto above = std::lower_bound(values.begin(), values.end(), weight);
    const double high = above == values.end() ? values.back() : *above;
    const double low = above == values.begin() || above == values.end() ? high : *(above - 1);
    const double up = high == low ? 1.0 : (weight - low) / (high - low);
    const double to_low = (low - weight) * (low - weight);
    const double to_high = (high - weight) * (high - weight);
    sum += is_nearest ? std::min(to_low, to_high) : (1.0 - up) * to_low + up * to_high;
  }
  return sum;
}

// The least naive error over reaches of largest * ratio, ratio going down in small steps.
template <class N>
double least_error(const std::vector<float>& weights, const granule_fit<N>& fit, bool is_nearest) {
  double least = std::numeric_limits<double>::max();
  for (int i = 2000; i >= 120; --i) {
    const float reach = largest_magnitude(weights) * static_cast<float>(i) / 2000.0F;
    least = std::min(least, naive_error<N>(weights, fit(clamped(weights, reach)), is_nearest));
  }
  return least;
}

// What the method's error is times the least.
template <class N, class Method>
double excess(const Method& method, const std::vector<float>& weights, bool is_nearest) {
  const auto fit = fit_among_others<N>(weights);
  return naive_error<N>(weights, method.fit(std::span(weights), fit), is_nearest) /
         least_error<N>(weights, fit, is_nearest);
}

TEMPLATE_LIST_TEST_CASE("the least squared error is found, of each rounding", "[quantize]", systems) {
  // The least error over all reaches, fine as they are, is a little less than over those that are tried.
  constexpr double allowed = TestType::bits < 8 ? 1.02 : 1.1;
  for (const auto& weights : {integer_weights(2000), heavy_tailed_weights(2000), even_weights(2000)}) {
    const double nearest_excess = excess<TestType>(mse_nearest{}, weights, true);
    const double bernoulli_excess = excess<TestType>(mse_bernoulli{}, weights, false);
    CAPTURE(nearest_excess, bernoulli_excess);
    CHECK(nearest_excess <= allowed);
    CHECK(bernoulli_excess <= allowed);
  }
  constexpr double allowed_in_groups = TestType::bits < 8 ? 1.04 : 1.6;
  for (std::uint32_t group = 0; group < 20; ++group) {
    const std::vector<float> weights = integer_weights(32, 0.1F, 50 * group);
    const double nearest_excess = excess<TestType>(mse_nearest{}, weights, true);
    const double bernoulli_excess = excess<TestType>(mse_bernoulli{}, weights, false);
    CAPTURE(nearest_excess, bernoulli_excess);
    CHECK(nearest_excess <= allowed_in_groups);
    CHECK(bernoulli_excess <= allowed_in_groups);
  }
}

TEMPLATE_LIST_TEST_CASE("the error that is minimized is the naive one", "[quantize]", systems) {
  for (const auto& weights : {integer_weights(500), heavy_tailed_weights(500), {-3.0F}, {1.0F, 1.0F, 1.0F}}) {
    for (const float reach : {1.0F, 0.6F, 0.1F}) {
      const auto granule = fit_among_others<TestType>(weights)(clamped(weights, reach * largest_magnitude(weights)));
      const double step = widest_step<TestType>(granule);
      // A weight that is taken for one on the grid is off by at most 2^-15 of a step; distances are floats, rounded
      // once.
      const double bound = static_cast<double>(weights.size()) * step * step * 0x1p-15 +
                           naive_error<TestType>(weights, granule, false) * 0x1p-22;
      CHECK(std::abs(mse_nearest::squared_error<TestType>(weights, granule) -
                     naive_error<TestType>(weights, granule, true)) <= bound);
      CHECK(std::abs(mse_bernoulli::squared_error<TestType>(weights, granule) -
                     naive_error<TestType>(weights, granule, false)) <= bound);
    }
  }
}

template <class N, class Method>
double reach_of(const Method& method, const std::vector<float>& weights) {
  const granule_fit<N> fit;
  return method.fit(std::span(weights), fit).scale / fit(weights).scale;
}

TEST_CASE("even weights are hardly clipped", "[quantize]") {
  // Weights even on [-1, 1], reach r, q = qmax: the error per weight is k (r / q)^2 r + (1 - r)^3 / 3, k = 1/12 for RTN
  // and 1/6 for BSR, and least where (1 - r) = sqrt(3 k) r / q: r = .933 and .908 at INT-4, .996 and .994 at INT-8.
  const std::vector<float> weights = even_weights(20000);
  CHECK(std::abs(reach_of<int4>(mse_nearest{}, weights) - 0.933) <= 1.0 / 64.0);
  CHECK(std::abs(reach_of<int4>(mse_bernoulli{}, weights) - 0.908) <= 1.0 / 64.0);
  CHECK(reach_of<int8>(mse_nearest{}, weights) == 1.0);
  CHECK(reach_of<int8>(mse_bernoulli{}, weights) == 1.0);
}

TEST_CASE("clipping pays where tails are heavy, and less reach is best for Bernoulli rounding", "[quantize]") {
  for (const auto& weights : {heavy_tailed_weights(20000), integer_weights(20000)}) {
    CHECK(reach_of<int4>(mse_nearest{}, weights) < 1.0);
    CHECK(reach_of<int4>(mse_bernoulli{}, weights) < reach_of<int4>(mse_nearest{}, weights));
    CHECK(reach_of<int2>(mse_bernoulli{}, weights) < reach_of<int2>(mse_nearest{}, weights));
    CHECK(reach_of<int8>(mse_bernoulli{}, weights) <= reach_of<int8>(mse_nearest{}, weights));
  }
  const std::vector<float> heavy = heavy_tailed_weights(20000);
  const granule_fit<int4> fit;
  const auto nearest_granule = mse_nearest{}.fit(std::span(heavy), fit);
  const auto bernoulli_granule = mse_bernoulli{}.fit(std::span(heavy), fit);
  const double whole_nearest = naive_error<int4>(heavy, fit(heavy), true);
  const double whole_bernoulli = naive_error<int4>(heavy, fit(heavy), false);
  CHECK(naive_error<int4>(heavy, nearest_granule, true) < 0.6 * whole_nearest);
  CHECK(naive_error<int4>(heavy, bernoulli_granule, false) < 0.6 * whole_bernoulli);
  // Each is better for its own rounding.
  CHECK(naive_error<int4>(heavy, nearest_granule, true) < naive_error<int4>(heavy, bernoulli_granule, true));
  CHECK(naive_error<int4>(heavy, bernoulli_granule, false) < naive_error<int4>(heavy, nearest_granule, false));
}

TEMPLATE_LIST_TEST_CASE("a weight is biased only where it is clipped, and those are what is counted", "[quantize]",
                        systems) {
  const auto tensor = support::make_tensor(pluria::dtype::f32, "w", {1, 3000}, heavy_tailed_weights(3000));
  const std::vector<float> weights = tensor.to_floats();
  const auto check = [&](const auto& quantizer) {
    const auto grid = quantizer.fit(tensor);
    const auto& granule = grid.granules.front();
    // A member's expectation, out of the fraction of its position.
    const auto expected = [&](float weight) {
      const std::int32_t position = TestType::position(weight, granule);
      const double below = TestType::decode(position >> 16, granule);
      const std::int32_t fraction = position & 0xffff;
      return fraction == 0 ? below
                           : below + (TestType::decode((position >> 16) + 1, granule) - below) * fraction / 65536.0;
    };
    const double step = widest_step<TestType>(granule);
    std::size_t biased = 0;
    bool is_at_the_end = true;
    for (const float weight : weights) {
      if (std::abs(expected(weight) - static_cast<double>(weight)) > step * 0x1p-14) {
        ++biased;
        const std::int32_t position = TestType::position(weight, granule);
        is_at_the_end =
            is_at_the_end && (position == 65536 * TestType::min_code || position == 65536 * TestType::max_code);
      }
    }
    CHECK(is_at_the_end);
    CHECK(biased == pluria::saturated_weights(tensor, grid));
    return biased;
  };
  using pluria::per_channel;
  using pluria::quantizer;
  CHECK(check(quantizer<TestType, per_channel, percentile>{{}, percentile(99.0)}) >= 10);
  CHECK(check(quantizer<TestType, per_channel, mse_nearest>{}) > 0);
  CHECK(check(quantizer<TestType, per_channel, mse_bernoulli>{}) > 0);
  CHECK((pluria::saturating_system<TestType> || check(quantizer<TestType>{}) == 0));
}

TEMPLATE_LIST_TEST_CASE("small, equal and extreme weights have a grid at every scale", "[quantize]", systems) {
  const float largest = [] {
    if constexpr (pluria::bounded_system<TestType>) {
      return TestType::largest_weight / 4.0F;  // fit_among_others multiplies
    } else {
      return std::numeric_limits<float>::max() / 4.0F;
    }
  }();
  for (const auto& weights : {std::vector<float>{},
                              {0.0F},
                              {0.0F, -0.0F},
                              {-3.0F},
                              {1.0F, 1.0F, 1.0F},
                              {0x1p-149F},
                              {largest, -largest},
                              integer_weights(16, 0x1p-120F)}) {
    const auto fit = fit_among_others<TestType>(weights);
    const auto nearest_granule = mse_nearest{}.fit(std::span(weights), fit);
    const auto bernoulli_granule = mse_bernoulli{}.fit(std::span(weights), fit);
    // No worse than without clipping.
    CHECK(mse_nearest::squared_error<TestType>(weights, nearest_granule) <=
          mse_nearest::squared_error<TestType>(weights, fit(weights)));
    CHECK(mse_bernoulli::squared_error<TestType>(weights, bernoulli_granule) <=
          mse_bernoulli::squared_error<TestType>(weights, fit(weights)));
    for (const auto& granule : {nearest_granule, bernoulli_granule, percentile(50.0).fit(std::span(weights), fit)}) {
      CHECK(TestType::decode(TestType::min_code, granule) != TestType::decode(TestType::max_code, granule));
      CHECK(std::isfinite(TestType::decode(TestType::max_code, granule)));
    }
  }
}

TEST_CASE("granules are the same bits on every machine", "[quantize]") {
  const std::vector<float> weights = integer_weights(4096, 0.05F, 12);
  const granule_fit<int4> fit;
  CHECK(mse_nearest{}.fit(std::span(weights), fit).scale == 0x1.5737c4p-8F);
  CHECK(mse_bernoulli{}.fit(std::span(weights), fit).scale == 0x1.43075p-8F);
  CHECK(mse_nearest::squared_error<int4>(weights, {0.005F}) == 0x1.67fb7d75703e8p-7);
  CHECK(mse_bernoulli::squared_error<int4>(weights, {0.005F}) == 0x1.3b343b1b1e172p-6);
}

}  // namespace
