// SPDX-License-Identifier: MIT
#pragma once
// The products y_k = W_k x_k of all members k of a tensor in one pass over its storage: codes are read and unpacked
// once, every member adds its plane of bits (member_blocks.hpp) and multiplies its own input; int8 inputs over a shared
// floor by tiles of 16 rows (tile_products.hpp), all others by blocks of a row (panel_products.hpp). Where memory is
// the limit, as in decoding one token at a time, members over a shared floor cost next to nothing.
//
// Activations are float32, or int8 with one scale for each token (inputs.hpp).
//  - float32: products and sums are fused (where the machine can; so all machines that can have the same bits), 16 sums
//    side by side. A term goes through at most 4 fused sums and one sum in each block of 128 columns, and 4 sums at the
//    end: with n = (5 * blocks + 4) * 2^-24, y differs from the exact product of the decoded weights by at most
//    n / (1 - n) * sum |w x|.
//  - int8: integers, exact: stored codes (without sign) times int8 activations, summed in 32 bits, which holds for
//    max_int8_columns columns; then y = token scale * granule scale * sum. Per-channel and per-tensor granules need one
//    float operation for each output; smaller granules are summed in floats, in one order on all machines, which is
//    another one over a shared floor than packed.

#include <pluria/core/error.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/kernel/block_scales.hpp>
#include <pluria/kernel/inputs.hpp>
#include <pluria/kernel/member_blocks.hpp>
#include <pluria/kernel/panel_products.hpp>
#include <pluria/kernel/tile_products.hpp>
#include <pluria/number/concept.hpp>
#include <pluria/tensor/row_tiles.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

