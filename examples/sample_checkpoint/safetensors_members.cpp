// SPDX-License-Identifier: MIT
// Members of a safetensors checkpoint: the same names, shapes and dtypes, in one pass over the input.

#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/io/mapped_pages.hpp>
#include <pluria/io/replaced_file.hpp>
#include <pluria/io/safetensors.hpp>
#include <pluria/member/identity.hpp>
#include <pluria/quantize/scale.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../common/number_systems.hpp"
#include "../common/progress.hpp"
#include "../common/rule_file.hpp"
#include "member_folders.hpp"
#include "plan.hpp"
#include "sample_options.hpp"
#include "selection.hpp"
#include "source_checkpoint.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

// What is rounded by the patterns and widths, or the number system, of the options.
sampling_plan plan_by_options(const source_checkpoint& source, const sample_options& chosen) {
  selection select(chosen.include, chosen.exclude, chosen.bits, chosen.bits_for);
  std::map<int, any_quantizer> quantizers;
  sampling_plan plan(source, chosen.dtype == "F32", [&](const tensor& current) -> std::optional<any_quantizer> {
    const std::optional<int> bits = select(current.name(), current.shape());
    if (!bits) {
      return std::nullopt;
    }
    auto found = quantizers.find(*bits);
    if (found == quantizers.end()) {
      const std::string system = chosen.system.empty() ? "INT-" + std::to_string(*bits) : chosen.system;
      found = quantizers.emplace(*bits, quantizer_named(system, chosen.granularity)).first;
    }
    return found->second;
  });
  select.expect_matches();
  return plan;
}

// What is rounded by the rule in a file.
sampling_plan plan_by_rule(const source_checkpoint& source, const sample_options& chosen) {
  const rule_file file(chosen.rule);
  checkpoint all(chosen.input);
  for (const safetensors_shard& shard : source.shards()) {
    for (const tensor& current : shard.weights.tensors()) {
      all.add(current);
    }
  }
  file.expect_tensors(all);
  const auto by_rule = [decide = file.rule()](const tensor& current) {
    return decide(current.name(), current.shape());
  };
  sampling_plan plan(source, chosen.dtype == "F32", by_rule);
  if (plan.rounded_weights() == 0) {
    throw bad_input(mismatch_message(chosen.rule + ": tensors to round", "at least one of " + chosen.input, "none"));
  }
  return plan;
}

// "INT-4 channel", and how far its grids reach where that is not absmax.
std::string described(const any_quantizer& quantizer) {
  const std::string scale = quantizer.scale_name() == absmax::name() ? std::string() : " " + quantizer.scale_name();
  return quantizer.system() + " " + quantizer.granularity_name() + scale;
}

void print_plan(const source_checkpoint& source, const sampling_plan& plan, const sample_options& chosen) {
  std::size_t weights = 0;
  std::size_t tensors = 0;
  for (const auto& shard : plan.shards()) {
    for (const planned_tensor& planned : shard) {
      fmt::print("{:<56} {:<18} {:<5} {}\n", planned.source->name(), to_string(planned.source->shape()),
                 name_of(planned.source->type()),
                 planned.quantizer
                     ? fmt::format("{}, stored as {}", described(*planned.quantizer), name_of(planned.stored))
                     : "as it is");
      weights += planned.source->size();
      ++tensors;
    }
  }
  fmt::print("\n{} of {} parameters in {} tensors are rounded, {:.2f} bits each with their scales\n",
             plan.rounded_weights(), weights, tensors, plan.packed_bits_per_weight());
  fmt::print("the input {:.1f} MB, each member {:.1f} MB, {} of them {:.1f} MB\n", megabytes(source.bytes()),
             megabytes(plan.member_bytes()), chosen.members, megabytes(chosen.members * plan.member_bytes()));
  for (const std::filesystem::path& file : source.left_out()) {
    fmt::print("not copied: {}\n", file.string());
  }
}

// What members that share a folder agree on.
nlohmann::ordered_json common_identity(const source_checkpoint& source, const sampling_plan& plan,
                                       const sample_options& chosen, const text_map& identity) {
  nlohmann::ordered_json common{{"input", fmt::format("{:016x}", source.fingerprint())}};
  for (const auto& [key, value] : identity) {
    if (key != "pluria.member") {
      common[key] = value;
    }
  }
  common["dtype"] = chosen.dtype;
  nlohmann::ordered_json& rounded = common["tensors"] = nlohmann::ordered_json::object();
  for (const auto& tensors : plan.shards()) {
    for (const planned_tensor& planned : tensors) {
      if (planned.quantizer) {
        rounded[planned.source->name()] = described(*planned.quantizer);
      }
    }
  }
  return common;
}

