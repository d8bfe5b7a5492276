// SPDX-License-Identifier: MIT
#include <pluria/pluria.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "examples/program.hpp"
#include "support/catch.hpp"
#include "support/exhaustive.hpp"

namespace {

using namespace pluria;
namespace fs = std::filesystem;

const std::string model = PLURIA_SOURCE_DIR "/examples/evaluate_vit/models/vit-tiny.safetensors";
// Sanitizers make networks ten times as slow.
constexpr std::size_t few = support::exhaustive ? 100 : 30;
const std::string images = " --limit " + std::to_string(few) +
                           " --images " PLURIA_DATASET "/t10k-images-idx3-ubyte.gz --labels " PLURIA_DATASET
                           "/t10k-labels-idx1-ubyte.gz --calibration-images " PLURIA_DATASET
                           "/train-images-idx3-ubyte.gz --calibration-labels " PLURIA_DATASET
                           "/train-labels-idx1-ubyte.gz --calibration-first 55000 --calibration-limit " +
                           std::to_string(few) + " ";

// A folder of this process, removed at the end; its name is one that a shell has to be given in quotes.
struct scratch {
  fs::path path = fs::temp_directory_path() / ("pluria compare's " + std::to_string(::getpid()));
  scratch() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~scratch() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

std::string quoted(const std::string& path) {
  return "\"" + path + "\"";
}

program_result compare(const std::string& arguments) {
  return run_program(PLURIA_COMPARE_NUMBER_SYSTEMS " --model " + model + images + arguments);
}

nlohmann::json json_of(const scratch& folder, const std::string& program, const std::string& arguments) {
  const std::string file = folder / "report.json";
  const program_result result =
      run_program(program + " --model " + model + images + "--json " + quoted(file) + " " + arguments);
  INFO(result.output);
  REQUIRE(result.status == 0);
  return nlohmann::json::parse(read_text(file));
}

// Exit status 2, and a message with all of `parts`.
void check_refused(const std::string& arguments, const std::vector<std::string>& parts) {
  const program_result result = compare(arguments);
  INFO(arguments << "\n" << result.output);
  CHECK(result.status == 2);
  for (const std::string& part : parts) {
    CHECK(result.output.find(part) != std::string::npos);
  }
}

bool close(double a, double b, double bound = 1e-12) {
  return std::abs(a - b) <= bound;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream stream(line);
  for (std::string word; stream >> word;) {
    words.push_back(word);
  }
  return words;
}

// The row of least validation NLL among those of a method and a number of members that take `most` bits at most.
nlohmann::json least(const nlohmann::json& report, const std::string& method, std::size_t members, double most) {
  nlohmann::json best;
  for (const auto& row : report["rows"]) {
    if (row["method"] == method && row["members"] == members && row["member_bits_per_weight"] <= most &&
        (best.is_null() || row["validation_nll"] < best["validation_nll"])) {
      best = row;
    }
  }
  return best;
}

}  // namespace

TEST_CASE("compare_number_systems scores what evaluate_vit scores, and counts the bits of a member's scales",
          "[examples]") {
  const scratch folder;
  const std::string systems = "--system INT-4,INT-3,NF4,MXFP4 --members 2 --seed 5 ";
  const nlohmann::json report = json_of(folder, PLURIA_COMPARE_NUMBER_SYSTEMS, systems);
  CHECK(report["model"] == "vit-tiny.safetensors");
  CHECK(report["images"] == few);
  REQUIRE(report["rows"].size() == 4 * 3);

  // The same members, one after the other: RTN, then S = 1 and 2.
  const nlohmann::json evaluated = json_of(folder, PLURIA_EVALUATE_VIT, systems);
  REQUIRE(evaluated["rows"].size() == 4 * 3);
  CHECK(close(report["full_precision"]["nll"], evaluated["full_precision"]["nll"]));
  for (std::size_t i = 0; i < 4 * 3; ++i) {
    const auto& row = report["rows"][i];
    INFO(row);
    for (const char* field : {"system", "bits", "method", "granularity", "range", "coupling", "seed", "members"}) {
      CHECK(row[field] == evaluated["rows"][i][field]);
    }
    for (const char* field : {"nll", "err", "ece", "brier", "ambiguity", "nll_difference", "nll_difference_se",
                              "temperature", "calibrated_nll", "calibrated_nll_difference"}) {
      CHECK(close(row[field], evaluated["rows"][i][field]));
    }
    if (i % 3 != 0) {
      CHECK(
          close(row["rtn_nll_difference"], row["nll"].get<double>() - report["rows"][i - i % 3]["nll"].get<double>()));
    }
  }

  // Matrices and convolutions: how many weights they have, in how many rows and groups.
  const checkpoint weights = load_safetensors(model);
  double count = 0.0;
  double rows = 0.0;
  double groups = 0.0;
  double tiled_groups = 0.0;
  double padded = 0.0;
  double tiled = 0.0;
  for (const tensor& current : weights.tensors()) {
    if (!current.name().ends_with(".weight") || current.shape().size() < 2) {
      continue;
    }
    const std::size_t of_one_row = current.size() / current.shape()[0];
    const auto own_rows = static_cast<double>(current.shape()[0]);
    count += static_cast<double>(current.size());
    rows += own_rows;
    const double tiled_rows = 16.0 * std::ceil(own_rows / 16.0);
    const double own_groups = std::ceil(static_cast<double>(of_one_row) / 32.0);
    groups += own_rows * own_groups;
    tiled_groups += tiled_rows * own_groups;
    const double padded_row = 128.0 * std::ceil(static_cast<double>(of_one_row) / 128.0);
    padded += own_rows * padded_row;
    tiled += tiled_rows * padded_row;
  }
  for (const auto& row : report["rows"]) {
    INFO(row);
    const double bits = row["bits"];
    const double scales = row["system"] == "MXFP4" ? 8.0 * groups : 32.0 * rows;
    CHECK(bits == (row["system"] == "INT-3" ? 3 : 4));
    CHECK(row["granularity"] == (row["system"] == "MXFP4" ? "group:32" : "channel"));
    CHECK(close(row["member_bits_per_weight"], bits + scales / count));
    // In storage rows are padded, and two members take a bit each over what they share, in tiles of 16 rows.
    const bool is_shared = row["members"] == 2;
    const double codes = is_shared ? (bits + 2.0) * tiled : bits * padded;
    const double stored_scales = is_shared && row["system"] == "MXFP4" ? 8.0 * tiled_groups : scales;
    CHECK(row["storage"] == (is_shared ? "shared_floor" : "packed"));
    CHECK(close(row["bits_per_weight"], (codes + stored_scales) / count));
  }

  // The temperature of the last ensemble is fitted on the validation images, and its NLL there is what choices go by.
  const rounded_members members(weights, quantizer<symmetric_int<3>>{}, bernoulli{.seed = 5});
  const idx_array pixels = load_idx(PLURIA_DATASET "/train-images-idx3-ubyte.gz");
  const idx_array labels = load_idx(PLURIA_DATASET "/train-labels-idx1-ubyte.gz");
  const image_view validation = image_view{pixels.values, 60000, 1, 28, 28}.part(55000, few);
  scores ensemble{std::vector<std::int32_t>(labels.values.begin() + 55000,
                                            labels.values.begin() + 55000 + static_cast<std::ptrdiff_t>(few))};
  ensemble.add(load_vit(members[0]).logits(validation));
  ensemble.add(load_vit(members[1]).logits(validation));
  const std::vector<double> raw = ensemble.prediction().log_probabilities();
  const double temperature = fit_temperature({raw, 10}, ensemble.labels());
  const auto& last = report["rows"][5];
  REQUIRE(last["system"] == "INT-3");
  // Batches of other sizes: logits may differ in their last digits.
  CHECK(close(last["temperature"], temperature, 1e-6));
  CHECK(close(last["validation_nll"], nll({apply_temperature({raw, 10}, temperature), 10}, ensemble.labels()), 1e-6));
}

TEST_CASE("compare_number_systems chooses by the validation images, and writes rows and pictures", "[examples]") {
  const scratch folder;
  const program_result result = compare(
      "--system INT-4,NF4,INT-3,posit-3,MXFP4 --members 2 --coupling lattice:2 --csv " + quoted(folder / "rows.csv") +
      " --json " + quoted(folder / "report.json") + " --plots " + quoted(folder / "plots"));
  INFO(result.output);
  REQUIRE(result.status == 0);
  CHECK(result.output.find('\r') == std::string::npos);
  const nlohmann::json report = nlohmann::json::parse(read_text(folder / "report.json"));
  REQUIRE(report["rows"].size() == 5 * 3);

  std::size_t found = 0;
  for (const std::string& line : lines_of(result.output)) {
    const std::vector<std::string> words = words_of(line);
    if (words.size() < 5 || (words[0] != "3.5" && words[0] != "4.5")) {
      continue;
    }
    INFO(line);
    ++found;
    const bool is_rtn = words[1] == "RTN";
    // One member of a lattice of two is an incomplete block.
    const bool is_alone = words[1] == "1*";
    CHECK((is_rtn || is_alone || words[1] == "2"));
    const auto best = least(report, is_rtn ? "rtn" : "bsr", is_rtn || is_alone ? 1 : 2, std::stod(words[0]));
    CHECK(words[2] == best["system"]);
    CHECK(close(std::stod(words[3]), best["member_bits_per_weight"], 0.005 + 1e-9));
    CHECK(close(std::stod(words[4]), best["calibrated_nll"], 0.00005 + 1e-9));
  }
  CHECK(found == 2 * 3);
  const auto best = least(report, "bsr", 2, 16.0);
  CHECK(result.output.find("at most 16 bits a weight: " + best["system"].get<std::string>() + ", S = 2,") !=
        std::string::npos);

  // MXFP4's power of two may be too small for the largest of its weights.
  const rounded_members clipped(load_safetensors(model), quantizer<mxfp4, per_group>{per_group(32)}, nearest{});
  const auto& stored = clipped.packed_storage();
  CHECK(stored.saturated > 0);
  CHECK(result.output.find("MXFP4: " + std::to_string(stored.saturated) + " of " + std::to_string(stored.weights) +
                           " weights") != std::string::npos);
  CHECK(result.output.find("INT-4: ") == std::string::npos);

  // Names, full precision, and the rows.
  const std::vector<std::string> csv = lines_of(read_text(folder / "rows.csv"));
  REQUIRE(csv.size() == 2 + 5 * 3);
  CHECK(csv[0].starts_with("method,bits,members,nll,err,ece,"));
  for (const std::string& line : csv) {
    CHECK(std::count(line.begin(), line.end(), ',') == std::count(csv[0].begin(), csv[0].end(), ','));
  }
  CHECK(csv[1].starts_with("full_precision,,,"));
  CHECK(csv[2].starts_with("rtn,4,1,"));
  CHECK(csv[2].find(",INT-4,channel,absmax,,true") != std::string::npos);
  CHECK(csv.back().starts_with("bsr,4,2,"));
  CHECK(csv.back().find(",MXFP4,group:32,absmax,lattice:2,true") != std::string::npos);
  CHECK(csv[csv.size() - 2].find("lattice:2,false,") != std::string::npos);  // one member of a block of two
  CHECK(csv[0].ends_with(",complete_block,member_bits_per_weight,validation_nll"));
  CHECK(csv[1].ends_with(",,,"));
  CHECK(csv.back().ends_with("," + report["rows"].back()["member_bits_per_weight"].dump() + "," +
                             report["rows"].back()["validation_nll"].dump()));

  CHECK(fs::exists(folder / "plots/systems.gnuplot"));
  const bool has_gnuplot = std::system("command -v gnuplot > /dev/null 2>&1") == 0;
  for (const char* picture : {"plots/systems.png", "plots/systems.svg"}) {
    CHECK(fs::exists(folder / picture) == has_gnuplot);
  }
  CHECK((result.output.find("gnuplot is not installed") == std::string::npos) == has_gnuplot);
}

TEST_CASE("how far grids reach changes the members of compare_number_systems, and is reported", "[examples]") {
  const scratch folder;
  const auto compared = [&](const std::string& range) {
    return json_of(folder, PLURIA_COMPARE_NUMBER_SYSTEMS, "--system INT-3 --members 1 --range " + range);
  };
  const nlohmann::json widest = compared("absmax");
  const nlohmann::json clipped = compared("mse:nearest");
  for (std::size_t row = 0; row < 2; ++row) {
    CHECK(widest["rows"][row]["range"] == "absmax");
    CHECK(clipped["rows"][row]["range"] == "mse:nearest");
    CHECK(widest["rows"][row]["nll"] != clipped["rows"][row]["nll"]);
    CHECK(widest["rows"][row]["member_bits_per_weight"] == clipped["rows"][row]["member_bits_per_weight"]);
  }
}

TEST_CASE("compare_number_systems scores saved predictions as its own, of several granularities and couplings",
          "[examples]") {
  const scratch folder;
  const std::string compared =
      "--system INT-4,MXFP4 --granularity channel,group:32 --coupling independent,lattice:2 --members 2 --seed 3 ";
  const auto report_of = [&](const std::string& more) {
    return json_of(folder, PLURIA_COMPARE_NUMBER_SYSTEMS, compared + more);
  };
  const nlohmann::json own = report_of("");
  // RTN once for every system and granularity, S = 1 and 2 for every coupling, too; MXFP4 has blocks of its own.
  REQUIRE(own["rows"].size() == 3 * (1 + 2 * 2));

  // The plan says where the predictions are expected, and what sample_checkpoint makes their members by.
  const program_result plan = compare(compared + "--plan");
  REQUIRE(plan.status == 0);
  const std::vector<std::string> lines = lines_of(plan.output);
  REQUIRE(lines.size() == 3 * 3);
  CHECK(lines[0] == "INT-4/channel/nearest\t--system INT-4 --granularity channel --method rtn");
  CHECK(lines[5] ==
        "INT-4/group:32/lattice:2/seed-3\t--system INT-4 --granularity group:32 --coupling lattice:2 --members 2 "
        "--seed 3");

  const idx_array test = load_idx(PLURIA_DATASET "/t10k-images-idx3-ubyte.gz");
  const idx_array training = load_idx(PLURIA_DATASET "/train-images-idx3-ubyte.gz");
  const auto save = [&](const fs::path& checkpoint, const std::string& place) {
    const vit<dense_matrix> network = load_vit(load_safetensors(checkpoint));
    fs::create_directories(folder.path / "predictions" / place);
    for (const auto& [name, pixels] :
         {std::pair{"test.npy", image_view{test.values, 10000, 1, 28, 28}.part(0, few)},
          std::pair{"validation.npy", image_view{training.values, 60000, 1, 28, 28}.part(55000, few)}}) {
      const row_major_matrix logits = network.logits(pixels);
      save_npy(folder.path / "predictions" / place / name, {few, 10},
               std::span(logits.data(), static_cast<std::size_t>(logits.size())));
    }
  };
  save(model, "full");
  for (const std::string& line : lines) {
    const std::size_t tab = line.find('\t');
    const std::string place = line.substr(0, tab);
    const fs::path members = folder.path / "members" / place;
    const program_result sampled = run_program(PLURIA_SAMPLE_CHECKPOINT " " + model + " --dtype F32 --output " +
                                               quoted(members.string()) + " " + line.substr(tab + 1));
    INFO(sampled.output);
    REQUIRE(sampled.status == 0);
    for (const auto& member : fs::directory_iterator(members)) {
      if (member.is_directory()) {
        const std::string name = member.path().filename().string();
        save(member.path() / "vit-tiny.safetensors", name == "nearest" ? place : place + "/" + name);
      }
    }
  }
  const std::string predictions = "--predictions " + quoted(folder / "predictions") + " ";
  const nlohmann::json saved = report_of(predictions);
  REQUIRE(saved["rows"].size() == own["rows"].size());
  for (std::size_t i = 0; i < own["rows"].size(); ++i) {
    INFO(own["rows"][i] << "\n" << saved["rows"][i]);
    for (const char* field : {"system", "granularity", "coupling", "method", "members", "bits_per_weight"}) {
      CHECK(saved["rows"][i][field] == own["rows"][i][field]);
    }
    // Batches of other sizes: logits may differ in their last digits.
    for (const char* field : {"nll", "ambiguity", "calibrated_nll", "validation_nll"}) {
      CHECK(close(saved["rows"][i][field], own["rows"][i][field], 1e-6));
    }
  }
  // Variants of a system are told apart where they are named.
  const program_result table = compare(compared + predictions);
  for (const char* name : {"INT-4 RTN, group:32 ", "INT-4 LPE-BSR, channel, lattice:2 ", "INT-4, channel, "}) {
    INFO(table.output);
    CHECK(table.output.find(name) != std::string::npos);
  }

  // Predictions of other images, and none at all.
  check_refused("--first 100 --system INT-4 " + predictions,
                {"full/test.npy", "image 0", "as the checkpoint predicts"});
  check_refused("--system INT-5 --members 1 " + predictions, {"INT-5/channel/nearest/test.npy"});
  check_refused("--system INT-4 --members 1 --seed 4 " + predictions, {"INT-4/channel/independent/seed-4/member-000"});
  check_refused("--range mse:nearest " + predictions, {"--range", "absmax", "\"mse:nearest\""});
  check_refused("--range mse:nearest --plan", {"--range", "absmax", "\"mse:nearest\""});
  fs::resize_file(folder.path / "predictions/INT-4/channel/nearest/validation.npy", 100);
  check_refused(compared + predictions, {"INT-4/channel/nearest/validation.npy"});
}

TEST_CASE("compare_number_systems refuses bad arguments with exit status 2 and what it expected", "[examples]") {
  check_refused("--system INT-4,INT-9", {"--system", "one of INT-2, ", "NF4, ", "posit-8", "\"INT-9\""});
  check_refused("--system INT-4,", {"--system", "one of INT-2, ", "\"\""});
  check_refused("--system NF4,INT-4,NF4", {"--system", "each once", "NF4,INT-4,NF4"});
  check_refused("--system MXFP4 --granularity channel", {"--granularity of MXFP4", "group:32", "\"channel\""});
  check_refused("--system INT-4,MXFP4 --granularity channel,group:64", {"--granularity of MXFP4", "group:32"});
  check_refused("--system INT-4 --granularity channel,channel", {"--granularity", "each once"});
  check_refused("--system INT-4 --coupling independent,lattice:3", {"--coupling", "power of two", "lattice:3"});
  check_refused("--system INT-4 --granularity group:24", {"--granularity", "multiple of 16", "group:24"});
  check_refused("--system INT-4 --members 0", {"--members", "1..64", "found 0"});
  check_refused("--system INT-4 --members 65", {"--members", "1..64", "found 65"});
  check_refused("--system INT-4 --range nonsense", {"--range", "mse:bernoulli", "\"nonsense\""});
  check_refused("--system INT-4 --range percentile:0", {"--range", "above 0, at most 100", "\"percentile:0\""});
  check_refused("--system INT-4 --coupling lattice:3", {"--coupling", "power of two", "lattice:3"});
  check_refused("--system INT-4 --plots " + model + "/plots", {model});
  check_refused("--system INT-4 --no-such-option", {"no-such-option"});
  const program_result uncalibrated = run_program(PLURIA_COMPARE_NUMBER_SYSTEMS " --model " + model +
                                                  " --calibration-images '' --calibration-labels '' --system INT-4");
  INFO(uncalibrated.output);
  CHECK(uncalibrated.status == 2);
  CHECK(uncalibrated.output.find("--calibration-images") != std::string::npos);
}
