// SPDX-License-Identifier: MIT
#pragma once
// What the running program takes of the machine's memory.

#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <optional>
#include <string>

namespace pluria::examples {

/// Bytes of this process that are in memory now, code and libraries included; nothing where the system does not say
/// (Linux does, in /proc/self/statm).
inline std::optional<std::size_t> resident_bytes() {
  std::ifstream pages("/proc/self/statm");
  std::size_t all = 0;
  std::size_t resident = 0;
  if (!(pages >> all >> resident)) {
    return std::nullopt;
  }
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

/// The most bytes of this process that were in memory at a time; nothing where the system does not say (Linux does, in
/// /proc/self/status).
inline std::optional<std::size_t> most_resident_bytes() {
  std::ifstream lines("/proc/self/status");
  for (std::string word; lines >> word;) {
    std::size_t kibibytes = 0;
    if (word == "VmHWM:" && lines >> kibibytes) {
      return kibibytes * 1024;
    }
  }
  return std::nullopt;
}

}  // namespace pluria::examples
