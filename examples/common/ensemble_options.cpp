// SPDX-License-Identifier: MIT

#include "ensemble_options.hpp"

#include <pluria/core/error.hpp>
#include <pluria/quantize/scale.hpp>

#include <fmt/format.h>

#include <string_view>

#include "number_systems.hpp"

namespace pluria::examples {

void add_options(command_line& app, ensemble_options& chosen) {
  app.add_option("--bits", chosen.bits, "widths of symmetric INT-b, 2..8, comma-separated");
  app.add_option(
      "--system", chosen.system,
      "number systems instead, comma-separated: " + fmt::format("{}", fmt::join(number_system_names(), ", ")));
  app.excludes("--system", {"--bits"});
  app.add_option("--rule", chosen.rule, "one ensemble, tensor by tensor as this JSON says (see choose_precision)");
  app.excludes("--rule", {"--bits", "--system"});
  app.add_flag("--bfloat16", chosen.bfloat16, "also the checkpoint rounded to bfloat16");
  app.add_option("--members", chosen.members, "S, the number of members");
  app.add_option(
      "--granularity", chosen.granularity,
      "what shares a scale: channel (the default), tensor or group:G; MX and NVFP4 have groups of their own");
  app.add_option("--range", chosen.range,
                 "how far grids reach: absmax, percentile:P, mse:nearest or mse:bernoulli; weights beyond are clipped");
  app.add_option("--scales", chosen.scales, "what a scale is stored as: float32, or float16 (4, 5 and 8 bits)");
  app.add_option("--coupling", chosen.coupling, "of the members: independent or lattice:L");
  app.add_option("--engine", chosen.engine,
                 "float: each member a float32 checkpoint; packed, shared, fixed: all at once, as they are stored");
  app.add_option("--activations", chosen.activations, "float32, or int8 with one scale a token (not with float)");
  app.add_option("--seed", chosen.seed, "decides every random bit");
  app.add_option("--threads", chosen.threads, "0: all cores").non_negative();
}

std::vector<std::string> systems_of(const ensemble_options& chosen) {
  std::vector<std::string> names;
  const bool is_narrow = chosen.scales == "float16";
  if (!is_narrow && chosen.scales != "float32") {
    throw bad_input(mismatch_message("--scales", "float32 or float16", "\"" + chosen.scales + "\""));
  }
  if (!chosen.system.empty()) {
    if (is_narrow) {
      throw bad_input(
          mismatch_message("--scales with --system", "float32: systems have others by name", "\"float16\""));
    }
    return parse_names(chosen.system, "--system");
  }
  for (const int bits : parse_bits(chosen.bits)) {
    if (is_narrow && bits != 4 && bits != 5 && bits != 8) {
      throw bad_input(mismatch_message("--bits with --scales float16", "4, 5 or 8", std::to_string(bits)));
    }
    names.push_back(fmt::format("{}INT-{}", is_narrow ? "half-" : "", bits));
  }
  return names;
}

ensemble_plan plan_of(const ensemble_options& chosen) {
  if (chosen.members == 0 || chosen.members > 65535) {
    throw bad_input(mismatch_message("--members", "1..65535", std::to_string(chosen.members)));
  }
  ensemble_plan plan{{}, {}, {}, parse_coupling(chosen.coupling), parse_engine(chosen.engine, chosen.activations)};
  if (plan.engine.form == storage_form::shared_floor && chosen.members > shared_floor_limit) {
    throw bad_input(mismatch_message("--members with --engine shared", "1..64", std::to_string(chosen.members)));
  }
  if (plan.engine.form == storage_form::fixed_point && plan.coupling.block() > 16) {
    throw bad_input(mismatch_message("--coupling with --engine fixed, which keeps 4 fractional bits",
                                     "independent or lattice:L, L at most 16", "\"" + chosen.coupling + "\""));
  }
  const auto quantizer_of = [&](std::string_view name, std::string_view granularity, std::string_view range) {
    if (plan.engine.is_stored && !range.empty() && range != absmax::name()) {
      throw bad_input(mismatch_message("--range with --engine packed, shared or fixed", "absmax",
                                       "\"" + std::string(range) + "\""));
    }
    const any_quantizer quantizer =
        plan.engine.is_stored ? stored_quantizer_named(name, granularity) : quantizer_named(name, granularity, range);
    if (plan.engine.activations == activation_type::int8 && !quantizer.is_scaled()) {
      throw bad_input(mismatch_message("--activations of " + quantizer.system(),
                                       "float32: its values are no multiples of a scale", "\"int8\""));
    }
    return quantizer;
  };
  if (!chosen.rule.empty()) {
    if (!chosen.granularity.empty() || chosen.range != absmax::name() || chosen.scales != "float32") {
      throw bad_input("--rule: expected without --granularity, --range and --scales, which stand in the file");
    }
    plan.from.emplace(chosen.rule, quantizer_of);
    plan.ensembles.emplace_back(*plan.from);
    return plan;
  }
  plan.range = chosen.range;
  for (const std::string& name : systems_of(chosen)) {
    plan.ensembles.emplace_back(quantizer_of(name, chosen.granularity, chosen.range));
  }
  return plan;
}

std::string coupling_note(const ensemble_plan& plan) {
  return plan.coupling.is_independent()
             ? std::string()
             : fmt::format(
                   "coupling {}; * an incomplete block of the lattice, which can be worse than independent "
                   "members\n",
                   plan.coupling.name());
}

}  // namespace pluria::examples
