// SPDX-License-Identifier: MIT
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "examples/program.hpp"
#include "support/catch.hpp"

namespace {

const std::string source = PLURIA_SOURCE_DIR "/examples/quickstart/";
const std::string images = PLURIA_DATASET "/t10k-images-idx3-ubyte.gz ";
const std::string labels = PLURIA_DATASET "/t10k-labels-idx1-ubyte.gz";

// Text without its numbers with a decimal point, and those numbers.
struct split_text {
  std::string words;
  std::vector<double> numbers;
};

split_text split(const std::string& text) {
  split_text result;
  for (std::size_t i = 0; i < text.size();) {
    if (std::isdigit(static_cast<unsigned char>(text[i])) != 0 && text.find('.', i) == i + 1) {
      char* end = nullptr;
      result.numbers.push_back(std::strtod(&text[i], &end));
      i = static_cast<std::size_t>(end - text.data());
    } else {
      result.words += text[i++];
    }
  }
  return result;
}

}  // namespace

TEST_CASE("the quickstart prints what stands in its expected output", "[examples]") {
  const program_result result = run_program(PLURIA_QUICKSTART " " + source + "mlp.safetensors " + images + labels);
  REQUIRE(result.status == 0);
  const split_text found = split(result.output);
  const split_text expected = split(read_text(source + "expected_output.txt"));
  CHECK(found.words == expected.words);
  REQUIRE(found.numbers.size() == expected.numbers.size());
  CHECK(found.numbers.size() == 7);
  for (std::size_t i = 0; i < found.numbers.size(); ++i) {
    // Other ISAs sum 784 products in another order: logits move by 1e-5, of 10 000 predictions a few change their bin.
    CHECK(std::abs(found.numbers[i] - expected.numbers[i]) < 1e-4);
  }
}

TEST_CASE("the quickstart's ensemble is better than rounding to nearest", "[examples]") {
  const std::vector<double> numbers = split(read_text(source + "expected_output.txt")).numbers;
  CHECK(numbers[4] < numbers[2]);  // NLL
}

TEST_CASE("the quickstart refuses a missing file with exit status 2 and its name", "[examples]") {
  const program_result result = run_program(PLURIA_QUICKSTART " missing.safetensors " + images + labels);
  CHECK(result.status == 2);
  CHECK(result.output.find("missing.safetensors") != std::string::npos);
}
