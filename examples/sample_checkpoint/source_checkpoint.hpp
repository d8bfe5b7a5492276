// SPDX-License-Identifier: MIT
#pragma once
// The checkpoint that members are made of: one safetensors file, or a folder with one or with shards and their index,
// and the other files of the folder (configuration, tokenizer), which members need to be loaded.

#include <pluria/core/error.hpp>
#include <pluria/io/safetensors.hpp>
#include <pluria/random/address.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pluria::examples {

/// A safetensors file of the source.
struct source_shard {
  std::filesystem::path path;
  checkpoint weights;
};

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
  static constexpr const char* index_name = "model.safetensors.index.json";

  /// A .safetensors file; the index of a sharded checkpoint; or a folder with either (model.safetensors, or its only
  /// .safetensors file). Throws bad_input, naming file, tensor and shard, where something is missing, does not fit
  /// together, or stands twice.
  explicit source_checkpoint(const std::filesystem::path& input) {
    namespace fs = std::filesystem;
    if (!fs::exists(input)) {
      throw bad_input(input.string() + ": cannot be opened: no such file or folder");
    }
    if (fs::is_directory(input)) {
      folder_ = input;
      if (fs::exists(input / index_name)) {
        open_shards(input / index_name);
      } else {
        add_shard(only_file(input));
      }
    } else if (input.filename().string().ends_with(".index.json")) {
      folder_ = input.parent_path().empty() ? fs::path(".") : input.parent_path();
      open_shards(input);
    } else {
      add_shard(input);
    }
    for (const source_shard& shard : shards_) {
      states_.push_back(file_state::of(shard.path));
    }
    check_names();
    if (folder_) {
      find_other_files();
    }
  }

  const std::vector<source_shard>& shards() const noexcept { return shards_; }
  /// The index of a sharded checkpoint.
  const std::optional<std::filesystem::path>& index() const noexcept { return index_; }
  /// Files that are copied beside the weights.
  const std::vector<std::filesystem::path>& other_files() const noexcept { return other_files_; }
  /// Files that are not: weights in other forms, and what is large.
  const std::vector<std::filesystem::path>& left_out() const noexcept { return left_out_; }

  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const source_shard& shard : shards_) {
      for (const tensor& current : shard.weights.tensors()) {
        sum += current.bytes().size();
      }
    }
    return sum;
  }

  /// 64 bits that change with the files' names and their tensors; see fingerprint_of.
  std::uint64_t fingerprint() const {
    std::string text;
    for (const source_shard& shard : shards_) {
      text += shard.path.filename().string() + '\n';
      for (const tensor& current : shard.weights.tensors()) {
        text += fingerprint_of(current.name(), std::string(name_of(current.type())), current.shape(), current.bytes());
      }
    }
    return name_hash(text);
  }

  /// Throws bad_input, naming the file, where one was written to since it was opened.
  void expect_unchanged() const {
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      if (file_state::of(shards_[i].path) != states_[i]) {
        throw bad_input(shards_[i].path.string() + ": expected to stay as it is while members are made, was changed");
      }
    }
  }

 private:
  static constexpr std::uintmax_t largest_copy = std::uintmax_t{256} << 20;

  static std::filesystem::path only_file(const std::filesystem::path& folder) {
    if (std::filesystem::exists(folder / "model.safetensors")) {
      return folder / "model.safetensors";
    }
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".safetensors") {
        found.push_back(entry.path());
      }
    }
    if (found.size() != 1) {
      throw bad_input(mismatch_message(folder.string(),
                                       std::string(index_name) + ", model.safetensors or a single .safetensors file",
                                       std::to_string(found.size()) + " .safetensors files"));
    }
    return found.front();
  }

  void add_shard(const std::filesystem::path& path) { shards_.push_back({path, load_safetensors(path)}); }

  void open_shards(const std::filesystem::path& index) {
    std::ifstream stream(index);
    const nlohmann::json content = nlohmann::json::parse(stream, nullptr, false);
    const auto map = content.is_object() ? content.find("weight_map") : content.end();
    if (content.is_discarded() || !content.is_object() || map == content.end() || !map->is_object()) {
      throw bad_input(mismatch_message(index.string(), "a JSON object with \"weight_map\"", "something else"));
    }
    index_ = index;
    std::map<std::string, std::set<std::string>> names;  // of each shard
    for (const auto& [name, file] : map->items()) {
      if (!file.is_string() || std::filesystem::path(file.get<std::string>()).filename() != file.get<std::string>()) {
        throw bad_input(
            mismatch_message(index.string() + ": tensor \"" + name + '"', "the name of a file beside it", file.dump()));
      }
      names[file.get<std::string>()].insert(name);
    }
    for (const auto& [file, expected] : names) {
      const std::filesystem::path path = *folder_ / file;
      if (!std::filesystem::exists(path)) {
        throw bad_input(index.string() + ": shard " + file + ": expected beside the index, not found");
      }
      add_shard(path);
      for (const std::string& name : expected) {
        if (shards_.back().weights.find(name) == nullptr) {
          throw bad_input(path.string() + ": tensor \"" + name + "\": expected by " + index.string() + ", not found");
        }
      }
      for (const tensor& current : shards_.back().weights.tensors()) {
        if (!expected.contains(current.name())) {
          throw bad_input(current.where() + ": not in the weight_map of " + index.string());
        }
      }
    }
  }

  // Members are addressed by the hashes of names.
  void check_names() const {
    std::unordered_map<std::uint64_t, std::string> known;
    for (const source_shard& shard : shards_) {
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
    for (const auto& entry : std::filesystem::directory_iterator(*folder_)) {
      if (!entry.is_regular_file() || (index_ && entry.path().filename() == index_->filename())) {
        continue;
      }
      const bool is_weights = weight_types.contains(entry.path().extension().string());
      const bool is_shard = std::any_of(shards_.begin(), shards_.end(), [&](const source_shard& shard) {
        return shard.path.filename() == entry.path().filename();
      });
      if (!is_shard) {
        (is_weights || entry.file_size() > largest_copy ? left_out_ : other_files_).push_back(entry.path());
      }
    }
    std::sort(other_files_.begin(), other_files_.end());
    std::sort(left_out_.begin(), left_out_.end());
  }

  std::optional<std::filesystem::path> folder_;
  std::optional<std::filesystem::path> index_;
  std::vector<source_shard> shards_;
  std::vector<file_state> states_;
  std::vector<std::filesystem::path> other_files_;
  std::vector<std::filesystem::path> left_out_;
};

}  // namespace pluria::examples
