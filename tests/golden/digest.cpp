// SPDX-License-Identifier: MIT
// Prints "name digest" lines of everything between a weight and its packed codes: by the scalar definitions, and, in a
// line more where that differs, by the lanes of the ISA that it is compiled for and by two threads. All lines must be
// those of digests.txt, on every ISA.

#include <pluria/kernel/sample.hpp>
#include <pluria/number/affine_int.hpp>
#include <pluria/number/block_scaled.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/fitted_codebook.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/posit.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/random/address.hpp>
#include <pluria/random/threefry.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <support/batches.hpp>
#include <support/fnv1a.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace pluria;
using support::fnv1a;

using support::floats;
using support::lane_numbers;
using support::lanes_of;
using support::words;

void print(const std::string& name, const fnv1a& digest) {
  std::printf("%s %016" PRIx64 "\n", name.c_str(), digest.value());
}

// A line of its own for every way that differs from the first: only one of them can be the expected one.
void print_if_all_same(const std::string& name, const std::vector<std::pair<std::string, fnv1a>>& ways) {
  print(name, ways.front().second);
  for (const auto& [way, digest] : ways) {
    if (digest.value() != ways.front().second.value()) {
      print(name + "/" + way, digest);
    }
  }
}

// Magnitudes of weights, from subnormal ones to the largest that the system takes.
template <number_system N>
std::vector<float> magnitudes() {
  std::vector<float> all{0x1p-140F, 0x1p-110F, 0.1F, 1.0F, 3.0e38F};
  if constexpr (bounded_system<N>) {
    all.back() = std::min(all.back(), N::largest_weight);
  }
  return all;
}

// A block in a tensor whose largest magnitude is another's, where the system makes a difference.
template <number_system N>
typename N::granule fitted(const std::vector<float>& weights, [[maybe_unused]] float largest) {
  if constexpr (two_level_system<N>) {
    return N::fit(weights, N::tensor_scale(largest));
  } else {
    return N::fit(weights);
  }
}

template <number_system N>
void print_positions() {
  std::vector<std::pair<std::string, fnv1a>> ways{{"scalar", {}}, {"lanes", {}}};
  for (const float scale : magnitudes<N>()) {
    const std::vector<float> weights = support::integer_weights(4096, scale);
    const auto granule = fitted<N>(weights, scale);
    for (const float weight : weights) {
      ways[0].second.add(N::position(weight, granule));
    }
    for (std::size_t i = 0; i < weights.size(); i += floats::size) {
      ways[1].second.add_all(lanes_of(N::position(floats::load_unaligned(&weights[i]), granule)));
    }
  }
  print_if_all_same("positions/" + N::name(), ways);
}

// What is fitted to weights, and how codes are decoded.
template <number_system N>
void print_values() {
  fnv1a digest;
  for (const float scale : magnitudes<N>()) {
    const auto granule = fitted<N>(support::integer_weights(4096, scale), scale);
    for (std::int32_t code = N::min_code; code <= N::max_code; ++code) {
      digest.add(std::bit_cast<std::uint32_t>(N::decode(code, granule)));
    }
  }
  print("values/" + N::name(), digest);
}

void print_threefry() {
  const std::array<std::uint32_t, 4> key{1, 2, 3, 0xffffffffU};
  std::vector<std::pair<std::string, fnv1a>> ways{{"scalar", {}}, {"lanes", {}}};
  for (std::uint32_t first = 0; first < 4096; first += words::size) {
    std::array<std::array<std::uint32_t, words::size>, 4> by_word;
    const auto outputs = generator::generate<words>({first, 7, 8, 9}, lane_numbers(), key);
    for (std::size_t word = 0; word < 4; ++word) {
      by_word[word] = lanes_of(outputs[word]);
    }
    for (std::uint32_t lane = 0; lane < words::size; ++lane) {
      ways[0].second.add_all(generator::generate<std::uint32_t>({first + lane, 7, 8, 9}, key));
      for (std::size_t word = 0; word < 4; ++word) {
        ways[1].second.add(by_word[word][lane]);
      }
    }
  }
  print_if_all_same("threefry4x32-" + std::to_string(generator::rounds), ways);
}

void print_dithers(const bernoulli& rounding) {
  const std::uint64_t hash = name_hash("blocks.0.attn.qkv.weight");
  fnv1a digest;
  for (std::uint64_t member = 0; member < 20; ++member) {
    for (std::uint64_t block = 0; block < 16; ++block) {
      for (std::uint32_t element = 0; element < block_size; ++element) {
        digest.add(rounding.dither(hash, block, element, member));
      }
    }
  }
  print("dithers/" + rounding.coupling.name(), digest);
}

