// SPDX-License-Identifier: MIT
#pragma once
// Number system and granularity chosen at run time, tensor by tensor: a quantizer with its type erased, and a tensor on
// its grid from which members are drawn. The type is erased per tensor, never per weight: the loops behind it are the
// typed ones of kernel/.

#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/member/identity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/quantize/rule.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/convert.hpp>
#include <pluria/tensor/packed_tensor.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <algorithm>
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
  /// Member k as a float32 tensor of grid values, with the tensor's name and shape.
  std::function<tensor(const any_rounding&, std::uint64_t k)> draw;
  /// Rows first_row, first_row + 1, ... of members first, first + 1, ..., a member to each of `out`, as grid values of
  /// a weight type (write_weights): all of `out` have room for the same rows. Throws precondition_error otherwise.
  std::function<void(const any_rounding&, std::uint64_t first, std::size_t first_row, dtype type,
                     std::span<const std::span<std::byte>> out, int threads)>
      write_rows;
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
        fit_([typed](const tensor& weights, int threads) {
          return on_grid<N, Arch>(weights, typed.fit(weights, threads));
        }) {}

  /// One whose tensors can be stored and multiplied, too. Apart, because the products of a number system in all forms
  /// of storage take a compiler some ten seconds, and members that run as checkpoints need none.
  template <number_system N, granularity G, class Arch = xsimd::default_arch>
  static any_quantizer with_products(quantizer<N, G> typed) {
    any_quantizer made(typed);
    made.fit_ = [typed](const tensor& weights, int fit_threads) {
      const auto grid = std::make_shared<const tensor_grid<N>>(typed.fit(weights, fit_threads));
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
  gridded_tensor fit(const tensor& weights, int threads = 1) const { return fit_(weights, threads); }

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
            .write_rows =
                [weights, grid](const any_rounding& rounding, std::uint64_t first, std::size_t first_row, dtype type,
                                std::span<const std::span<std::byte>> out, int threads) {
                  std::visit(
                      [&](const auto& method) {
                        write_members<N, Arch>(weights, *grid, method, first, first_row, type, out, threads);
                      },
                      rounding);
                },
            .store = {},
            .code_bits = form.code_bits(),
            .granule_bits = form.granule_bits()};
  }

  template <number_system N, class Arch, rounding_method R>
  static void write_members(const tensor& weights, const tensor_grid<N>& grid, const R& rounding, std::uint64_t first,
                            std::size_t first_row, dtype type, std::span<const std::span<std::byte>> out, int threads) {
    const std::size_t row_bytes = weights.columns() * size_of(type);
    if (out.empty() || row_bytes == 0) {
      return;
    }
    const std::size_t rows = out.front().size() / row_bytes;
    for (const auto& member : out) {
      require(member.size() == rows * row_bytes, "write_rows: every member has room for the same whole rows");
    }
    const auto part = std::make_shared<const tensor_grid<N>>(grid.part(first_row, rows));
    std::vector<packed_tensor<N>> members;
    for (std::size_t m = 0; m < out.size(); ++m) {
      members.emplace_back(part);
    }
    sample_rows_into<N, R, Arch>(members, weights, grid, first_row, rounding, first, threads);
    constexpr std::size_t at_once = 64;
    const std::size_t parts = (rows + at_once - 1) / at_once;
    parallel_for(out.size() * parts, threads, [&](std::size_t index) {
      const std::size_t m = index / parts;
      std::vector<float> values(weights.columns());
      for (std::size_t row = index % parts * at_once; row < std::min(rows, (index % parts + 1) * at_once); ++row) {
        members[m].decode_row(row, values);
        write_weights(values, type, out[m].subspan(row * row_bytes, row_bytes));
      }
    });
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
  std::function<gridded_tensor(const tensor&, int threads)> fit_;
};

/// Which tensors of a checkpoint are rounded, and how.
using rule = basic_rule<any_quantizer>;

}  // namespace pluria
