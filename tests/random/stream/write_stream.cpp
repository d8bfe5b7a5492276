// SPDX-License-Identifier: MIT
// Writes the random words that eight independent members of one tensor are rounded with, in the order in which the
// sampler consumes them, to standard output without end: input for a statistical battery.
//
//   write_stream [seed] [rounds: 12, 13 or 20] | RNG_test stdin32

#include <pluria/random/address.hpp>
#include <pluria/rounding/bernoulli.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

using namespace pluria;

// A block has 16 outputs for each member; word w of the 16 belongs to 32 weights.
template <int Rounds>
void write(std::uint64_t seed) {
  using words = xsimd::batch<std::uint32_t>;
  const basic_bernoulli<threefry4x32<Rounds>> rounding{.seed = seed};
  const std::uint64_t hash = name_hash("model.layers.0.self_attn.q_proj.weight");
  constexpr std::uint64_t members = 8;
  std::vector<std::uint32_t> buffer(64 * members * 256);
  for (std::uint64_t block = 0;;) {
    std::size_t used = 0;
    for (; used < buffer.size(); ++block) {
      for (std::uint64_t member = 0; member < members; ++member, used += 64) {
        const auto random = rounding.bits(hash, member);
        for (std::size_t first = 0; first < 16; first += words::size) {
          const auto outputs = random.lanes_from(16 * block + first, lanes::numbers<words::arch_type>());
          for (std::size_t word = 0; word < 4; ++word) {
            outputs[word].store_unaligned(&buffer[used + 16 * word + first]);
          }
        }
      }
    }
    if (std::fwrite(buffer.data(), sizeof(std::uint32_t), used, stdout) != used) {
      return;  // the reader has had enough
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::uint64_t seed = count > 1 ? std::stoull(arguments[1]) : 1;
  const int rounds = count > 2 ? std::stoi(arguments[2]) : generator::rounds;
  if (rounds == 12) {
    write<12>(seed);
  } else if (rounds == 13) {
    write<13>(seed);
  } else if (rounds == 20) {
    write<20>(seed);
  } else {
    std::fputs("write_stream: expected 12, 13 or 20 rounds\n", stderr);
    return 2;
  }
  return 0;
}