// Weights of a tensor with tails behind whole blocks: 5 rows of 300.
constexpr std::size_t rows = 5;
constexpr std::size_t columns = 300;

tensor made_weights(dtype type) {
  return support::make_tensor(type, "head.weight", {rows, columns}, support::integer_weights(rows * columns));
}

// The packed members by the scalar definitions, one weight at a time.
template <number_system N, rounding_method R>
fnv1a scalar_members(const tensor& weights, const tensor_grid<N>& grid, const R& rounding, std::uint64_t first,
                     std::size_t count) {
  const std::vector<float> values = weights.to_floats();
  fnv1a digest;
  for (std::uint64_t k = first; k < first + count; ++k) {
    for (std::uint64_t block = 0; block < rows * blocks_per_row(columns); ++block) {
      const std::size_t row = block / blocks_per_row(columns);
      std::array<std::uint32_t, block_size> stored;
      for (std::uint32_t element = 0; element < block_size; ++element) {
        const std::size_t column = block % blocks_per_row(columns) * block_size + element;
        const std::int32_t position = column < columns
                                          ? N::position(values[row * columns + column], grid.at(row, column))
                                          : 65536 * code_nearest_zero<N>(grid.at(row, columns - 1));
        stored[element] = static_cast<std::uint32_t>(
            member_code(rounding, position, name_hash(weights.name()), block, element, k) - N::min_code);
      }
      std::array<std::uint32_t, packed_block<N::bits>::words> packed;
      packed_block<N::bits>::pack(stored, packed);
      digest.add_all(packed);
    }
  }
  return digest;
}

template <number_system N, granularity G, rounding_method R>
void print_members(const std::string& type_name, const tensor& weights, const G& granularity, const std::string& method,
                   const R& rounding) {
  const auto grid = std::make_shared<const tensor_grid<N>>(quantizer<N, G>{granularity}.fit(weights));
  constexpr std::uint64_t first = 3;  // so that a block of the lattice begins and another ends among them
  constexpr std::size_t count = 7;
  std::vector<std::pair<std::string, fnv1a>> ways{{"scalar", scalar_members(weights, *grid, rounding, first, count)}};
  for (const int threads : {1, 2}) {
    fnv1a& digest = ways.emplace_back(std::to_string(threads) + "-threads", fnv1a{}).second;
    for (const auto& member : sample<N>(weights, grid, rounding, first, count, threads)) {
      digest.add_all(member.words());
    }
  }
  print_if_all_same("members/" + N::name() + "/" + granularity.name() + "/" + method + "/" + type_name, ways);
}

template <number_system N, granularity G>
void print_methods(const std::string& type_name, const tensor& weights, const G& granularity) {
  print_members<N>(type_name, weights, granularity, "nearest", nearest{});
  for (const coupling& coupling : {independent, lattice(4), lattice(256)}) {
    print_members<N>(type_name, weights, granularity, coupling.name(), bernoulli{.seed = 7, .coupling = coupling});
  }
}

template <number_system N>
void print_system() {
  print_positions<N>();
  const tensor weights = made_weights(dtype::f32);
  print_methods<N>("F32", weights, per_tensor{});
  print_methods<N>("F32", weights, per_channel{});
  print_methods<N>("F32", weights, per_group(32));
  print_methods<N>("F16", made_weights(dtype::f16), per_channel{});
  print_methods<N>("BF16", made_weights(dtype::bf16), per_channel{});
}

// The loops around a position are those of the systems above: what is left is the system's own arithmetic.
template <number_system N, granularity G>
void print_arithmetic(const G& granularity) {
  print_positions<N>();
  print_values<N>();
  print_members<N>("F32", made_weights(dtype::f32), granularity, "independent", bernoulli{.seed = 7});
}

}  // namespace

int main() {
  print_threefry();
  for (const coupling& coupling : {independent, lattice(2), lattice(8), lattice(256)}) {
    print_dithers({.seed = 0x0123456789abcdefU, .coupling = coupling});
  }
  print_system<symmetric_int<2>>();
  print_system<symmetric_int<3>>();
  print_system<symmetric_int<4>>();
  print_system<symmetric_int<5>>();
  print_system<symmetric_int<6>>();
  print_system<symmetric_int<7>>();
  print_system<symmetric_int<8>>();
  print_arithmetic<affine_int<4>>(per_channel{});
  print_arithmetic<fp8_e4m3>(per_channel{});
  print_arithmetic<fp4_e2m1>(per_channel{});
  print_arithmetic<mxfp4>(per_group(32));
  print_arithmetic<nvfp4>(per_group(16));
  print_arithmetic<nf4>(per_channel{});
  print_arithmetic<least_variance_codebook<4>>(per_channel{});
  print_arithmetic<posit<8>>(per_channel{});
}
