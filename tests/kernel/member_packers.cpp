// SPDX-License-Identifier: MIT

#include <pluria/kernel/member_packers.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_fixed_point.hpp>
#include <support/naive_packing.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using namespace support;
using pluria::bernoulli;
using pluria::lattice;
using split = pluria::detail::split_block<4, xsimd::default_arch>;

const std::uint64_t hash = pluria::name_hash("head.weight");

std::array<std::int32_t, 128> made_positions() {
  std::array<std::int32_t, 128> positions{};
  for (std::uint32_t e = 0; e < 128; ++e) {
    positions[e] = static_cast<std::int32_t>(mixed(e + 1) % (14U * 65536U)) - 7 * 65536;
  }
  return positions;
}

// Packs block `number` of some members and compares each with the codes that `code_of(position, element, m)` gives.
template <class MakePacker, class CodeOf>
std::size_t wrong_members(std::size_t count, std::uint64_t number, MakePacker make, CodeOf code_of) {
  const auto positions = made_positions();
  std::vector<std::vector<std::uint32_t>> rooms(count, std::vector<std::uint32_t>(16 * (number + 1)));
  std::vector<std::uint32_t*> places;
  for (auto& room : rooms) {
    places.push_back(room.data());
  }
  const auto pack = make(pluria::detail::packed_blocks{places});
  pack(split([&](std::size_t e) { return pack.position(ints::load_unaligned(&positions[e])); }, -7), number);
  std::size_t wrong = 0;
  for (std::size_t m = 0; m < count; ++m) {
    std::array<std::uint32_t, 128> stored{};
    for (std::uint32_t e = 0; e < 128; ++e) {
      stored[e] = static_cast<std::uint32_t>(code_of(positions[e], e, m) + 7);
    }
    const std::vector<std::uint32_t> expected = naive_block(4, stored);
    const std::vector<std::uint32_t> found(rooms[m].end() - 16, rooms[m].end());
    wrong += found == expected ? 0U : 1U;
  }
  return wrong;
}

TEST_CASE("packing to nearest stores the nearest codes", "[kernel]") {
  const auto make = [](auto out) { return pluria::detail::nearest_packer<split>{out}; };
  CHECK(wrong_members(2, 3, make, [](std::int32_t position, std::uint32_t, std::size_t) {
          return pluria::nearest::code(position);
        }) == 0);
}

TEST_CASE("independent members and lattice blocks are packed by their own dithers", "[kernel]") {
  // From the middle of a lattice block over the whole next one into the third.
  for (const auto& coupling : {pluria::independent, lattice(4), lattice(256)}) {
    for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{254}}) {
      const bernoulli rounding{.seed = 9, .coupling = coupling};
      const auto code = [&](std::int32_t position, std::uint32_t element, std::size_t m) {
        const std::uint32_t dither = rounding.dither(hash, 5, element, first + m);
        return bernoulli::code(position, static_cast<std::int32_t>(dither));
      };
      CAPTURE(coupling.name(), first);
      if (coupling.is_independent()) {
        CHECK(
            wrong_members(
                7, 5,
                [&](auto out) {
                  return pluria::detail::independent_packer<split, pluria::generator>{out, rounding.bits(hash, first)};
                },
                code) == 0);
      } else {
        const auto place = static_cast<std::uint32_t>(first % coupling.block());
        CHECK(wrong_members(
                  7, 5,
                  [&](auto out) {
                    return pluria::detail::lattice_packer<split, pluria::generator>{out, rounding,
                                                                                    rounding.bits(hash, first), place};
                  },
                  code) == 0);
      }
    }
  }
}

