// SPDX-License-Identifier: MIT
#pragma once
// How large the part of a tensor is that shares one granule: the whole tensor, one output channel (a row of the tensor:
// dimension 0; the default, and what the public code of LPE-BSR's author does), or a group of neighbours along the
// input axis. Smaller granules cost more bits and round less.

#include <pluria/core/error.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <concepts>
#include <cstddef>
#include <string>

namespace pluria {

struct per_tensor {
  granule_map map(std::size_t rows, std::size_t columns) const { return granule_map::whole(rows, columns); }
  std::string name() const { return "tensor"; }
};

struct per_channel {
  granule_map map(std::size_t rows, std::size_t columns) const { return granule_map::groups(rows, columns, columns); }
  std::string name() const { return "channel"; }
};

/// Groups of `size` columns, a positive multiple of 16. A group that does not divide the row leaves a shorter last
/// group.
class per_group {
 public:
  /// Throws precondition_error when `size` is not a positive multiple of 16.
  explicit constexpr per_group(std::size_t size) : size_(size) {
    require(size > 0 && size % 16 == 0, "group: the size must be a positive multiple of 16");
  }
  constexpr std::size_t size() const noexcept { return size_; }
  granule_map map(std::size_t rows, std::size_t columns) const { return granule_map::groups(rows, columns, size_); }
  std::string name() const { return "group:" + std::to_string(size_); }

 private:
  std::size_t size_;
};

template <class G>
concept granularity = std::copyable<G> && requires(const G& g, std::size_t extent) {
  { g.map(extent, extent) } -> std::same_as<granule_map>;
  { g.name() } -> std::convertible_to<std::string>;
};

static_assert(granularity<per_tensor> && granularity<per_channel> && granularity<per_group>);

}  // namespace pluria
