// SPDX-License-Identifier: MIT

#include <pluria/random/address.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <tuple>

namespace {

using namespace support;
using pluria::name_hash;
using pluria::purpose;
using pluria::stream;

// Published answers of FNV-1a, 64 bits.
static_assert(name_hash("") == 0xcbf29ce484222325U);
static_assert(name_hash("a") == 0xaf63dc4c8601ec8cU);
static_assert(name_hash("foobar") == 0x85944171f73967e8U);
static_assert(name_hash("\xff") == ((0xcbf29ce484222325U ^ 0xffU) * 0x100000001b3U), "characters are unsigned");

TEST_CASE("different seeds, tensors, purposes, couplings and members share no counter", "[random]") {
  std::set<std::array<std::uint32_t, 6>> addresses;
  std::size_t made = 0;
  for (const std::uint64_t seed : {0ULL, 1ULL, 1ULL << 32, ~0ULL}) {
    for (const std::uint64_t tensor :
         {name_hash("head.weight"), name_hash("head.bias"), std::uint64_t{0}, std::uint64_t{1}}) {
      for (const purpose use : {purpose::rounding, purpose::lattice, purpose::fixed_point, purpose::gaussian,
                                purpose::bootstrap, purpose::token}) {
        for (std::uint32_t variant = 0; variant <= 8; ++variant) {
          for (const std::uint64_t member : {0ULL, 1ULL, 255ULL, 256ULL, 1ULL << 16, (1ULL << 32) - 1}) {
            const stream s(seed, tensor, use, variant, member);
            addresses.insert({s.key[0], s.key[1], s.key[2], s.key[3], s.member, s.tag});
            ++made;
          }
        }
      }
    }
  }
  CHECK(made == 4U * 4U * 6U * 9U * 6U);
  CHECK(addresses.size() == made);
}

TEST_CASE("the address is what the header says, word by word", "[random]") {
  const stream s(0x0123456789abcdefU, 0xfedcba9876543210U, purpose::lattice, 3, 0x89abcdefU);
  CHECK(s.key == std::array<std::uint32_t, 4>{0x89abcdefU, 0x01234567U, 0x76543210U, 0xfedcba98U});
  const std::uint64_t output = 0x0000000500000007U;
  CHECK(s(output) == pluria::generator::generate<std::uint32_t>(
                         {7U, 5U, 0x89abcdefU, 2U | 3U << 8 | pluria::stream_version << 16}, s.key));
}

TEST_CASE("a member beyond the period is refused", "[random]") {
  CHECK_NOTHROW(stream(0, 0, purpose::rounding, 0, (1ULL << 32) - 1));
  CHECK_THROWS_AS(stream(0, 0, purpose::rounding, 0, 1ULL << 32), pluria::precondition_error);
}

TEST_CASE("lanes take consecutive outputs", "[random]") {
  const stream s(7, name_hash("head.weight"), purpose::rounding, 0, 3);
  std::size_t wrong = 0;
  for (const std::uint64_t first :
       {std::uint64_t{0}, std::uint64_t{48}, (std::uint64_t{1} << 32) - 16, std::uint64_t{1} << 36}) {
    const auto outputs = s.lanes_from(first, lane_numbers());
    for (std::size_t word = 0; word < 4; ++word) {
      const auto lane_values = lanes_of(outputs[word]);
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        wrong += lane_values[lane] == s(first + lane)[word] ? 0U : 1U;
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("128 decisions of 16 bits take every bit of 16 outputs once", "[random]") {
  const stream s(7, name_hash("head.weight"), purpose::rounding, 0, 3);
  for (const std::uint64_t block : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 40}) {
    std::set<std::tuple<std::uint64_t, std::size_t, std::uint32_t>> owned;
    std::size_t wrong = 0;
    for (std::uint32_t e = 0; e < 128; ++e) {
      // As the header says it: output 16 * block + e % 16, word e / 16 % 4, low half if e < 64.
      const std::uint64_t output = 16 * block + e % 16;
      const std::size_t word = e / 16 % 4;
      const std::uint32_t half = e / 64;
      owned.emplace(output, word, half);
      wrong += pluria::decision_bits_16(s, block, e) == (s(output)[word] >> (16 * half) & 0xffffU) ? 0U : 1U;
    }
    CHECK(wrong == 0);
    CHECK(owned.size() == 128U);
    CHECK(std::get<0>(*owned.begin()) == 16 * block);
    CHECK(std::get<0>(*owned.rbegin()) == 16 * block + 15);
  }
}

TEST_CASE("128 words of 32 bits take every word of 32 outputs once", "[random]") {
  const stream s(7, name_hash("head.weight"), purpose::lattice, 3, 0);
  for (const std::uint64_t block : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 40}) {
    std::set<std::tuple<std::uint64_t, std::size_t>> owned;
    std::size_t wrong = 0;
    for (std::uint32_t e = 0; e < 128; ++e) {
      const std::uint64_t output = 32 * block + 16 * (e / 64) + e % 16;
      const std::size_t word = e / 16 % 4;
      owned.emplace(output, word);
      wrong += pluria::decision_bits_32(s, block, e) == s(output)[word] ? 0U : 1U;
    }
    CHECK(wrong == 0);
    CHECK(owned.size() == 128U);
    CHECK(std::get<0>(*owned.begin()) == 32 * block);
    CHECK(std::get<0>(*owned.rbegin()) == 32 * block + 31);
  }
}

}  // namespace
