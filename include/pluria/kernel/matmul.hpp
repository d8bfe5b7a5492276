// SPDX-License-Identifier: MIT
#pragma once
// The products Y_k = X_k W_k^T of all members k for many tokens each. Here arithmetic is the limit, not memory, and S
// members cost S times one. Weights are decoded a tile at a time, in cache, and multiplied by a library: float32
// activations by Eigen, int8 activations by a backend (int8_backend.hpp): oneDNN where it is there, else the loops of
// matvec.hpp. Integers are exact, so all give the same int8 results, bit for bit; few tokens take those loops anyhow.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/kernel/block_scales.hpp>
#include <pluria/kernel/block_values.hpp>
#include <pluria/kernel/float_product.hpp>
#include <pluria/kernel/inputs.hpp>
#include <pluria/kernel/int8_backend.hpp>
#include <pluria/kernel/matvec.hpp>
#include <pluria/kernel/member_blocks.hpp>
#include <pluria/kernel/panel_reader.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/row_tiles.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace pluria {
namespace detail {

// From this many tokens on, tiles are decoded: fewer do not pay for it.
inline constexpr std::size_t tile_tokens = 4;

// The weights of one member in a tile of rows and blocks, in kernel_place's order, block after block.
template <class View, class Arch>
class tile_decoder {
 public:
  using number = typename View::number;

  explicit tile_decoder(const View& view) : view_(view), values_(view.grid()) {}

  // Rows first .. last - 1, the first at the beginning of a tile, and blocks begin .. end - 1.
  void open(std::size_t first, std::size_t last, std::size_t begin, std::size_t end) {
    first_ = first;
    last_ = last;
    begin_ = begin;
    end_ = end;
    const std::size_t plane_words = 4 * view_.members();
    const std::size_t blocks = end - begin;
    if constexpr (View::is_tiled) {
      const std::size_t padded = (last - first + row_tile::rows - 1) / row_tile::rows * row_tile::rows;
      floors_.resize(padded * blocks * floor_words);
      planes_.resize(padded * blocks * plane_words);
      for (std::size_t row = first; row < last; row += row_tile::rows) {
        for (std::size_t index = begin; index < end; ++index) {
          const std::size_t place = (row - first) * blocks + index - begin;
          view_.template rows<Arch>(row, index,
                                    {floors_.data() + place * floor_words, blocks * floor_words,
                                     planes_.data() + place * plane_words, blocks * plane_words});
        }
      }
    } else if constexpr (View::has_planes) {
      planes_.resize((last - first) * blocks * plane_words);
      for_each_block([&](std::size_t row, std::size_t index, std::size_t place) {
        view_.make_planes(row, index, block_at(row, index), planes_.data() + place * plane_words);
      });
    }
  }

  // decode(row, index, codes, out) of code - min_code, 128 of them, for each block; `out` advances by block_size
  // values.
  template <class Value, class Decode>
  void operator()(std::size_t member, Value* out, Decode&& decode) {
    for_each_block([&](std::size_t row, std::size_t index, std::size_t place) {
      member_codes<View, Arch> codes;
      if constexpr (View::is_tiled) {
        codes.floors = load_bytes<Arch>(floors_.data() + place * floor_words);
      } else {
        codes.floors = unpack<number::bits, Arch>(block_at(row, index));
      }
      codes.planes = nullptr;
      if constexpr (View::has_planes) {
        codes.planes = reinterpret_cast<const std::byte*>(planes_.data() + place * 4 * view_.members());
      }
      decode(row, index, codes.of(member), out + place * block_size);
    });
  }

  void floats(std::size_t member, float* out) {
    using unpacked = unpacked_block<Arch>;
    using batch = lanes::floats<Arch>;
    (*this)(member, out, [&](std::size_t row, std::size_t index, const typename unpacked::bytes& codes, float* values) {
      alignas(64) std::array<std::uint8_t, block_size> bytes;
      store_bytes<Arch>(codes, bytes.data());
      const auto weights = values_.template of_block<false>(row, index, bytes.data());
      for (std::size_t half = 0; half < 2; ++half) {
        for (std::size_t place = 0; place < 64; place += batch::size) {
          weights.template at<0>(half, place / batch::size).store_aligned(values + 64 * half + place);
        }
      }
    });
  }

