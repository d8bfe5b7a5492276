// SPDX-License-Identifier: MIT
#pragma once
// The header of a GGUF file (docs/gguf.md of ggml, "File Structure"), version 3, little-endian:
//
//   "GGUF"  u32 version  u64 tensors  u64 key-values
//   key-values:  string key  u32 type  value             a string is u64 length and its bytes,
//   tensors:     string name  u32 n  u64 dimensions[n]   an array u32 type, u64 count and the elements
//                u32 type  u64 offset into the data, which begins at the next multiple of the alignment
//
// Values are walked over, not converted: they keep their bytes, so that they can be copied as they are.

#include <pluria/core/error.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace pluria {

/// What the bytes of a metadata value are, under the numbers that files store.
enum class gguf_type : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

/// One key and value of a GGUF file's metadata. The bytes are the file's.
struct gguf_entry {
  std::string key;
  gguf_type type{};
  std::span<const std::byte> value;  ///< an array with its element type and count, a string with its length
  std::span<const std::byte> bytes;  ///< all of the entry: key, type and value

  /// The text of a string; nothing for other types.
  std::optional<std::string_view> text() const noexcept {
    if (type != gguf_type::string) {
      return std::nullopt;
    }
    return std::string_view(reinterpret_cast<const char*>(value.data()) + 8, value.size() - 8);
  }

  /// The number of a u32; nothing for other types.
  std::optional<std::uint32_t> number() const noexcept {
    if (type != gguf_type::u32) {
      return std::nullopt;
    }
    std::uint32_t result = 0;
    std::memcpy(&result, value.data(), sizeof(result));
    return result;
  }
};

namespace detail {

/// What `gguf_header` says of one tensor.
struct gguf_tensor_info {
  std::string name;
  tensor_shape shape;  ///< outermost dimension first; the file has the innermost first
  std::uint32_t type = 0;
  std::uint64_t offset = 0;
};

/// The bytes that a value of a type takes; 0 for strings and arrays, which say it themselves.
constexpr std::size_t size_of_value(gguf_type type) noexcept {
  constexpr std::size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return sizes[static_cast<std::size_t>(type)];
}

/// Text for a message: what is not printable ASCII as '?', at most 64 characters.
inline std::string printable(std::string_view text) {
  std::string result(text.substr(0, 64));
  for (char& c : result) {
    c = c >= ' ' && c <= '~' ? c : '?';
  }
  return text.size() > 64 ? result + "..." : result;
}

/// The next multiple of `alignment`, a power of two, of a position in memory.
constexpr std::uint64_t aligned(std::uint64_t position, std::uint64_t alignment) noexcept {
  return (position + alignment - 1) & ~(alignment - 1);
}

/// Reads the header from the beginning of a file's bytes. Throws bad_input, naming the file and the key or tensor, for
/// other formats, versions and byte orders, for whatever ends behind the file's end, for types that the format does not
/// know, names that stand twice, and for what implementations read differently: empty keys and keys that are not ASCII,
/// names with zero bytes, booleans other than 0 and 1. Tensor types and offsets mean nothing yet: `parse_gguf` holds
/// them against the data.
class gguf_header {
 public:
  gguf_header(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file), where_(file) {
    read_version();
    const auto tensors = read<std::uint64_t>("the number of tensors");
    const auto entries = read<std::uint64_t>("the number of key-values");
    // An entry takes 14 bytes or more, a tensor 24: beyond that a number is not worth a loop, let alone memory.
    require_count(entries, 14, "key-values");
    require_count(tensors, 24, "tensors");
    read_entries(entries);
    read_alignment();
    read_tensors(tensors);
    where_ = file_;
    data_begin_ = static_cast<std::size_t>(std::min<std::uint64_t>(aligned(at_, alignment_), bytes_.size()));
  }

  std::vector<gguf_entry>& entries() noexcept { return entries_; }
  std::vector<gguf_tensor_info>& tensors() noexcept { return tensors_; }
  std::uint64_t alignment() const noexcept { return alignment_; }
  std::size_t data_begin() const noexcept { return data_begin_; }  ///< at most the file's size

 private:
  // The deepest nesting of arrays in arrays. ggml's own reader takes none; a limit keeps a hostile file off the stack.
  static constexpr int deepest = 8;
  // Far above any page size; a short file that claims 2^31 would become a copy of gigabytes of padding.
  static constexpr std::uint32_t widest_alignment = 1U << 20;

  void read_version() {
    const auto magic = take(4, "the word GGUF");
    if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
      const std::string_view found(reinterpret_cast<const char*>(magic.data()), 4);
      throw bad_input(mismatch_message(file_, "a file that begins with GGUF", '"' + printable(found) + '"'));
    }
    const auto version = read<std::uint32_t>("the version");
    if (version == 0x03000000U || version == 0x02000000U) {
      throw bad_input(mismatch_message(file_, "a little-endian GGUF file", "a big-endian one"));
    }
    if (version != 3) {
      throw bad_input(mismatch_message(file_, "GGUF version 3", "version " + std::to_string(version)));
    }
  }

