// SPDX-License-Identifier: MIT
// Members of a GGUF file: the same file with some tensors in ggml's blocks, rounded at random on the scale that the
// blocks store.

#include <pluria/core/error.hpp>
#include <pluria/core/float16.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/io/ggml_block.hpp>
#include <pluria/io/gguf.hpp>
#include <pluria/io/gguf_writer.hpp>
#include <pluria/io/mapped_pages.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/member/identity.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/random/address.hpp>
#include <pluria/tensor/convert.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "../common/progress.hpp"
#include "member_folders.hpp"
#include "sample_options.hpp"
#include "selection.hpp"
#include "source_checkpoint.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

// A block format and the number system of its grid.
template <ggml_type Type>
struct block_format {
  static constexpr ggml_type type = Type;
  using number =
      std::conditional_t<Type == ggml_type::q4_0, full_range_int<4>,
                         std::conditional_t<Type == ggml_type::q5_0, full_range_int<5>, half_symmetric_int<8>>>;
};

// work(block_format) of a type.
template <class Work>
void with_format(ggml_type type, Work&& work) {
  if (type == ggml_type::q4_0) {
    work(block_format<ggml_type::q4_0>{});
  } else if (type == ggml_type::q5_0) {
    work(block_format<ggml_type::q5_0>{});
  } else {
    require(type == ggml_type::q8_0, "with_format: Q4_0, Q5_0 or Q8_0");
    work(block_format<ggml_type::q8_0>{});
  }
}

ggml_type block_type(int bits, const std::string& option) {
  switch (bits) {
    case 4:
      return ggml_type::q4_0;
    case 5:
      return ggml_type::q5_0;
    case 8:
      return ggml_type::q8_0;
    default:
      throw bad_input(mismatch_message(option, "4, 5 or 8 (Q4_0, Q5_0, Q8_0) for a GGUF file", std::to_string(bits)));
  }
}

// What every tensor becomes; nothing for those that stay as they are.
struct gguf_choice {
  std::vector<std::optional<ggml_type>> blocks;
  std::vector<std::string> short_rows;  // tensors in F16 because their rows are not whole blocks
  std::size_t rounded = 0;
  double bits = 0.0;  // of the rounded weights
};

gguf_choice choose(const gguf_checkpoint& source, selection select) {
  gguf_choice choice;
  std::unordered_map<std::uint64_t, std::string> hashes;
  std::string unreadable;
  for (const gguf_tensor& current : source.tensors()) {
    const auto [known, is_new] = hashes.emplace(name_hash(current.name()), current.where());
    if (!is_new) {
      throw bad_input(current.where() + ": its name has the 64-bit hash of " + known->second);
    }
    std::optional<ggml_type>& becomes = choice.blocks.emplace_back();
    const auto bits = current.size() > 0 ? select(current.name(), current.shape()) : std::nullopt;
    if (!bits) {
      continue;
    }
    if (!current.has_weights()) {
      unreadable +=
          (unreadable.empty() ? "" : ", ") + current.name() + " (" + std::string(name_of(current.type())) + ")";
      continue;
    }
    if (current.row_elements() % ggml_block_size != 0) {
      // As llama.cpp's own quantization does.
      if (current.type() != ggml_type::f16) {
        becomes = ggml_type::f16;
      }
      choice.short_rows.push_back(current.name());
      continue;
    }
    becomes = block_type(*bits, "--bits or --bits-for");
    choice.rounded += current.size();
    choice.bits += 8.0 * static_cast<double>(ggml_bytes(*becomes, current.size()));
  }
  if (!unreadable.empty()) {
    throw bad_input(
        mismatch_message(source.file(), "tensors to round in F32, F16, BF16 or Q8_0 (or --exclude them)", unreadable));
  }
  select.expect_matches();
  if (choice.rounded == 0) {
    throw bad_input(mismatch_message(source.file(), "tensors whose rows are multiples of 32", "none to round"));
  }
  return choice;
}

