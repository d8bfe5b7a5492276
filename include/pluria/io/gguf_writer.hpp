// SPDX-License-Identifier: MIT
#pragma once
// Writes GGUF files that are another one with some tensors in other types: metadata and the header's order stay as they
// are, byte for byte, but for what is no longer true. Bytes are streamed in file order, so that one pass over the
// source can fill the files of many members at the same time, each by its own writer.

#include <pluria/core/error.hpp>
#include <pluria/io/ggml_block.hpp>
#include <pluria/io/ggml_type.hpp>
#include <pluria/io/gguf.hpp>
#include <pluria/io/gguf_header.hpp>
#include <pluria/io/replaced_file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

/// What `general.file_type` says of a file whose large tensors are of a type (enum llama_ftype of llama.h). Throws
/// precondition_error for other types than F32, F16, BF16, Q4_0, Q5_0 and Q8_0.
constexpr std::uint32_t gguf_file_type(ggml_type mostly) {
  switch (mostly) {
    case ggml_type::f32:
      return 0;
    case ggml_type::f16:
      return 1;
    case ggml_type::q4_0:
      return 2;
    case ggml_type::q8_0:
      return 7;
    case ggml_type::q5_0:
      return 8;
    case ggml_type::bf16:
      return 32;
    default:
      throw precondition_error("gguf_file_type: F32, F16, BF16, Q4_0, Q5_0 or Q8_0");
  }
}

/// What stands in a member's metadata beside that of its source: keys begin with "pluria.", values are strings.
using gguf_identity = std::map<std::string, std::string>;

/// A file to be made from another one: which type each tensor will have, and where its bytes will lie. One plan serves
/// all members. A regular value.
class gguf_plan {
 public:
  /// Tensor i of `source` becomes `types[i]`, most of them `mostly`. Throws bad_input, naming the tensor, when its rows
  /// are not whole blocks of the new type; precondition_error unless there are as many types as tensors.
  gguf_plan(gguf_checkpoint source, std::vector<ggml_type> types, ggml_type mostly)
      : source_(std::move(source)), types_(std::move(types)), file_type_(gguf_file_type(mostly)) {
    require(types_.size() == source_.tensors().size(), "gguf_plan: a type for every tensor");
    for (std::size_t i = 0; i < types_.size(); ++i) {
      const gguf_tensor& tensor = source_.tensors()[i];
      sizes_.push_back(detail::checked_ggml_bytes(types_[i], tensor.shape(), tensor.where()));
      offsets_.push_back(data_bytes_);
      data_bytes_ = detail::aligned(data_bytes_ + sizes_.back(), source_.alignment());
    }
  }

  const gguf_checkpoint& source() const noexcept { return source_; }
  const std::vector<ggml_type>& types() const noexcept { return types_; }

  /// Bytes of each tensor, without padding.
  const std::vector<std::size_t>& tensor_bytes() const noexcept { return sizes_; }

  /// Bytes of the file of a member.
  std::uint64_t file_bytes(const gguf_identity& identity = {}) const { return header(identity).size() + data_bytes_; }

