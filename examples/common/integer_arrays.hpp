// SPDX-License-Identifier: MIT
#pragma once
// Whole numbers in .npy files: labels, groups, token ids.

#include <pluria/core/error.hpp>
#include <pluria/io/npy.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pluria::examples {

/// The integers of an .npy file of shape [N], whatever their width; `one_per_example` is the N that they must have.
/// Throws bad_input, naming the file, for another shape, for other dtypes, and for numbers beyond int64.
inline std::vector<std::int64_t> load_integers(const std::string& path, const std::string& what,
                                               std::optional<std::size_t> one_per_example = std::nullopt) {
  const tensor array = load_npy(path);
  const std::size_t count = one_per_example.value_or(array.size());
  if (array.shape() != tensor_shape{count}) {
    throw bad_input(mismatch_message(
        path,
        one_per_example ? what + " of shape [" + std::to_string(count) + "], one per example" : what + " of shape [N]",
        to_string(array.shape())));
  }
  std::vector<std::int64_t> result(count);
  const auto convert = [&]<class Integer>(Integer value) {
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(&value, array.bytes().data() + i * sizeof(value), sizeof(value));
      if (!std::in_range<std::int64_t>(value)) {
        throw bad_input(
            mismatch_message(path + ": index " + std::to_string(i), "a number below 2^63", std::to_string(value)));
      }
      result[i] = static_cast<std::int64_t>(value);
    }
  };
  switch (array.type()) {
    case dtype::i8:
      convert(std::int8_t{});
      break;
    case dtype::i16:
      convert(std::int16_t{});
      break;
    case dtype::i32:
      convert(std::int32_t{});
      break;
    case dtype::i64:
      convert(std::int64_t{});
      break;
    case dtype::u8:
      convert(std::uint8_t{});
      break;
    case dtype::u16:
      convert(std::uint16_t{});
      break;
    case dtype::u32:
      convert(std::uint32_t{});
      break;
    case dtype::u64:
      convert(std::uint64_t{});
      break;
    default:
      throw bad_input(mismatch_message(path, "integers", std::string(name_of(array.type()))));
  }
  return result;
}

}  // namespace pluria::examples