// The type that most weights have, of those that `general.file_type` has a number for.
ggml_type main_type(const gguf_checkpoint& source, std::span<const ggml_type> types) {
  ggml_type best = ggml_type::q4_0;
  std::size_t most = 0;
  for (const ggml_type type :
       {ggml_type::q4_0, ggml_type::q5_0, ggml_type::q8_0, ggml_type::f16, ggml_type::bf16, ggml_type::f32}) {
    std::size_t weights = 0;
    for (std::size_t i = 0; i < types.size(); ++i) {
      weights += types[i] == type ? source.tensors()[i].size() : 0;
    }
    if (weights > most) {
      best = type;
      most = weights;
    }
  }
  return best;
}

// Writes the files of some members in one pass over the source.
class gguf_pass {
 public:
  gguf_pass(const gguf_plan& plan, const gguf_choice& choice, const std::vector<std::filesystem::path>& places,
            const std::vector<gguf_identity>& identities, const any_rounding& rounding, std::uint64_t first,
            int threads, progress& shown)
      : plan_(&plan), choice_(&choice), rounding_(&rounding), first_(first), threads_(threads), shown_(&shown) {
    const std::string name = std::filesystem::path(plan.source().file()).filename();
    for (std::size_t m = 0; m < places.size(); ++m) {
      writers_.push_back(std::make_unique<gguf_writer>(places[m] / name, plan, identities[m]));
    }
  }

  void run() {
    for (std::size_t i = 0; i < choice_->blocks.size(); ++i) {
      const gguf_tensor& current = plan_->source().tensors()[i];
      shown_->describe(current.name());
      if (const auto type = choice_->blocks[i]; !type) {
        write_kept(current.bytes());
      } else if (*type == ggml_type::f16) {
        write_halves(current.weights());
      } else {
        with_format(*type, [&](auto format) { write_rounded<decltype(format)>(current); });
      }
      release_pages(current.bytes(), 0, current.bytes().size());
    }
    parallel_for(writers_.size(), threads_, [&](std::size_t m) { writers_[m]->commit(); });
  }

 private:
  void write_kept(std::span<const std::byte> bytes) {
    for (std::size_t first = 0; first < bytes.size(); first += buffer_bytes / 4) {
      const auto part = bytes.subspan(first, std::min(bytes.size() - first, buffer_bytes / 4));
      parallel_for(writers_.size(), threads_, [&](std::size_t m) { writers_[m]->write(part); });
      release_pages(bytes, first, part.size());
      shown_->advance(part.size() * writers_.size());
    }
  }

  void write_halves(const tensor& weights) {
    std::vector<float> values;
    std::vector<std::byte> halves;
    for (std::size_t first = 0; first < weights.size(); first += values.size()) {
      values.resize(std::min(weights.size() - first, buffer_bytes / 16));
      halves.resize(2 * values.size());
      weights.read(first, std::span(values));
      check_finite(weights, values, first);
      const auto large = std::find_if(values.begin(), values.end(),
                                      [](float value) { return (half_from_float(value) & 0x7fffU) == 0x7c00U; });
      if (large != values.end()) {
        throw bad_input(mismatch_message(
            weights.where() + ", index " + std::to_string(first + static_cast<std::size_t>(large - values.begin())),
            "a value that F16 holds, which its rows of " + std::to_string(weights.columns()) + " become",
            std::to_string(*large)));
      }
      write_weights(values, dtype::f16, halves);
      parallel_for(writers_.size(), threads_, [&](std::size_t m) { writers_[m]->write(halves); });
      shown_->advance(halves.size() * writers_.size());
    }
  }

