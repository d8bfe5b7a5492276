// SPDX-License-Identifier: MIT
#include <pluria/pluria.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../../examples/choose_precision/bit_allocation.hpp"
#include "../../examples/choose_precision/objective.hpp"
#include "../../examples/common/rule_file.hpp"
#include "examples/program.hpp"
#include "support/catch.hpp"

namespace {

using namespace pluria;
namespace fs = std::filesystem;

const std::string model = PLURIA_SOURCE_DIR "/examples/evaluate_vit/models/vit-tiny.safetensors";

// A folder of this process, removed at the end.
struct scratch {
  fs::path path = fs::temp_directory_path() / ("pluria-choose-" + std::to_string(::getpid()));
  scratch() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~scratch() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

program_result choose(const std::string& arguments) {
  return run_program(PLURIA_CHOOSE_PRECISION " --model " + model + " " + arguments);
}

nlohmann::json choose_json(const scratch& folder, const std::string& arguments) {
  const std::string file = folder / "report.json";
  const program_result result = choose("--json " + file + " " + arguments);
  INFO(result.output);
  REQUIRE(result.status == 0);
  return nlohmann::json::parse(read_text(file));
}

// Exit status 2, and a message with all of `parts`.
void check_refused(const std::string& arguments, const std::vector<std::string>& parts) {
  const program_result result = choose(arguments);
  INFO(arguments << "\n" << result.output);
  CHECK(result.status == 2);
  for (const std::string& part : parts) {
    CHECK(result.output.find(part) != std::string::npos);
  }
}

bool close(double a, double b) {
  return std::abs(a - b) < 1e-12;
}

// The validation images that the program uses.
struct validation {
  idx_array images = load_idx(PLURIA_DATASET "/train-images-idx3-ubyte.gz");
  std::vector<std::int32_t> labels;
  std::size_t count;

  explicit validation(std::size_t images_used) : count(images_used) {
    const idx_array all = load_idx(PLURIA_DATASET "/train-labels-idx1-ubyte.gz");
    labels.assign(all.values.begin() + 55000, all.values.begin() + 55000 + static_cast<std::ptrdiff_t>(count));
  }
  // The program runs batches of its own, whose logits may differ in their last digits from those of all images at once.
  scores score(const checkpoint& weights) const {
    scores result(labels);
    result.add(load_vit(weights).logits(image_view{images.values, 60000, 1, 28, 28}.part(55000, count)));
    return result;
  }
};

}  // namespace

TEST_CASE("choose_precision keeps to its budget, and its rule is what it measured", "[examples]") {
  const scratch folder;
  const std::string rule = folder / "rule.json";
  const nlohmann::json report =
      choose_json(folder, "--limit 60 --budget 4.1 --systems INT-3,INT-4,INT-6,MXFP4 --objective kl --rule " + rule +
                              " --csv " + (folder / "costs.csv") + " --plots " + (folder / "plots"));
  CHECK(report["images"] == 60);
  REQUIRE(report["tensors"].size() == 18);
  REQUIRE(report["rules"].size() == 5);
  CHECK(report["rules"][0]["bits_per_weight"].get<double>() <= 4.1);

  // The choice is that of the measured costs, within the budget, and stands in the rule.
  const checkpoint weights = load_safetensors(model);
  const examples::rule_file file(rule);
  std::vector<std::vector<examples::bit_candidate>> candidates;
  double all_bits = 0.0;
  double all_weights = 0.0;
  double summed = 0.0;
  for (const auto& tensor : report["tensors"]) {
    const std::string name = tensor["tensor"];
    const double count = tensor["weights"];
    CHECK(weights[name].shape() == tensor["shape"].get<tensor_shape>());
    auto& own = candidates.emplace_back();
    int chosen = 0;
    for (const auto& candidate : tensor["candidates"]) {
      own.push_back({static_cast<std::uint64_t>(std::llround(candidate["bits_per_weight"].get<double>() * count)),
                     candidate["cost"]});
      if (candidate["chosen"]) {
        ++chosen;
        all_bits += static_cast<double>(own.back().bits);
        summed += own.back().cost;
        const auto decided = file.rule()(name, weights[name].shape());
        REQUIRE(decided.has_value());
        CHECK(decided->system() == candidate["system"]);
        CHECK(decided->granularity_name() == candidate["granularity"]);
        // As the library counts them, but for the rest of rows' last blocks.
        const gridded_tensor grid = decided->fit(weights[name]);
        CHECK(own.back().bits ==
              weights[name].size() * static_cast<std::size_t>(decided->bits()) + grid.granule_bits());
      }
    }
    CHECK(chosen == 1);
    all_weights += count;
  }
  CHECK(close(report["rules"][0]["bits_per_weight"], all_bits / all_weights));
  CHECK(close(report["summed_cost"], summed));
  const auto again = examples::allocate_bits(candidates, static_cast<std::uint64_t>(4.1 * all_weights));
  REQUIRE(again.has_value());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    CHECK(report["tensors"][i]["candidates"][(*again)[i]]["chosen"] == true);
  }