namespace pluria {

/// The columns up to which products of b-bit codes with int8 activations fit into 32 bits.
template <int Bits>
inline constexpr std::size_t max_int8_columns = std::numeric_limits<std::int32_t>::max() / (((1 << Bits) - 1) * 127);

namespace detail {

// Shares the rows among threads, whole tiles each.
template <class Work>
void for_row_parts(std::size_t rows, int threads, Work&& work) {
  constexpr std::size_t at_once = row_tile::rows;
  static_assert(at_once % panel_rows == 0);
  const std::size_t tiles = (rows + at_once - 1) / at_once;
  const auto parts = std::min<std::size_t>(tiles, static_cast<std::size_t>(thread_count(threads)));
  parallel_for<division::dealt>(parts, threads, [&](std::size_t part) {
    work(tiles * part / parts * at_once, std::min(rows, tiles * (part + 1) / parts * at_once));
  });
}

// What a product is asked for, checked.
struct product_request {
  input_rows x;
  std::size_t tokens;
  output_rows y;
  activation_type activations;
  int threads;
};

// What a product's sizes are checked against.
struct product_size {
  std::size_t members;
  std::size_t rows;
  std::size_t columns;
  int bits;
  std::size_t int8_columns;  // at most
  bool is_scaled;            // whether products can be summed in codes
};

template <member_storage M>
product_size size_of_product(const M& weights) {
  return {weights.members(),
          weights.rows(),
          weights.columns(),
          M::number::bits,
          max_int8_columns<M::number::bits>,
          scaled_system<typename M::number>};
}

// Throws precondition_error, with both sizes, where input and output do not fit the weights.
inline product_request checked_request(const char* called, const product_size& size, std::span<const float> x,
                                       std::size_t tokens, std::span<float> y, activation_type activations,
                                       int threads) {
  const std::size_t shared = tokens * size.columns;
  const std::size_t own = size.members * shared;
  const std::size_t results = size.members * tokens * size.rows;
  const auto refuse = [&](const std::string& what, const std::string& expected, std::size_t found) {
    throw precondition_error(mismatch_message(std::string(called) + ": " + what, expected, std::to_string(found)));
  };
  const auto described = [&] {
    return std::to_string(size.members) + " members of " + std::to_string(size.rows) + " x " +
           std::to_string(size.columns) + ", " + std::to_string(tokens) + " tokens each";
  };
  if (x.size() != own && x.size() != shared) {
    refuse("input of " + described(), std::to_string(own) + " values, or " + std::to_string(shared) + " shared by all",
           x.size());
  }
  if (y.size() != results) {
    refuse("output of " + described(), std::to_string(results) + " values", y.size());
  }
  require(size.is_scaled || activations != activation_type::int8,
          "products with int8 activations need a number system whose values are multiples of a scale");
  if (activations == activation_type::int8 && size.columns > size.int8_columns) {
    refuse("int8 products of " + std::to_string(size.bits) + "-bit codes in 32-bit sums",
           std::to_string(size.int8_columns) + " columns at most", size.columns);
  }
  return {{x.data(), x.size() == own ? size.members * tokens : tokens, size.columns, size.columns},
          tokens,
          {y.data(), size.rows, tokens},
          activations,
          threads};
}

// Products whose sums are kept at once: 64 bytes each, for each row of a panel, or for all rows of a tile.
inline constexpr std::size_t most_products = 64;

// Calls add(inputs, way through the rows) with what a storage multiplies int8 inputs with. The unusual granules, runs
// of 16 columns, are compiled once, for one token or many.
template <class Arch, member_storage M, class Add>
void add_int8_products(const M& weights, const input_rows& x, Add&& add) {
  constexpr bool is_tiled = is_shared_floor<M>;
  const auto inputs = [&](input_offsets kind) {
    return int8_inputs::made<Arch>(x, is_tiled ? input_order::by_tile : input_order::by_block, M::number::min_code,
                                   kind);
  };
  const granule_map& granules = grid_of(weights).map;
  if (has_row_granules(granules)) {
    add(inputs(input_offsets::none), [](auto single, const auto& view, const auto&... rest) {
      using view_type = std::decay_t<decltype(view)>;
      if constexpr (is_tiled) {
        add_int8_tiles<single.value, granule_width::row, view_type, Arch>(view, rest...);
      } else {
        add_int8_rows<single.value, view_type, Arch>(view, rest...);
      }
    });
  } else if (has_paired_granules(granules)) {
    add(inputs(input_offsets::of_pairs), [](auto single, const auto& view, const auto&... rest) {
      using view_type = std::decay_t<decltype(view)>;
      if constexpr (is_tiled) {
        add_int8_tiles<single.value, granule_width::group, view_type, Arch>(view, rest...);
      } else {
        add_grouped_int8_rows<single.value, true, view_type, Arch>(view, rest...);
      }
    });
  } else {
    add(inputs(input_offsets::of_fours), [](auto, const auto& view, const auto&... rest) {
      using view_type = std::decay_t<decltype(view)>;
      if constexpr (is_tiled) {
        add_int8_tiles<false, granule_width::run, view_type, Arch>(view, rest...);
      } else {
        add_grouped_int8_rows<false, false, view_type, Arch>(view, rest...);
      }
    });
  }
}

// y += products, row by row of the storage, of inputs that are finite.
template <class Arch, member_storage M>
void add_checked_rows(const M& weights, const product_request& asked) {
  const bool shared = asked.x.count == asked.tokens;
  if constexpr (is_shared_floor<M>) {
    if (shared && asked.tokens == 1 && weights.members() > 1 && asked.activations == activation_type::int8 &&
        has_paired_granules(weights.grid().map)) {
      // Tiles meet an input for each member: the same one, again and again.
      product_request own = asked;
      own.x = {asked.x.values, weights.members(), asked.x.columns, 0};
      return add_checked_rows<Arch>(weights, own);
    }
  }
  const token_map map{asked.tokens, shared ? 0 : asked.tokens};
  // So many tokens at once that their sums stay in the caches.
  const auto add = [&](const auto& inputs, auto add_rows) {
    for_each_view<Arch>(weights, [&](const auto& view, std::size_t member) {
      const std::size_t at_once = std::max<std::size_t>(1, most_products / view.members());
      for_row_parts(weights.rows(), asked.threads, [&](std::size_t first, std::size_t last) {
        for (std::size_t token = 0; token < asked.tokens; token += at_once) {
          const token_map own{std::min(at_once, asked.tokens - token), map.member_stride,
                              member * map.member_stride + token};
          const output_rows y{asked.y.row(member, token), asked.y.stride, asked.y.member_rows};
          if (own.tokens == 1) {
            add_rows(std::true_type{}, view, first, last, inputs, own, y);
          } else {
            add_rows(std::false_type{}, view, first, last, inputs, own, y);
          }
        }
      });
    });
  };
  if (asked.activations == activation_type::float32) {
    add(float_inputs(asked.x, input_order::by_block), [](auto, const auto& view, const auto&... rest) {
      add_float_rows<std::decay_t<decltype(view)>, Arch>(view, rest...);
    });
  } else if constexpr (scaled_system<typename M::number>) {
    add_int8_products<Arch>(weights, asked.x, add);
  }
}

// y += products, row by row of the storage, for any number of tokens: what there is without a matrix library.
template <class Arch, member_storage M>
void add_by_rows(const M& weights, const product_request& asked) {
  if (weights.rows() == 0 || weights.columns() == 0) {
    return;
  }
  check_finite_inputs(asked.x);
  add_checked_rows<Arch>(weights, asked);
}

}  // namespace detail

/// y_k = W_k x_k for all members k. `x` is members x columns, one input below the other, or a single input of `columns`
/// values, which is that of all; `y` is members x rows and is overwritten. `threads` (0: all) share the rows; the
/// result does not depend on their number. Throws precondition_error, with both sizes, where they do not fit, and
/// beyond max_int8_columns; bad_input, naming input and column, for a value that is NaN or infinite.
template <class Arch = xsimd::default_arch, member_storage M>
void matvec(const M& weights, std::span<const float> x, std::span<float> y,
            activation_type activations = activation_type::float32, int threads = 1) {
  const auto asked = detail::checked_request("matvec", detail::size_of_product(weights), x, 1, y, activations, threads);
  std::fill(y.begin(), y.end(), 0.0F);
  detail::add_by_rows<Arch>(weights, asked);
}

}  // namespace pluria
