// SPDX-License-Identifier: MIT
#pragma once
// What a run is asked for, and what both kinds of checkpoints do with it.

#include <pluria/core/error.hpp>
#include <pluria/member/identity.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "../common/options.hpp"
#include "member_folders.hpp"
#include "selection.hpp"

namespace pluria::examples {

struct sample_options {
  std::string input;
  std::string output;
  int bits = 5;
  std::string system;
  std::string rule;
  std::size_t members = 8;
  std::uint64_t first = 0;
  std::string granularity;  ///< empty: that of the system, or the channel
  std::string coupling = "independent";
  std::uint64_t seed = 0;
  std::string method = "bsr";
  std::string include;
  std::string exclude;
  std::vector<std::string> bits_for;
  std::string format;  ///< "safetensors" or "gguf"
  std::string dtype = "input";
  int threads = 0;
  bool dry_run = false;
};

/// Members of a safetensors checkpoint, or of a GGUF file. Throw bad_input where that cannot be.
void sample_safetensors(const sample_options& chosen);
void sample_gguf(const sample_options& chosen);

/// What members are made in, twice: one part is written while the next is rounded.
inline constexpr std::size_t buffer_bytes = std::size_t{1} << 26;

inline double megabytes(std::size_t bytes) {
  return static_cast<double>(bytes) * 1e-6;
}

inline any_rounding rounding_of(const sample_options& chosen) {
  if (chosen.method == "rtn") {
    return nearest{};
  }
  return bernoulli{.seed = chosen.seed, .coupling = parse_coupling(chosen.coupling)};
}

inline std::string member_name(const sample_options& chosen, std::uint64_t k) {
  return chosen.method == "rtn" ? "nearest" : fmt::format("member-{:03}", k);
}

/// "DIR/member-000 .. member-007: 8 written, 0 there already".
inline std::string written_summary(const sample_options& chosen, std::size_t written) {
  const std::string range = chosen.method == "rtn" ? std::string("nearest")
                                                   : member_name(chosen, chosen.first) + " .. " +
                                                         member_name(chosen, chosen.first + chosen.members - 1);
  return fmt::format("{}/{}: {} written, {} there already", chosen.output, range, written, chosen.members - written);
}

/// The members that are asked for and not there yet.
inline std::vector<std::uint64_t> missing_members(const sample_options& chosen, const member_folders& folders) {
  std::vector<std::uint64_t> missing;
  for (std::uint64_t k = chosen.first; k < chosen.first + chosen.members; ++k) {
    if (!folders.has(member_name(chosen, k))) {
      missing.push_back(k);
    }
  }
  return missing;
}

/// Throws bad_input where the disk has no room for so many bytes.
inline void expect_room(const std::filesystem::path& folder, std::size_t bytes) {
  std::error_code failure;
  const std::filesystem::space_info space = std::filesystem::space(folder, failure);
  if (!failure && space.available < bytes) {
    throw bad_input(mismatch_message(folder.string(), fmt::format("{:.1f} MB free for the members", megabytes(bytes)),
                                     fmt::format("{:.1f} MB", megabytes(space.available))));
  }
}

/// Calls make(first, folders) for members that follow each other, up to 64 of them, which share a pass over the input;
/// then they are moved to their places. Where it throws, nothing of them stays.
template <class Make>
void write_members(const sample_options& chosen, const member_folders& folders,
                   const std::vector<std::uint64_t>& missing, Make&& make) {
  constexpr std::size_t at_once = 64;  // each has a file open
  for (std::size_t begin = 0; begin < missing.size();) {
    std::size_t end = begin + 1;
    while (end < missing.size() && end - begin < at_once && missing[end] == missing[end - 1] + 1) {
      ++end;
    }
    try {
      std::vector<std::filesystem::path> places;
      for (std::size_t i = begin; i < end; ++i) {
        places.push_back(folders.begin(member_name(chosen, missing[i])));
      }
      make(missing[begin], places);
    } catch (...) {
      for (std::size_t i = begin; i < end; ++i) {
        folders.discard(member_name(chosen, missing[i]));
      }
      throw;
    }
    for (std::size_t i = begin; i < end; ++i) {
      folders.commit(member_name(chosen, missing[i]));
    }
    begin = end;
  }
}

}  // namespace pluria::examples