  // What is reported of the whole rule is that of the members which the library draws by it.
  const validation images(60);
  const rounded_members nearest_member(weights, file.rule(), nearest{});
  const std::vector<double> p = images.score(weights).prediction().log_probabilities();
  const std::vector<double> q = images.score(nearest_member[0]).prediction().log_probabilities();
  double divergence = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    divergence += std::exp(p[i]) * (p[i] - q[i]) / 60.0;
  }
  CHECK(std::abs(report["rules"][0]["cost"].get<double>() - divergence) < 1e-6);
  CHECK(divergence > 1e-4);
  const rounded_members int3(weights, examples::quantizer_named("INT-3", ""), nearest{});
  CHECK(report["rules"][1]["rule"] == "INT-3 for all");
  CHECK(close(report["rules"][1]["chosen_less"],
              report["rules"][0]["cost"].get<double>() - report["rules"][1]["cost"].get<double>()));
  CHECK(report["rules"][1]["chosen_less"].get<double>() < 0.0);

  const std::string csv = read_text(folder / "costs.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 1 + 18 * 4);
  const std::string bars = read_text(folder / "plots/precision.dat");
  CHECK(std::count(bars.begin(), bars.end(), '\n') == 18);

  // And sample_checkpoint makes these members of it.
  const program_result sampled =
      run_program(PLURIA_SAMPLE_CHECKPOINT " " + model + " --rule " + rule + " --output " + (folder / "members") +
                  " --members 2 --seed 3 --coupling lattice:2 --dtype F32");
  INFO(sampled.output);
  REQUIRE(sampled.status == 0);
  const rounded_members members(weights, file.rule(), bernoulli{.seed = 3, .coupling = lattice(2)});
  for (std::uint64_t k = 0; k < 2; ++k) {
    const checkpoint found =
        load_safetensors(folder / ("members/member-00" + std::to_string(k) + "/vit-tiny.safetensors"));
    const checkpoint expected = members[k];
    for (const tensor& current : expected.tensors()) {
      const auto bytes = found[current.name()].bytes();
      CHECK(std::equal(bytes.begin(), bytes.end(), current.bytes().begin(), current.bytes().end()));
    }
  }
}

TEST_CASE("costs are those of one tensor rounded alone", "[examples]") {
  const scratch folder;
  const nlohmann::json report = choose_json(folder, "--limit 50 --systems INT-2,INT-8 --budget 5 --objective nll");
  const validation images(50);
  const checkpoint weights = load_safetensors(model);
  const double full = images.score(weights).nll();
  const std::size_t place = 2;
  const std::string name = report["tensors"][place]["tensor"];
  const rule only([&](std::string_view other, std::span<const std::size_t>) {
    return other == name ? rule::decision(examples::quantizer_named("INT-2", "")) : std::nullopt;
  });
  const scores rounded = images.score(rounded_members(weights, only, nearest{})[0]);
  const auto& candidate = report["tensors"][place]["candidates"][0];
  CHECK(std::abs(candidate["cost"].get<double>() - (rounded.nll() - full)) < 1e-6);
  CHECK(std::abs(candidate["cost"].get<double>()) > 1e-3);
  CHECK(std::abs(candidate["cost_se"].get<double>() - rounded.nll_difference(images.score(weights)).standard_error) <
        1e-6);
}

