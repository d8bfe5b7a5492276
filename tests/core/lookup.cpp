// SPDX-License-Identifier: MIT

#include <pluria/core/lookup.hpp>
#include <support/architectures.hpp>
#include <support/batches.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace {

using namespace support;

// How many lanes are not what stands in the table, for every index in every lane.
template <std::size_t Size, class Arch>
std::size_t wrong_lanes(const float* table) {
  using indices = pluria::lanes::ints<Arch>;
  std::size_t wrong = 0;
  for (std::uint32_t turn = 0; turn < 4 * Size; ++turn) {
    std::array<std::int32_t, indices::size> index{};
    for (std::uint32_t lane = 0; lane < index.size(); ++lane) {
      index[lane] = static_cast<std::int32_t>((turn < Size ? turn : mixed(100 * turn + lane)) % Size);
    }
    const indices all = indices::load_unaligned(index.data());
    const auto found = lanes_of(pluria::lanes::looked_up<Size>(table, all));
    const auto twin = lanes_of(pluria::lanes::looked_up_one_by_one<Size>(table, all));
    for (std::size_t lane = 0; lane < index.size(); ++lane) {
      const float expected = table[index[lane]];
      wrong += found[lane] == expected && twin[lane] == expected ? 0U : 1U;
      wrong += pluria::lanes::looked_up<Size>(table, index[lane]) == expected ? 0U : 1U;
    }
  }
  return wrong;
}

TEST_CASE("every lane finds its entry, in tables of all sizes", "[core]") {
  // From an address that is a multiple of 4 only.
  std::array<float, 257> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<float>(mixed(i) >> 8);
  }
  CHECK(for_each_architecture([&](auto arch) {
          using Arch = decltype(arch);
          CAPTURE(Arch::name());
          std::size_t wrong = 0;
          pluria::lanes::unrolled<7>(
              [&](auto power) { wrong += wrong_lanes<(std::size_t{4} << power), Arch>(table.data() + 1); });
          CHECK(wrong == 0);
        }) >= 1);
}

}  // namespace
