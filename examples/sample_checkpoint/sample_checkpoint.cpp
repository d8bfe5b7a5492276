// SPDX-License-Identifier: MIT
// Turns a checkpoint into members that the program it came from loads unchanged: same names, shapes and dtypes, weights
// rounded at random to a low-precision grid. See --help and README.md.

#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/io/mapped_pages.hpp>
#include <pluria/io/replaced_file.hpp>
#include <pluria/io/safetensors.hpp>
#include <pluria/member/identity.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/tensor_grid.hpp>
#include <pluria/version.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "../common/options.hpp"
#include "../common/progress.hpp"
#include "../common/sampled_integers.hpp"
#include "member_folders.hpp"
#include "plan.hpp"
#include "source_checkpoint.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

struct options {
  std::string input;
  std::string output;
  int bits = 5;
  std::size_t members = 8;
  std::uint64_t first = 0;
  std::string granularity = "channel";
  std::string coupling = "independent";
  std::uint64_t seed = 0;
  std::string method = "bsr";
  std::string include;
  std::string exclude;
  std::vector<std::string> bits_for;
  std::string dtype = "input";
  int threads = 0;
  bool dry_run = false;
};

// Members that are written in one pass over the input, each with a file open.
constexpr std::size_t members_at_once = 64;
// What all of them are made in, twice: one part is written while the next is rounded.
constexpr std::size_t buffer_bytes = std::size_t{1} << 26;

selection selected_by(const options& chosen) {
  selection selected;
  if (!chosen.include.empty()) {
    selected.include.emplace(chosen.include, "--include");
  }
  if (!chosen.exclude.empty()) {
    selected.exclude.emplace(chosen.exclude, "--exclude");
  }
  selected.bits = chosen.bits;
  selected.granularity = chosen.granularity;
  for (const std::string& text : chosen.bits_for) {
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos) {
      throw bad_input(mismatch_message("--bits-for", "REGEX=BITS", "\"" + text + "\""));
    }
    selected.bits_for.emplace_back(name_pattern(text.substr(0, equals), "--bits-for"),
                                   static_cast<int>(parse_number(text.substr(equals + 1), "--bits-for", 2, 8)));
  }
  return selected;
}

std::string member_name(const options& chosen, std::uint64_t k) {
  return chosen.method == "rtn" ? "nearest" : fmt::format("member-{:03}", k);
}

// Bits of codes and scales for each rounded weight, as the library would store one member.
double packed_bits_per_weight(const sampling_plan& plan, const std::string& granularity) {
  double bits = 0.0;
  for (const auto& tensors : plan.shards()) {
    for (const planned_tensor& planned : tensors) {
      if (planned.quantizer) {
        const tensor& source = *planned.source;
        std::size_t group = source.columns();
        if (granularity.starts_with("group:")) {
          group = parse_number(granularity.substr(6), "--granularity group", 16, 1U << 30);
        }
        const std::size_t granules =
            granularity == "tensor" ? 1 : granule_map::groups(source.rows(), source.columns(), group).size();
        bits += static_cast<double>(source.size()) * planned.quantizer->bits() + 32.0 * static_cast<double>(granules);
      }
    }
  }
  return bits / static_cast<double>(plan.rounded_weights());
}

double megabytes(std::size_t bytes) {
  return static_cast<double>(bytes) * 1e-6;
}

void print_plan(const source_checkpoint& source, const sampling_plan& plan, const options& chosen) {
  std::size_t weights = 0;
  std::size_t tensors = 0;
  for (const auto& shard : plan.shards()) {
    for (const planned_tensor& planned : shard) {
      fmt::print("{:<56} {:<18} {:<5} {}\n", planned.source->name(), to_string(planned.source->shape()),
                 name_of(planned.source->type()),
                 planned.quantizer ? fmt::format("{} {}, stored as {}", planned.quantizer->system(), chosen.granularity,
                                                 name_of(planned.stored))
                                   : "as it is");
      weights += planned.source->size();
      ++tensors;
    }
  }
  fmt::print("\n{} of {} parameters in {} tensors are rounded, {:.2f} bits each with their scales\n",
             plan.rounded_weights(), weights, tensors, packed_bits_per_weight(plan, chosen.granularity));
  fmt::print("the input {:.1f} MB, each member {:.1f} MB, {} of them {:.1f} MB\n", megabytes(source.bytes()),
             megabytes(plan.member_bytes()), chosen.members, megabytes(chosen.members * plan.member_bytes()));
  for (const std::filesystem::path& file : source.left_out()) {
    fmt::print("not copied: {}\n", file.string());
  }
}

