// SPDX-License-Identifier: MIT

#include <pluria/tensor/packing.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using pluria::block_size;
using pluria::blocks_per_row;
using pluria::packed_block;

static_assert(blocks_per_row(0) == 0 && blocks_per_row(1) == 1 && blocks_per_row(128) == 1 && blocks_per_row(129) == 2);

// b = 5 is a field of 4 bits and one of 1; b = 7 one of each of 4, 2 and 1.
static_assert(packed_block<5>::words == 20 && packed_block<5>::field_count == 2);
static_assert(packed_block<5>::fields[0].width == 4 && packed_block<5>::fields[0].shift == 1 &&
              packed_block<5>::fields[0].first_word == 0);
static_assert(packed_block<5>::fields[1].width == 1 && packed_block<5>::fields[1].shift == 0 &&
              packed_block<5>::fields[1].first_word == 16);
static_assert(packed_block<7>::field_count == 3 && packed_block<7>::fields[1].first_word == 16 &&
              packed_block<7>::fields[2].first_word == 24);
static_assert(packed_block<8>::field_count == 1 && packed_block<8>::fields[0].words() == 32);

// It all works at compile time, too.
static_assert([] {
  std::array<std::uint32_t, block_size> stored{};
  stored[17] = 0x1dU;
  std::array<std::uint32_t, packed_block<5>::words> block{};
  packed_block<5>::pack(stored, block);
  return block[1] == 0xeU << 4 && block[16 + 1] == 1U << 4 && packed_block<5>::at(block, 17) == 0x1dU;
}());

template <int Bits>
struct with_bits : std::integral_constant<int, Bits> {};
using all_bits = std::tuple<with_bits<1>, with_bits<2>, with_bits<3>, with_bits<4>, with_bits<5>, with_bits<6>,
                            with_bits<7>, with_bits<8>>;

using values = std::array<std::uint32_t, block_size>;

// Whether a block has the layout of the naive form and gives its values back, one by one and all at once.
template <int Bits>
bool round_trips(const values& stored) {
  using block = packed_block<Bits>;
  std::array<std::uint32_t, block::words> packed{};
  packed.fill(0xdeadbeefU);
  block::pack(stored, packed);
  const std::vector<std::uint32_t> expected = support::naive_block(Bits, stored);
  values unpacked{};
  unpacked.fill(0xdeadbeefU);
  block::unpack(packed, unpacked);
  bool same = std::equal(packed.begin(), packed.end(), expected.begin(), expected.end()) && unpacked == stored;
  for (std::size_t e = 0; e < block_size; ++e) {
    same = same && block::at(packed, e) == stored[e];
  }
  return same;
}

TEMPLATE_LIST_TEST_CASE("every value at every place of a block keeps its bits to itself", "[tensor]", all_bits) {
  constexpr int bits = TestType::value;
  constexpr std::uint32_t last = (1U << bits) - 1;
  std::size_t wrong = 0;
  for (std::size_t e = 0; e < block_size; ++e) {
    for (std::uint32_t value = 0; value <= last; ++value) {
      // Among zeros, and among ones.
      for (const std::uint32_t others : {0U, last}) {
        values stored{};
        stored.fill(others);
        stored[e] = value;
        wrong += round_trips<bits>(stored) ? 0U : 1U;
      }
    }
  }
  CHECK(wrong == 0);
}

TEMPLATE_LIST_TEST_CASE("blocks of mixed values come back at every length of the tail", "[tensor]", all_bits) {
  constexpr int bits = TestType::value;
  constexpr std::uint32_t last = (1U << bits) - 1;
  std::size_t wrong = 0;
  for (std::size_t tail = 1; tail <= block_size; ++tail) {
    for (const std::uint32_t padding : {0U, last / 2, last}) {
      values stored{};
      stored.fill(padding);
      for (std::size_t e = 0; e < tail; ++e) {
        stored[e] = support::mixed(static_cast<std::uint32_t>(128 * tail + e)) & last;
      }
      wrong += round_trips<bits>(stored) ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("kernels meet every element of a block once, four neighbours side by side", "[tensor]") {
  std::array<std::size_t, block_size> met{};
  std::size_t wrong = 0;
  for (std::size_t e = 0; e < block_size; ++e) {
    const std::size_t place = pluria::kernel_place(e);
    REQUIRE(place < block_size);
    ++met[place];
    wrong += place == support::naive_place(e) ? 0U : 1U;
    // Four neighbours stay a word, and every word of a half is of a run of 16 of its own.
    wrong += place == pluria::kernel_place(e / 4 * 4) + e % 4 ? 0U : 1U;
    wrong += e / 16 == 2 * (place / 4 % 4) + place / 64 ? 0U : 1U;
  }
  CHECK(wrong == 0);
  CHECK(std::count(met.begin(), met.end(), std::size_t{1}) == 128);
  static_assert(pluria::kernel_place(0) == 0 && pluria::kernel_place(4) == 16 && pluria::kernel_place(16) == 64 &&
                pluria::kernel_place(32) == 4 && pluria::kernel_place(127) == 127);
}

}  // namespace
