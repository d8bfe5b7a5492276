// SPDX-License-Identifier: MIT
#pragma once
// Number system and granularity chosen at run time, tensor by tensor: a quantizer with its type erased, and a tensor on
// its grid from which members are drawn. The type is erased per tensor, never per weight: the loops behind it are the
// typed ones of kernel/.

#include <pluria/kernel/any_members.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/quantize/rule.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace pluria {

/// A rounding chosen at run time.
using any_rounding = std::variant<nearest, bernoulli>;

/// A tensor on its grid, ready to be rounded.
struct gridded_tensor {
  /// Member k as a float32 tensor of grid values, with the tensor's name and shape.
  std::function<tensor(const any_rounding&, std::uint64_t k)> draw;
  /// Members first, first + 1, ... in a form of storage, to be multiplied; errors as stored_members. Empty unless the
  /// quantizer was made with_products.
  std::function<any_members(const any_rounding&, storage_form, std::uint64_t first, std::size_t count, int threads)>
      store;
  std::size_t code_bits = 0;     ///< of one member in packed form, padding included
  std::size_t granule_bits = 0;  ///< shared by all members
};

/// Any quantizer<N, G>.
class any_quantizer {
 public:
  // Arch is part of the type of what is made, so that files compiled for different ISAs link into one program.
  template <number_system N, granularity G, class Arch = xsimd::default_arch>
  any_quantizer(quantizer<N, G> typed)  // NOLINT(google-explicit-constructor): every quantizer is one
      : system_(N::name()),
        granularity_(typed.granularity.name()),
        bits_(N::bits),
        fit_([typed](const tensor& weights) { return on_grid<N, Arch>(weights, typed.fit(weights)); }) {}

  /// One whose tensors can be stored and multiplied, too. Apart, because the products of a number system in all forms
  /// of storage take a compiler some ten seconds, and members that run as checkpoints need none.
  template <number_system N, granularity G, class Arch = xsimd::default_arch>
  static any_quantizer with_products(quantizer<N, G> typed) {
    any_quantizer made(typed);
    made.fit_ = [typed](const tensor& weights) {
      const auto grid = std::make_shared<const tensor_grid<N>>(typed.fit(weights));
      gridded_tensor gridded = on_shared_grid<N, Arch>(weights, grid);
      gridded.store = [weights, grid](const any_rounding& rounding, storage_form form, std::uint64_t first,
                                      std::size_t count, int threads) {
        return std::visit(
            [&](const auto& method) {
              return stored_members<N, std::decay_t<decltype(method)>, Arch>(weights, grid, method, form, first, count,
                                                                             threads);
            },
            rounding);
      };
      return gridded;
    };
    return made;
  }

  const std::string& system() const noexcept { return system_; }                 ///< "INT-5"
  const std::string& granularity_name() const noexcept { return granularity_; }  ///< "channel", "tensor", "group:32"
  int bits() const noexcept { return bits_; }

  /// Fits the grid; errors as quantizer::fit. The result shares the tensor's bytes.
  gridded_tensor fit(const tensor& weights) const { return fit_(weights); }

 private:
  template <number_system N, class Arch>
  static gridded_tensor on_grid(const tensor& weights, tensor_grid<N> fitted) {
    return on_shared_grid<N, Arch>(weights, std::make_shared<const tensor_grid<N>>(std::move(fitted)));
  }

  template <number_system N, class Arch>
  static gridded_tensor on_shared_grid(const tensor& weights, std::shared_ptr<const tensor_grid<N>> grid) {
    const packed_tensor<N> form(grid);
    return {.draw =
                [weights, grid](const any_rounding& rounding, std::uint64_t k) {
                  return std::visit(
                      [&](const auto& method) {
                        return decoded(
                            weights,
                            sample<N, std::decay_t<decltype(method)>, Arch>(weights, grid, method, k, 1).front());
                      },
                      rounding);
                },
            .store = {},
            .code_bits = form.code_bits(),
            .granule_bits = form.granule_bits()};
  }

  template <number_system N>
  static tensor decoded(const tensor& weights, const packed_tensor<N>& member) {
    std::vector<float> values(weights.size());
    const std::size_t columns = member.columns();
    for (std::size_t row = 0; row < member.rows(); ++row) {
      member.decode_row(row, std::span<float>(values).subspan(row * columns, columns));
    }
    return tensor::from_floats(weights.name(), weights.shape(), std::move(values), weights.file());
  }

  std::string system_;
  std::string granularity_;
  int bits_;
  std::function<gridded_tensor(const tensor&)> fit_;
};

/// Which tensors of a checkpoint are rounded, and how.
using rule = basic_rule<any_quantizer>;

}  // namespace pluria
