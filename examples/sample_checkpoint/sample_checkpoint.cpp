// SPDX-License-Identifier: MIT
// Turns a checkpoint into members that the program it came from loads unchanged: same names and shapes, weights rounded
// at random to a low-precision grid. See --help and README.md.

#include <pluria/core/error.hpp>

#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "../common/command_line.hpp"
#include "../common/number_systems.hpp"
#include "sample_options.hpp"

namespace {

using namespace pluria;
using namespace pluria::examples;

void run(sample_options chosen) {
  if (chosen.format.empty()) {
    chosen.format = std::filesystem::path(chosen.input).extension() == ".gguf" ? "gguf" : "safetensors";
  }
  if (chosen.format != "safetensors" && chosen.format != "gguf") {
    throw bad_input(mismatch_message("--format", "safetensors or gguf", "\"" + chosen.format + "\""));
  }
  if (chosen.method != "bsr" && chosen.method != "rtn") {
    throw bad_input(mismatch_message("--method", "bsr or rtn", "\"" + chosen.method + "\""));
  }
  if (chosen.output.empty() && !chosen.dry_run) {
    throw bad_input("--output: expected a folder, found nothing (or give --dry-run)");
  }
  if (chosen.members == 0 || chosen.members > 65535) {
    throw bad_input(mismatch_message("--members", "1..65535", std::to_string(chosen.members)));
  }
  constexpr std::uint64_t most = std::uint64_t{1} << 32;  // of independent members (random/address.hpp)
  if (chosen.first > most - chosen.members) {
    throw bad_input(mismatch_message(
        "--first",
        "at most " + std::to_string(most - chosen.members) + " for " + std::to_string(chosen.members) + " members",
        std::to_string(chosen.first)));
  }
  if (chosen.method == "rtn") {
    chosen.members = 1;  // all would be the same
    chosen.first = 0;
  }
  chosen.format == "gguf" ? sample_gguf(chosen) : sample_safetensors(chosen);
}

}  // namespace

int main(int argument_count, char** arguments) {
  sample_options chosen;
  command_line app(
      "Turns a checkpoint into members with weights rounded at random, which load wherever the checkpoint does.\n");
  app.add_option("input", chosen.input,
                 "a .safetensors file, a folder with one or with shards, a shards' index, or a .gguf file")
      .required();
  app.add_option("--output", chosen.output, "folder of the members: member-000, member-001, ...");
  app.add_option("--bits", chosen.bits, "of symmetric INT-b, 2..8; GGUF: 4, 5 or 8 (Q4_0, Q5_0, Q8_0)").within(2, 8);
  app.add_option("--system", chosen.system,
                 fmt::format("another number system (not for GGUF): {}", fmt::join(number_system_names(), ", ")));
  app.add_option("--rule", chosen.rule,
                 "JSON with a number system for each tensor (not for GGUF); choose_precision writes one");
  app.add_option("--members", chosen.members, "how many");
  app.add_option("--first", chosen.first, "the number of the first");
  app.add_option("--granularity", chosen.granularity,
                 "what shares a scale: channel (the default), tensor or group:G; MX and NVFP4 have groups of their "
                 "own; GGUF: always group:32");
  app.add_option("--coupling", chosen.coupling, "of the members: independent or lattice:L");
  app.add_option("--seed", chosen.seed, "with a member's number, decides every random bit");
  app.add_option("--method", chosen.method, "bsr: at random; rtn: to nearest, one checkpoint");
  app.add_option(
      "--include", chosen.include,
      "regular expression, searched in names: tensors of two or more dimensions to round; else those that end "
      "in .weight, without token and position embeddings");
  app.add_option("--exclude", chosen.exclude, "regular expression: tensors that stay as they are");
  app.add_option("--bits-for", chosen.bits_for, "REGEX=BITS: another width for some tensors; the first that matches");
  app.excludes("--system", {"--bits", "--bits-for"});
  app.excludes("--rule", {"--system", "--bits", "--bits-for", "--granularity", "--include", "--exclude"});
  app.add_option("--format", chosen.format, "safetensors or gguf; else by the input's name");
  app.add_option("--dtype", chosen.dtype,
                 "of rounded safetensors: input, or F32, which holds every grid value exactly");
  app.add_option("--threads", chosen.threads, "0: all cores").non_negative();
  app.add_flag("--dry-run", chosen.dry_run, "only say what would be rounded, and how large members are");
  return app.run(argument_count, arguments, "sample_checkpoint", [&] { run(chosen); });
}