// Writes a shard of some members in one pass over it.
class shard_pass {
 public:
  shard_pass(const safetensors_shard& shard, const std::vector<planned_tensor>& planned,
             const std::vector<std::filesystem::path>& folders, const std::vector<text_map>& metadata,
             const any_rounding& rounding, std::uint64_t first, int threads, progress& shown)
      : planned_(&planned), rounding_(&rounding), first_(first), threads_(threads), shown_(&shown) {
    std::vector<tensor_description> entries;
    for (const planned_tensor& current : planned) {
      entries.push_back({current.source->name(), current.stored, current.source->shape()});
    }
    for (std::size_t m = 0; m < folders.size(); ++m) {
      writers_.emplace_back(folders[m] / shard.path.filename(), entries, metadata[m]);
    }
  }

  /// Gives back how many weights lie beyond their grid.
  std::size_t run() {
    for (const std::size_t i : writers_.front().order()) {
      const planned_tensor& current = (*planned_)[i];
      shown_->describe(current.source->name());
      current.quantizer ? write_rounded(current) : write_kept(current);
    }
    finish_writing();
    parallel_for(writers_.size(), threads_, [&](std::size_t m) { writers_[m].commit(); });
    return saturated_;
  }

 private:
  void write_kept(const planned_tensor& current) {
    finish_writing();
    const std::span<const std::byte> bytes = current.source->bytes();
    for (std::size_t first = 0; first < bytes.size(); first += buffer_bytes / 4) {
      const auto part = bytes.subspan(first, std::min(bytes.size() - first, buffer_bytes / 4));
      parallel_for(writers_.size(), threads_, [&](std::size_t m) { writers_[m].write(part); });
      release_pages(bytes, first, part.size());
      shown_->advance(part.size() * writers_.size());
    }
  }

  void write_rounded(const planned_tensor& current) {
    const tensor& source = *current.source;
    const gridded_tensor gridded = current.quantizer->fit(source, threads_);
    saturated_ += gridded.saturated;
    const std::size_t row_bytes = source.columns() * size_of(current.stored);
    const std::size_t rows_at_once =
        std::max<std::size_t>(1, std::min(source.rows(), buffer_bytes / (writers_.size() * row_bytes)));
    for (std::size_t row = 0; row < source.rows(); row += rows_at_once) {
      const std::size_t bytes = std::min(rows_at_once, source.rows() - row) * row_bytes;
      std::vector<std::byte>& buffer = buffers_[turn_];
      if (buffer.size() < bytes * writers_.size()) {
        buffer.resize(bytes * writers_.size());
      }
      std::vector<std::span<std::byte>> out;
      for (std::size_t m = 0; m < writers_.size(); ++m) {
        out.push_back(std::span(buffer).subspan(m * bytes, bytes));
      }
      gridded.write_rows(*rounding_, first_, row, current.stored, out, threads_);
      finish_writing();
      const auto write = [this, out] {
        parallel_for(writers_.size(), threads_, [&](std::size_t m) { writers_[m].write(out[m]); });
        shown_->advance(out.front().size() * out.size());
      };
      if (thread_count(threads_) > 1) {
        writing_ = std::async(std::launch::async, write);
      } else {
        write();
      }
      turn_ = 1 - turn_;
    }
    release_pages(source.bytes(), 0, source.bytes().size());
  }

  void finish_writing() {
    if (writing_.valid()) {
      writing_.get();
    }
  }

  const std::vector<planned_tensor>* planned_;
  const any_rounding* rounding_;
  std::uint64_t first_;
  int threads_;
  progress* shown_;
  std::vector<safetensors_writer> writers_;  // of every member
  std::array<std::vector<std::byte>, 2> buffers_;
  std::size_t turn_ = 0;
  std::size_t saturated_ = 0;
  std::future<void> writing_;  // of what the other buffer holds; ends before what it uses
};

// Whether the metadata's systems, granularities and scales leave open which tensor has which.
bool is_mixed(const sampling_plan& plan) {
  return plan.systems().size() > 1 || plan.granularities().size() > 1 || plan.scales().size() > 1;
}

