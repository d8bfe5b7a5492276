// SPDX-License-Identifier: MIT
#pragma once
// The JSON header of a safetensors file, taken apart while nlohmann's parser runs over it:
//   {"__metadata__": {"key": "text"}, "name": {"dtype": "F16", "shape": [10, 64], "data_offsets": [0, 1280]}, ...}
// A document tree would keep only the last of two equal names and grow with whatever a hostile file nests; here the
// first thing out of place ends the parse.

#include <pluria/core/error.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria::detail {

/// One tensor of a header. Its bytes are `begin` to `end`, counted from the first byte after the header.
struct safetensors_entry {
  std::string name;
  dtype type{};
  tensor_shape shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// The dtype that safetensors files call `name`.
inline std::optional<dtype> dtype_named(std::string_view name) noexcept {
  for (auto i = 0; i <= static_cast<int>(dtype::boolean); ++i) {
    if (name_of(static_cast<dtype>(i)) == name) {
      return static_cast<dtype>(i);
    }
  }
  return std::nullopt;
}

/// Reads the header's text. Throws bad_input, naming the file and where there is one the tensor, for everything but an
/// object of tensors with exactly the fields dtype, shape and data_offsets, and at most one `__metadata__` of strings.
/// Names may still stand twice and offsets mean nothing yet: `parse_safetensors` checks them against the data.
class safetensors_header {
 public:
  safetensors_header(std::string_view text, const std::string& file) : file_(file) {
    if (!text.starts_with('{')) {
      const std::string found =
          text.empty() ? "nothing" : "byte " + std::to_string(static_cast<unsigned char>(text[0]));
      throw bad_input(mismatch_message(file_ + ": header", "a JSON object that begins with '{'", found));
    }
    // nlohmann's parser takes a zero byte for the end and would ignore whatever follows.
    if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
      fail_syntax(zero + 1);
    }
    nlohmann::json::sax_parse(text.data(), text.data() + text.size(), this);
  }

  /// The tensors in the header's order.
  std::vector<safetensors_entry>& entries() noexcept { return entries_; }
  std::map<std::string, std::string>& metadata() noexcept { return metadata_; }

  // The parser's events, under the names that nlohmann::json_sax gives them.
  bool null() { fail("null"); }
  bool boolean(bool value) { fail(value ? "true" : "false"); }
  bool number_integer(std::int64_t value) { fail(value == 0 ? "-0" : std::to_string(value)); }
  bool number_float(double /*value*/, const std::string& text) { fail(abbreviated(text)); }
  bool binary(nlohmann::json::binary_t& /*value*/) { fail("bytes"); }

  bool number_unsigned(std::uint64_t value) {
    if (place_ != place::numbers) {
      fail(std::to_string(value));
    }
    // More dimensions than NumPy or PyTorch have: the limit keeps a hostile shape, and the message about it, short.
    if (numbers_.size() == 64) {
      fail("more than 64 numbers");
    }
    numbers_.push_back(value);
    return true;
  }

  bool string(std::string& value) {
    if (place_ == place::metadata) {
      if (!metadata_.emplace(key_, value).second) {
        throw bad_input(where() + ": the key stands twice");
      }
      return true;
    }
    if (place_ != place::fields || key_ != "dtype") {
      fail('"' + abbreviated(value) + '"');
    }
    const std::optional<dtype> type = dtype_named(value);
    if (!type) {
      std::string names;
      for (auto i = 0; i <= static_cast<int>(dtype::boolean); ++i) {
        names += (i == 0 ? "" : ", ") + std::string(name_of(static_cast<dtype>(i)));
      }
      throw bad_input(mismatch_message(where(), "one of " + names, '"' + abbreviated(value) + '"'));
    }
    entries_.back().type = *type;
    return true;
  }

  bool start_object(std::size_t /*elements*/) {
    switch (place_) {
      case place::begin:
        place_ = place::tensors;
        return true;
      case place::tensors:
        place_ = in_metadata_ ? place::metadata : place::fields;
        return true;
      default:
        fail("an object");
    }
  }

