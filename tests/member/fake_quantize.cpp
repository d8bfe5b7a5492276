// SPDX-License-Identifier: MIT
// Round to nearest is PyTorch's fake quantization, code for code, on a whole trained checkpoint. The digests come from
// make_fake_quantize_reference.py (PyTorch 1.13). Weights within 2^-16 of a tie are left out, and told on both sides
// by the exact same IEEE double arithmetic.

#include <pluria/io/safetensors.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/quantize/rule.hpp>
#include <support/catch.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using all_bits =
    std::tuple<pluria::symmetric_int<2>, pluria::symmetric_int<3>, pluria::symmetric_int<4>, pluria::symmetric_int<5>,
               pluria::symmetric_int<6>, pluria::symmetric_int<7>, pluria::symmetric_int<8>>;

struct reference {
  std::size_t ties = 0;
  std::uint64_t digest = 0;
};

// "name bits ties digest" lines.
std::map<std::pair<std::string, int>, reference> read_references() {
  std::ifstream file(PLURIA_SOURCE_DIR "/tests/member/fake_quantize_digests.txt");
  std::map<std::pair<std::string, int>, reference> references;
  std::string name;
  int bits = 0;
  reference read;
  while (file >> name >> std::dec >> bits >> read.ties >> std::hex >> read.digest) {
    references[{name, bits}] = read;
  }
  return references;
}

template <class Int>
reference rounded(const pluria::tensor& weights) {
  const auto grid = std::make_shared<const pluria::tensor_grid<Int>>(pluria::quantizer<Int>{}.fit(weights));
  const auto codes = pluria::sample<Int>(weights, grid, pluria::nearest{}, 0, 1).front();
  const std::vector<float> values = weights.to_floats();
  const std::size_t columns = weights.columns();
  reference found{0, 0xcbf29ce484222325U};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double steps = static_cast<double>(values[i]) / static_cast<double>(grid->at(i / columns, i % columns).scale);
    const bool is_tie = std::abs(steps - std::floor(steps) - 0.5) <= 0x1p-16;
    const std::int32_t code = is_tie ? -128 : codes.code(i / columns, i % columns);
    found.ties += is_tie ? 1U : 0U;
    found.digest = (found.digest ^ (static_cast<std::uint32_t>(code) & 0xffU)) * 0x00000100000001b3U;
  }
  return found;
}

TEMPLATE_LIST_TEST_CASE("round to nearest gives the codes of PyTorch's fake quantization", "[member]", all_bits) {
  const auto references = read_references();
  const pluria::checkpoint weights =
      pluria::load_safetensors(PLURIA_SOURCE_DIR "/examples/evaluate_vit/models/vit-small.safetensors");
  std::size_t compared = 0;
  std::size_t ties = 0;
  std::size_t elements = 0;
  for (const pluria::tensor& current : weights.tensors()) {
    if (!pluria::quantized_by_default(current.name(), current.shape())) {
      continue;
    }
    const auto expected = references.find({current.name(), TestType::bits});
    REQUIRE(expected != references.end());
    const reference found = rounded<TestType>(current);
    CAPTURE(current.name());
    CHECK(found.ties == expected->second.ties);
    CHECK(found.digest == expected->second.digest);
    ++compared;
    ties += found.ties;
    elements += current.size();
  }
  CHECK(compared * 7 == references.size());
  CHECK(compared == 26);
  CHECK(1000 * ties < elements);  // next to nothing is left out
}

}  // namespace
