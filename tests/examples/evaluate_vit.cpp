// SPDX-License-Identifier: MIT
#include <pluria/pluria.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "examples/program.hpp"
#include "support/catch.hpp"
#include "support/exhaustive.hpp"

namespace {

using namespace pluria;
namespace fs = std::filesystem;

const std::string model = PLURIA_SOURCE_DIR "/examples/evaluate_vit/models/vit-tiny.safetensors";
const std::string test_set =
    " --images " PLURIA_DATASET "/t10k-images-idx3-ubyte.gz --labels " PLURIA_DATASET "/t10k-labels-idx1-ubyte.gz";

// A folder of this process, removed at the end.
struct scratch {
  fs::path path = fs::temp_directory_path() / ("pluria-evaluate-" + std::to_string(::getpid()));
  scratch() { fs::create_directories(path); }
  ~scratch() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

program_result evaluate(const std::string& arguments) {
  return run_program(PLURIA_EVALUATE_VIT " " + arguments);
}

nlohmann::json evaluate_json(const scratch& folder, const std::string& arguments) {
  const std::string file = folder / "report.json";
  const program_result result = evaluate("--model " + model + test_set + " --json " + file + " " + arguments);
  INFO(result.output);
  REQUIRE(result.status == 0);
  return nlohmann::json::parse(read_text(file));
}

bool close(double a, double b) {
  return std::abs(a - b) < 1e-9;
}

// Exit status 2, and a message with all of `parts`.
void check_refused(const std::string& arguments, const std::vector<std::string>& parts) {
  const program_result result = evaluate(arguments);
  INFO(arguments << "\n" << result.output);
  CHECK(result.status == 2);
  for (const std::string& part : parts) {
    CHECK(result.output.find(part) != std::string::npos);
  }
}

// Images, where figures are only compared with each other: sanitizers make networks ten times as slow.
constexpr std::size_t few_images = support::exhaustive ? 100 : 30;
const std::string few = "--limit " + std::to_string(few_images) + " ";

}  // namespace

TEST_CASE("evaluate_vit reports every number of members, and its scores are those of the logits it writes",
          "[examples]") {
  const scratch folder;
  const std::string calibration =
      " --calibration-images " PLURIA_DATASET "/train-images-idx3-ubyte.gz --calibration-labels " PLURIA_DATASET
      "/train-labels-idx1-ubyte.gz --calibration-first 55000 --calibration-limit 100";
  nlohmann::json report =
      evaluate_json(folder, "--limit 150 --bfloat16 --bits 4 --members 4 --coupling lattice:4 --seed 3 --csv " +
                                (folder / "rows.csv") + " --logits " + (folder / "logits") + calibration);

  CHECK(report["model"] == "vit-tiny.safetensors");
  CHECK(report["parameters"] == 205066);
  CHECK(report["images"] == 150);
  CHECK(report["full_precision_calibrated"]["temperature"].is_number());
  REQUIRE(report["rows"].size() == 6);
  // The first row is the checkpoint in bfloat16, the others are one after the other as without it.
  const nlohmann::json bfloat16 = report["rows"][0];
  report["rows"].erase(0);
  for (const auto& row : report["rows"]) {
    for (const char* field : {"system",
                              "bits",
                              "method",
                              "granularity",
                              "range",
                              "coupling",
                              "engine",
                              "activations",
                              "seed",
                              "members",
                              "nll",
                              "err",
                              "ece",
                              "brier",
                              "ambiguity",
                              "mean_member_nll",
                              "mean_member_err",
                              "nll_difference",
                              "nll_difference_se",
                              "ece_se",
                              "confidence_gap",
                              "complete_block",
                              "temperature",
                              "calibrated_nll",
                              "calibrated_ece",
                              "calibrated_ece_se",
                              "storage",
                              "bits_per_weight"}) {
      INFO(field);
      CHECK(row.contains(field));
      CHECK_FALSE(row[field].is_null());
    }
  }
  CHECK(report["rows"][0]["method"] == "rtn");

  const auto labels_tensor = load_npy(folder / "logits/labels.npy");
  std::vector<std::int32_t> labels(labels_tensor.size());
  std::memcpy(labels.data(), labels_tensor.bytes().data(), labels_tensor.bytes().size());
  scores ensemble{labels};
  scores full{labels};
  full.add(load_npy(folder / "logits/full-precision/logits-000.npy").to_floats());
  CHECK(close(report["full_precision"]["nll"], full.nll()));
  for (std::size_t k = 0; k < 4; ++k) {
    const tensor logits = load_npy(folder / ("logits/INT-4-bsr/logits-00" + std::to_string(k) + ".npy"));
    CHECK(logits.shape() == tensor_shape{150, 10});
    ensemble.add(logits.to_floats());
    const auto& row = report["rows"][k + 1];
    CHECK(row["method"] == "bsr");
    CHECK(row["members"] == k + 1);
    CHECK(row["complete_block"] == (k == 3));
    CHECK(close(row["nll"], ensemble.nll()));
    CHECK(close(row["ece"], ensemble.ece()));
    CHECK(close(row["ambiguity"], ensemble.ambiguity()));
    CHECK(close(row["ambiguity"], row["mean_member_nll"].get<double>() - row["nll"].get<double>()));
    CHECK(close(row["nll_difference"], row["nll"].get<double>() - report["full_precision"]["nll"].get<double>()));
  }

  // The logits are those of the members that the library draws, over the first images; the sum in each runs alike.
  const checkpoint weights = load_safetensors(model);
  const idx_array images = load_idx(PLURIA_DATASET "/t10k-images-idx3-ubyte.gz");
  const image_view view{images.values, 150, 1, 28, 28};
  const rounded_members members(weights, quantizer<symmetric_int<4>>{}, bernoulli{.seed = 3, .coupling = lattice(4)});
  const auto check_logits = [&](const std::string& file, const checkpoint& member) {
    const std::vector<float> found = load_npy(folder / ("logits/" + file)).to_floats();
    const row_major_matrix expected = load_vit(member).logits(view);
    REQUIRE(found.size() == static_cast<std::size_t>(expected.size()));
    CHECK(std::equal(found.begin(), found.end(), expected.data()));
  };
  check_logits("full-precision/logits-000.npy", weights);
  check_logits("bfloat16-rtn/logits-000.npy", converted(weights, dtype::bf16));
  CHECK(bfloat16["system"] == "bfloat16");
  CHECK(bfloat16["bits_per_weight"] == 16.0);
  CHECK(bfloat16["total_bytes"] == 2 * 205066);
  CHECK(bfloat16["temperature"].is_number());
  check_logits("INT-4-rtn/logits-000.npy", rounded_members(weights, quantizer<symmetric_int<4>>{}, nearest{})[0]);
  check_logits("INT-4-bsr/logits-000.npy", members[0]);
  check_logits("INT-4-bsr/logits-003.npy", members[3]);

  // The other figures of the last row, and its temperature, fitted on the validation images alone.
  const auto& last = report["rows"][4];
  const scores to_nearest = [&] {
    scores single{labels};
    single.add(load_npy(folder / "logits/INT-4-rtn/logits-000.npy").to_floats());
    return single;
  }();
  CHECK(close(report["rows"][0]["nll"], to_nearest.nll()));
  CHECK(close(last["rtn_nll_difference"], ensemble.nll_difference(to_nearest).mean));
  CHECK(close(last["nll_difference_se"], ensemble.nll_difference(full).standard_error));
  CHECK(close(last["err"], ensemble.err()));
  CHECK(close(last["brier"], ensemble.brier()));
  CHECK(close(last["confidence_gap"], ensemble.confidence_gap()));
  CHECK(close(last["ece_se"], ensemble.ece_standard_error()));
  CHECK(close(last["bits_per_weight"],
              storage_budget(members.packed_storage(), pluria::storage_form::packed, 4).bits_per_weight));
  const idx_array validation = load_idx(PLURIA_DATASET "/train-images-idx3-ubyte.gz");
  const idx_array validation_labels = load_idx(PLURIA_DATASET "/train-labels-idx1-ubyte.gz");
  const image_view validation_view = image_view{validation.values, 60000, 1, 28, 28}.part(55000, 100);
  scores fitted_on{
      std::vector<std::int32_t>(validation_labels.values.begin() + 55000, validation_labels.values.begin() + 55100)};
  for (std::uint64_t k = 0; k < 4; ++k) {
    fitted_on.add(load_vit(members[k]).logits(validation_view));
  }
  const std::vector<double> fitted_table = fitted_on.prediction().log_probabilities();
  const double temperature = fit_temperature({fitted_table, 10}, fitted_on.labels());
  CHECK(close(last["temperature"], temperature));
  const std::vector<double> raw = ensemble.prediction().log_probabilities();
  const std::vector<double> tempered = apply_temperature({raw, 10}, temperature);
  CHECK(close(last["calibrated_nll"], nll({tempered, 10}, labels)));
  const std::vector<judged_confidence> tempered_judgements = judged_confidences({tempered, 10}, labels);
  CHECK(close(last["calibrated_ece"], ece(tempered_judgements)));
  CHECK(close(last["calibrated_ece_se"], ece_standard_error(tempered_judgements)));

  // Names, full precision, and the rows.
  const std::string csv = read_text(folder / "rows.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 8);
}

TEST_CASE("the number of threads does not change a figure, the seed does", "[examples]") {
  const scratch folder;
  const std::string arguments = few + "--bits 5 --members 2 --granularity group:32 ";
  const nlohmann::json one = evaluate_json(folder, arguments + "--threads 1");
  CHECK(one == evaluate_json(folder, arguments + "--threads 2"));
  CHECK(one["full_precision_calibrated"].is_null());
  CHECK(one["rows"][2]["nll"] != evaluate_json(folder, arguments + "--seed 1")["rows"][2]["nll"]);
}

TEST_CASE("float16 scales take half the bits, and members hardly differ", "[examples]") {
  const scratch folder;
  const std::string arguments = few + "--bits 4 --members 2 --granularity group:32 ";
  const nlohmann::json wide = evaluate_json(folder, arguments);
  const nlohmann::json narrow = evaluate_json(folder, arguments + "--scales float16");
  for (std::size_t row = 0; row < 3; ++row) {
    CHECK(narrow["rows"][row]["system"] == "half-INT-4");
    const double saved =
        wide["rows"][row]["bits_per_weight"].get<double>() - narrow["rows"][row]["bits_per_weight"].get<double>();
    CHECK(saved > 0.49);  // 16 of 32 bits for 32 weights, more where a row's last group is shorter
    CHECK(saved < 0.75);
    CHECK(narrow["rows"][row]["nll"] != wide["rows"][row]["nll"]);
    CHECK(std::abs(narrow["rows"][row]["nll"].get<double>() - wide["rows"][row]["nll"].get<double>()) < 0.1);
  }
}

TEST_CASE("the ensemble errs less than rounding to nearest, and members differ more the fewer bits they have",
          "[examples]") {
  const scratch folder;
  // Under the sanitizers the same code runs over too few images to tell.
  const std::string limit = support::exhaustive ? "2000" : "100";
  const nlohmann::json report =
      evaluate_json(folder, "--limit " + limit + " --bits 5,3 --members 8 --repeats 2 --coupling lattice:8 --plots " +
                                (folder / "plots"));
  REQUIRE(report["rows"].size() == 2 * (1 + 2 * 8));
  const auto& rtn3 = report["rows"][17];
  const auto& bsr3 = report["rows"][17 + 8];
  CHECK(rtn3["method"] == "rtn");
  CHECK(rtn3["bits"] == 3);
  CHECK(bsr3["members"] == 8);
  if (support::exhaustive) {
    // At 3 bits 287 images of 2000 are wrong to nearest, and about 220 in ensembles of many seeds: four standard
    // errors.
    CHECK(bsr3["err"].get<double>() < rtn3["err"].get<double>() - 0.015);
    CHECK(bsr3["brier"].get<double>() < rtn3["brier"].get<double>());
  }
  CHECK(bsr3["ambiguity"].get<double>() > 2 * report["rows"][8]["ambiguity"].get<double>());
  CHECK(report["rows"][16]["seed"] == 1);  // the second ensemble is another draw
  CHECK(report["rows"][16]["nll"] != report["rows"][8]["nll"]);
  CHECK(fs::exists(folder / "plots/plots.gnuplot"));
  CHECK(read_text(folder / "plots/curves.dat").find("\n\n\n") != std::string::npos);
}

TEST_CASE("engines give the same members' scores, whatever they are stored in", "[examples]") {
  const scratch folder;
  const std::string arguments = few + "--bits 4 --members 4 --coupling lattice:4 ";
  const nlohmann::json floats = evaluate_json(folder, arguments);
  const auto scored = [&](const std::string& engine, const std::string& activations) {
    const nlohmann::json report =
        evaluate_json(folder, arguments + "--engine " + engine + " --activations " + activations);
    REQUIRE(report["rows"].size() == 5);
    for (const auto& row : report["rows"]) {
      CHECK(row["engine"] == engine);
      CHECK(row["activations"] == activations);
      // Rounding to nearest has one member, packed.
      CHECK(row["storage"] == (row["method"] == "rtn" || engine == "packed" ? "packed"
                               : engine == "shared"                         ? "shared_floor"
                                                                            : "fixed_point"));
    }
    CHECK(report["activation_bytes"].get<std::size_t>() > 4 * 50 * 64 * sizeof(float));
    CHECK(report["resident_bytes"].get<std::size_t>() > report["rows"][4]["total_bytes"].get<std::size_t>());
    return report;
  };
  const auto largest_difference = [](const nlohmann::json& a, const nlohmann::json& b) {
    double largest = 0;
    for (std::size_t row = 0; row < a["rows"].size(); ++row) {
      largest = std::max(largest, std::abs(a["rows"][row]["nll"].get<double>() - b["rows"][row]["nll"].get<double>()));
    }
    return largest;
  };
  // The same weights, summed in another order: float logits of magnitude 10 differ by some 1e-6.
  const nlohmann::json packed = scored("packed", "float32");
  CHECK(largest_difference(packed, floats) < 2e-5);
  CHECK(largest_difference(scored("shared", "float32"), packed) == 0);
  const nlohmann::json int8 = scored("shared", "int8");
  CHECK(largest_difference(scored("packed", "int8"), int8) == 0);
  CHECK(largest_difference(int8, packed) > 0);
  CHECK(largest_difference(int8, packed) < 0.01);
  // Other members, of the same law.
  const nlohmann::json fixed = scored("fixed", "float32");
  CHECK(largest_difference(fixed, packed) > 1e-4);
  CHECK(largest_difference(fixed, packed) < 0.2);
  CHECK(fixed["rows"][4]["bits_per_weight"] == fixed["rows"][1]["bits_per_weight"]);
}

TEST_CASE("evaluate_vit takes number systems by name, and their members are the library's", "[examples]") {
  const scratch folder;
  const nlohmann::json report =
      evaluate_json(folder, few + "--members 2 --seed 3 --system NF4,MXFP4,INT-4 --logits " + (folder / "logits"));
  REQUIRE(report["rows"].size() == 3 * 3);
  const std::vector<std::string> names{"NF4", "MXFP4", "INT-4"};
  for (std::size_t i = 0; i < 9; ++i) {
    CHECK(report["rows"][i]["system"] == names[i / 3]);
    CHECK(report["rows"][i]["bits"] == 4);
    CHECK(report["rows"][i]["granularity"] == (i / 3 == 1 ? "group:32" : "channel"));
    CHECK(report["rows"][i]["range"] == "absmax");
  }
  const checkpoint weights = load_safetensors(model);
  const idx_array images = load_idx(PLURIA_DATASET "/t10k-images-idx3-ubyte.gz");
  const image_view view{images.values, few_images, 1, 28, 28};
  const auto check_logits = [&](const std::string& file, const checkpoint& member) {
    INFO(file);
    const std::vector<float> found = load_npy(folder / ("logits/" + file)).to_floats();
    const row_major_matrix expected = load_vit(member).logits(view);
    REQUIRE(found.size() == static_cast<std::size_t>(expected.size()));
    CHECK(std::equal(found.begin(), found.end(), expected.data()));
  };
  const bernoulli rounding{.seed = 3};
  check_logits("NF4-rtn/logits-000.npy", rounded_members(weights, quantizer<nf4>{}, nearest{})[0]);
  check_logits("NF4-bsr/logits-001.npy", rounded_members(weights, quantizer<nf4>{}, rounding)[1]);
  const quantizer<mxfp4, per_group> blocks{per_group(32)};
  check_logits("MXFP4-rtn/logits-000.npy", rounded_members(weights, blocks, nearest{})[0]);
  check_logits("MXFP4-bsr/logits-001.npy", rounded_members(weights, blocks, rounding)[1]);
  check_logits("INT-4-bsr/logits-001.npy", rounded_members(weights, quantizer<symmetric_int<4>>{}, rounding)[1]);
}

TEST_CASE("tables and block formats have the same scores stored as in floats", "[examples]") {
  const scratch folder;
  const std::string arguments = few + "--members 2 --system NF4,FP4-E2M1,MXFP4,NVFP4 ";
  const nlohmann::json floats = evaluate_json(folder, arguments);
  const nlohmann::json shared = evaluate_json(folder, arguments + "--engine shared");
  REQUIRE(shared["rows"].size() == 4 * 3);
  for (std::size_t i = 0; i < 4 * 3; ++i) {
    INFO(shared["rows"][i]);
    CHECK(shared["rows"][i]["system"] == floats["rows"][i]["system"]);
    CHECK(shared["rows"][i]["storage"] == (i % 3 == 0 ? "packed" : "shared_floor"));
    // The same weights, summed in another order: float logits of magnitude 10 differ by some 1e-6.
    CHECK(std::abs(shared["rows"][i]["nll"].get<double>() - floats["rows"][i]["nll"].get<double>()) < 2e-5);
  }
  CHECK(shared["rows"][0]["nll"] != shared["rows"][3]["nll"]);
}

TEST_CASE("how far grids reach changes the members, and is reported with the weights that it clips", "[examples]") {
  const scratch folder;
  const std::string arguments = few + "--members 1 --system INT-3 ";
  const nlohmann::json widest = evaluate_json(folder, arguments);
  const nlohmann::json clipped = evaluate_json(folder, arguments + "--range mse:bernoulli");
  for (std::size_t row = 0; row < 2; ++row) {
    CHECK(widest["rows"][row]["range"] == "absmax");
    CHECK(clipped["rows"][row]["range"] == "mse:bernoulli");
    CHECK(clipped["rows"][row]["nll"] != widest["rows"][row]["nll"]);
    CHECK(clipped["rows"][row]["bits_per_weight"] == widest["rows"][row]["bits_per_weight"]);
  }
  const rounded_members expected(load_safetensors(model),
                                 quantizer<symmetric_int<3>, per_channel, percentile>{{}, percentile(99.0)}, nearest{});
  const std::string clipping = std::to_string(expected.packed_storage().saturated) + " of " +
                               std::to_string(expected.packed_storage().weights) + " weights";
  CHECK(expected.packed_storage().saturated > 0);
  const program_result result =
      evaluate("--model " + model + test_set + " --limit 20 --members 1 --system INT-3 --range percentile:99");
  INFO(result.output);
  CHECK(result.output.find("INT-3: " + clipping) != std::string::npos);
}

TEST_CASE("evaluate_vit writes nothing but its table into a pipe", "[examples]") {
  const program_result result = evaluate("--model " + model + test_set + " --limit 20 --bits 5 --members 1");
  CHECK(result.status == 0);
  CHECK(result.output.find('\r') == std::string::npos);
  CHECK(result.output.find("INT-5 RTN") != std::string::npos);
}

TEST_CASE("evaluate_vit refuses bad arguments with exit status 2 and what it expected", "[examples]") {
  const std::string base = "--model " + model + test_set + " --limit 20 ";
  check_refused("--model missing.safetensors" + test_set, {"missing.safetensors"});
  check_refused("--model " PLURIA_DATASET "/t10k-labels-idx1-ubyte.gz" + test_set, {"t10k-labels-idx1-ubyte.gz"});
  check_refused(base + "--bits 9", {"--bits", "2..8", "9"});
  check_refused(base + "--bits 1,4", {"--bits", "2..8"});
  check_refused(base + "--coupling lattice:6", {"--coupling", "power of two", "lattice:6"});
  check_refused(base + "--granularity group:24", {"--granularity", "multiple of 16", "group:24"});
  check_refused(base + "--scales float64", {"--scales", "float32 or float16", "float64"});
  check_refused(base + "--scales float16 --bits 6", {"--bits with --scales float16", "4, 5 or 8", "6"});
  check_refused(base + "--members 0", {"--members", "found 0"});
  check_refused(base + "--first 10000", {"10020", "10000"});
  check_refused(base + "--heads 3", {"heads", "divisor of the width 64", "3"});
  check_refused(base + "--bits 5,5", {"--bits", "once", "5,5"});
  check_refused(base + "--std inf", {"--std", "inf"});
  check_refused(base + "--calibration-limit 5", {"--calibration-images"});
  check_refused(base + "--json /no/such/folder/report.json", {"/no/such/folder"});
  check_refused(base + "--logits " PLURIA_DATASET, {PLURIA_DATASET, "empty folder"});
  check_refused(base + "--engine half", {"--engine", "float, packed, shared or fixed", "half"});
  check_refused(base + "--activations int8", {"--activations", "int8 with --engine packed", "--engine float"});
  check_refused(base + "--engine packed --activations int4", {"--activations", "float32", "int4"});
  check_refused(base + "--engine shared --members 65", {"--engine shared", "1..64", "65"});
  check_refused(base + "--engine fixed --coupling lattice:32", {"--engine fixed", "at most 16", "lattice:32"});
  check_refused(base + "--system INT-9", {"--system", "one of INT-2, ", "NF4, ", "\"INT-9\""});
  check_refused(base + "--system NF4,INT-4,NF4", {"--system", "each once", "NF4,INT-4,NF4"});
  check_refused(base + "--system NF4 --bits 4", {"--system", "--bits"});
  check_refused(base + "--system NF4 --scales float16", {"--scales with --system", "float32", "float16"});
  check_refused(base + "--system MXFP4 --granularity tensor", {"--granularity of MXFP4", "group:32", "tensor"});
  check_refused(base + "--system posit-4 --engine shared", {"--system with --engine", "NVFP4", "\"posit-4\""});
  check_refused(base + "--system NF4 --engine shared --activations int8", {"--activations of NF4", "float32", "int8"});
  check_refused(base + "--range mse", {"--range", "mse:nearest or mse:bernoulli", "\"mse\""});
  check_refused(base + "--range mse:bernoulli --engine shared", {"--range with --engine", "absmax", "mse:bernoulli"});
  check_refused(base + "--no-such-option", {"no-such-option"});
  check_refused("--model " + model +
                    " --images " PLURIA_DATASET "/t10k-images-idx3-ubyte.gz --labels " PLURIA_DATASET
                    "/train-labels-idx1-ubyte.gz",
                {"10000", "60000"});
}

TEST_CASE("evaluate_vit names file, tensor and index of an unusable checkpoint, and writes nothing", "[examples]") {
  const scratch folder;
  const checkpoint weights = load_safetensors(model);
  const auto refused = [&](const std::string& name, const std::vector<std::string>& parts, auto change) {
    checkpoint changed("", weights.metadata());
    for (const tensor& current : weights.tensors()) {
      change(changed, current);
    }
    const std::string file = folder / name;
    save_safetensors(changed, file);
    std::vector<std::string> all = parts;
    all.push_back(name);
    check_refused("--model " + file + test_set + " --limit 20 --json " + (folder / "none.json"), all);
    CHECK_FALSE(fs::exists(folder / "none.json"));
  };
  refused("nan.safetensors", {"blocks.1.mlp.fc1.weight", "index 77", "finite", "nan"},
          [](checkpoint& changed, const tensor& current) {
            if (current.name() != "blocks.1.mlp.fc1.weight") {
              changed.add(current);
              return;
            }
            std::vector<float> values = current.to_floats();
            values[77] = std::numeric_limits<float>::quiet_NaN();
            changed.add(tensor::from_floats(current.name(), current.shape(), values));
          });
  refused("missing.safetensors", {"\"norm.bias\"", "not found"}, [](checkpoint& changed, const tensor& current) {
    if (current.name() != "norm.bias") {
      changed.add(current);
    }
  });
  refused("misshapen.safetensors", {"\"blocks.0.attn.proj.weight\"", "[64, 64]", "[32, 128]"},
          [](checkpoint& changed, const tensor& current) {
            if (current.name() != "blocks.0.attn.proj.weight") {
              changed.add(current);
              return;
            }
            changed.add(tensor(current.name(), current.type(), {32, 128}, current.bytes(),
                               std::make_shared<const tensor>(current)));
          });
  refused("labels.safetensors", {"t10k-labels", "label 0", "0..4", "9"},
          [](checkpoint& changed, const tensor& current) {
            // A head of 5 classes: labels 5..9 are out of range.
            if (current.name() == "head.weight") {
              changed.add(tensor(current.name(), current.type(), {5, 64}, current.bytes().first(2 * 5 * 64),
                                 std::make_shared<const tensor>(current)));
            } else if (current.name() == "head.bias") {
              changed.add(tensor(current.name(), current.type(), {5}, current.bytes().first(10),
                                 std::make_shared<const tensor>(current)));
            } else {
              changed.add(current);
            }
          });
}

TEST_CASE("evaluate_vit rounds tensor by tensor as a rule says", "[examples]") {
  const scratch folder;
  const std::string rule = folder / "mixed.json";
  pluria::write_file(rule, R"({"default": {"system": "INT-4"}, "tensors": {"head.weight": {"system": "INT-8"}}})");
  const nlohmann::json mixed = evaluate_json(folder, "--limit 50 --members 2 --rule " + rule);
  REQUIRE(mixed["rows"].size() == 3);
  CHECK(mixed["rows"][0]["system"] == "mixed");
  CHECK(mixed["rows"][0]["bits"].is_null());
  CHECK(mixed["rows"][0]["granularity"] == "");
  CHECK(mixed["rows"][0]["range"] == "");
  const nlohmann::json narrow = evaluate_json(folder, "--limit 50 --members 2 --bits 4");
  // A head of 640 weights, in rows that are padded to 128, takes 4 bits more each.
  const double head = 4.0 * 10 * 128;
  const double weights = narrow["rows"][0]["total_bytes"].get<double>();
  CHECK(mixed["rows"][0]["total_bytes"].get<double>() == weights + head / 8);
  CHECK(mixed["rows"][0]["nll"] != narrow["rows"][0]["nll"]);
  // The same ensemble of one system, by rule and by name.
  pluria::write_file(rule, R"({"default": {"system": "INT-4"}})");
  const nlohmann::json single = evaluate_json(folder, "--limit 50 --members 2 --rule " + rule);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(single["rows"][i]["nll"] == narrow["rows"][i]["nll"]);
  }

  const std::string base = "--model " + model + test_set + " --limit 10 --members 1 ";
  pluria::write_file(rule, R"({"tensors": {"no.weight": {"system": "INT-8"}}})");
  check_refused(base + "--rule " + rule, {rule, "no.weight", "none of that name"});
  pluria::write_file(rule, R"({"default": {"system": "INT-99"}})");
  check_refused(base + "--rule " + rule, {rule, "default", "INT-99"});
  check_refused(base + "--granularity tensor --rule " + rule, {"--rule", "--granularity"});
}
