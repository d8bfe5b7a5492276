// SPDX-License-Identifier: MIT
#pragma once
// A checkpoint: named tensors in file order, each with its dtype, shape and bytes, owned or mapped, and the file's
// metadata. Tensors are cheap to copy: bytes are shared and never change. Weights become floats slice by slice, so that
// a mapped file of any size needs little memory; integers and doubles pass through as they are.

#include <pluria/core/error.hpp>
#include <pluria/core/float16.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pluria {

/// What the bytes of a tensor are.
enum class dtype : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

namespace detail {
// Not inside the function, where compilers build the table anew at every call.
inline constexpr std::size_t dtype_sizes[] = {8, 4, 2, 2, 8, 4, 2, 1, 8, 4, 2, 1, 1};
}  // namespace detail

/// Bytes of one element.
constexpr std::size_t size_of(dtype type) noexcept {
  return detail::dtype_sizes[static_cast<std::size_t>(type)];
}

/// The name that safetensors files use: "F32".
constexpr std::string_view name_of(dtype type) noexcept {
  constexpr std::string_view names[] = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16",
                                        "I8",  "U64", "U32", "U16",  "U8",  "BOOL"};
  return names[static_cast<std::size_t>(type)];
}

/// Whether elements are weights: float32, float16 or bfloat16.
constexpr bool is_weight_type(dtype type) noexcept {
  return type == dtype::f32 || type == dtype::f16 || type == dtype::bf16;
}

/// A tensor's shape, outermost dimension first; empty for a scalar.
using tensor_shape = std::vector<std::size_t>;