  void int8(std::size_t member, std::int8_t* out) {
    using unpacked = unpacked_block<Arch>;
    (*this)(member, out, [&](std::size_t, std::size_t, typename unpacked::bytes codes, std::int8_t* values) {
      const xsimd::batch<std::uint8_t, Arch> offset(static_cast<std::uint8_t>(number::min_code));
      for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
        codes[half][slice] = lanes::as<std::uint32_t>(lanes::as<std::uint8_t>(codes[half][slice]) + offset);
      });
      store_bytes<Arch>(codes, reinterpret_cast<std::uint8_t*>(values));
    });
  }

 private:
  static constexpr std::size_t floor_words = block_size / 4;

  // work(row, index, number) for each block.
  template <class Work>
  void for_each_block(Work&& work) const {
    std::size_t place = 0;
    for (std::size_t row = first_; row < last_; ++row) {
      for (std::size_t index = begin_; index < end_; ++index) {
        work(row, index, place++);
      }
    }
  }

  const std::uint32_t* block_at(std::size_t row, std::size_t index) const {
    return view_.first_block() + (row * blocks_per_row(view_.grid().map.columns()) + index) * view_.block_words();
  }

  View view_;
  block_values<number, Arch> values_;
  std::size_t first_ = 0, last_ = 0, begin_ = 0, end_ = 0;
  aligned_vector<std::uint32_t> floors_;  // as bytes, where they are stored in tiles
  aligned_vector<std::uint32_t> planes_;  // where there are any
};

// Calls work(first, last) for tiles of rows, shared among threads.
template <class Work>
void for_row_tiles(std::size_t rows, std::size_t at_once, int threads, Work&& work) {
  parallel_for((rows + at_once - 1) / at_once, threads,
               [&](std::size_t tile) { work(tile * at_once, std::min(rows, (tile + 1) * at_once)); });
}

// y += products with float inputs, by Eigen: tiles of 128 x 512 floats, which stay in second-level cache with what the
// product packs of them.
template <class Arch, member_storage M>
void add_by_float_tiles(const M& weights, const product_request& asked) {
  constexpr std::size_t tile_rows = 128;
  constexpr std::size_t tile_blocks = 4;
  const std::size_t blocks = blocks_per_row(weights.columns());
  const float_inputs x(asked.x, input_order::by_input);
  const bool shared = asked.x.count == asked.tokens;

  for_each_view<Arch>(weights, [&](const auto& view, std::size_t first_member) {
    using view_type = std::decay_t<decltype(view)>;
    for_row_tiles(weights.rows(), tile_rows, asked.threads, [&](std::size_t first, std::size_t last) {
      tile_decoder<view_type, Arch> decode(view);
      aligned_vector<float> tile(tile_rows * tile_blocks * block_size);
      for (std::size_t begin = 0; begin < blocks; begin += tile_blocks) {
        const std::size_t end = std::min(blocks, begin + tile_blocks);
        const std::size_t width = (end - begin) * block_size;
        decode.open(first, last, begin, end);
        for (std::size_t m = 0; m < view.members(); ++m) {
          decode.floats(m, tile.data());
          const std::size_t input = shared ? 0 : (first_member + m) * asked.tokens;
          add_product_of_rows(
              part_of(x.at(begin, input), asked.tokens, width, blocks * block_size),
              part_of(tile.data(), last - first, width, width),
              part_of(asked.y.row(first_member + m, 0) + first, asked.tokens, last - first, asked.y.stride));
        }
      }
    });
  });
}

