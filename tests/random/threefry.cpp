// SPDX-License-Identifier: MIT

#include <pluria/random/threefry.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace {

using namespace support;
using four_words = std::array<std::uint32_t, 4>;

template <int Rounds>
four_words generate(const four_words& counter, const four_words& key) {
  return pluria::threefry4x32<Rounds>::template generate<std::uint32_t>(counter, key);
}

TEST_CASE("Threefry4x32 gives the published answers", "[random]") {
  std::ifstream file(PLURIA_SOURCE_DIR "/tests/random/threefry_vectors.txt");
  REQUIRE(file);
  int vectors = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) {
      continue;
    }
    std::istringstream fields(line);
    int rounds = 0;
    four_words counter{};
    four_words key{};
    four_words expected{};
    fields >> std::dec >> rounds >> std::hex;
    for (four_words* target : {&counter, &key, &expected}) {
      for (std::uint32_t& word : *target) {
        fields >> word;
      }
    }
    REQUIRE(fields);
    INFO(line);
    REQUIRE((rounds == 13 || rounds == 20 || rounds == 72));
    CHECK((rounds == 13   ? generate<13>(counter, key)
           : rounds == 20 ? generate<20>(counter, key)
                          : generate<72>(counter, key)) == expected);
    ++vectors;
  }
  CHECK(vectors == 9);
}

template <int Rounds>
std::size_t lanes_that_differ() {
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const four_words key{mixed(4 * i), mixed(4 * i + 1), mixed(4 * i + 2), mixed(4 * i + 3)};
    std::array<four_words, lanes> counters{};
    std::array<std::array<std::uint32_t, lanes>, 4> by_word{};
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      for (std::uint32_t word = 0; word < 4; ++word) {
        counters[lane][word] = by_word[word][lane] = mixed(7 * i + 64 * lane + word);
      }
    }
    std::array<words, 4> batches;
    for (std::size_t word = 0; word < 4; ++word) {
      batches[word] = words::load_unaligned(by_word[word].data());
    }
    const auto outputs = pluria::threefry4x32<Rounds>::template generate<words>(batches, key);
    for (std::size_t word = 0; word < 4; ++word) {
      const auto output = lanes_of(outputs[word]);
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        wrong += output[lane] == generate<Rounds>(counters[lane], key)[word] ? 0U : 1U;
      }
    }
  }
  return wrong;
}

TEST_CASE("lanes of Threefry4x32 give the bits of single words", "[random]") {
  CHECK(lanes_that_differ<12>() == 0);
  CHECK(lanes_that_differ<13>() == 0);
  CHECK(lanes_that_differ<20>() == 0);
}

// Counters that differ between lanes in their first word only, in one batch and in two at a time.
template <int Rounds>
std::size_t consecutive_lanes_that_differ() {
  using twin = pluria::lanes::twin<words>;
  const twin twin_numbers(lane_numbers(), lane_numbers() + words(lanes));
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const four_words key{mixed(4 * i), mixed(4 * i + 1), mixed(4 * i + 2), mixed(4 * i + 3)};
    const four_words counter{i % 7 == 0 ? 0xffffffffU : mixed(9 * i + 1), mixed(9 * i + 2), mixed(9 * i + 3), i};
    const auto one = pluria::threefry4x32<Rounds>::template generate<words>(counter, lane_numbers(), key);
    const auto two = pluria::threefry4x32<Rounds>::template generate<twin>(counter, twin_numbers, key);
    for (std::uint32_t lane = 0; lane < 2 * lanes; ++lane) {
      const four_words expected = generate<Rounds>({counter[0] + lane, counter[1], counter[2], counter[3]}, key);
      for (std::size_t word = 0; word < 4; ++word) {
        const auto found = lanes_of(lane < lanes ? two[word].first : two[word].second);
        wrong += found[lane % lanes] == expected[word] ? 0U : 1U;
        wrong += lane >= lanes || lanes_of(one[word])[lane] == expected[word] ? 0U : 1U;
      }
    }
  }
  return wrong;
}

TEST_CASE("lanes of consecutive counters give the bits of single words", "[random]") {
  CHECK(consecutive_lanes_that_differ<12>() == 0);
  CHECK(consecutive_lanes_that_differ<13>() == 0);
  CHECK(consecutive_lanes_that_differ<20>() == 0);
}

}  // namespace