  template <class Format>
  void write_rounded(const gguf_tensor& current) {
    using number = typename Format::number;
    // ggml's matrices have one row for each output, also where several are stacked: their rows are those of all.
    const tensor stored = current.weights();
    const tensor weights(current.name(), stored.type(),
                         {current.size() / current.row_elements(), current.row_elements()}, stored.bytes(),
                         std::make_shared<tensor>(stored), current.file());
    const std::size_t row_bytes = ggml_bytes(Format::type, weights.columns());
    const std::size_t at_once =
        std::clamp<std::size_t>(buffer_bytes / (writers_.size() * row_bytes), 1, weights.rows());
    std::vector<std::vector<std::byte>> blocks(writers_.size());
    const auto write = [&] {
      parallel_for(writers_.size(), threads_, [&](std::size_t m) { writers_[m]->write(blocks[m]); });
      shown_->advance(blocks.front().size() * blocks.size());
    };
    if (std::holds_alternative<nearest>(*rounding_)) {
      for (std::size_t row = 0; row < weights.rows(); row += at_once) {
        blocks.front().resize(std::min(at_once, weights.rows() - row) * row_bytes);
        parallel_for(blocks.front().size() / row_bytes, threads_, [&](std::size_t r) {
          round_to_ggml_blocks<Format::type>(weights, (row + r) * weights.columns(),
                                             std::span(blocks.front()).subspan(r * row_bytes, row_bytes));
        });
        write();
      }
      return;
    }
    const tensor_grid<number> grid = quantizer<number, per_group>{per_group(ggml_block_size)}.fit(weights, threads_);
    for (std::size_t row = 0; row < weights.rows(); row += at_once) {
      const std::size_t rows = std::min(at_once, weights.rows() - row);
      const auto part = std::make_shared<const tensor_grid<number>>(grid.part(row, rows));
      std::vector<packed_tensor<number>> members;
      for (std::size_t m = 0; m < writers_.size(); ++m) {
        members.emplace_back(part);
        blocks[m].resize(rows * row_bytes);
      }
      sample_rows_into(std::span(members), weights, grid, row, std::get<bernoulli>(*rounding_), first_, threads_);
      parallel_for(writers_.size() * rows, threads_, [&](std::size_t index) {
        const std::size_t m = index / rows;
        const std::size_t r = index % rows;
        write_ggml_row<Format::type>(members[m], r, std::span(blocks[m]).subspan(r * row_bytes, row_bytes));
      });
      write();
    }
  }

  const gguf_plan* plan_;
  const gguf_choice* choice_;
  const any_rounding* rounding_;
  std::uint64_t first_;
  int threads_;
  progress* shown_;
  std::vector<std::unique_ptr<gguf_writer>> writers_;  // of every member
};

std::uint64_t fingerprint(const gguf_checkpoint& source) {
  std::string text;
  for (const gguf_entry& entry : source.metadata()) {
    text += entry.key + ' ' +
            std::to_string(name_hash({reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size()})) + '\n';
  }
  for (const gguf_tensor& current : source.tensors()) {
    text += fingerprint_of(current.name(), std::string(name_of(current.type())), current.shape(), current.bytes());
  }
  return name_hash(text);
}

std::string system_names(const gguf_choice& choice) {
  std::set<std::string> names;
  for (const auto& type : choice.blocks) {
    if (type && type != ggml_type::f16) {
      names.insert(std::string(name_of(*type)));
    }
  }
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "" : " ") + name;
  }
  return text;
}

void print_choice(const gguf_checkpoint& source, const gguf_choice& choice, const gguf_plan& plan,
                  const sample_options& chosen) {
  std::size_t weights = 0;
  for (std::size_t i = 0; i < choice.blocks.size(); ++i) {
    const gguf_tensor& current = source.tensors()[i];
    fmt::print("{:<56} {:<18} {:<5} {}\n", current.name(), to_string(current.shape()), name_of(current.type()),
               choice.blocks[i] ? std::string(name_of(*choice.blocks[i])) : "as it is");
    weights += current.size();
  }
  fmt::print("\n{} of {} parameters in {} tensors are rounded, {:.2f} bits each with their scales\n", choice.rounded,
             weights, source.tensors().size(), choice.bits / static_cast<double>(choice.rounded));
  fmt::print("each member {:.1f} MB, {} of them {:.1f} MB\n", megabytes(plan.file_bytes()), chosen.members,
             megabytes(chosen.members * plan.file_bytes()));
}

}  // namespace

