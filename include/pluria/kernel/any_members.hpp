// SPDX-License-Identifier: MIT
#pragma once
// Members of one tensor in a number system and form of storage chosen at run time: what they take, and their products.
// The type is erased per tensor, never per weight.

#include <pluria/kernel/inputs.hpp>
#include <pluria/kernel/matmul.hpp>
#include <pluria/kernel/member_blocks.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <xsimd/xsimd.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace pluria {

/// How the members of a tensor are stored. `packed`: each for itself, b bits a weight and member; `shared_floor`: b
/// bits and one for each member; `fixed_point`: b + 4 bits for any number of members, drawn whenever they are
/// multiplied.
enum class storage_form { packed, shared_floor, fixed_point };

/// Any member_storage.
class any_members {
 public:
  // Arch is part of the type of what is made, so that files compiled for different ISAs link into one program.
  template <member_storage M, class Arch = xsimd::default_arch>
  any_members(M members)  // NOLINT(google-explicit-constructor): every storage is one
      : rows_(members.rows()),
        columns_(members.columns()),
        members_(members.members()),
        code_bits_(members.code_bits()),
        granule_bits_(members.granule_bits()) {
    const auto shared = std::make_shared<const M>(std::move(members));
    add_matmul_ = [shared](std::span<const float> x, std::size_t tokens, std::span<float> y,
                           activation_type activations, int threads) {
      pluria::add_matmul<default_int8_backend, Arch>(*shared, x, tokens, y, activations, threads);
    };
  }

  std::size_t rows() const noexcept { return rows_; }
  std::size_t columns() const noexcept { return columns_; }
  std::size_t members() const noexcept { return members_; }
  std::size_t code_bits() const noexcept { return code_bits_; }        ///< of all members, padding included
  std::size_t granule_bits() const noexcept { return granule_bits_; }  ///< shared by all members

  /// Y_k += X_k W_k^T for all members; see pluria::add_matmul.
  void add_matmul(std::span<const float> x, std::size_t tokens, std::span<float> y, activation_type activations,
                  int threads = 1) const {
    add_matmul_(x, tokens, y, activations, threads);
  }

 private:
  std::size_t rows_;
  std::size_t columns_;
  std::size_t members_;
  std::size_t code_bits_;
  std::size_t granule_bits_;
  std::function<void(std::span<const float>, std::size_t, std::span<float>, activation_type, int)> add_matmul_;
};

/// Members first, first + 1, ..., first + count - 1 of a tensor on a grid, in a form of storage. Rounding to nearest
/// has one member, packed. Throws precondition_error for another form or count of it, where a shared floor has more
/// than 64 members, and where the fixed point's lattice has more than 16.
template <number_system N, rounding_method R, class Arch = xsimd::default_arch>
any_members stored_members(const tensor& weights, std::shared_ptr<const tensor_grid<N>> grid, const R& rounding,
                           storage_form form, std::uint64_t first, std::size_t count, int threads = 1) {
  using packed = packed_members<N>;
  if constexpr (std::same_as<R, nearest>) {
    require(form == storage_form::packed && count == 1, "stored_members: rounding to nearest has one member, packed");
    return any_members(packed(sample<N, R, Arch>(weights, std::move(grid), rounding, first, count, threads)));
  } else {
    using generator_type = typename R::generator_type;
    switch (form) {
      case storage_form::shared_floor:
        return any_members(
            sample_shared_floor<N, generator_type, Arch>(weights, std::move(grid), rounding, first, count, threads));
      case storage_form::fixed_point:
        return any_members(fixed_point_members<N, 4, generator_type>(
            sample_fixed_point<N, 4, Arch>(weights, std::move(grid), threads), weights.name(), rounding, first, count));
      case storage_form::packed:
        break;
    }
    return any_members(packed(sample<N, R, Arch>(weights, std::move(grid), rounding, first, count, threads)));
  }
}

}  // namespace pluria