  void read_entries(std::uint64_t count) {
    std::unordered_set<std::string> keys;
    for (std::uint64_t i = 0; i < count; ++i) {
      where_ = file_ + ": key-value " + std::to_string(i);
      const std::size_t begin = at_;
      gguf_entry entry;
      entry.key = read_string("the key");
      if (entry.key.empty() || entry.key.size() > 65535 ||
          std::any_of(entry.key.begin(), entry.key.end(), [](char c) { return c < ' ' || c > '~'; })) {
        throw bad_input(mismatch_message(where_, "a key of 1 to 65535 printable ASCII characters",
                                         '"' + printable(entry.key) + '"'));
      }
      where_ = file_ + ": key \"" + printable(entry.key) + '"';
      if (!keys.insert(entry.key).second) {
        throw bad_input(where_ + ": the key stands twice");
      }
      entry.type = read_type();
      const std::size_t value = at_;
      skip_value(entry.type, 0);
      entry.value = bytes_.subspan(value, at_ - value);
      entry.bytes = bytes_.subspan(begin, at_ - begin);
      entries_.push_back(std::move(entry));
    }
  }

  void read_alignment() {
    const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                    [](const gguf_entry& candidate) { return candidate.key == "general.alignment"; });
    if (entry == entries_.end()) {
      return;
    }
    const std::optional<std::uint32_t> number = entry->number();
    if (!number || *number == 0 || (*number & (*number - 1)) != 0 || *number > widest_alignment) {
      throw bad_input(mismatch_message(
          file_ + ": key \"general.alignment\"", "a power of two up to 2^20 as u32",
          number ? std::to_string(*number) : "a value of type " + std::to_string(static_cast<int>(entry->type))));
    }
    alignment_ = *number;
  }

  void read_tensors(std::uint64_t count) {
    std::unordered_set<std::string> names;
    for (std::uint64_t i = 0; i < count; ++i) {
      where_ = file_ + ": tensor " + std::to_string(i);
      gguf_tensor_info info;
      info.name = read_string("the name");
      if (info.name.size() > 64 || info.name.find('\0') != std::string::npos) {
        throw bad_input(mismatch_message(where_, "a name of at most 64 bytes, none of them zero",
                                         '"' + printable(info.name) + '"'));
      }
      where_ = file_ + ": tensor \"" + info.name + '"';
      if (!names.insert(info.name).second) {
        throw bad_input(where_ + ": the name stands twice in the file");
      }
      const auto dimensions = read<std::uint32_t>("the number of dimensions");
      if (dimensions > 4) {
        throw bad_input(mismatch_message(where_, "at most 4 dimensions", std::to_string(dimensions)));
      }
      info.shape.resize(dimensions);
      for (std::size_t d = dimensions; d-- > 0;) {
        info.shape[d] = read<std::uint64_t>("the dimensions");
      }
      info.type = read<std::uint32_t>("the type");
      info.offset = read<std::uint64_t>("the offset");
      tensors_.push_back(std::move(info));
    }
  }

  gguf_type read_type() {
    const auto type = read<std::uint32_t>("the type");
    if (type > static_cast<std::uint32_t>(gguf_type::f64)) {
      throw bad_input(mismatch_message(where_, "a value of type 0 to 12", "type " + std::to_string(type)));
    }
    return static_cast<gguf_type>(type);
  }

  void skip_value(gguf_type type, int depth) {
    if (type == gguf_type::string) {
      take(read<std::uint64_t>("the length of a string"), "a string");
    } else if (type == gguf_type::array) {
      if (depth == deepest) {
        throw bad_input(mismatch_message(where_, "arrays in at most 8 levels", "deeper ones"));
      }
      const gguf_type element = read_type();
      skip_elements(element, read<std::uint64_t>("the length of an array"), depth + 1);
    } else {
      skip_elements(type, 1, depth);
    }
  }

  void skip_elements(gguf_type type, std::uint64_t count, int depth) {
    const std::size_t size = size_of_value(type);
    if (size == 0) {
      require_count(count, type == gguf_type::string ? 8 : 12, "elements");
      for (std::uint64_t i = 0; i < count; ++i) {
        skip_value(type, depth);
      }
      return;
    }
    require_count(count, size, "elements");
    const auto elements = take(count * size, "the value");
    if (type == gguf_type::boolean) {
      for (const std::byte element : elements) {
        if (element > std::byte{1}) {
          throw bad_input(
              mismatch_message(where_, "a boolean that is 0 or 1", std::to_string(static_cast<int>(element))));
        }
      }
    }
  }

  template <class T>
  T read(const char* what) {
    T value{};
    std::memcpy(&value, take(sizeof(value), what).data(), sizeof(value));
    return value;
  }

  std::string read_string(const char* what) {
    const auto text = take(read<std::uint64_t>(what), what);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  // The next bytes.
  std::span<const std::byte> take(std::uint64_t count, const char* what) {
    if (count > bytes_.size() - at_) {
      throw bad_input(mismatch_message(where_, std::to_string(count) + " bytes for " + what,
                                       std::to_string(bytes_.size() - at_) + " until the end of the file"));
    }
    const auto taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  // Throws unless so many things of at least `size` bytes can stand in the rest of the file.
  void require_count(std::uint64_t count, std::size_t size, const char* what) const {
    const std::uint64_t most = (bytes_.size() - at_) / size;
    if (count > most) {
      throw bad_input(mismatch_message(
          where_, "at most the " + std::to_string(most) + ' ' + what + " that the rest of the file has room for",
          std::to_string(count)));
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
  std::string where_;  // how messages begin
  std::size_t at_ = 0;
  std::vector<gguf_entry> entries_;
  std::vector<gguf_tensor_info> tensors_;
  std::uint64_t alignment_ = 32;
  std::size_t data_begin_ = 0;
};

}  // namespace detail

}  // namespace pluria
