// SPDX-License-Identifier: MIT
#pragma once
// The inputs of a product in the form and order in which the kernels meet them, made once per product: block after
// block of 128 columns; in a block, input after input; 128 values in kernel_place's order, zeros behind the last
// column; or, for tiles, the words that all inputs have for a lane side by side. As floats, or as int8 with one scale
// for each input (token): symmetric, to nearest, scale = max|x| / 127, codes -127..127.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/bytes.hpp>
#include <pluria/core/dot_sums.hpp>
#include <pluria/core/error.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/magnitude.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/tensor/packing.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace pluria {

/// What activations are when they are multiplied: as they come, or rounded to int8 with one scale for each token.
enum class activation_type { float32, int8 };

/// Inputs, one below the other, `stride` floats apart.
struct input_rows {
  const float* values = nullptr;
  std::size_t count = 0;
  std::size_t columns = 0;
  std::size_t stride = 0;

  std::span<const float> row(std::size_t input) const { return {values + input * stride, columns}; }
};

namespace detail {

// How the finite values of a token are rounded to int8: codes -127..127, ties to even.
class int8_rounding {
 public:
  explicit int8_rounding(std::span<const float> token) {
    const float largest = largest_magnitude(token);
    scale_ = symmetric_int<8>::fit(std::span(&largest, 1)).scale;
    inverse_ = 1.0F / scale_;
  }

  float scale() const noexcept { return scale_; }

  // Of a float, or of a batch.
  template <class Value>
  PLURIA_INLINE auto operator()(const Value& value) const noexcept {
    return lanes::round_half_even(lanes::clamp(Value(value * Value(inverse_)), -127.0F, 127.0F));
  }

 private:
  float scale_;
  float inverse_;
};

}  // namespace detail

/// Rounds a token to int8, codes -127..127, ties to even, and gives back the scale that they stand for, at least
/// 2^-110. The values are finite. Throws precondition_error unless there is a code for each.
inline float quantize_token(std::span<const float> token, std::span<std::int8_t> codes) {
  require(codes.size() == token.size(), "quantize_token: as many codes as values");
  const detail::int8_rounding rounded(token);
  for (std::size_t i = 0; i < token.size(); ++i) {
    codes[i] = static_cast<std::int8_t>(rounded(token[i]));
  }
  return rounded.scale();
}

namespace detail {

// Throws bad_input at the first value that is NaN or infinite.
inline void check_finite_inputs(const input_rows& inputs) {
  for (std::size_t input = 0; input < inputs.count; ++input) {
    const std::span<const float> row = inputs.row(input);
    if (!std::isfinite(largest_magnitude(row))) {
      const auto found = std::find_if_not(row.begin(), row.end(), [](float value) { return std::isfinite(value); });
      throw bad_input(mismatch_message(
          "activations: input " + std::to_string(input) + ", column " + std::to_string(found - row.begin()),
          "a finite value", std::to_string(*found)));
    }
  }
}

// Moves four neighbours at a time from their elements to their places.
template <class Value>
void to_kernel_order(const Value* elements, Value* places) {
  for (std::size_t e = 0; e < block_size; e += 4) {
    std::memcpy(places + kernel_place(e), elements + e, 4 * sizeof(Value));
  }
}

// What is side by side: the inputs of a block, or the blocks of an input; or, for tiles of 32 columns, of all inputs
// the words that are multiplied together: word 2 input + h of line a of tile i holds columns 32 i + 16 h + 4 a and up.
enum class input_order { by_block, by_input, by_tile };

// Where block `index` of input `input` begins, in blocks.
class input_places {
 public:
  input_places() = default;
  input_places(input_order order, std::size_t inputs, std::size_t blocks)
      : of_block_(order == input_order::by_block ? inputs : 1),
        of_input_(order == input_order::by_block ? 1 : blocks) {}
  PLURIA_INLINE std::size_t at(std::size_t index, std::size_t input) const noexcept {
    return index * of_block_ + input * of_input_;
  }

