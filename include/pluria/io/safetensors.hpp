// SPDX-License-Identifier: MIT
#pragma once
// The safetensors format (https://github.com/huggingface/safetensors, section "Format"): 8 bytes with the length of the
// header (little-endian), the header in JSON, then the tensors' bytes without holes. Reading is strict: what two
// readers could understand differently is refused.

#include <pluria/core/error.hpp>
#include <pluria/io/mapped_file.hpp>
#include <pluria/io/replaced_file.hpp>
#include <pluria/io/safetensors_header.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

namespace detail {

/// The longest header that the format's own implementation reads.
inline constexpr std::uint64_t longest_safetensors_header = 100'000'000;

/// A tensor of the data, after its range has been held against the data's length and its shape.
inline tensor safetensors_tensor(const safetensors_entry& entry, std::span<const std::byte> data,
                                 std::shared_ptr<const void> owner, const std::string& file) {
  const std::string where = file + ": tensor \"" + entry.name + '"';
  const std::string offsets = "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]";
  if (entry.begin > entry.end) {
    throw bad_input(mismatch_message(where + ": data_offsets", "begin <= end", offsets));
  }
  if (entry.end > data.size()) {
    throw bad_input(mismatch_message(where + ": data_offsets",
                                     "at most the " + std::to_string(data.size()) + " bytes of data", offsets));
  }
  const std::size_t count = element_count(entry.shape, where);
  const std::size_t bytes = entry.end - entry.begin;
  const std::size_t size = size_of(entry.type);
  if (bytes % size != 0 || bytes / size != count) {
    throw bad_input(mismatch_message(where + ": data_offsets",
                                     std::to_string(count) + " * " + std::to_string(size) + " bytes for the shape " +
                                         to_string(entry.shape) + " of " + std::string(name_of(entry.type)),
                                     std::to_string(bytes) + " bytes"));
  }
  return {entry.name, entry.type, entry.shape, data.subspan(entry.begin, bytes), std::move(owner), file};
}

/// Throws bad_input unless the ranges, in the order of their begins, cover the data without overlap, hole or rest.
inline void require_gapless(const std::vector<safetensors_entry>& entries, std::size_t data_size,
                            const std::string& file) {
  std::vector<const safetensors_entry*> order;
  order.reserve(entries.size());
  for (const safetensors_entry& entry : entries) {
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const safetensors_entry* a, const safetensors_entry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  std::uint64_t next = 0;
  const safetensors_entry* before = nullptr;
  for (const safetensors_entry* entry : order) {
    if (entry->begin != next) {
      const std::string relation = entry->begin < next ? ", an overlap with" : ", a hole after";
      const std::string found = std::to_string(entry->begin) + relation +
                                (before == nullptr ? " the header" : " tensor \"" + before->name + '"');
      throw bad_input(mismatch_message(file + ": tensor \"" + entry->name + "\": data_offsets",
                                       "begin " + std::to_string(next), found));
    }
    next = entry->end;
    before = entry;
  }
  if (next != data_size) {
    throw bad_input(mismatch_message(file, std::to_string(next) + " bytes of data, where the last tensor ends",
                                     std::to_string(data_size) + " bytes"));
  }
}

/// `text` as a JSON string; throws bad_input, beginning with `where`, when it is not UTF-8.
inline std::string quoted_json(const std::string& text, const std::string& where) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw bad_input(where + ": expected UTF-8, found other bytes");
  }
}

}  // namespace detail

/// The checkpoint in the bytes of a safetensors file: tensors in the header's order, their bytes shared with `owner`,
/// which they keep alive. `file` is what messages name. Throws bad_input, naming file and tensor, for anything that the
/// format forbids, for dtypes other than those of `dtype`, and for more than 64 dimensions.
inline checkpoint parse_safetensors(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner,
                                    std::string file) {
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length) {
    throw bad_input(
        mismatch_message(file, "at least 8 bytes of a safetensors file", std::to_string(bytes.size()) + " bytes"));
  }
  std::memcpy(&length, bytes.data(), sizeof length);
  bytes = bytes.subspan(sizeof length);
  if (length > detail::longest_safetensors_header || length > bytes.size()) {
    const std::uint64_t limit = std::min<std::uint64_t>(detail::longest_safetensors_header, bytes.size());
    throw bad_input(mismatch_message(file + ": header", "at most " + std::to_string(limit) + " bytes",
                                     "a length of " + std::to_string(length) + " (is this a safetensors file?)"));
  }
  detail::safetensors_header header({reinterpret_cast<const char*>(bytes.data()), length}, file);
  const std::span<const std::byte> data = bytes.subspan(length);

  checkpoint weights(file, std::move(header.metadata()));
  for (const detail::safetensors_entry& entry : header.entries()) {
    weights.add(detail::safetensors_tensor(entry, data, owner, file));
  }
  detail::require_gapless(header.entries(), data.size(), file);
  return weights;
}

