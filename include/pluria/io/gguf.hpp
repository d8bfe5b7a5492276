// SPDX-License-Identifier: MIT
#pragma once
// Reads GGUF, the format of llama.cpp (docs/gguf.md of ggml): version 3, little-endian. Reading is strict: what two
// readers could understand differently is refused, and so is what ggml's own reader refuses: tensors lie in the order
// of the header, each at the next multiple of the alignment behind the one before. Tensors of all types that ggml has
// can be looked at and copied; F32, F16, BF16 and Q8_0 ones can be read as weights.

#include <pluria/core/error.hpp>
#include <pluria/io/ggml_block.hpp>
#include <pluria/io/ggml_type.hpp>
#include <pluria/io/gguf_header.hpp>
#include <pluria/io/mapped_file.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

/// The dtype whose elements are those of a plain ggml type of weights; nothing for other types.
constexpr std::optional<dtype> weight_dtype(ggml_type type) noexcept {
  switch (type) {
    case ggml_type::f32:
      return dtype::f32;
    case ggml_type::f16:
      return dtype::f16;
    case ggml_type::bf16:
      return dtype::bf16;
    default:
      return std::nullopt;
  }
}

/// A tensor of a GGUF file: immutable, and cheap to copy.
class gguf_tensor {
 public:
  /// `bytes` keeps alive whatever owns them; `file` is what messages name. Throws precondition_error unless they are as
  /// many as the type's blocks take.
  gguf_tensor(std::string name, ggml_type type, tensor_shape shape, std::span<const std::byte> bytes,
              std::shared_ptr<const void> owner, std::string file = {})
      : name_(std::move(name)),
        file_(std::move(file)),
        type_(type),
        shape_(std::move(shape)),
        bytes_(bytes),
        owner_(std::move(owner)) {
    size_ = element_count(shape_, where());
    require(size_ % layout_of(type_).block_elements == 0 && bytes_.size() == ggml_bytes(type_, size_),
            "gguf_tensor: the number of bytes must be that of the shape");
  }

  const std::string& name() const noexcept { return name_; }
  const std::string& file() const noexcept { return file_; }
  ggml_type type() const noexcept { return type_; }

  /// Outermost dimension first, as everywhere here: [rows, columns] of a matrix. ggml has them the other way round.
  const tensor_shape& shape() const noexcept { return shape_; }
  std::size_t size() const noexcept { return size_; }  ///< elements
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// Elements of the innermost dimension, which blocks never cross the end of; 1 for a scalar.
  std::size_t row_elements() const noexcept { return shape_.empty() ? 1 : shape_.back(); }

  /// How messages begin: `model.gguf: tensor "output.weight"`.
  std::string where() const { return (file_.empty() ? "" : file_ + ": ") + "tensor \"" + name_ + "\""; }

  /// Whether elements can be read as weights: F32, F16, BF16 or Q8_0.
  bool has_weights() const noexcept { return weight_dtype(type_).has_value() || type_ == ggml_type::q8_0; }

  /// Throws bad_input, naming tensor and type, unless elements can be read as weights.
  void expect_weights() const {
    if (!has_weights()) {
      throw bad_input(mismatch_message(where(), "type F32, F16, BF16 or Q8_0", std::string(name_of(type_))));
    }
  }

  /// Elements first, first + 1, ... as floats, into `values`; all exact. Throws bad_input where they are not weights,
  /// precondition_error beyond the end.
  void read(std::size_t first, std::span<float> values) const {
    expect_weights();
    require(first <= size_ && values.size() <= size_ - first, "gguf_tensor: reading beyond the end");
    if (type_ != ggml_type::q8_0) {
      return plain().read(first, values);
    }
    using block = ggml_block<ggml_type::q8_0>;
    while (!values.empty()) {
      const auto source = bytes_.subspan(first / ggml_block_size * block::bytes).first<block::bytes>();
      const std::size_t skipped = first % ggml_block_size;
      const std::size_t count = std::min(values.size(), ggml_block_size - skipped);
      if (count == ggml_block_size) {
        block::decode(source, values.first<ggml_block_size>());
      } else {
        std::array<float, ggml_block_size> decoded;
        block::decode(source, decoded);
        std::copy_n(decoded.begin() + static_cast<std::ptrdiff_t>(skipped), count, values.begin());
      }
      values = values.subspan(count);
      first += count;
    }
  }

  /// The tensor as quantizers and kernels take it: F32, F16 and BF16 ones share their bytes, Q8_0 becomes float32 (four
  /// bytes an element). Throws bad_input for other types.
  tensor weights() const {
    expect_weights();
    if (type_ != ggml_type::q8_0) {
      return plain();
    }
    std::vector<float> values(size_);
    read(0, values);
    return tensor::from_floats(name_, shape_, std::move(values), file_);
  }

 private:
  tensor plain() const { return {name_, *weight_dtype(type_), shape_, bytes_, owner_, file_}; }

  std::string name_;
  std::string file_;
  ggml_type type_;
  tensor_shape shape_;
  std::size_t size_ = 0;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
};

/// What is in a GGUF file: metadata and tensors in file order. A regular value: copies share the bytes.
class gguf_checkpoint {
 public:
  /// `alignment` is what offsets in the file are multiples of, a power of two. `owner` keeps the metadata's bytes
  /// alive.
  gguf_checkpoint(std::string file, std::vector<gguf_entry> metadata, std::vector<gguf_tensor> tensors,
                  std::uint64_t alignment, std::shared_ptr<const void> owner)
      : file_(std::move(file)),
        metadata_(std::move(metadata)),
        tensors_(std::move(tensors)),
        alignment_(alignment),
        owner_(std::move(owner)) {}