 private:
  std::size_t of_block_ = 0;
  std::size_t of_input_ = 0;
};

// Calls work(128 values) for block `index` of a row, zeros behind its end.
template <class Work>
PLURIA_INLINE void with_whole_block(std::span<const float> row, std::size_t index, Work&& work) {
  const std::span<const float> rest = row.subspan(index * block_size);
  if (rest.size() >= block_size) {
    work(rest.data());
  } else {
    std::array<float, block_size> padded{};
    std::copy(rest.begin(), rest.end(), padded.begin());
    work(padded.data());
  }
}

class float_inputs {
 public:
  float_inputs(const input_rows& inputs, input_order order)
      : count_(inputs.count),
        places_(order, count_, blocks_per_row(inputs.columns)),
        values_(blocks_per_row(inputs.columns) * count_ * block_size) {
    for (std::size_t input = 0; input < count_; ++input) {
      for (std::size_t index = 0; index < blocks_per_row(inputs.columns); ++index) {
        float* const place = values_.data() + places_.at(index, input) * block_size;
        with_whole_block(inputs.row(input), index, [&](const float* values) { to_kernel_order(values, place); });
      }
    }
  }

  std::size_t count() const noexcept { return count_; }
  const float* at(std::size_t index, std::size_t input) const noexcept {
    return values_.data() + places_.at(index, input) * block_size;
  }

 private:
  std::size_t count_;
  input_places places_;
  aligned_vector<float> values_;
};

// What products that are summed per granule need of their inputs beside codes: weight_offset times the sum of each four
// neighbours, of the 32 fours of a block or, where both halves of a block have the same granules, of the 16 pairs.
enum class input_offsets { none, of_fours, of_pairs };

// 128 values as codes in kernel_place's order. Adds them to `sums`; `offsets` are 32 or 16, or none.
template <class Arch>
PLURIA_INLINE void quantize_block(const float* values, const int8_rounding& rounded, std::int8_t* codes,
                                  input_offsets kind, std::int32_t* offsets, std::int32_t weight_offset,
                                  lanes::ints<Arch>& sums) {
  using words = lanes::words<Arch>;
  using ints = lanes::ints<Arch>;
  const words ones(0x01010101U);
  for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
    constexpr std::size_t place = 16 * half + words::size * slice;  // in words
    words bytes(0U);
    lanes::unrolled<4>([&](auto i) PLURIA_INLINE_LAMBDA {
      const auto code = lanes::as<std::uint32_t>(
          rounded(lanes::floats<Arch>::load_unaligned(values + 32 * i + 16 * half + words::size * slice)));
      bytes = bytes | ((code & words(0xffU)) << static_cast<int>(8 * i));
    });
    bytes = lanes::transposed_quarters(bytes);
    bytes.store_aligned(reinterpret_cast<std::uint32_t*>(codes) + place);
    sums = lanes::plus_dot<1>(sums, ones, bytes);
    if (kind != input_offsets::none) {
      std::int32_t* const at = offsets + (kind == input_offsets::of_fours ? place : words::size * slice);
      const ints before = kind == input_offsets::of_fours || half == 0 ? ints(0) : ints::load_aligned(at);
      (before + lanes::plus_dot<1>(ints(0), ones, bytes) * ints(weight_offset)).store_aligned(at);
    }
  });
}

