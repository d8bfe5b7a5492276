// SPDX-License-Identifier: MIT
#pragma once
// NumPy's npy format (numpy.lib.format, NEP 1): 6 bytes "\x93NUMPY", version major and minor, the header's length (2
// bytes in version 1, 4 in versions 2 and 3, little-endian), the header, the values in C order.

#include <pluria/core/error.hpp>
#include <pluria/io/mapped_file.hpp>
#include <pluria/io/npy_header.hpp>
#include <pluria/io/replaced_file.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace pluria {

/// The array in the bytes of an npy file, as a tensor of the given name whose bytes are shared with `owner`; `file` is
/// what messages name. Throws bad_input for anything but versions 1 to 3, plain little-endian floats, integers and
/// bools in C order, and exactly as many bytes as the shape takes.
inline tensor parse_npy(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, const std::string& file,
                        std::string name) {
  constexpr std::string_view magic("\x93NUMPY", 6);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(magic)) {
    throw bad_input(file + ": expected an npy file, which begins with \"\\x93NUMPY\", found other bytes");
  }
  if (text.size() < 10) {
    throw bad_input(
        mismatch_message(file, "version and length of the npy header", std::to_string(text.size()) + " bytes"));
  }
  const int major = static_cast<unsigned char>(text[6]);
  const int minor = static_cast<unsigned char>(text[7]);
  if (major < 1 || major > 3 || minor != 0) {
    throw bad_input(
        mismatch_message(file, "npy version 1.0, 2.0 or 3.0", std::to_string(major) + '.' + std::to_string(minor)));
  }
  const std::size_t width = major == 1 ? 2 : 4;
  std::uint32_t length = 0;
  if (text.size() - 8 >= width) {
    std::memcpy(&length, text.data() + 8, width);
  }
  const std::size_t begin = 8 + width;
  if (text.size() < begin || length > text.size() - begin) {
    throw bad_input(mismatch_message(file + ": npy header",
                                     "a length within the file of " + std::to_string(text.size()) + " bytes",
                                     std::to_string(length)));
  }
  detail::npy_header header = detail::npy_dictionary(text.substr(begin, length), file).read();
  const std::span<const std::byte> values = bytes.subspan(begin + length);
  const std::size_t count = element_count(header.shape, file);
  const std::size_t size = size_of(header.type);
  if (values.size() % size != 0 || values.size() / size != count) {
    throw bad_input(mismatch_message(
        file, std::to_string(count) + " * " + std::to_string(size) + " bytes for the shape " + to_string(header.shape),
        std::to_string(values.size())));
  }
  return {std::move(name), header.type, std::move(header.shape), values, std::move(owner), file};
}

/// The array in an npy file, mapped, as a tensor named by the file without its extension: "logits-000". Throws
/// bad_input when the file cannot be opened; see `mapped_file` and `parse_npy`.
inline tensor load_npy(const std::filesystem::path& path) {
  const mapped_file file = mapped_file::open(path);
  return parse_npy(file.bytes(), file.owner(), path.string(), path.stem().string());
}

namespace detail {

template <class Value>
void save_npy_values(const std::filesystem::path& path, dtype type, const tensor_shape& shape,
                     std::span<const Value> values) {
  require(element_count(shape, path.string()) == values.size(),
          "save_npy: the number of values must be that of the shape");
  replaced_file output(path);
  output.write(std::string_view(npy_preamble(type, shape, path.string())));
  output.write(std::as_bytes(values));
  output.commit();
}

}  // namespace detail

/// Writes a float32 array, the last dimension fastest, byte for byte as NumPy does, complete or not at all. Throws
/// bad_input, naming the file, when it cannot be written; precondition_error when the number of values is not that of
/// the shape.
inline void save_npy(const std::filesystem::path& path, const tensor_shape& shape, std::span<const float> values) {
  detail::save_npy_values(path, dtype::f32, shape, values);
}

/// Writes an int32 array, such as labels.
inline void save_npy(const std::filesystem::path& path, const tensor_shape& shape,
                     std::span<const std::int32_t> values) {
  detail::save_npy_values(path, dtype::i32, shape, values);
}

/// Writes an int64 array, such as labels.
inline void save_npy(const std::filesystem::path& path, const tensor_shape& shape,
                     std::span<const std::int64_t> values) {
  detail::save_npy_values(path, dtype::i64, shape, values);
}

/// Writes a float32 array whose values come in order, batch by batch. Destroyed before `close`, it leaves nothing
/// behind and an older file of the name as it was.
class npy_writer {
 public:
  /// Throws bad_input, naming the file, when it cannot be written.
  npy_writer(const std::filesystem::path& path, const tensor_shape& shape)
      : output_(path), missing_(element_count(shape, path.string())) {
    output_.write(std::string_view(detail::npy_preamble(dtype::f32, shape, path.string())));
  }

  /// Appends values, whole rows or not. Throws precondition_error beyond the shape, bad_input when the disk is full.
  void append(std::span<const float> values) {
    require(values.size() <= missing_, "npy_writer: more values than the shape has");
    output_.write(std::as_bytes(values));
    missing_ -= values.size();
  }

  /// Makes the file complete. Throws precondition_error when values are missing or it was closed before, bad_input when
  /// it cannot be written.
  void close() {
    require(missing_ == 0, "npy_writer: fewer values than the shape has");
    output_.commit();
  }

 private:
  replaced_file output_;
  std::size_t missing_;
};

}  // namespace pluria
