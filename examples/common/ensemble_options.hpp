// SPDX-License-Identifier: MIT
#pragma once
// The options of programs that make ensembles and evaluate them: which members, and how they are run.

#include <pluria/kernel/any_members.hpp>
#include <pluria/member/any_quantizer.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "options.hpp"
#include "rule_file.hpp"

namespace pluria::examples {

/// As they stand on the command line.
struct ensemble_options {
  std::string bits = "6,5,4";
  std::string system = {};
  std::string rule = {};
  bool bfloat16 = false;
  std::size_t members = 8;
  std::string granularity = {};  ///< empty: that of the system, or the channel
  std::string range = "absmax";
  std::string scales = "float32";
  std::string coupling = "independent";
  std::string engine = "float";
  std::string activations = "float32";
  std::uint64_t seed = 0;
  int threads = 0;
};

void add_options(command_line& app, ensemble_options& chosen);

/// One of the ensembles that are asked for.
struct planned_ensemble {
  std::string system;
  int bits;
  std::string granularity;
  rule decide;

  explicit planned_ensemble(const any_quantizer& quantizer)
      : system(quantizer.system()),
        bits(quantizer.bits()),
        granularity(quantizer.granularity_name()),
        decide(quantizer) {}

  /// Its widths are in the file.
  explicit planned_ensemble(const rule_file& file) : system(file.name()), bits(0), granularity(), decide(file.rule()) {}
};

/// What they mean.
struct ensemble_plan {
  std::vector<planned_ensemble> ensembles;
  std::optional<rule_file> from;  ///< where there is a rule
  std::string range;              ///< how far grids reach; empty where a rule says it
  pluria::coupling coupling;
  engine_choice engine;

  /// Whether the ensemble of the first `members` has whole blocks of the lattice only.
  bool is_complete(std::size_t members) const { return members % coupling.block() == 0; }

  /// Throws bad_input, naming file and tensor, where the rule does not fit the checkpoint.
  void expect_tensors(const checkpoint& weights) const {
    if (from) {
      from->expect_tensors(weights);
    }
  }
};

/// The names of the number systems that are asked for. Throws bad_input naming the option.
std::vector<std::string> systems_of(const ensemble_options& chosen);

/// Throws bad_input naming the option that will not do.
ensemble_plan plan_of(const ensemble_options& chosen);

/// The line under a table that marks incomplete blocks; nothing where members are independent.
std::string coupling_note(const ensemble_plan& plan);

}  // namespace pluria::examples