TEST_CASE("the ensemble's cost is its NLL after a temperature of its own", "[examples]") {
  const scratch folder;
  const nlohmann::json report = choose_json(
      folder,
      "--limit 60 --systems INT-3,INT-6 --budget 5 --objective ensemble --members 2 --coupling lattice:2 --seed 5");
  CHECK(report["images"] == 30);
  const validation images(60);
  const checkpoint weights = load_safetensors(model);
  const auto tempered = [&](const scores& predicted) {
    const std::vector<double> table = predicted.prediction().log_probabilities();
    const std::span<const double> all(table);
    const double temperature = fit_temperature({all.first(300), 10}, predicted.labels().first(30));
    const std::vector<double> second = apply_temperature({all.subspan(300), 10}, temperature);
    return nll_per_example({second, 10}, predicted.labels().subspan(30));
  };
  const rounded_members members(weights, examples::quantizer_named("INT-3", ""),
                                bernoulli{.seed = 5, .coupling = lattice(2)});
  scores ensemble = images.score(members[0]);
  ensemble.add(load_vit(members[1]).logits(image_view{images.images.values, 60000, 1, 28, 28}.part(55000, 60)));
  const mean_and_error expected = paired_difference(tempered(ensemble), tempered(images.score(weights)));
  CHECK(report["rules"][1]["rule"] == "INT-3 for all");
  CHECK(std::abs(report["rules"][1]["cost"].get<double>() - expected.mean) < 1e-5);
  CHECK(std::abs(report["rules"][1]["cost_se"].get<double>() - expected.standard_error) < 1e-5);
  CHECK(std::abs(expected.mean) > 1e-3);
}

TEST_CASE("a KL divergence is zero of equals only, and infinite where only the second is impossible", "[examples]") {
  const std::vector<double> half{std::log(0.5), std::log(0.5)};
  const std::vector<double> quarter{std::log(0.25), std::log(0.75)};
  const std::vector<double> certain{0.0, -std::numeric_limits<double>::infinity()};
  using examples::kl_divergence;
  CHECK(kl_divergence(half, half) == 0.0);
  CHECK(close(kl_divergence(half, quarter), 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3.0)));
  CHECK(close(kl_divergence(certain, quarter), std::log(4.0)));
  CHECK(std::isinf(kl_divergence(quarter, certain)));
}

TEST_CASE("choose_precision refuses bad arguments with exit status 2 and what it expected", "[examples]") {
  const scratch folder;
  check_refused("--budget 2", {"--budget: expected at least 2.3", "found 2"});
  check_refused("--budget 0", {"--budget", "more than 0", "0"});
  check_refused("--objective accuracy", {"--objective: expected nll, kl or ensemble, found \"accuracy\""});
  check_refused("--systems INT-4,INT-9", {"--system: expected one of", "found \"INT-9\""});
  check_refused("--systems INT-4,INT-4", {"--systems: expected each once"});
  check_refused("--granularity row", {"--granularity", "row"});
  check_refused("--members 0", {"--members: expected 1..65535"});
  check_refused("--coupling lattice:3", {"--coupling"});
  check_refused("--limit 3", {"--limit: expected at least 4 images"});
  check_refused("--first 59990", {"60990", "60000"});
  check_refused("--rule /no/such/folder/rule.json", {"/no/such/folder"});
  check_refused("--limit 20 --budget 2 --rule " + (folder / "rule.json"), {"--budget"});
  CHECK(fs::is_empty(folder.path));
}
