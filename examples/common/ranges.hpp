// SPDX-License-Identifier: MIT
#pragma once
// How far grids reach, by name.

#include <pluria/core/error.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/quantize/scale.hpp>

#include <charconv>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

namespace pluria::examples {

/// One of the library's scales that clip, chosen at run time.
class clipping_scale {
 public:
  static constexpr bool clips = true;

  template <class Scale>
  explicit clipping_scale(Scale chosen) : chosen_(std::move(chosen)) {}

  std::string name() const {
    return std::visit([](const auto& chosen) { return chosen.name(); }, chosen_);
  }
  template <number_system N>
  typename N::granule fit(std::span<const float> weights, const granule_fit<N>& fit) const {
    return std::visit([&](const auto& chosen) { return chosen.fit(weights, fit); }, chosen_);
  }

 private:
  std::variant<percentile, mse_nearest, mse_bernoulli> chosen_;
};

/// Calls with(scale) for "absmax", "percentile:P", "mse:nearest" or "mse:bernoulli"; empty: absmax. Throws bad_input
/// naming the option.
template <class With>
auto with_range(std::string_view text, With&& with) {
  constexpr std::string_view prefix = "percentile:";
  if (text.empty() || text == absmax::name()) {
    return with(absmax{});
  }
  if (text == mse_nearest::name()) {
    return with(clipping_scale(mse_nearest{}));
  }
  if (text == mse_bernoulli::name()) {
    return with(clipping_scale(mse_bernoulli{}));
  }
  if (text.starts_with(prefix)) {
    const std::string_view digits = text.substr(prefix.size());
    double percent = 0.0;
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), percent);
    if (failure == std::errc{} && end == digits.data() + digits.size() && percent > 0.0 && percent <= 100.0) {
      return with(clipping_scale(percentile(percent)));
    }
  }
  throw bad_input(mismatch_message("--range",
                                   "absmax, percentile:P (above 0, at most 100), mse:nearest or mse:bernoulli",
                                   "\"" + std::string(text) + "\""));
}

}  // namespace pluria::examples
