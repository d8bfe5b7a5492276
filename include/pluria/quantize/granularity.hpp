// SPDX-License-Identifier: MIT
#pragma once
// How large the part of a tensor is that shares one granule: the whole tensor, one output channel (the default, and
// what the public code of LPE-BSR's author does), or a group of neighbours along the input axis. Smaller granules cost
// more bits and round less.
//
// An output channel is all weights that one output is computed from. They lie next to each other:
//
//   matrix              outputs x inputs               along dimension 1
//   convolution         outputs x inputs x kernel      along all dimensions but 0, whatever the kernel has
//   stack of matrices   experts x outputs x inputs     along dimension 2: a channel for every (expert, output)
//
// Of three dimensions, the shape tells a stack from a convolution over one: the inputs of experts are many, and a
// multiple of 16; kernels are short. A kernel that is mistaken for inputs gets granules of its own, more than it needs,
// where all outputs of an expert on one granule would be rounded worse. So it is for experts x inputs x outputs, as
// transformers stores GPT-OSS and Llama 4: a granule for every (expert, input).

#include <pluria/core/error.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <string>

namespace pluria {

/// Whether a tensor of this shape is taken for a stack of matrices, experts x outputs x inputs: three dimensions, the
/// last a multiple of 16 and at least 64.
constexpr bool is_matrix_stack(std::span<const std::size_t> shape) noexcept {
  return shape.size() == 3 && shape[2] >= 64 && shape[2] % 16 == 0;
}

struct per_tensor {
  granule_map map(const tensor_shape& shape) const { return granule_map::whole(rows_of(shape), columns_of(shape)); }
  std::string name() const { return "tensor"; }
};

/// One granule for each output channel.
struct per_channel {
  granule_map map(const tensor_shape& shape) const {
    const std::size_t columns = columns_of(shape);
    return granule_map::groups(rows_of(shape), columns, is_matrix_stack(shape) ? shape[2] : columns);
  }
  std::string name() const { return "channel"; }
};

/// Groups of `size` columns, a positive multiple of 16. A group that does not divide the row leaves a shorter last
/// group. (Rows are what dimension 0 counts: in a stack of matrices a group may reach from one output into the next,
/// unless it divides the inputs.)
class per_group {
 public:
  /// Throws precondition_error when `size` is not a positive multiple of 16.
  explicit constexpr per_group(std::size_t size) : size_(size) {
    require(size > 0 && size % 16 == 0, "group: the size must be a positive multiple of 16");
  }
  constexpr std::size_t size() const noexcept { return size_; }
  granule_map map(const tensor_shape& shape) const {
    return granule_map::groups(rows_of(shape), columns_of(shape), size_);
  }
  std::string name() const { return "group:" + std::to_string(size_); }

 private:
  std::size_t size_;
};

/// Law: map(shape) has the rows and columns of the shape.
template <class G>
concept granularity = std::copyable<G> && requires(const G& g, const tensor_shape& shape) {
  { g.map(shape) } -> std::same_as<granule_map>;
  { g.name() } -> std::convertible_to<std::string>;
};

static_assert(granularity<per_tensor> && granularity<per_channel> && granularity<per_group>);

}  // namespace pluria