// What members that share a folder agree on.
nlohmann::ordered_json common_identity(const source_checkpoint& source, const sampling_plan& plan,
                                       const options& chosen, const text_map& identity) {
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
        rounded[planned.source->name()] = planned.quantizer->system() + " " + planned.quantizer->granularity_name();
      }
    }
  }
  return common;
}

// Writes a shard of some members in one pass over it.
class shard_pass {
 public:
  shard_pass(const source_shard& shard, const std::vector<planned_tensor>& planned,
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

  void run() {
    for (const std::size_t i : writers_.front().order()) {
      const planned_tensor& current = (*planned_)[i];
      shown_->describe(current.source->name());
      current.quantizer ? write_rounded(current) : write_kept(current);
    }
    finish_writing();
    parallel_for(writers_.size(), threads_, [&](std::size_t m) { writers_[m].commit(); });
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
    const gridded_tensor gridded = current.quantizer->fit(source);
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
  std::future<void> writing_;  // of what the other buffer holds; ends before what it uses
};

// The index of a sharded checkpoint; its total size changes where dtypes do.
void write_index(const std::filesystem::path& index, const std::filesystem::path& folder, std::size_t member_bytes,
                 bool same_size) {
  if (same_size) {
    std::filesystem::copy_file(index, folder / index.filename());
    return;
  }
  std::ifstream stream(index);
  auto content = nlohmann::ordered_json::parse(stream);
  content["metadata"]["total_size"] = member_bytes;
  write_file(folder / index.filename(), content.dump(2) + "\n");
}

void expect_room(const std::filesystem::path& folder, std::size_t bytes) {
  std::error_code failure;
  const std::filesystem::space_info space = std::filesystem::space(folder, failure);
  if (!failure && space.available < bytes) {
    throw bad_input(mismatch_message(folder.string(), fmt::format("{:.1f} MB free for the members", megabytes(bytes)),
                                     fmt::format("{:.1f} MB", megabytes(space.available))));
  }
}

void run(options chosen) {
  const auto started = std::chrono::steady_clock::now();
  if (chosen.method != "bsr" && chosen.method != "rtn") {
    throw bad_input(mismatch_message("--method", "bsr or rtn", "\"" + chosen.method + "\""));
  }
  if (chosen.dtype != "input" && chosen.dtype != "F32") {
    throw bad_input(mismatch_message("--dtype", "input or F32", "\"" + chosen.dtype + "\""));
  }
  if (chosen.output.empty() && !chosen.dry_run) {
    throw bad_input("--output: expected a folder, found nothing (or give --dry-run)");
  }
  if (chosen.members == 0 || chosen.members > 65535) {
    throw bad_input(mismatch_message("--members", "1..65535", std::to_string(chosen.members)));
  }
  if (chosen.method == "rtn") {
    chosen.members = 1;  // all would be the same
    chosen.first = 0;
  }
  const any_rounding rounding =
      chosen.method == "rtn"
          ? any_rounding(nearest{})
          : any_rounding(bernoulli{.seed = chosen.seed, .coupling = parse_coupling(chosen.coupling)});

  const source_checkpoint source(chosen.input);
  const sampling_plan plan(source, selected_by(chosen), chosen.dtype == "F32", sampled_integer);
  if (chosen.dry_run) {
    print_plan(source, plan, chosen);
    return;
  }
  const member_identity identity(rounding, plan.systems(), {chosen.granularity});
  const member_folders folders(chosen.output,
                               common_identity(source, plan, chosen, identity.metadata(chosen.first, {})));

  std::vector<std::uint64_t> missing;
  for (std::uint64_t k = chosen.first; k < chosen.first + chosen.members; ++k) {
    if (!folders.has(member_name(chosen, k))) {
      missing.push_back(k);
    }
  }
  expect_room(chosen.output, missing.size() * plan.member_bytes());
  progress shown(missing.size() * plan.member_bytes(), "MB", 1e6);
  for (std::size_t begin = 0; begin < missing.size();) {
    // Members one after the other share a pass.
    std::size_t end = begin + 1;
    while (end < missing.size() && end - begin < members_at_once && missing[end] == missing[end - 1] + 1) {
      ++end;
    }
    std::vector<std::filesystem::path> places;
    try {
      for (std::size_t i = begin; i < end; ++i) {
        places.push_back(folders.begin(member_name(chosen, missing[i])));
      }
      for (std::size_t s = 0; s < source.shards().size(); ++s) {
        std::vector<text_map> metadata;
        for (std::size_t i = begin; i < end; ++i) {
          metadata.push_back(identity.metadata(missing[i], source.shards()[s].weights.metadata()));
        }
        shard_pass(source.shards()[s], plan.shards()[s], places, metadata, rounding, missing[begin], chosen.threads,
                   shown)
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
  shown.clear();

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (chosen.method == "rtn") {
    fmt::print("{}/nearest", chosen.output);
  } else {
    fmt::print("{}/{} .. {}", chosen.output, member_name(chosen, chosen.first),
               member_name(chosen, chosen.first + chosen.members - 1));
  }
  fmt::print(": {} written, {} there already; {:.1f} MB each, {:.2f} bits in {} of their parameters; {:.1f} s\n",
             missing.size(), chosen.members - missing.size(), megabytes(plan.member_bytes()),
             packed_bits_per_weight(plan, chosen.granularity), plan.rounded_weights(), seconds);
  for (const auto& [type, digits] : {std::pair{dtype::bf16, 8}, std::pair{dtype::f16, 11}}) {
    if (plan.has_narrow(type)) {
      fmt::print(
          "{0} holds {1} binary digits: grid values are stored to the nearest, within 2^-{1} of their size"
          " (--dtype F32 stores them exactly)\n",
          name_of(type), digits);
    }
  }
  for (const std::filesystem::path& file : source.left_out()) {
    fmt::print("not copied: {}\n", file.string());
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  options chosen;
  CLI::App app(
      "Turns a checkpoint into members with weights rounded at random, which load wherever the checkpoint does.\n");
  app.option_defaults()->always_capture_default();
  app.add_option("input", chosen.input, "a .safetensors file, a folder with one or with shards, or a shards' index")
      ->required();
  app.add_option("--output", chosen.output, "folder of the members: member-000, member-001, ...");
  app.add_option("--bits", chosen.bits, "of symmetric INT-b, 2..8")->check(CLI::Range(2, 8));
  app.add_option("--members", chosen.members, "how many");
  app.add_option("--first", chosen.first, "the number of the first");
  app.add_option("--granularity", chosen.granularity, "what shares a scale: channel, tensor or group:G");
  app.add_option("--coupling", chosen.coupling, "of the members: independent or lattice:L");
  app.add_option("--seed", chosen.seed, "with a member's number, decides every random bit");
  app.add_option("--method", chosen.method, "bsr: at random; rtn: to nearest, one checkpoint");
  app.add_option(
      "--include", chosen.include,
      "regular expression, searched in names: tensors of two or more dimensions to round; else those that end "
      "in .weight, without token and position embeddings");
  app.add_option("--exclude", chosen.exclude, "regular expression: tensors that stay as they are");
  app.add_option("--bits-for", chosen.bits_for, "REGEX=BITS: another width for some tensors; the first that matches");
  app.add_option("--dtype", chosen.dtype, "of rounded tensors: input, or F32, which holds every grid value exactly");
  app.add_option("--threads", chosen.threads, "0: all cores")->check(CLI::NonNegativeNumber);
  app.add_flag("--dry-run", chosen.dry_run, "only say what would be rounded, and how large members are");
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    run(chosen);
  } catch (const bad_input& error) {
    fmt::print(stderr, "sample_checkpoint: {}\n", error.what());
    return 2;
  } catch (const std::filesystem::filesystem_error& error) {
    fmt::print(stderr, "sample_checkpoint: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "sample_checkpoint: {}\n", error.what());
    return 1;
  }
  return 0;
}