namespace pluria::examples {

void sample_gguf(const sample_options& chosen) {
  const auto started = std::chrono::steady_clock::now();
  for (const auto& [option, value] : {std::pair{"--system", chosen.system}, std::pair{"--rule", chosen.rule}}) {
    if (!value.empty()) {
      throw bad_input(mismatch_message(option, "with safetensors only; a GGUF file's blocks are chosen by --bits",
                                       "\"" + value + "\""));
    }
  }
  if (!chosen.granularity.empty() && chosen.granularity != "channel" && chosen.granularity != "group:32") {
    throw bad_input(mismatch_message("--granularity for a GGUF file, whose blocks hold 32 weights", "group:32",
                                     "\"" + chosen.granularity + "\""));
  }
  if (chosen.dtype != "input") {
    throw bad_input("--dtype: expected with safetensors only; a GGUF file's rounded tensors are blocks");
  }
  const any_rounding rounding = rounding_of(chosen);
  const file_state state = file_state::of_input(chosen.input);
  const gguf_checkpoint source = load_gguf(chosen.input);
  const gguf_choice choice = choose(
      source, selection(chosen.include, chosen.exclude, chosen.bits, chosen.bits_for, quantized_in_gguf_by_default));
  std::vector<ggml_type> types;
  for (std::size_t i = 0; i < choice.blocks.size(); ++i) {
    types.push_back(choice.blocks[i].value_or(source.tensors()[i].type()));
  }
  const gguf_plan plan(source, types, main_type(source, types));
  if (chosen.dry_run) {
    print_choice(source, choice, plan, chosen);
  } else {
    const member_identity identity(rounding, {system_names(choice)}, {"group:32"});
    nlohmann::ordered_json common{{"input", fmt::format("{:016x}", fingerprint(source))}};
    for (const auto& [key, value] : identity.metadata(chosen.first, {})) {
      if (key != "pluria.member") {
        common[key] = value;
      }
    }
    nlohmann::ordered_json& rounded = common["tensors"] = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < choice.blocks.size(); ++i) {
      if (choice.blocks[i]) {
        rounded[source.tensors()[i].name()] = name_of(*choice.blocks[i]);
      }
    }
    const member_folders folders(chosen.output, common);
    const std::vector<std::uint64_t> missing = missing_members(chosen, folders);
    expect_room(chosen.output, missing.size() * plan.file_bytes());
    progress shown(missing.size() * plan.file_bytes(), "MB", 1e6);
    write_members(chosen, folders, missing, [&](std::uint64_t first, const std::vector<std::filesystem::path>& places) {
      std::vector<gguf_identity> identities;
      for (std::size_t m = 0; m < places.size(); ++m) {
        identities.push_back(identity.metadata(first + m, {}));
      }
      gguf_pass(plan, choice, places, identities, rounding, first, chosen.threads, shown).run();
      if (file_state::of_input(chosen.input) != state) {
        throw bad_input(chosen.input + ": expected to stay as it is while members are made, was changed");
      }
    });
    shown.clear();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    fmt::print("{}; {:.1f} MB each, {:.2f} bits in {} of their parameters; {:.1f} s\n",
               written_summary(chosen, missing.size()), megabytes(plan.file_bytes()),
               choice.bits / static_cast<double>(choice.rounded), choice.rounded, seconds);
  }
  for (const std::string& name : choice.short_rows) {
    fmt::print("{}: its rows are not multiples of 32 weights: F16, as llama.cpp makes it\n", name);
  }
}

}  // namespace pluria::examples