/// "[10, 64]", for messages.
inline std::string to_string(std::span<const std::size_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

/// The number of elements of a shape. Throws bad_input, beginning with `where`, when it does not fit into size_t.
inline std::size_t element_count(std::span<const std::size_t> shape, const std::string& where) {
  std::size_t count = 1;
  for (const std::size_t extent : shape) {
    if (extent != 0 && count > std::numeric_limits<std::size_t>::max() / extent) {
      throw bad_input(mismatch_message(where, "a shape whose product fits into 64 bits", to_string(shape)));
    }
    count *= extent;
  }
  return count;
}

/// Rows and columns as the library sees a tensor: dimension 0 and the rest flattened; a vector or scalar is one row.
constexpr std::size_t rows_of(std::span<const std::size_t> shape) noexcept {
  return shape.size() < 2 ? 1 : shape[0];
}
constexpr std::size_t columns_of(std::span<const std::size_t> shape) noexcept {
  std::size_t columns = rows_of(shape) == 0 ? 0 : 1;
  for (std::size_t dimension = shape.size() < 2 ? 0 : 1; dimension < shape.size(); ++dimension) {
    columns *= shape[dimension];
  }
  return columns;
}

/// A named, typed, shaped and immutable block of bytes.
class tensor {
 public:
  /// `bytes` keeps alive whatever owns them; `file` names where they came from, for messages. The bytes need no
  /// alignment. Throws precondition_error when their number is not that of the shape.
  tensor(std::string name, dtype type, tensor_shape shape, std::span<const std::byte> bytes,
         std::shared_ptr<const void> owner, std::string file = {})
      : name_(std::move(name)),
        file_(std::move(file)),
        type_(type),
        shape_(std::move(shape)),
        bytes_(bytes),
        owner_(std::move(owner)) {
    size_ = element_count(shape_, where());
    require(bytes_.size() % size_of(type_) == 0 && bytes_.size() / size_of(type_) == size_,
            "tensor: the number of bytes must be that of the shape");
  }

  /// A float32 tensor that owns its values.
  static tensor from_floats(std::string name, tensor_shape shape, std::vector<float> values, std::string file = {}) {
    const auto owner = std::make_shared<const std::vector<float>>(std::move(values));
    return {std::move(name), dtype::f32, std::move(shape), std::as_bytes(std::span(*owner)), owner, std::move(file)};
  }

  const std::string& name() const noexcept { return name_; }
  const std::string& file() const noexcept { return file_; }
  dtype type() const noexcept { return type_; }
  const tensor_shape& shape() const noexcept { return shape_; }
  std::size_t size() const noexcept { return size_; }  ///< elements
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// The same bytes under another name.
  tensor renamed(std::string name) const { return {std::move(name), type_, shape_, bytes_, owner_, file_}; }

  /// See rows_of.
  std::size_t rows() const noexcept { return rows_of(shape_); }
  std::size_t columns() const noexcept { return columns_of(shape_); }

  /// How messages begin: `vit.safetensors: tensor "head.weight"`.
  std::string where() const { return (file_.empty() ? "" : file_ + ": ") + "tensor \"" + name_ + "\""; }

  /// Elements first, first + 1, ... as floats, into `values`. Float16 and bfloat16 are exact. Throws bad_input for
  /// other dtypes than F32, F16 and BF16, precondition_error beyond the end.
  void read(std::size_t first, std::span<float> values) const {
    require(first <= size_ && values.size() <= size_ - first, "tensor: reading beyond the end");
    if (values.empty()) {
      return;
    }
    const std::byte* source = bytes_.data() + first * size_of(type_);
    switch (type_) {
      case dtype::f32:
        std::memcpy(values.data(), source, values.size_bytes());
        return;
      case dtype::f16:
        convert(source, values, [](std::uint16_t bits) { return float_from_half(bits); });
        return;
      case dtype::bf16:
        convert(source, values, [](std::uint16_t bits) { return float_from_bfloat16(bits); });
        return;
      default:
        expect_weights();
    }
  }

  /// Throws bad_input unless the elements are weights: F32, F16 or BF16.
  void expect_weights() const {
    if (!is_weight_type(type_)) {
      throw bad_input(mismatch_message(where(), "dtype F32, F16 or BF16", std::string(name_of(type_))));
    }
  }

  /// All elements as floats; see read.
  std::vector<float> to_floats() const {
    std::vector<float> values(size_);
    read(0, values);
    return values;
  }

 private:
  template <class Convert>
  static void convert(const std::byte* source, std::span<float> values, Convert to_float) {
    // By way of an array, from which compilers convert in batches: bytes need no alignment.
    std::array<std::uint16_t, 1024> bits;
    for (std::size_t first = 0; first < values.size(); first += bits.size()) {
      const std::size_t count = std::min(bits.size(), values.size() - first);
      std::memcpy(bits.data(), source + 2 * first, 2 * count);
      float* const out = values.data() + first;
      for (std::size_t i = 0; i < count; ++i) {
        out[i] = to_float(bits[i]);
      }
    }
  }

  std::string name_;
  std::string file_;
  dtype type_;
  tensor_shape shape_;
  std::size_t size_ = 0;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
};

/// Named tensors in file order, with string metadata. A regular value: copies share the tensors' bytes.
class checkpoint {
 public:
  checkpoint() = default;

  /// An empty checkpoint; `file` is what messages about it name.
  explicit checkpoint(std::string file, std::map<std::string, std::string> metadata = {})
      : file_(std::move(file)), metadata_(std::move(metadata)) {}

  /// Adds a tensor at the end. Throws bad_input when there is one of its name.
  void add(tensor added) {
    if (!places_.emplace(added.name(), tensors_.size()).second) {
      throw bad_input(added.where() + ": the name stands twice in the checkpoint");
    }
    tensors_.push_back(std::move(added));
  }

  const std::vector<tensor>& tensors() const& noexcept { return tensors_; }
  std::vector<tensor> tensors() && { return std::move(tensors_); }  ///< of a temporary: no reference into it
  const std::string& file() const noexcept { return file_; }
  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  std::map<std::string, std::string>& metadata() noexcept { return metadata_; }

  /// The tensor of this name, or null.
  const tensor* find(std::string_view name) const {
    const auto place = places_.find(std::string(name));
    return place == places_.end() ? nullptr : &tensors_[place->second];
  }

  /// The tensor of this name. Throws bad_input, naming file and tensor, when there is none.
  const tensor& operator[](std::string_view name) const {
    if (const tensor* found = find(name)) {
      return *found;
    }
    throw bad_input((file_.empty() ? "" : file_ + ": ") + "tensor \"" + std::string(name) + "\": expected, not found");
  }

  /// The tensor of this name and shape. Throws bad_input, with both shapes, when it is missing or misshapen.
  const tensor& expect(std::string_view name, const tensor_shape& shape) const {
    const tensor& found = (*this)[name];
    if (found.shape() != shape) {
      throw bad_input(mismatch_message(found.where(), "shape " + to_string(shape), to_string(found.shape())));
    }
    return found;
  }

 private:
  std::string file_;
  std::map<std::string, std::string> metadata_;
  std::vector<tensor> tensors_;
  std::unordered_map<std::string, std::size_t> places_;
};

}  // namespace pluria