class int8_inputs {
 public:
  template <class Arch>
  static int8_inputs made(const input_rows& inputs, input_order order, std::int32_t weight_offset,
                          input_offsets kind = input_offsets::none) {
    int8_inputs result;
    const std::size_t blocks = blocks_per_row(inputs.columns);
    result.places_ = input_places(order, inputs.count, blocks);
    result.count_ = inputs.count;
    result.codes_.resize(blocks * inputs.count * block_size);
    result.offsets_of_block_ = kind == input_offsets::none ? 0 : kind == input_offsets::of_fours ? 32 : 16;
    const bool is_tiled = order == input_order::by_tile;
    result.offsets_.resize(blocks * inputs.count *
                           (is_tiled && kind != input_offsets::none ? 8 : result.offsets_of_block_));
    for (std::size_t input = 0; input < inputs.count; ++input) {
      const std::span<const float> row = inputs.row(input);
      const int8_rounding rounded(row);
      lanes::ints<Arch> sums(0);
      for (std::size_t index = 0; index < blocks; ++index) {
        with_whole_block(row, index, [&](const float* values) {
          if (is_tiled) {
            alignas(64) std::array<std::int8_t, block_size> codes;
            alignas(64) std::array<std::int32_t, 32> fours;
            quantize_block<Arch>(values, rounded, codes.data(), input_offsets::of_fours, fours.data(), weight_offset,
                                 sums);
            result.template set_tiles<Arch>(index, input, codes, fours, kind);
          } else {
            const std::size_t place = result.places_.at(index, input);
            quantize_block<Arch>(values, rounded, result.codes_.data() + place * block_size, kind,
                                 result.offsets_.data() + place * result.offsets_of_block_, weight_offset, sums);
          }
        });
      }
      result.scales_.push_back(rounded.scale());
      result.sums_.push_back(xsimd::hadd(sums));
    }
    return result;
  }

  std::size_t count() const noexcept { return count_; }
  // 128 bytes.
  const std::int8_t* codes(std::size_t index, std::size_t input) const noexcept {
    return codes_.data() + places_.at(index, input) * block_size;
  }
  const std::uint32_t* at(std::size_t index, std::size_t input) const noexcept {
    return reinterpret_cast<const std::uint32_t*>(codes(index, input));
  }
  // 32 sums, one for each four bytes, or 16; those of the block's next input follow.
  const std::int32_t* offsets(std::size_t index, std::size_t input) const noexcept {
    return offsets_.data() + places_.at(index, input) * offsets_of_block_;
  }
  // Of a tile of 32 columns, by_tile: the words of all inputs, and where there are offsets two for each input, of its
  // runs of 16 columns, or, of_pairs, one.
  const std::uint32_t* tile(std::size_t number) const noexcept {
    return reinterpret_cast<const std::uint32_t*>(codes_.data()) + 8 * number * count_;
  }
  const std::int32_t* tile_offsets(std::size_t number) const noexcept { return offsets_.data() + 2 * number * count_; }
  float scale(std::size_t input) const noexcept { return scales_[input]; }
  std::int32_t sum(std::size_t input) const noexcept { return sums_[input]; }

 private:
  template <class Arch>
  void set_tiles(std::size_t index, std::size_t input, const std::array<std::int8_t, block_size>& codes,
                 const std::array<std::int32_t, 32>& fours, input_offsets kind) {
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t number = 4 * index + i;
      std::array<std::int32_t, 2> sums{};
      for (std::size_t a = 0; a < 4; ++a) {
        for (std::size_t half = 0; half < 2; ++half) {
          const std::size_t word = 16 * half + 4 * a + i;
          std::memcpy(codes_.data() + 4 * ((4 * number + a) * 2 * count_ + 2 * input + half), codes.data() + 4 * word,
                      4);
          sums[half] += fours[word];
        }
      }
      if (kind == input_offsets::of_pairs) {
        offsets_[2 * number * count_ + input] = sums[0] + sums[1];
      } else if (kind == input_offsets::of_fours) {
        offsets_[2 * (number * count_ + input)] = sums[0];
        offsets_[2 * (number * count_ + input) + 1] = sums[1];
      }
    }
  }

  std::size_t count_ = 0;
  input_places places_;
  aligned_vector<std::int8_t> codes_;
  aligned_vector<std::int32_t> offsets_;
  std::size_t offsets_of_block_ = 0;
  std::vector<float> scales_;
  std::vector<std::int32_t> sums_;
};

}  // namespace detail
}  // namespace pluria