// y += products with int8 inputs, by the backend: tiles of about half a megabyte.
template <class Backend, class Arch, member_storage M>
void add_by_int8_tiles(const M& weights, const product_request& asked) {
  using number = typename M::number;
  const std::size_t blocks = blocks_per_row(weights.columns());
  const std::size_t width = blocks * block_size;
  const std::size_t tile_rows = std::clamp<std::size_t>((std::size_t{1} << 19) / width / 16 * 16, 16, 4096);
  const int8_inputs x = int8_inputs::made<Arch>(asked.x, input_order::by_input, number::min_code);
  std::vector<float> scales(weights.rows());
  for (std::size_t row = 0; row < weights.rows(); ++row) {
    scales[row] = grid_of(weights).at(row, 0).scale;
  }
  const bool shared = asked.x.count == asked.tokens;

  for_each_view<Arch>(weights, [&](const auto& view, std::size_t first_member) {
    using view_type = std::decay_t<decltype(view)>;
    for_row_tiles(weights.rows(), tile_rows, asked.threads, [&](std::size_t first, std::size_t last) {
      tile_decoder<view_type, Arch> decode(view);
      aligned_vector<std::int8_t> tile((last - first) * width);
      aligned_vector<std::int32_t> sums(asked.tokens * (last - first));
      decode.open(first, last, 0, blocks);
      for (std::size_t m = 0; m < view.members(); ++m) {
        decode.int8(m, tile.data());
        const std::size_t input = shared ? 0 : (first_member + m) * asked.tokens;
        Backend::multiply(x.codes(0, input), asked.tokens, tile.data(), last - first, width, sums.data());
        for (std::size_t t = 0; t < asked.tokens; ++t) {
          float* const y = asked.y.row(first_member + m, t) + first;
          const std::int32_t* const of_token = sums.data() + t * (last - first);
          const float scale = x.scale(input + t);
          for (std::size_t row = 0; row < last - first; ++row) {
            y[row] += scale * scales[first + row] * static_cast<float>(of_token[row]);
          }
        }
      }
    });
  });
}

template <class Backend, class Arch, member_storage M>
void add_products(const M& weights, const product_request& asked) {
  if (asked.tokens < tile_tokens || weights.rows() == 0 || weights.columns() == 0) {
    return add_by_rows<Arch>(weights, asked);
  }
  if (asked.activations == activation_type::float32) {
    check_finite_inputs(asked.x);
    return add_by_float_tiles<Arch>(weights, asked);
  }
  if constexpr (scaled_system<typename M::number> && !std::is_same_v<Backend, portable_int8>) {
    if (has_row_granules(grid_of(weights).map) && Backend::is_exact()) {
      check_finite_inputs(asked.x);
      return add_by_int8_tiles<Backend, Arch>(weights, asked);
    }
  }
  add_by_rows<Arch>(weights, asked);
}

}  // namespace detail

/// Y_k += X_k W_k^T for all members k; see matmul. At once, where a separate product would be written and read again.
template <class Backend = default_int8_backend, class Arch = xsimd::default_arch, member_storage M>
void add_matmul(const M& weights, std::span<const float> x, std::size_t tokens, std::span<float> y,
                activation_type activations = activation_type::float32, int threads = 1) {
  detail::add_products<Backend, Arch>(
      weights, detail::checked_request("matmul", detail::size_of_product(weights), x, tokens, y, activations, threads));
}

/// Y_k = X_k W_k^T for all members k: `x` is (members * tokens) x columns, the tokens of one member below those of the
/// other, or tokens x columns, which are those of all; `y` is (members * tokens) x rows and is overwritten. `threads`
/// (0: all) share the rows. With float32 activations, tokens are summed in tiles of 512 columns by Eigen, in its order,
/// which its own threads change: after Eigen::setNbThreads(1) the bits are the same for any number of `threads`. With
/// int8 activations the result is that of matvec for every token, bit for bit, whatever the backend: a backend
/// serves granules of whole rows where its sums are exact, all others take matvec's loops. Throws as matvec.
template <class Backend = default_int8_backend, class Arch = xsimd::default_arch, member_storage M>
void matmul(const M& weights, std::span<const float> x, std::size_t tokens, std::span<float> y,
            activation_type activations = activation_type::float32, int threads = 1) {
  const auto asked =
      detail::checked_request("matmul", detail::size_of_product(weights), x, tokens, y, activations, threads);
  std::fill(y.begin(), y.end(), 0.0F);
  detail::add_products<Backend, Arch>(weights, asked);
}

}  // namespace pluria