// Which of a shard's tensors are rounded to which number system, as JSON; how, too, where that differs.
std::string systems_of(const std::vector<planned_tensor>& tensors, const sampling_plan& plan) {
  nlohmann::ordered_json systems = nlohmann::ordered_json::object();
  for (const planned_tensor& planned : tensors) {
    if (planned.quantizer) {
      const bool differ = plan.granularities().size() > 1 || plan.scales().size() > 1;
      systems[planned.source->name()] = differ ? described(*planned.quantizer) : planned.quantizer->system();
    }
  }
  return systems.dump();
}

// The index of a sharded checkpoint; its total size changes where dtypes do.
void write_index(const std::filesystem::path& index, const std::filesystem::path& folder, std::size_t member_bytes,
                 bool same_size) {
  if (same_size) {
    std::filesystem::copy_file(index, folder / index.filename());
    return;
  }
  std::ifstream stream(index);
  auto content = nlohmann::ordered_json::parse(stream);
  if (!content["metadata"].is_object()) {  // what it may hold beside the size is not required
    content["metadata"] = nlohmann::ordered_json::object();
  }
  content["metadata"]["total_size"] = member_bytes;
  write_file(folder / index.filename(), content.dump(2) + "\n");
}

}  // namespace

namespace pluria::examples {

void sample_safetensors(const sample_options& chosen) {
  const auto started = std::chrono::steady_clock::now();
  if (chosen.dtype != "input" && chosen.dtype != "F32") {
    throw bad_input(mismatch_message("--dtype", "input or F32", "\"" + chosen.dtype + "\""));
  }
  const any_rounding rounding = rounding_of(chosen);
  const source_checkpoint source(chosen.input);
  const sampling_plan plan = chosen.rule.empty() ? plan_by_options(source, chosen) : plan_by_rule(source, chosen);
  if (chosen.dry_run) {
    print_plan(source, plan, chosen);
    return;
  }
  const member_identity identity(rounding, plan.systems(), plan.granularities(), plan.scales());
  const member_folders folders(chosen.output,
                               common_identity(source, plan, chosen, identity.metadata(chosen.first, {})));
  const std::vector<std::uint64_t> missing = missing_members(chosen, folders);
  expect_room(chosen.output, missing.size() * plan.member_bytes());
  progress shown(missing.size() * plan.member_bytes(), "MB", 1e6);
  std::size_t saturated = 0;
  write_members(chosen, folders, missing, [&](std::uint64_t first, const std::vector<std::filesystem::path>& places) {
    saturated = 0;  // the same of all members
    for (std::size_t s = 0; s < source.shards().size(); ++s) {
      std::vector<text_map> metadata;
      for (std::size_t m = 0; m < places.size(); ++m) {
        metadata.push_back(identity.metadata(first + m, source.shards()[s].weights.metadata()));
        if (is_mixed(plan)) {
          metadata.back()["pluria.tensors"] = systems_of(plan.shards()[s], plan);
        }
      }
      saturated +=
          shard_pass(source.shards()[s], plan.shards()[s], places, metadata, rounding, first, chosen.threads, shown)
              .run();
    }
    for (const std::filesystem::path& place : places) {
      if (source.index()) {
        write_index(*source.index(), place, plan.member_bytes(), chosen.dtype == "input");
      }
      for (const std::filesystem::path& file : source.other_files()) {
        std::filesystem::copy_file(file, place / file.filename());
      }
    }
    source.expect_unchanged();
  });
  shown.clear();

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  fmt::print("{}; {:.1f} MB each, {:.2f} bits in {} of their parameters; {:.1f} s\n",
             written_summary(chosen, missing.size()), megabytes(plan.member_bytes()), plan.packed_bits_per_weight(),
             plan.rounded_weights(), seconds);
  if (saturated > 0) {
    fmt::print("{} of these weights lie beyond their grid and are clipped\n", saturated);
  }
  for (const auto& [type, digits] : {std::pair{dtype::bf16, 8}, std::pair{dtype::f16, 11}}) {
    if (plan.has_narrow(type)) {
      fmt::print(
          "{0} holds {1} binary digits: grid values are stored to the nearest, within 2^-{1} of their size where they "
          "are normal"
          " (--dtype F32 stores them exactly)\n",
          name_of(type), digits);
    }
  }
  for (const std::filesystem::path& file : source.left_out()) {
    fmt::print("not copied: {}\n", file.string());
  }
}

}  // namespace pluria::examples
