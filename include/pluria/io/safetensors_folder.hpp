// SPDX-License-Identifier: MIT
#pragma once
// Checkpoints as transformers saves them: one safetensors file, or a folder with one, or with shards and their index
// ("weight_map": tensor name -> file).

#include <pluria/core/error.hpp>
#include <pluria/io/safetensors.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace pluria {

/// A safetensors file of a checkpoint.
struct safetensors_shard {
  std::filesystem::path path;
  checkpoint weights;
};

/// The files of a checkpoint.
class safetensors_folder {
 public:
  static constexpr const char* index_name = "model.safetensors.index.json";

  /// A .safetensors file; the index of a sharded checkpoint; or a folder with either (model.safetensors, or its only
  /// .safetensors file). Throws bad_input, naming file, tensor and shard, where something is missing, does not fit
  /// together, or stands twice.
  explicit safetensors_folder(const std::filesystem::path& input) {
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
  }

  const std::vector<safetensors_shard>& shards() const noexcept { return shards_; }
  /// Where the shards lie; none where a file was given.
  const std::optional<std::filesystem::path>& folder() const noexcept { return folder_; }
  /// The index of a sharded checkpoint.
  const std::optional<std::filesystem::path>& index() const noexcept { return index_; }

 private:
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
    std::ifstream text(index);
    const nlohmann::json content = nlohmann::json::parse(text, nullptr, false);
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

  std::optional<std::filesystem::path> folder_;
  std::optional<std::filesystem::path> index_;
  std::vector<safetensors_shard> shards_;
};

/// All tensors of a checkpoint, mapped, shard after shard in the order of their names; metadata are those of the first.
/// Messages about the checkpoint name `input`, those about a tensor its file. Throws as safetensors_folder.
inline checkpoint load_safetensors_folder(const std::filesystem::path& input) {
  const safetensors_folder files(input);
  if (files.shards().size() == 1) {
    return files.shards().front().weights;
  }
  checkpoint all(input.string());
  for (const safetensors_shard& shard : files.shards()) {
    if (&shard == &files.shards().front()) {
      all.metadata() = shard.weights.metadata();
    }
    for (const tensor& current : shard.weights.tensors()) {
      all.add(current);
    }
  }
  return all;
}

}  // namespace pluria
