// SPDX-License-Identifier: MIT
#pragma once
// What several programs take on their command line, as text and as what it means. Errors name the option.

#include <pluria/core/error.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/rounding/bernoulli.hpp>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace pluria::examples {

/// A whole number in low..high. Throws bad_input naming the option.
inline std::uint64_t parse_number(std::string_view text, const std::string& option, std::uint64_t low,
                                  std::uint64_t high) {
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value < low || value > high) {
    throw bad_input(mismatch_message(option, "a whole number in " + std::to_string(low) + ".." + std::to_string(high),
                                     "\"" + std::string(text) + "\""));
  }
  return value;
}

/// Calls `take(part)` for every part of a comma-separated list.
template <class Take>
void for_each_part(std::string_view list, Take&& take) {
  for (std::size_t first = 0; first <= list.size();) {
    const std::size_t end = std::min(list.find(',', first), list.size());
    take(list.substr(first, end - first));
    first = end + 1;
  }
}

/// "NF4,MXFP4": the parts of a list, each once. Throws bad_input naming the option.
inline std::vector<std::string> parse_names(std::string_view list, const std::string& option) {
  std::vector<std::string> names;
  for_each_part(list, [&](std::string_view part) {
    if (std::find(names.begin(), names.end(), part) != names.end()) {
      throw bad_input(mismatch_message(option, "each once", "\"" + std::string(list) + "\""));
    }
    names.emplace_back(part);
  });
  return names;
}

/// "6,5,4": bit widths in 2..8.
inline std::vector<int> parse_bits(std::string_view list) {
  std::vector<int> bits;
  for_each_part(list, [&](std::string_view part) {
    const int width = static_cast<int>(parse_number(part, "--bits", 2, 8));
    if (std::find(bits.begin(), bits.end(), width) != bits.end()) {
      throw bad_input(mismatch_message("--bits", "each width once", "\"" + std::string(list) + "\""));
    }
    bits.push_back(width);
  });
  return bits;
}

/// "0.286" or "0.485,0.456,0.406". Throws bad_input naming the option.
inline std::vector<float> parse_floats(std::string_view list, const std::string& option) {
  std::vector<float> values;
  for_each_part(list, [&](std::string_view part) {
    float value = 0.0F;
    const auto [end, failure] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (failure != std::errc{} || end != part.data() + part.size() || !std::isfinite(value)) {
      throw bad_input(mismatch_message(option, "comma-separated numbers", "\"" + std::string(list) + "\""));
    }
    values.push_back(value);
  });
  return values;
}

/// "independent" or "lattice:L".
inline coupling parse_coupling(std::string_view text) {
  constexpr std::string_view prefix = "lattice:";
  if (text == "independent") {
    return independent;
  }
  if (text.starts_with(prefix)) {
    const auto members = parse_number(text.substr(prefix.size()), "--coupling lattice", 2, 256);
    if (std::has_single_bit(members)) {
      return lattice(static_cast<std::uint32_t>(members));
    }
  }
  throw bad_input(mismatch_message("--coupling", "independent or lattice:L, L a power of two in 2..256",
                                   "\"" + std::string(text) + "\""));
}

/// How members are run.
struct engine_choice {
  bool is_stored = false;  ///< else one float32 checkpoint after the other
  storage_form form = storage_form::packed;
  activation_type activations = activation_type::float32;
};

/// Members of one shared floor.
inline constexpr std::size_t shared_floor_limit = 64;

/// "float", "packed", "shared" or "fixed", with "float32" or "int8" activations.
inline engine_choice parse_engine(std::string_view engine, std::string_view activations) {
  engine_choice choice;
  if (engine == "packed" || engine == "shared" || engine == "fixed") {
    choice.is_stored = true;
    choice.form = engine == "shared"  ? storage_form::shared_floor
                  : engine == "fixed" ? storage_form::fixed_point
                                      : storage_form::packed;
  } else if (engine != "float") {
    throw bad_input(mismatch_message("--engine", "float, packed, shared or fixed", "\"" + std::string(engine) + "\""));
  }
  if (activations == "int8" && choice.is_stored) {
    choice.activations = activation_type::int8;
  } else if (activations != "float32") {
    throw bad_input(mismatch_message("--activations", "float32, or int8 with --engine packed, shared or fixed",
                                     "\"" + std::string(activations) + "\" with --engine " + std::string(engine)));
  }
  return choice;
}

/// "packed", "shared_floor" or "fixed_point": what JSON calls a form of storage.
inline std::string name_of(storage_form form) {
  switch (form) {
    case storage_form::shared_floor:
      return "shared_floor";
    case storage_form::fixed_point:
      return "fixed_point";
    case storage_form::packed:
      break;
  }
  return "packed";
}

}  // namespace pluria::examples
