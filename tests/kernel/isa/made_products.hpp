// SPDX-License-Identifier: MIT
#pragma once
// The products that both files compute. Everything is a template of the architecture, so that each keeps its own.

#include <pluria/kernel/matvec.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/integer_weights.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace isa {

template <class Arch, class M>
void append_products(const M& weights, std::span<const float> x, std::vector<std::uint32_t>& bits) {
  for (const auto activations : {pluria::activation_type::float32, pluria::activation_type::int8}) {
    std::vector<float> y(weights.members() * weights.rows());
    pluria::matvec<Arch>(weights, x, y, activations);
    for (const float value : y) {
      bits.push_back(std::bit_cast<std::uint32_t>(value));
    }
  }
}

/// Members in every form of storage, with one granule a row and with several, float32 and int8; their words before.
template <class Arch, class Number>
void append_members(std::size_t columns, std::vector<std::uint32_t>& bits) {
  constexpr std::size_t rows = 19;
  constexpr std::size_t members = 10;
  const char* const name = "blocks.0.attn.qkv.weight";
  const auto weights = support::make_tensor(pluria::dtype::f32, name, {rows, columns},
                                            support::integer_weights(rows * columns, 1.0F, 9));
  const auto x = support::integer_weights(members * columns, 3.0F, 77);
  const pluria::bernoulli rounding{.seed = 5, .coupling = pluria::lattice(8)};
  for (const auto& grid :
       {support::fitted_grid<Number>(weights), support::fitted_grid<Number>(weights, pluria::per_group(32)),
        support::fitted_grid<Number>(weights, pluria::per_group(48))}) {
    const pluria::packed_members<Number> packed(
        pluria::sample<Number, pluria::bernoulli, Arch>(weights, grid, rounding, 3, members));
    const auto shared =
        pluria::sample_shared_floor<Number, pluria::generator, Arch>(weights, grid, rounding, 3, members);
    const auto positions = pluria::sample_fixed_point<Number, 4, Arch>(weights, grid);
    bits.insert(bits.end(), shared.words().begin(), shared.words().end());
    bits.insert(bits.end(), positions.words().begin(), positions.words().end());
    append_products<Arch>(packed, x, bits);
    append_products<Arch>(shared, x, bits);
    append_products<Arch>(pluria::fixed_point_members<Number, 4>(positions, name, rounding, 3, members), x, bits);
  }
}

template <class Arch>
std::vector<std::uint32_t> made_products() {
  std::vector<std::uint32_t> bits;
  append_members<Arch, pluria::symmetric_int<8>>(300, bits);
  // Scales of 16 groups at once, and what is left of them.
  append_members<Arch, pluria::half_symmetric_int<4>>(700, bits);
  return bits;
}

}  // namespace isa
