// SPDX-License-Identifier: MIT
#pragma once
// The inputs of a product in the form and order in which the kernels meet them, made once per product: block after
// block of 128 columns; in a block, input after input; 128 values in kernel_place's order, zeros behind the last
// column. As floats, or as int8 with one scale for each input (token): symmetric, to nearest, scale = max|x| / 127,
// codes -127..127.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/core/magnitude.hpp>
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
#include <type_traits>
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

/// Rounds a token to int8, codes -127..127, ties to even, and gives back the scale that they stand for, at least
/// 2^-110. The values are finite. Throws precondition_error unless there is a code for each.
template <class Arch = xsimd::default_arch>
float quantize_token(std::span<const float> token, std::span<std::int8_t> codes) {
  using floats = lanes::floats<Arch>;
  require(codes.size() == token.size(), "quantize_token: as many codes as values");
  const float largest = largest_magnitude(token);
  const float scale = symmetric_int<8>::fit(std::span(&largest, 1)).scale;
  const float inverse = 1.0F / scale;
  const auto rounded = [&](const auto& value) {
    using value_type = std::decay_t<decltype(value)>;
    return lanes::round_half_even(lanes::clamp(value_type(value * value_type(inverse)), -127.0F, 127.0F));
  };
  // A block at a time: compilers narrow an array of integers in batches.
  alignas(64) std::array<std::int32_t, block_size> wide;
  std::size_t first = 0;
  for (; first + block_size <= token.size(); first += block_size) {
    for (std::size_t e = 0; e < block_size; e += floats::size) {
      rounded(floats::load_unaligned(&token[first + e])).store_aligned(&wide[e]);
    }
    for (std::size_t e = 0; e < block_size; ++e) {
      codes[first + e] = static_cast<std::int8_t>(wide[e]);
    }
  }
  for (; first < token.size(); ++first) {
    codes[first] = static_cast<std::int8_t>(rounded(token[first]));
  }
  return scale;
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

// What is side by side: the inputs of a block, or the blocks of an input.
enum class input_order { by_block, by_input };

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

class float_inputs {
 public:
  float_inputs(const input_rows& inputs, input_order order)
      : count_(inputs.count),
        places_(order, count_, blocks_per_row(inputs.columns)),
        values_(blocks_per_row(inputs.columns) * count_ * block_size) {
    for (std::size_t input = 0; input < count_; ++input) {
      const float* row = inputs.row(input).data();
      for (std::size_t index = 0; index < blocks_per_row(inputs.columns); ++index) {
        float* place = values_.data() + places_.at(index, input) * block_size;
        const std::size_t filled = std::min(block_size, inputs.columns - index * block_size);
        if (filled == block_size) {
          to_kernel_order(row + index * block_size, place);
        } else {
          std::array<float, block_size> padded{};
          std::copy_n(row + index * block_size, filled, padded.begin());
          to_kernel_order(padded.data(), place);
        }
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

class int8_inputs {
 public:
  // With `weight_offset`, also its products with the sum of each four neighbours, for products that are summed per
  // granule.
  template <class Arch>
  static int8_inputs made(const input_rows& inputs, input_order order, std::int32_t weight_offset, bool with_offsets) {
    int8_inputs result;
    const std::size_t blocks = blocks_per_row(inputs.columns);
    result.places_ = input_places(order, inputs.count, blocks);
    result.count_ = inputs.count;
    result.codes_.resize(blocks * inputs.count * block_size);
    result.scales_.resize(inputs.count);
    result.sums_.resize(inputs.count);
    result.offsets_.resize(with_offsets ? blocks * inputs.count * (block_size / 4) : 0);
    std::vector<std::int8_t> codes(blocks * block_size, 0);
    for (std::size_t input = 0; input < inputs.count; ++input) {
      result.scales_[input] = quantize_token<Arch>(inputs.row(input), std::span(codes).first(inputs.columns));
      std::int32_t sum = 0;
      for (const std::int8_t code : codes) {
        sum += code;
      }
      result.sums_[input] = sum;
      for (std::size_t index = 0; index < blocks; ++index) {
        std::int8_t* place = result.codes_.data() + result.places_.at(index, input) * block_size;
        to_kernel_order(codes.data() + index * block_size, place);
        if (with_offsets) {
          std::int32_t* offset = result.offsets_.data() + result.places_.at(index, input) * (block_size / 4);
          for (std::size_t word = 0; word < block_size / 4; ++word) {
            offset[word] =
                weight_offset * (place[4 * word] + place[4 * word + 1] + place[4 * word + 2] + place[4 * word + 3]);
          }
        }
      }
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
  // 32 sums, one for each four bytes.
  const std::int32_t* offsets(std::size_t index, std::size_t input) const noexcept {
    return offsets_.data() + places_.at(index, input) * (block_size / 4);
  }
  float scale(std::size_t input) const noexcept { return scales_[input]; }
  std::int32_t sum(std::size_t input) const noexcept { return sums_[input]; }

 private:
  std::size_t count_ = 0;
  input_places places_;
  aligned_vector<std::int8_t> codes_;
  aligned_vector<std::int32_t> offsets_;
  std::vector<float> scales_;
  std::vector<std::int32_t> sums_;
};

}  // namespace detail
}  // namespace pluria
