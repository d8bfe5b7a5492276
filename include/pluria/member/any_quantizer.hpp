// SPDX-License-Identifier: MIT
#pragma once
// Number system and granularity chosen at run time, tensor by tensor: a quantizer with its type erased, and a tensor on
// its grid from which members are drawn. The type is erased per tensor, never per weight: the loops behind it are the
// typed ones of kernel/.

#include <pluria/core/error.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/member/identity.hpp>
#include <pluria/member/member_rows.hpp>
#include <pluria/quantize/any_grid.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/quantize/rule.hpp>
#include <pluria/quantize/saturation.hpp>
#include <pluria/quantize/scale.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace pluria {

/// A tensor on its grid, ready to be rounded.
struct gridded_tensor {
  tensor weights;
  any_grid grid;
  std::size_t saturated = 0;  ///< weights beyond their grid (quantize/saturation.hpp)
  /// Rows of members as weights: write_member_rows on `weights` and `grid`.
  std::function<void(const any_rounding&, std::uint64_t first, std::size_t first_row, dtype type,
                     std::span<const std::span<std::byte>> out, int threads)>
      write_rows;
  /// Members first, first + 1, ... in a form of storage, to be multiplied; errors as stored_members. Empty unless the
  /// quantizer was made with_products.
  std::function<any_members(const any_rounding&, storage_form, std::uint64_t first, std::size_t count, int threads)>
      store;

  /// Member k as a float32 tensor of grid values, with the tensor's name and shape.
  tensor draw(const any_rounding& rounding, std::uint64_t k) const {
    std::vector<float> values(weights.size());
    const std::array out{std::as_writable_bytes(std::span(values))};
    write_rows(rounding, k, 0, dtype::f32, out, 1);
    return tensor::from_floats(weights.name(), weights.shape(), std::move(values), weights.file());
  }

  /// What the codes of one member take in packed form, padding included.
  std::size_t code_bits() const noexcept {
    return grid.map().rows() * blocks_per_row(grid.map().columns()) * block_size *
           static_cast<std::size_t>(grid.bits());
  }
  std::size_t granule_bits() const noexcept { return grid.granule_bits(); }  ///< shared by all members
};

/// Any quantizer.
class any_quantizer {
 public:
  // Arch is part of the type of what is made, so that files compiled for different ISAs link into one program.
  template <number_system N, granularity G, scale_method<N> Scale, class Arch = xsimd::default_arch>
  any_quantizer(quantizer<N, G, Scale> typed)  // NOLINT(google-explicit-constructor): every quantizer is one
      : system_(N::name()),
        granularity_(typed.granularity.name()),
        scale_(typed.scale.name()),
        bits_(N::bits),
        is_scaled_(scaled_system<N>),
        granule_bits_([typed](const tensor_shape& shape) {
          return tensor_grid<N>::granule_bits(typed.granularity.map(shape).size());
        }),
        fit_([typed](const tensor& weights, int threads) { return fitted<Arch>(typed, weights, threads).first; }) {}

  /// One whose tensors can be stored and multiplied, too. Apart, because the products of a number system in all forms
  /// of storage take a compiler some ten seconds, and members that run as checkpoints need none.
  template <number_system N, granularity G, scale_method<N> Scale, class Arch = xsimd::default_arch>
  static any_quantizer with_products(quantizer<N, G, Scale> typed) {
    any_quantizer made(typed);
    made.fit_ = [typed](const tensor& weights, int fit_threads) {
      auto [gridded, grid] = fitted<Arch>(typed, weights, fit_threads);
      gridded.store = [weights, grid = std::move(grid)](const any_rounding& rounding, storage_form form,
                                                        std::uint64_t first, std::size_t count, int threads) {
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
  const std::string& scale_name() const noexcept { return scale_; }              ///< "absmax", "percentile:99.9"
  int bits() const noexcept { return bits_; }
  bool is_scaled() const noexcept { return is_scaled_; }  ///< whether products may take int8 activations

  /// What the granules of a tensor take: its weights have no say in it, so that nothing is fitted.
  std::size_t granule_bits(const tensor_shape& shape) const { return granule_bits_(shape); }

  /// Fits the grid; errors as quantizer::fit. The result shares the tensor's bytes.
  gridded_tensor fit(const tensor& weights, int threads = 1) const { return fit_(weights, threads); }

 private:
  // A tensor on its grid, with the type and without.
  template <class Arch, number_system N, granularity G, scale_method<N> Scale>
  static std::pair<gridded_tensor, std::shared_ptr<const tensor_grid<N>>> fitted(const quantizer<N, G, Scale>& typed,
                                                                                 const tensor& weights, int threads) {
    const auto typed_grid = std::make_shared<const tensor_grid<N>>(typed.fit(weights, threads));
    const any_grid grid = any_grid::of<N, Arch>(typed_grid);
    std::size_t saturated = 0;
    if constexpr (quantizer<N, G, Scale>::may_saturate) {
      saturated = saturated_weights(weights, *typed_grid, threads);
    }
    return {{weights,
             grid,
             saturated,
             [weights, grid](const any_rounding& rounding, std::uint64_t first, std::size_t first_row, dtype type,
                             std::span<const std::span<std::byte>> out, int on_threads) {
               write_member_rows<Arch>(weights, grid, rounding, first, first_row, type, out, on_threads);
             },
             {}},
            typed_grid};
  }

  std::string system_;
  std::string granularity_;
  std::string scale_;
  int bits_;
  bool is_scaled_;
  std::function<std::size_t(const tensor_shape&)> granule_bits_;
  std::function<gridded_tensor(const tensor&, int threads)> fit_;
};

/// Which tensors of a checkpoint are rounded, and how.
using rule = basic_rule<any_quantizer>;

}  // namespace pluria
