// SPDX-License-Identifier: MIT
// Prints "name digest" lines of everything between a weight and its packed codes, through the scalar definitions and
// through the lanes of the ISA that it is compiled for. All lines must be those of digests.txt, on every ISA.

#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/random/address.hpp>
#include <pluria/random/threefry.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <support/batches.hpp>
#include <support/fnv1a.hpp>
#include <support/integer_weights.hpp>

#include <array>
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

template <number_system N>
void print_positions() {
  fnv1a scalar;
  fnv1a batches;
  for (const float scale : {0x1p-140F, 0x1p-126F, 0.1F, 1.0F, 3.0e38F}) {
    const std::vector<float> weights = support::integer_weights(4096, scale);
    const auto granule = N::fit(weights);
    for (const float weight : weights) {
      scalar.add(N::position(weight, granule));
    }
    for (std::size_t i = 0; i < weights.size(); i += floats::size) {
      batches.add_all(lanes_of(N::position(floats::load_unaligned(&weights[i]), granule)));
    }
  }
  print("positions/" + N::name() + "/scalar", scalar);
  print("positions/" + N::name() + "/lanes", batches);
}

void print_threefry() {
  const std::array<std::uint32_t, 4> key{1, 2, 3, 0xffffffffU};
  fnv1a scalar;
  fnv1a batches;
  for (std::uint32_t first = 0; first < 4096; first += words::size) {
    std::array<std::array<std::uint32_t, words::size>, 4> by_word;
    const auto outputs =
        generator::generate<words>({words(first) + lane_numbers(), words(7U), words(8U), words(9U)}, key);
    for (std::size_t word = 0; word < 4; ++word) {
      by_word[word] = lanes_of(outputs[word]);
    }
    for (std::uint32_t lane = 0; lane < words::size; ++lane) {
      scalar.add_all(generator::generate<std::uint32_t>({first + lane, 7, 8, 9}, key));
      for (std::size_t word = 0; word < 4; ++word) {
        batches.add(by_word[word][lane]);
      }
    }
  }
  print("threefry/scalar", scalar);
  print("threefry/lanes", batches);
}

void print_dithers(const bernoulli& rounding) {
  const std::uint64_t hash = name_hash("blocks.0.attn.qkv.weight");
  fnv1a scalar;
  fnv1a batches;
  for (std::uint64_t member = 0; member < 20; ++member) {
    const stream random = rounding.bits(hash, member);
    for (std::uint64_t block = 0; block < 16; ++block) {
      std::array<std::uint32_t, block_size> dithers{};
      const std::uint64_t outputs = rounding.coupling.is_independent() ? 16 : 32;
      for (std::uint64_t first = 0; first < outputs; first += words::size) {
        const auto bits = random.lanes_from(outputs * block + first, lane_numbers());
        for (std::size_t word = 0; word < 4; ++word) {
          if (rounding.coupling.is_independent()) {
            (bits[word] & words(0xffffU)).store_unaligned(&dithers[32 * word + first]);
            (bits[word] >> 16).store_unaligned(&dithers[32 * word + 16 + first]);
          } else {
            rounding.lattice_dither(bits[word], member)
                .store_unaligned(&dithers[64 * (first / 16) + 16 * word + first % 16]);
          }
        }
      }
      batches.add_all(dithers);
      for (std::uint32_t element = 0; element < block_size; ++element) {
        scalar.add(rounding.dither(hash, block, element, member));
      }
    }
  }
  print("dithers/" + rounding.coupling.name() + "/scalar", scalar);
  print("dithers/" + rounding.coupling.name() + "/lanes", batches);
}

// Packed members of a tensor with tails behind whole blocks, in groups of 32 columns.
template <number_system N, rounding_method R>
void print_members(const std::string& method, const R& rounding) {
  constexpr std::size_t rows = 5;
  constexpr std::size_t columns = 300;
  const std::vector<float> values = support::integer_weights(rows * columns);
  const granule_map map = granule_map::groups(rows, columns, 32);
  std::vector<typename N::granule> granules;
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; column = map.run_end(column)) {
      granules.push_back(N::fit({&values[row * columns + column], map.run_end(column) - column}));
    }
  }
  const auto grid = std::make_shared<const tensor_grid<N>>(map, std::move(granules));
  const tensor weights = tensor::from_floats("head.weight", {rows, columns}, values);

  fnv1a scalar;
  fnv1a packed;
  const auto members = sample<N>(weights, grid, rounding, 0, 8);
  for (std::uint64_t k = 0; k < members.size(); ++k) {
    packed.add_all(members[k].words());
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t index = 0; index < members[k].blocks_in_row(); ++index) {
        std::array<std::uint32_t, block_size> stored;
        for (std::uint32_t element = 0; element < block_size; ++element) {
          const std::size_t column = index * block_size + element;
          const std::int32_t position = column < columns
                                            ? N::position(values[row * columns + column], grid->at(row, column))
                                            : 65536 * code_nearest_zero<N>(grid->at(row, columns - 1));
          const std::uint64_t block = row * members[k].blocks_in_row() + index;
          stored[element] = static_cast<std::uint32_t>(
              member_code(rounding, position, name_hash(weights.name()), block, element, k) - N::min_code);
        }
        std::array<std::uint32_t, packed_block<N::bits>::words> block;
        packed_block<N::bits>::pack(stored, block);
        scalar.add_all(block);
      }
    }
  }
  print("members/" + N::name() + "/" + method + "/scalar", scalar);
  print("members/" + N::name() + "/" + method + "/lanes", packed);
}

template <number_system N>
void print_system() {
  print_positions<N>();
  print_members<N>("nearest", nearest{});
  for (const coupling& coupling : {independent, lattice(4)}) {
    print_members<N>(coupling.name(), bernoulli{.seed = 7, .coupling = coupling});
  }
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
}