/// The checkpoint in a safetensors file, mapped: nothing but the header is read before it is used. The tensors, and
/// copies of them, keep the mapping alive. Throws bad_input when the file cannot be opened; see `mapped_file` and
/// `parse_safetensors`.
inline checkpoint load_safetensors(const std::filesystem::path& path) {
  const mapped_file file = mapped_file::open(path);
  return parse_safetensors(file.bytes(), file.owner(), path.string());
}

/// What a file says of a tensor before its bytes.
struct tensor_description {
  std::string name;
  dtype type{};
  tensor_shape shape;

  std::size_t bytes() const { return element_count(shape, "tensor \"" + name + '"') * size_of(type); }
};

/// Writes a safetensors file whose tensors' bytes come one after the other, so that a file larger than memory can be
/// written. The file is complete when it is committed, or not there at all.
class safetensors_writer {
 public:
  /// Writes the header: entries in their order, then metadata. The bytes lie in the order of the elements' sizes, as
  /// the format's own implementation lays them out, so that in a mapped file every element is aligned. Throws
  /// bad_input, naming the file, when it cannot be written, a text is not UTF-8, or a tensor is called "__metadata__".
  safetensors_writer(const std::filesystem::path& path, const std::vector<tensor_description>& entries,
                     const std::map<std::string, std::string>& metadata)
      : order_(entries.size()), output_(path) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::stable_sort(order_.begin(), order_.end(),
                     [&](std::size_t a, std::size_t b) { return size_of(entries[a].type) > size_of(entries[b].type); });
    std::vector<std::uint64_t> begins(entries.size());
    for (const std::size_t i : order_) {
      begins[i] = left_;
      left_ += entries[i].bytes();
    }

    const std::string file = path.string();
    std::string header = "{";
    if (!metadata.empty()) {
      header += R"("__metadata__":{)";
      for (const auto& [key, value] : metadata) {
        header += (header.back() == '{' ? "" : ",") + detail::quoted_json(key, file + ": __metadata__ key") + ':' +
                  detail::quoted_json(value, file + ": __metadata__: \"" + key + '"');
      }
      header += '}';
    }
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const tensor_description& entry = entries[i];
      const std::string where = file + ": tensor \"" + entry.name + '"';
      if (entry.name == "__metadata__") {
        throw bad_input(where + ": the format keeps this name for the metadata");
      }
      std::string shape;
      for (const std::size_t extent : entry.shape) {
        shape += (shape.empty() ? "" : ",") + std::to_string(extent);
      }
      header += (header.size() == 1 ? "" : ",") + detail::quoted_json(entry.name, where) + R"(:{"dtype":")" +
                std::string(name_of(entry.type)) + R"(","shape":[)" + shape + R"(],"data_offsets":[)" +
                std::to_string(begins[i]) + ',' + std::to_string(begins[i] + entry.bytes()) + "]}";
    }
    header += '}';
    header.append((8 - header.size() % 8) % 8, ' ');
    if (header.size() > detail::longest_safetensors_header) {
      throw bad_input(
          mismatch_message(file + ": header", "at most 100000000 bytes", std::to_string(header.size()) + " bytes"));
    }
    const std::uint64_t length = header.size();
    output_.write(std::as_bytes(std::span(&length, 1)));
    output_.write(std::string_view(header));
  }

  /// The entries' numbers in the order in which their bytes are written.
  const std::vector<std::size_t>& order() const noexcept { return order_; }

  /// The bytes that come next. Throws bad_input when they cannot be written, precondition_error beyond the last
  /// tensor's end.
  void write(std::span<const std::byte> bytes) {
    require(bytes.size() <= left_, "safetensors_writer: more bytes than the tensors have");
    left_ -= bytes.size();
    output_.write(bytes);
  }

  /// Makes the file complete; see replaced_file. Throws precondition_error while bytes are missing.
  void commit() {
    require(left_ == 0, "safetensors_writer: not all tensors are written");
    output_.commit();
  }

 private:
  std::vector<std::size_t> order_;
  std::uint64_t left_ = 0;
  replaced_file output_;
};

/// Writes a checkpoint as a safetensors file, complete or not at all: names, dtypes, shapes, bytes, the tensors' order
/// and the metadata come back unchanged. Throws as safetensors_writer.
inline void save_safetensors(const checkpoint& weights, const std::filesystem::path& path) {
  std::vector<tensor_description> entries;
  for (const tensor& current : weights.tensors()) {
    entries.push_back({current.name(), current.type(), current.shape()});
  }
  safetensors_writer output(path, entries, weights.metadata());
  for (const std::size_t i : output.order()) {
    output.write(weights.tensors()[i].bytes());
  }
  output.commit();
}

}  // namespace pluria