  bool end_object() {
    if (place_ == place::fields) {
      for (const auto& [field, seen] :
           {std::pair("dtype", has_dtype_), {"shape", has_shape_}, {"data_offsets", has_offsets_}}) {
        if (!seen) {
          throw bad_input(
              mismatch_message(tensor_name(), "the fields dtype, shape and data_offsets", std::string("no ") + field));
        }
      }
    }
    place_ =
        place::tensors;  // also after the outermost one: nothing but blanks may follow, and the parser sees to that
    return true;
  }

  bool key(std::string& name) {
    if (place_ == place::tensors) {
      in_metadata_ = name == "__metadata__";
      if (!in_metadata_) {
        entries_.push_back({.name = name, .shape = {}});
        has_dtype_ = has_shape_ = has_offsets_ = false;
      } else if (std::exchange(has_metadata_, true)) {
        throw bad_input(file_ + ": __metadata__ stands twice in the header");
      }
      return true;
    }
    key_ = name;
    if (place_ == place::fields) {
      bool* const seen = key_ == "dtype"          ? &has_dtype_
                         : key_ == "shape"        ? &has_shape_
                         : key_ == "data_offsets" ? &has_offsets_
                                                  : nullptr;
      if (seen == nullptr) {
        throw bad_input(
            mismatch_message(tensor_name(), "the fields dtype, shape and data_offsets", '"' + abbreviated(key_) + '"'));
      }
      if (std::exchange(*seen, true)) {
        throw bad_input(where() + ": the field stands twice");
      }
    }
    return true;
  }

  bool start_array(std::size_t /*elements*/) {
    if (place_ != place::fields || key_ == "dtype") {
      fail("an array");
    }
    place_ = place::numbers;
    numbers_.clear();
    return true;
  }

  bool end_array() {
    place_ = place::fields;
    safetensors_entry& entry = entries_.back();
    if (key_ == "shape") {
      entry.shape.assign(numbers_.begin(), numbers_.end());
      return true;
    }
    if (numbers_.size() != 2) {
      throw bad_input(mismatch_message(where(), "begin and end", std::to_string(numbers_.size()) + " numbers"));
    }
    entry.begin = numbers_[0];
    entry.end = numbers_[1];
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*token*/, const nlohmann::json::exception& /*error*/) {
    fail_syntax(position);
  }

 private:
  enum class place { begin, tensors, metadata, fields, numbers };

  static std::string abbreviated(const std::string& text) {
    return text.size() <= 64 ? text : text.substr(0, 64) + "...";
  }

  std::string tensor_name() const { return file_ + ": tensor \"" + entries_.back().name + '"'; }

  std::string where() const {
    switch (place_) {
      case place::begin:
        return file_ + ": header";
      case place::tensors:
        return in_metadata_ ? file_ + ": __metadata__" : tensor_name();
      case place::metadata:
        return file_ + ": __metadata__: \"" + key_ + '"';
      default:
        return tensor_name() + ": " + key_;
    }
  }

  std::string expected() const {
    switch (place_) {
      case place::begin:
        return "a JSON object";
      case place::tensors:
        return in_metadata_ ? "an object of strings" : "an object with dtype, shape and data_offsets";
      case place::metadata:
        return "a string";
      case place::fields:
        return key_ == "dtype" ? "a string" : "an array of non-negative integers";
      default:
        return key_ == "shape" ? "at most 64 non-negative integers" : "two non-negative integers";
    }
  }

  [[noreturn]] void fail(const std::string& found) const {
    throw bad_input(mismatch_message(where(), expected(), found));
  }

  [[noreturn]] void fail_syntax(std::size_t position) const {
    throw bad_input(
        mismatch_message(file_ + ": header", "JSON", "a syntax error at its byte " + std::to_string(position)));
  }

  const std::string& file_;
  std::vector<safetensors_entry> entries_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::uint64_t> numbers_;
  std::string key_;  // the field, or the metadata's key
  place place_ = place::begin;
  bool in_metadata_ = false;
  bool has_metadata_ = false;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
};

}  // namespace pluria::detail