  const std::string& file() const noexcept { return file_; }
  const std::vector<gguf_entry>& metadata() const noexcept { return metadata_; }
  const std::vector<gguf_tensor>& tensors() const noexcept { return tensors_; }
  std::uint64_t alignment() const noexcept { return alignment_; }

  /// The entry of a key, or null.
  const gguf_entry* find(std::string_view key) const noexcept {
    const auto found =
        std::find_if(metadata_.begin(), metadata_.end(), [&](const gguf_entry& entry) { return entry.key == key; });
    return found == metadata_.end() ? nullptr : &*found;
  }

  /// The tensor of a name, or null.
  const gguf_tensor* find_tensor(std::string_view name) const noexcept {
    const auto found =
        std::find_if(tensors_.begin(), tensors_.end(), [&](const gguf_tensor& other) { return other.name() == name; });
    return found == tensors_.end() ? nullptr : &*found;
  }

 private:
  std::string file_;
  std::vector<gguf_entry> metadata_;
  std::vector<gguf_tensor> tensors_;
  std::uint64_t alignment_;
  std::shared_ptr<const void> owner_;
};

namespace detail {

/// The bytes that a tensor takes in a type. Throws bad_input, beginning with `where`, when rows are not whole blocks or
/// the number does not fit into size_t.
inline std::size_t checked_ggml_bytes(ggml_type type, const tensor_shape& shape, const std::string& where) {
  const ggml_layout layout = layout_of(type);
  const std::size_t row = shape.empty() ? 1 : shape.back();
  if (row % layout.block_elements != 0) {
    throw bad_input(mismatch_message(where,
                                     "rows of whole blocks of " + std::to_string(layout.block_elements) +
                                         " elements for " + std::string(layout.name),
                                     "rows of " + std::to_string(row)));
  }
  const std::size_t count = element_count(shape, where);
  if (count / layout.block_elements > std::numeric_limits<std::size_t>::max() / layout.block_bytes) {
    throw bad_input(mismatch_message(where, "a size in bytes that fits into 64 bits",
                                     to_string(shape) + " of " + std::string(layout.name)));
  }
  return ggml_bytes(type, count);
}

/// A tensor of the data, after type, shape and offset have been held against it. `begin` is where it has to begin, and
/// becomes where it ends.
inline gguf_tensor gguf_tensor_in(const gguf_tensor_info& info, std::span<const std::byte> data, std::uint64_t& begin,
                                  std::uint64_t alignment, const std::shared_ptr<const void>& owner,
                                  const std::string& file) {
  const std::string where = file + ": tensor \"" + info.name + '"';
  const std::optional<ggml_layout> layout = find_ggml_layout(info.type);
  if (!layout) {
    throw bad_input(mismatch_message(where, "a type that ggml has", "type " + std::to_string(info.type)));
  }
  const auto type = static_cast<ggml_type>(info.type);
  const std::size_t bytes = checked_ggml_bytes(type, info.shape, where);
  if (info.offset != begin) {
    const std::string fault = info.offset % alignment != 0 ? ", no multiple of " + std::to_string(alignment)
                              : info.offset < begin        ? ", an overlap with the tensor before"
                                                           : ", a hole behind the tensor before";
    throw bad_input(mismatch_message(where + ": offset", std::to_string(begin), std::to_string(info.offset) + fault));
  }
  if (begin > data.size() || bytes > data.size() - begin) {
    throw bad_input(mismatch_message(
        where, std::to_string(bytes) + " bytes for " + to_string(info.shape) + " of " + std::string(layout->name),
        std::to_string(begin > data.size() ? 0 : data.size() - begin) + " until the end of the file"));
  }
  const auto place = data.subspan(begin, bytes);
  begin = aligned(begin + bytes, alignment);
  return {info.name, type, info.shape, place, owner, file};
}

}  // namespace detail

/// The metadata and tensors in the bytes of a GGUF file, which they share with `owner` and keep alive. `file` is what
/// messages name. Throws bad_input, naming file and key or tensor, for anything that the format forbids, for other
/// versions than 3, big-endian files, and tensors of types that ggml does not have.
inline gguf_checkpoint parse_gguf(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner,
                                  std::string file) {
  detail::gguf_header header(bytes, file);
  const std::span<const std::byte> data = bytes.subspan(header.data_begin());
  std::vector<gguf_tensor> tensors;
  tensors.reserve(header.tensors().size());
  std::uint64_t end = 0;
  for (const detail::gguf_tensor_info& info : header.tensors()) {
    tensors.push_back(detail::gguf_tensor_in(info, data, end, header.alignment(), owner, file));
  }
  // The padding behind the last tensor may be missing.
  if (data.size() > end) {
    throw bad_input(mismatch_message(file, std::to_string(end) + " bytes of data, where the last tensor ends",
                                     std::to_string(data.size()) + " bytes"));
  }
  return {std::move(file), std::move(header.entries()), std::move(tensors), header.alignment(), owner};
}

/// The metadata and tensors of a GGUF file, mapped: nothing but the header is read before it is used. Errors as
/// `mapped_file` and `parse_gguf`.
inline gguf_checkpoint load_gguf(const std::filesystem::path& path) {
  const mapped_file file = mapped_file::open(path);
  return parse_gguf(file.bytes(), file.owner(), path.string());
}

}  // namespace pluria
