// SPDX-License-Identifier: MIT
#pragma once
// ggml's block formats Q4_0, Q5_0 and Q8_0 (ggml-common.h): 32 neighbours of a row share a float16 scale d, and a
// weight is d * code. A block is d (2 bytes, little-endian), then the codes:
//
//   Q4_0  18 bytes  code + 8 in 0..15: byte j holds element j in its low nibble and element j + 16 in its high one
//   Q5_0  22 bytes  code + 16 in 0..31: 4 bytes with the fifth bits, element j at bit j, then nibbles as in Q4_0
//   Q8_0  34 bytes  code in -128..127, a byte each
//
// Codes out of a packed tensor become blocks byte for byte, with the scale that they were rounded on; ggml's own
// rounding to nearest is here too, so that what it writes can be written.

#include <pluria/core/error.hpp>
#include <pluria/core/float16.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/magnitude.hpp>
#include <pluria/io/ggml_type.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/packed_tensor.hpp>
#include <pluria/tensor/packing.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace pluria {

/// Elements of a block of Q4_0, Q5_0 and Q8_0.
inline constexpr std::size_t ggml_block_size = 32;

/// One block of Q4_0, Q5_0 or Q8_0.
template <ggml_type Type>
requires(Type == ggml_type::q4_0 || Type == ggml_type::q5_0 || Type == ggml_type::q8_0) struct ggml_block {
  static constexpr std::size_t bytes = layout_of(Type).block_bytes;
  static constexpr int bits = Type == ggml_type::q4_0 ? 4 : (Type == ggml_type::q5_0 ? 5 : 8);
  static constexpr std::int32_t min_code = -(1 << (bits - 1));
  static constexpr std::int32_t max_code = (1 << (bits - 1)) - 1;

  using codes = std::array<std::int8_t, ggml_block_size>;

  /// The block of a scale, given as the bits of a float16, and of codes in min_code..max_code.
  static void pack(std::uint16_t scale, const codes& values, std::span<std::byte, bytes> block) noexcept {
    std::memcpy(block.data(), &scale, sizeof(scale));
    std::byte* const out = block.data() + sizeof(scale);
    if constexpr (Type == ggml_type::q8_0) {
      std::memcpy(out, values.data(), values.size());
    } else {
      const auto stored = [&](std::size_t e) { return static_cast<std::uint8_t>(values[e] - min_code); };
      if constexpr (Type == ggml_type::q5_0) {
        // Eight bytes of 0 or 1 at a time: the product moves the one of byte k to bit 56 + k, and none meets another.
        std::array<std::uint8_t, ggml_block_size> fifth;
        for (std::size_t e = 0; e < ggml_block_size; ++e) {
          fifth[e] = static_cast<std::uint8_t>(stored(e) >> 4);
        }
        for (std::size_t byte = 0; byte < 4; ++byte) {
          std::uint64_t eight = 0;
          std::memcpy(&eight, &fifth[8 * byte], sizeof(eight));
          out[byte] = static_cast<std::byte>(eight * 0x0102040810204080U >> 56);
        }
      }
      for (std::size_t j = 0; j < 16; ++j) {
        out[first_nibble + j] =
            static_cast<std::byte>((stored(j) & 0xfU) | static_cast<std::uint8_t>(stored(j + 16) << 4));
      }
    }
  }

  /// The scale's float16 bits.
  static std::uint16_t scale_bits(std::span<const std::byte, bytes> block) noexcept {
    std::uint16_t scale = 0;
    std::memcpy(&scale, block.data(), sizeof(scale));
    return scale;
  }

  /// The codes; the inverse of pack.
  static codes unpack(std::span<const std::byte, bytes> block) noexcept {
    codes values;
    const std::byte* const in = block.data() + sizeof(std::uint16_t);
    if constexpr (Type == ggml_type::q8_0) {
      std::memcpy(values.data(), in, values.size());
    } else {
      std::uint32_t fifth = 0;
      if constexpr (Type == ggml_type::q5_0) {
        std::memcpy(&fifth, in, sizeof(fifth));
      }
      for (std::size_t e = 0; e < ggml_block_size; ++e) {
        const auto nibbles = static_cast<std::uint32_t>(in[first_nibble + e % 16]);
        const std::uint32_t stored = (nibbles >> (e / 16 * 4) & 0xfU) | (fifth >> e & 1U) << 4;
        values[e] = static_cast<std::int8_t>(static_cast<std::int32_t>(stored) + min_code);
      }
    }
    return values;
  }

  /// The weights: exact products, since a float16 has 11 bits and a code at most 8.
  static void decode(std::span<const std::byte, bytes> block, std::span<float, ggml_block_size> weights) noexcept {
    const float scale = float_from_half(scale_bits(block));
    const codes values = unpack(block);
    for (std::size_t e = 0; e < ggml_block_size; ++e) {
      weights[e] = scale * static_cast<float>(values[e]);
    }
  }

  /// The largest magnitude that `round` takes: beyond it the scale might not be a finite float16.
  static constexpr float largest_weight = (Type == ggml_type::q8_0 ? 127.0F : static_cast<float>(-min_code)) * 65504.0F;

  /// Rounds weights to nearest, as ggml's reference does (quantize_row_q4_0_ref, _q5_0_ref and _q8_0_ref in
  /// ggml-quants.c): the scale is computed in float32, the codes on its reciprocal, and only then it becomes a float16,
  /// so that codes are not always the nearest on the stored scale. The code of the largest weight is -8 (Q4_0) or -16
  /// (Q5_0), with a negative scale where it is positive; of weights of one magnitude the first decides. Q8_0 puts the
  /// largest magnitude on 127. Zeros have scale 0 in ggml's way: with code 0. Precondition: weights are finite and at
  /// most `largest_weight` in magnitude.
  ///
  /// Where the scale's reciprocal is infinite (magnitudes below about 2^-125), ggml's conversion to integers is
  /// undefined; here all codes are 0, and so is the float16 scale.
  static void round(std::span<const float, ggml_block_size> weights, std::span<std::byte, bytes> block) noexcept {
    const float extreme = first_extreme(weights);
    const float scale = Type == ggml_type::q8_0 ? std::abs(extreme) / 127.0F : extreme / static_cast<float>(min_code);
    const float reciprocal = 1.0F / scale;
    const float multiplier = std::isinf(reciprocal) ? 0.0F : reciprocal;
    codes values;
    for (std::size_t e = 0; e < ggml_block_size; ++e) {
      // The limits are never reached. They stand between product and sum so that no compiler fuses the two, which
      // ggml's source does not do either (a build of it may).
      const float product = lanes::clamp(weights[e] * multiplier, -256.0F, 256.0F);
      std::int32_t code = 0;
      if constexpr (Type == ggml_type::q8_0) {
        // Half away from zero. What is left behind the truncation is exact.
        const auto truncated = static_cast<std::int32_t>(product);
        const float rest = product - static_cast<float>(truncated);
        code = truncated + (rest >= 0.5F ? 1 : 0) - (rest <= -0.5F ? 1 : 0);
      } else {
        // The sum is positive, so that truncation rounds down.
        const auto stored = static_cast<std::int32_t>(product + (static_cast<float>(-min_code) + 0.5F));
        code = std::min(stored, max_code - min_code) + min_code;
      }
      values[e] = static_cast<std::int8_t>(code);
    }
    pack(half_from_float(scale), values, block);
  }

 private:
  static constexpr std::size_t first_nibble = Type == ggml_type::q5_0 ? 4 : 0;
};

