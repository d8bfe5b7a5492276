// SPDX-License-Identifier: MIT
#pragma once
// Where members are written: DIR/member-000, member-001, ... A member is made in a folder beside its place and moved
// there when it is complete, so that whatever is called member-003 is a whole member, even after a crash. What the
// members of a folder have in common stands in DIR/pluria.json, and a later run with anything else is refused.

#include <pluria/core/error.hpp>
#include <pluria/io/file_error.hpp>
#include <pluria/io/replaced_file.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace pluria::examples {

class member_folders {
 public:
  /// Makes the folder where there is none, and keeps other runs out of it until the end. `common` is what every member
  /// in it must agree on. Throws bad_input, naming folder and field, where it cannot be written, another run is at work
  /// in it, or its members are others.
  member_folders(std::filesystem::path folder, const nlohmann::ordered_json& common) : folder_(std::move(folder)) {
    std::error_code failure;
    std::filesystem::create_directories(folder_, failure);
    if (failure) {
      throw file_error(folder_, "create", failure.value());
    }
    lock_ = ::open((folder_ / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock_ < 0) {
      throw file_error(folder_, "write to", errno);
    }
    if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      ::close(std::exchange(lock_, -1));
      throw bad_input(folder_.string() + ": another run is writing members to it");
    }
    try {
      agree(common);
      for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
        if (entry.path().filename().string().ends_with(partial_suffix)) {
          std::filesystem::remove_all(entry.path());  // of a run that was stopped
        }
      }
    } catch (...) {
      release();
      throw;
    }
  }
  member_folders(const member_folders&) = delete;
  member_folders& operator=(const member_folders&) = delete;
  ~member_folders() { release(); }

  bool has(const std::string& member) const { return std::filesystem::exists(folder_ / member); }

  /// The folder in which a member is made.
  std::filesystem::path begin(const std::string& member) const {
    const std::filesystem::path partial = folder_ / (member + partial_suffix);
    std::error_code failure;
    std::filesystem::create_directory(partial, failure);
    if (failure) {
      throw file_error(partial, "create", failure.value());
    }
    return partial;
  }

  /// Moves a complete member to its place.
  void commit(const std::string& member) const {
    std::error_code failure;
    std::filesystem::rename(folder_ / (member + partial_suffix), folder_ / member, failure);
    if (failure) {
      throw file_error(folder_ / member, "write", failure.value());
    }
  }

  /// Removes what is not complete.
  void discard(const std::string& member) const noexcept {
    std::error_code ignored;
    std::filesystem::remove_all(folder_ / (member + partial_suffix), ignored);
  }

 private:
  static constexpr const char* partial_suffix = ".partial";

  void agree(const nlohmann::ordered_json& common) const {
    const std::filesystem::path file = folder_ / "pluria.json";
    std::ifstream stream(file);
    if (!stream) {
      if (!is_empty()) {
        throw bad_input(mismatch_message(folder_.string(), "a new or empty folder, or one with members of ours",
                                         "other files, and no pluria.json"));
      }
      write_file(file, common.dump(1) + "\n");
      return;
    }
    const auto found = nlohmann::ordered_json::parse(stream, nullptr, false);
    if (found.is_discarded() || !found.is_object()) {
      throw bad_input(mismatch_message(file.string(), "a JSON object", "something else"));
    }
    for (const auto& [field, value] : common.items()) {
      const auto was = found.find(field);
      if (was == found.end() || *was != value) {
        throw bad_input(mismatch_message(file.string() + ": " + field + " of the members that are there",
                                         value.dump() + " (or another --output)",
                                         was == found.end() ? "nothing" : was->dump()));
      }
    }
  }

  // But for what a run leaves that is stopped before it has written pluria.json.
  bool is_empty() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      if (name != ".lock" && !(name.starts_with("pluria.json.") && name.ends_with(partial_suffix))) {
        return false;
      }
    }
    return true;
  }

  void release() noexcept {
    if (lock_ >= 0) {
      std::error_code ignored;
      std::filesystem::remove(folder_ / ".lock", ignored);
      ::close(std::exchange(lock_, -1));
    }
  }

  std::filesystem::path folder_;
  int lock_ = -1;
};

}  // namespace pluria::examples