  /// The header of a member's file, with the padding behind it. What changes: tensors' types and offsets;
  /// `general.file_type`; `general.quantization_version` is added (2) when a tensor is quantized and it was not there;
  /// entries "pluria.*" of the source are replaced by `identity`. Throws precondition_error for other keys in it.
  std::string header(const gguf_identity& identity = {}) const {
    std::string entries;
    std::uint64_t count = 0;
    const auto add = [&](std::string_view bytes) {
      entries += bytes;
      ++count;
    };
    bool has_file_type = false;
    for (const gguf_entry& entry : source_.metadata()) {
      if (entry.key == "general.file_type") {
        add(number_entry(entry.key, file_type_));
        has_file_type = true;
      } else if (!entry.key.starts_with("pluria.")) {
        add({reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size()});
      }
    }
    if (!has_file_type) {
      add(number_entry("general.file_type", file_type_));
    }
    if (std::any_of(types_.begin(), types_.end(), is_quantized) &&
        source_.find("general.quantization_version") == nullptr) {
      add(number_entry("general.quantization_version", 2));
    }
    for (const auto& [key, value] : identity) {
      require(key.starts_with("pluria."), "gguf_plan: keys of an identity begin with \"pluria.\"");
      add(stored_text(key) + stored(gguf_type::string) + stored_text(value));
    }

    std::string text = "GGUF" + stored(std::uint32_t{3}) + stored(std::uint64_t{types_.size()}) + stored(count);
    text += entries;
    for (std::size_t i = 0; i < types_.size(); ++i) {
      const gguf_tensor& tensor = source_.tensors()[i];
      text += stored_text(tensor.name()) + stored(static_cast<std::uint32_t>(tensor.shape().size()));
      for (std::size_t d = tensor.shape().size(); d-- > 0;) {
        text += stored(std::uint64_t{tensor.shape()[d]});
      }
      text += stored(types_[i]) + stored(offsets_[i]);
    }
    text.resize(detail::aligned(text.size(), source_.alignment()), '\0');
    return text;
  }

 private:
  template <class T>
  static std::string stored(T value) {
    std::string bytes(sizeof(value), '\0');
    std::memcpy(bytes.data(), &value, sizeof(value));
    return bytes;
  }
  static std::string stored_text(std::string_view text) {
    return stored(std::uint64_t{text.size()}) + std::string(text);
  }
  static std::string number_entry(std::string_view key, std::uint32_t value) {
    return stored_text(key) + stored(gguf_type::u32) + stored(value);
  }

  gguf_checkpoint source_;
  std::vector<ggml_type> types_;
  std::uint32_t file_type_;
  std::vector<std::size_t> sizes_;
  std::vector<std::uint64_t> offsets_;
  std::uint64_t data_bytes_ = 0;  // all tensors, with their padding
};

/// Writes one file of a plan: the header at once, then the tensors' bytes in the source's order, in pieces of any size.
/// The file is complete or not there: it is written beside its target and renamed by `commit`. Writers of different
/// files may be used by different threads.
class gguf_writer {
 public:
  /// Opens the file and writes the header. Errors as replaced_file and gguf_plan::header.
  gguf_writer(const std::filesystem::path& path, const gguf_plan& plan, const gguf_identity& identity = {})
      : output_(path), alignment_(plan.source().alignment()), sizes_(plan.tensor_bytes()) {
    output_.write(plan.header(identity));
    finish_tensors();
  }

  /// Appends bytes of the current tensor; padding behind it is written when it is complete. Throws bad_input, naming
  /// the file, when they cannot be written; precondition_error beyond the tensor's end.
  void write(std::span<const std::byte> bytes) {
    require(bytes.size() <= (current_ < sizes_.size() ? sizes_[current_] - written_ : 0),
            "gguf_writer: bytes beyond the end of the tensor");
    output_.write(bytes);
    written_ += bytes.size();
    finish_tensors();
  }

  /// The tensor whose bytes come next, by its place in the source; their number after the last one.
  std::size_t current_tensor() const noexcept { return current_; }

  /// Makes the file complete. Throws precondition_error when bytes are missing; else as replaced_file.
  void commit() {
    require(current_ == sizes_.size(), "gguf_writer: committed before the last tensor was complete");
    output_.commit();
  }

 private:
  // Pads the current tensor if it is complete, and goes on behind those that have no bytes.
  void finish_tensors() {
    while (current_ < sizes_.size() && written_ == sizes_[current_]) {
      const std::uint64_t padded = detail::aligned(written_, alignment_);
      for (std::uint64_t left = padded - written_; left > 0;) {
        static constexpr std::array<std::byte, 64> zeros{};
        const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left, zeros.size()));
        output_.write(std::span(zeros).first(count));
        left -= count;
      }
      ++current_;
      written_ = 0;
    }
  }

  replaced_file output_;
  std::uint64_t alignment_;
  std::vector<std::size_t> sizes_;
  std::size_t current_ = 0;
  std::size_t written_ = 0;  // of the current tensor
};

}  // namespace pluria
