// SPDX-License-Identifier: MIT
#pragma once
// Granularities by name.

#include <pluria/core/error.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "options.hpp"

namespace pluria::examples {

/// One of the library's granularities, chosen at run time.
class any_granularity {
 public:
  // Asked of itself whether it is a granularity, it would look here again: clang 14 never comes back.
  template <class G>
  requires(!std::same_as<G, any_granularity>) &&
      granularity<G> any_granularity(G chosen)  // NOLINT(google-explicit-constructor): every granularity is one
      : chosen_(std::move(chosen)) {}

  granule_map map(const tensor_shape& shape) const {
    return std::visit([&](const auto& chosen) { return chosen.map(shape); }, chosen_);
  }
  std::string name() const {
    return std::visit([](const auto& chosen) { return chosen.name(); }, chosen_);
  }

 private:
  std::variant<per_tensor, per_channel, per_group> chosen_;
};

static_assert(granularity<any_granularity>);

/// "tensor", "channel" or "group:G"; empty: the channel. Throws bad_input naming the option.
inline any_granularity parse_granularity(std::string_view text) {
  constexpr std::string_view prefix = "group:";
  if (text.empty() || text == "channel") {
    return per_channel{};
  }
  if (text == "tensor") {
    return per_tensor{};
  }
  if (text.starts_with(prefix)) {
    const auto size = parse_number(text.substr(prefix.size()), "--granularity group", 16, 1U << 30);
    if (size % 16 == 0) {
      return per_group(size);
    }
  }
  throw bad_input(mismatch_message("--granularity", "channel, tensor or group:G, G a multiple of 16",
                                   "\"" + std::string(text) + "\""));
}

}  // namespace pluria::examples
