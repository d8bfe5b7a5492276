// SPDX-License-Identifier: MIT
#pragma once
// What distributions over many classes spend their time with: exponentials and their sums over rows of logarithms, in
// vectors. Vocabularies have 10^5 classes, and a member's row takes a few exponentials for each. Exponentials are
// within two units in the last place of the C library's, log_add within 4e-16 (1 + |result|); another ISA may give
// other last bits. No value is NaN.

#include <pluria/core/lanes.hpp>

#include <xsimd/xsimd.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <span>

namespace pluria::lanes {

template <class Arch>
using doubles = xsimd::batch<double, Arch>;

/// e^value; 0 below -708, where it is less than 4e-308, and of -inf.
template <class Arch>
PLURIA_INLINE doubles<Arch> exponential(const doubles<Arch>& value) noexcept {
  // xsimd 8.1 converts what it is given to an integer.
  const doubles<Arch> least(-708.0);
  return xsimd::select(value >= least, xsimd::exp(xsimd::max(value, least)), doubles<Arch>(0.0));
}

/// log(e^a + e^b). Adding to -inf, a sum of nothing, is exact.
template <class Arch>
PLURIA_INLINE doubles<Arch> log_add(const doubles<Arch>& a, const doubles<Arch>& b) noexcept {
  const doubles<Arch> larger = xsimd::max(a, b);
  // -inf - lowest is -inf, whose exponential is 0; -inf - -inf would be NaN.
  const doubles<Arch> above = xsimd::max(larger, doubles<Arch>(std::numeric_limits<double>::lowest()));
  return larger + xsimd::log1p(exponential(xsimd::min(a, b) - above));
}

/// The same bits for a single value.
template <class Arch = xsimd::default_arch>
double log_add(double a, double b) noexcept {
  return log_add(doubles<Arch>(a), doubles<Arch>(b)).get(0);
}

/// The sums over all values of the N batches that terms(batch of values) gives. Lanes beyond the last value hold the
/// lowest finite double, and so does -inf: a term with its exponential as a factor is zero there.
template <std::size_t N, class Arch = xsimd::default_arch, class Terms>
std::array<double, N> sums(std::span<const double> values, Terms&& terms) noexcept {
  using batch = doubles<Arch>;
  constexpr double lowest = std::numeric_limits<double>::lowest();
  std::array<batch, N> totals;
  totals.fill(batch(0.0));
  const auto add = [&](const batch& some) PLURIA_INLINE_LAMBDA {
    const std::array<batch, N> now = terms(xsimd::max(some, batch(lowest)));
    for (std::size_t n = 0; n < N; ++n) {
      totals[n] += now[n];
    }
  };
  std::size_t first = 0;
  for (; first + batch::size <= values.size(); first += batch::size) {
    add(batch::load_unaligned(values.data() + first));
  }
  if (first < values.size()) {
    std::array<double, batch::size> rest;
    rest.fill(lowest);
    std::copy(values.begin() + static_cast<std::ptrdiff_t>(first), values.end(), rest.begin());
    add(batch::load_unaligned(rest.data()));
  }
  std::array<double, N> result;
  for (std::size_t n = 0; n < N; ++n) {
    result[n] = xsimd::hadd(totals[n]);
  }
  return result;
}

/// log(e^sums[c] + e^others[c]) in the place of every sum. Both have the same length.
template <class Arch = xsimd::default_arch>
void log_add(std::span<double> sums, std::span<const double> others) noexcept {
  using batch = doubles<Arch>;
  std::size_t first = 0;
  for (; first + batch::size <= sums.size(); first += batch::size) {
    log_add(batch::load_unaligned(sums.data() + first), batch::load_unaligned(others.data() + first))
        .store_unaligned(sums.data() + first);
  }
  if (first < sums.size()) {
    std::array<double, batch::size> a{};
    std::array<double, batch::size> b{};
    std::copy(sums.begin() + static_cast<std::ptrdiff_t>(first), sums.end(), a.begin());
    std::copy(others.begin() + static_cast<std::ptrdiff_t>(first), others.end(), b.begin());
    log_add(batch::load_unaligned(a.data()), batch::load_unaligned(b.data())).store_unaligned(a.data());
    std::copy_n(a.begin(), sums.size() - first, sums.begin() + static_cast<std::ptrdiff_t>(first));
  }
}

/// The largest of `numbers`, float or double: at least one of them, none NaN.
template <class Arch = xsimd::default_arch, class Number>
Number largest(std::span<const Number> numbers) noexcept {
  using batch = xsimd::batch<Number, Arch>;
  Number result = numbers.front();
  std::size_t first = 0;
  if (numbers.size() >= batch::size) {
    batch so_far = batch::load_unaligned(numbers.data());
    for (first = batch::size; first + batch::size <= numbers.size(); first += batch::size) {
      so_far = xsimd::max(so_far, batch::load_unaligned(numbers.data() + first));
    }
    std::array<Number, batch::size> each;
    so_far.store_unaligned(each.data());
    result = *std::max_element(each.begin(), each.end());
  }
  for (; first < numbers.size(); ++first) {
    result = std::max(result, numbers[first]);
  }
  return result;
}

}  // namespace pluria::lanes