/// How many bytes `elements` of a type take, a multiple of its block.
constexpr std::size_t ggml_bytes(ggml_type type, std::size_t elements) noexcept {
  return elements / layout_of(type).block_elements * layout_of(type).block_bytes;
}

/// Weights first, first + 1, ... of a tensor (F32, F16 or BF16), rounded to nearest as ggml's reference does, as many
/// as `blocks` has room for; `first` and their number are multiples of 32, and rows are whole blocks. Throws bad_input,
/// naming tensor and index, for weights that are NaN, infinite, or too large for a float16 scale; precondition_error
/// beyond the end.
template <ggml_type Type>
void round_to_ggml_blocks(const tensor& weights, std::size_t first, std::span<std::byte> blocks) {
  using block = ggml_block<Type>;
  require(first % ggml_block_size == 0 && blocks.size() % block::bytes == 0,
          "round_to_ggml_blocks: whole blocks of weights");
  // Some kilobytes at a time: conversion and check run over all of them.
  std::array<float, 32 * ggml_block_size> weights_at_once;
  while (!blocks.empty()) {
    const std::size_t count = std::min(weights_at_once.size(), blocks.size() / block::bytes * ggml_block_size);
    const std::span<float> values = std::span(weights_at_once).first(count);
    weights.read(first, values);
    if (!(largest_magnitude(values) <= block::largest_weight)) [[unlikely]] {
      const auto found = std::find_if_not(values.begin(), values.end(),
                                          [](float value) { return std::abs(value) <= block::largest_weight; });
      const auto index = first + static_cast<std::size_t>(found - values.begin());
      throw bad_input(mismatch_message(weights.where() + ", index " + std::to_string(index),
                                       "a finite weight of magnitude at most " + std::to_string(block::largest_weight) +
                                           " for " + std::string(name_of(Type)),
                                       std::to_string(*found)));
    }
    for (std::size_t e = 0; e < count; e += ggml_block_size, blocks = blocks.subspan(block::bytes)) {
      block::round(values.subspan(e).template first<ggml_block_size>(), blocks.template first<block::bytes>());
    }
    first += count;
  }
}

/// Row `row` of a packed tensor as blocks: its codes as they are, its scales as the float16 that they are. Throws
/// precondition_error unless the row is whole blocks, each of one granule whose scale is a float16, and `blocks` has
/// their size.
template <ggml_type Type, class N>
void write_ggml_row(const packed_tensor<N>& member, std::size_t row, std::span<std::byte> blocks) {
  using block = ggml_block<Type>;
  static_assert(N::min_code >= block::min_code && N::max_code <= block::max_code, "the block cannot hold these codes");
  const std::size_t columns = member.columns();
  require(row < member.rows() && columns % ggml_block_size == 0 &&
              blocks.size() == columns / ggml_block_size * block::bytes,
          "write_ggml_row: a row of whole blocks, and room for them");
  const tensor_grid<N>& grid = member.grid();
  std::array<std::uint32_t, block_size> stored;
  typename block::codes codes;
  for (std::size_t column = 0; column < columns; column += ggml_block_size) {
    if (column % block_size == 0) {
      packed_tensor<N>::block::unpack(member.words(row, column / block_size), stored);
    }
    const float scale = grid.at(row, column).scale;
    const std::uint16_t half = half_from_float(scale);
    require(float_from_half(half) == scale, "write_ggml_row: scales must be float16 values");
    require(grid.map.run_end(column) >= column + ggml_block_size, "write_ggml_row: a granule must cover whole blocks");
    for (std::size_t e = 0; e < ggml_block_size; ++e) {
      codes[e] = static_cast<std::int8_t>(static_cast<std::int32_t>(stored[column % block_size + e]) + N::min_code);
    }
    block::pack(half, codes, blocks.template first<block::bytes>());
    blocks = blocks.subspan(block::bytes);
  }
}

}  // namespace pluria
