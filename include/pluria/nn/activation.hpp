// SPDX-License-Identifier: MIT
#pragma once
// The exact Gaussian error linear unit, GELU(x) = x * Phi(x) = x / 2 * (1 + erf(x / sqrt 2)) (Hendrycks & Gimpel,
// arXiv 1606.08415), not its tanh approximation: what PyTorch's nn.GELU() and timm compute. And the gate of SwiGLU
// (Shazeer, arXiv 2002.05202), SiLU(gate) * up with SiLU(x) = x / (1 + exp(-x)).

#include <pluria/core/error.hpp>
#include <pluria/nn/activations.hpp>

#include <cmath>
#include <cstddef>
#include <span>
#include <xsimd/xsimd.hpp>

namespace pluria {

/// x = GELU(x), in place. xsimd's erf takes 0.7 of the time of Eigen's (AVX-512).
template <class Arch = xsimd::default_arch>
void gelu(activations& x) {
  using floats = xsimd::batch<float, Arch>;
  constexpr float half_root = 0.70710678118654752F;
  const std::span<float> values(x.values().data(), static_cast<std::size_t>(x.values().size()));
  const std::size_t whole = values.size() - values.size() % floats::size;
  for (std::size_t i = 0; i < whole; i += floats::size) {
    const floats value = floats::load_unaligned(&values[i]);
    const floats twice_phi = floats(1.0F) + xsimd::erf(value * floats(half_root));
    (floats(0.5F) * value * twice_phi).store_unaligned(&values[i]);
  }
  for (std::size_t i = whole; i < values.size(); ++i) {
    values[i] = 0.5F * values[i] * (1.0F + std::erf(values[i] * half_root));
  }
}

/// gate = SiLU(gate) * up, in place. Throws precondition_error when the sizes differ.
template <class Arch = xsimd::default_arch>
void silu_gate(activations& gate, const activations& up) {
  using floats = xsimd::batch<float, Arch>;
  require(gate.values().rows() == up.values().rows() && gate.width() == up.width(),
          "silu_gate: a value for every gate");
  float* const gates = gate.values().data();
  const float* const values = up.values().data();
  const auto size = static_cast<std::size_t>(gate.values().size());
  const std::size_t whole = size - size % floats::size;
  for (std::size_t i = 0; i < whole; i += floats::size) {
    const floats x = floats::load_unaligned(gates + i);
    const floats silu = x / (floats(1.0F) + xsimd::exp(-x));
    (silu * floats::load_unaligned(values + i)).store_unaligned(gates + i);
  }
  for (std::size_t i = whole; i < size; ++i) {
    gates[i] = gates[i] / (1.0F + std::exp(-gates[i])) * values[i];
  }
}

}  // namespace pluria
