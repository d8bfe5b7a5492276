// SPDX-License-Identifier: MIT
#pragma once
// The checkpoint that members are made of: one safetensors file, or a folder with one or with shards and their index,
// and the other files of the folder (configuration, tokenizer), which members need to be loaded.

#include <pluria/core/error.hpp>
#include <pluria/io/safetensors_folder.hpp>
#include <pluria/random/address.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pluria::examples {

/// What a file was when it was opened; a file that is written to meanwhile is another one.
struct file_state {
  std::uintmax_t bytes = 0;
  std::filesystem::file_time_type changed;
  friend bool operator==(const file_state&, const file_state&) = default;

  static file_state of(const std::filesystem::path& path) {
    return {std::filesystem::file_size(path), std::filesystem::last_write_time(path)};
  }

  /// The same, of a file that may not be there: throws bad_input then.
  static file_state of_input(const std::filesystem::path& path) {
    if (!std::filesystem::is_regular_file(path)) {
      throw bad_input(path.string() + ": cannot be opened: no such file");
    }
    return of(path);
  }
};

/// Text that changes with a tensor's name, type, shape and weights: the first, middle and last 4 KiB of them are looked
/// at, so that a large checkpoint need not be read.
inline std::string fingerprint_of(const std::string& name, const std::string& type, std::span<const std::size_t> shape,
                                  std::span<const std::byte> bytes) {
  std::string text = name + ' ' + type + ' ' + to_string(shape);
  const std::size_t part = std::min<std::size_t>(bytes.size(), 4096);
  for (const std::size_t first : {std::size_t{0}, (bytes.size() - part) / 2, bytes.size() - part}) {
    text += std::to_string(name_hash({reinterpret_cast<const char*>(bytes.data() + first), part})) + ' ';
  }
  return text;
}

class source_checkpoint {
 public:
  /// Throws bad_input as safetensors_folder, and where two names have the same hash.
  explicit source_checkpoint(const std::filesystem::path& input) : files_(input) {
    for (const safetensors_shard& shard : shards()) {
      states_.push_back(file_state::of(shard.path));
    }
    check_names();
    if (files_.folder()) {
      find_other_files();
    }
  }

  const std::vector<safetensors_shard>& shards() const noexcept { return files_.shards(); }
  /// The index of a sharded checkpoint.
  const std::optional<std::filesystem::path>& index() const noexcept { return files_.index(); }
  /// Files that are copied beside the weights.
  const std::vector<std::filesystem::path>& other_files() const noexcept { return other_files_; }
  /// Files that are not: weights in other forms, and what is large.
  const std::vector<std::filesystem::path>& left_out() const noexcept { return left_out_; }

  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const safetensors_shard& shard : shards()) {
      for (const tensor& current : shard.weights.tensors()) {
        sum += current.bytes().size();
      }
    }
    return sum;
  }

  /// 64 bits that change with the files' names and their tensors; see fingerprint_of.
  std::uint64_t fingerprint() const {
    std::string text;
    for (const safetensors_shard& shard : shards()) {
      text += shard.path.filename().string() + '\n';
      for (const tensor& current : shard.weights.tensors()) {
        text += fingerprint_of(current.name(), std::string(name_of(current.type())), current.shape(), current.bytes());
      }
    }
    return name_hash(text);
  }

  /// Throws bad_input, naming the file, where one was written to since it was opened.
  void expect_unchanged() const {
    for (std::size_t i = 0; i < shards().size(); ++i) {
      if (file_state::of(shards()[i].path) != states_[i]) {
        throw bad_input(shards()[i].path.string() + ": expected to stay as it is while members are made, was changed");
      }
    }
  }

 private:
  static constexpr std::uintmax_t largest_copy = std::uintmax_t{256} << 20;

  // Members are addressed by the hashes of names.
  void check_names() const {
    std::unordered_map<std::uint64_t, std::string> known;
    for (const safetensors_shard& shard : shards()) {
      for (const tensor& current : shard.weights.tensors()) {
        const auto [found, is_new] = known.emplace(name_hash(current.name()), current.where());
        if (!is_new) {
          throw bad_input(current.where() + ": its name has the 64-bit hash of " + found->second);
        }
      }
    }
  }

  void find_other_files() {
    const std::set<std::string> weight_types{".safetensors", ".bin",  ".pt",   ".pth",    ".ckpt",
                                             ".h5",          ".gguf", ".onnx", ".msgpack"};
    for (const auto& entry : std::filesystem::directory_iterator(*files_.folder())) {
      if (!entry.is_regular_file() || (index() && entry.path().filename() == index()->filename())) {
        continue;
      }
      const bool is_weights = weight_types.contains(entry.path().extension().string());
      const bool is_shard = std::any_of(shards().begin(), shards().end(), [&](const safetensors_shard& shard) {
        return shard.path.filename() == entry.path().filename();
      });
      if (!is_shard) {
        (is_weights || entry.file_size() > largest_copy ? left_out_ : other_files_).push_back(entry.path());
      }
    }
    std::sort(other_files_.begin(), other_files_.end());
    std::sort(left_out_.begin(), left_out_.end());
  }

  safetensors_folder files_;
  std::vector<file_state> states_;
  std::vector<std::filesystem::path> other_files_;
  std::vector<std::filesystem::path> left_out_;
};

}  // namespace pluria::examples