TEST_CASE("over a shared floor every block is floors, then a plane for each member", "[kernel]") {
  const auto positions = made_positions();
  constexpr std::size_t members = 5;
  constexpr std::size_t words = 16 + 4 * members;
  std::array<std::uint32_t, 128> floors{};
  for (std::size_t e = 0; e < 128; ++e) {
    floors[e] = static_cast<std::uint32_t>((positions[e] >> 16) + 7);
  }
  const std::vector<std::uint32_t> expected_floors = naive_block(4, floors);
  const auto check = [&](const bernoulli& rounding, std::uint64_t first, auto make) {
    // Block 3 of five; the others stay what they are.
    std::vector<std::uint32_t> room(5 * words, 0xdeadbeefU);
    const auto pack = make(pluria::detail::shared_floor_blocks{room.data(), members});
    pack(split([&](std::size_t e) { return pack.position(ints::load_unaligned(&positions[e])); }, -7), 3);
    std::vector<std::uint32_t> expected(3 * words, 0xdeadbeefU);
    expected.insert(expected.end(), expected_floors.begin(), expected_floors.end());
    for (std::size_t m = 0; m < members; ++m) {
      std::array<std::uint32_t, 128> ups{};
      for (std::uint32_t e = 0; e < 128; ++e) {
        const auto dither = static_cast<std::int32_t>(rounding.dither(hash, 3, e, first + m));
        ups[e] = static_cast<std::uint32_t>(((positions[e] + dither) >> 16) - (positions[e] >> 16));
      }
      const auto plane = naive_plane(ups);
      expected.insert(expected.end(), plane.begin(), plane.end());
    }
    expected.resize(5 * words, 0xdeadbeefU);
    return room == expected;
  };
  using out = pluria::detail::shared_floor_blocks;
  CHECK(out{nullptr, members}.size() == members);
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{254}}) {
    CAPTURE(first);
    const bernoulli alone{.seed = 9};
    CHECK(check(alone, first, [&](out to) {
      return pluria::detail::independent_packer<split, pluria::generator, out>{to, alone.bits(hash, first)};
    }));
    for (const std::uint32_t block : {4U, 256U}) {
      const bernoulli coupled{.seed = 9, .coupling = lattice(block)};
      CHECK(check(coupled, first, [&](out to) {
        return pluria::detail::lattice_packer<split, pluria::generator, out>{to, coupled, coupled.bits(hash, first),
                                                                             static_cast<std::uint32_t>(first % block)};
      }));
    }
  }
}

template <int F>
bool packs_positions() {
  const auto positions = made_positions();
  constexpr std::size_t words = 16 + 4 * F;
  std::vector<std::uint32_t> room(4 * words, 0xdeadbeefU);
  const pluria::detail::fixed_point_packer<split, F> pack{room.data()};
  pack(split([&](std::size_t e) { return pack.position(ints::load_unaligned(&positions[e])); }, -7), 2);
  std::array<std::uint32_t, 128> floors{};
  std::array<std::uint32_t, 128> fractions{};
  for (std::size_t e = 0; e < 128; ++e) {
    const std::int32_t kept = naive_fixed_point(positions[e], F) + 7 * (1 << F);
    floors[e] = static_cast<std::uint32_t>(kept >> F);
    fractions[e] = static_cast<std::uint32_t>(kept) % (1U << F);
  }
  std::vector<std::uint32_t> expected(2 * words, 0xdeadbeefU);
  const std::vector<std::uint32_t> high = naive_block(4, floors);
  const std::vector<std::uint32_t> low = naive_block(F, fractions);
  expected.insert(expected.end(), high.begin(), high.end());
  expected.insert(expected.end(), low.begin(), low.end());
  expected.resize(4 * words, 0xdeadbeefU);
  return room == expected;
}

TEST_CASE("of positions that are kept, every block is floors, then fractions of F bits", "[kernel]") {
  CHECK(packs_positions<1>());
  CHECK(packs_positions<2>());
  CHECK(packs_positions<3>());
  CHECK(packs_positions<4>());
  CHECK(packs_positions<5>());
  CHECK(packs_positions<6>());
  CHECK(packs_positions<7>());
  CHECK(packs_positions<8>());
}

}  // namespace
