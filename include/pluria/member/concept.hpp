// SPDX-License-Identifier: MIT
#pragma once
// A member source draws member k of an ensemble: a checkpoint like any other, so that it runs wherever the one it was
// made from does. Rounded members, posterior samples, snapshots and separately trained networks are all member sources.

#include <pluria/tensor/checkpoint.hpp>

#include <concepts>
#include <cstdint>

namespace pluria {

/// Law: source[k] is a pure function of the source and k, whatever else was drawn before.
template <class S>
concept member_source = requires(const S& source, std::uint64_t k) {
  { source[k] } -> std::same_as<checkpoint>;
};

}  // namespace pluria
