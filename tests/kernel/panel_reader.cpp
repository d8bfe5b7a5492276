// SPDX-License-Identifier: MIT

#include <pluria/kernel/member_blocks.hpp>
#include <pluria/kernel/panel_reader.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace {

using namespace pluria::detail;
using arch = xsimd::default_arch;
using int4 = pluria::symmetric_int<4>;
constexpr std::size_t columns = 300;  // three blocks
constexpr std::size_t rows = 2 * panel_rows + 3;

pluria::tensor weights() {
  return support::make_tensor(pluria::dtype::f32, "a.weight", {rows, columns},
                              support::integer_weights(rows * columns, 1.0F, 5));
}

const pluria::bernoulli rounding{.seed = 3, .coupling = pluria::lattice(4)};

// How many codes of members, as the reader gives them, `Rows` rows at once, are not those of the storage, among rows
// first .. first + count.
template <std::size_t Rows, class M>
std::size_t wrong_codes(const M& members, std::size_t first, std::size_t count) {
  std::size_t wrong = 0;
  for_each_view<arch>(members, [&](const auto& view, std::size_t first_member) {
    using view_type = std::decay_t<decltype(view)>;
    std::map<std::pair<std::size_t, std::size_t>, int> visits;
    panel_reader<view_type, arch, Rows> read(view, 3);
    read(first, count, [&](std::size_t at, std::size_t index, const block_codes<view_type, arch, Rows>& block) {
      for (std::size_t r = at; r < at + Rows; ++r) {
        // Behind the last row stands the last again.
        const std::size_t row = std::min(r, count - 1);
        visits[{row, index}] += r < count ? 1 : 0;
        for (std::size_t m = 0; m < view.members(); ++m) {
          alignas(64) std::array<std::uint8_t, 128> bytes;
          store_bytes<arch>(block[r - at].of(m), bytes.data());
          for (std::size_t e = 0; e < 128 && 128 * index + e < columns; ++e) {
            const int code = bytes[support::naive_place(e)] + int4::min_code;
            wrong += code == members.code(first_member + m, first + row, 128 * index + e) ? 0U : 1U;
          }
        }
      }
    });
    wrong += visits.size() == 3 * count ? 0U : 1U;
    for (const auto& [place, times] : visits) {
      wrong += times == 1 ? 0U : 1U;
    }
  });
  return wrong;
}

TEST_CASE("a panel gives every block of its rows once, with the codes of every member", "[kernel]") {
  const auto made = weights();
  const auto grid = support::fitted_grid<int4>(made);
  for (const auto& [first, count] :
       {std::pair<std::size_t, std::size_t>{0, panel_rows}, {panel_rows, 3}, {rows - 1, 1}}) {
    CAPTURE(first, count);
    const auto check = [&, first = first, count = count](const auto& members) {
      CHECK(wrong_codes<1>(members, first, count) == 0);
      CHECK(wrong_codes<panel_rows>(members, first, count) == 0);
    };
    check(pluria::packed_members<int4>(pluria::sample<int4>(made, grid, rounding, 1, 5)));
    check(pluria::sample_shared_floor<int4>(made, grid, rounding, 1, 5));
    check(pluria::fixed_point_members<int4>(pluria::sample_fixed_point<int4>(made, grid), "a.weight", rounding, 1, 5));
  }
}

TEST_CASE("tokens have inputs of their member's, or those that all share", "[kernel]") {
  const token_map own{3, 10, 20};
  CHECK(own.input(0, 0) == 20);
  CHECK(own.input(2, 1) == 41);
  const token_map shared{3, 0, 4};
  CHECK(shared.input(7, 2) == 6);
}

TEST_CASE("every member meets each of its tokens once, in order", "[kernel]") {
  const auto made = weights();
  const auto members = pluria::sample_shared_floor<int4>(made, support::fitted_grid<int4>(made), rounding, 0, 4);
  for_each_view<arch>(members, [&](const auto& view, std::size_t) {
    using view_type = std::decay_t<decltype(view)>;
    panel_reader<view_type, arch, 2> read(view, 3);
    const auto met = [&](auto single, const token_map& map) {
      std::vector<std::pair<std::size_t, std::size_t>> pairs;
      read(0, 2, [&](std::size_t, std::size_t index, const block_codes<view_type, arch, 2>& block) {
        if (index != 2) {
          return;
        }
        for_each_product<decltype(single)::value, view_type, arch, 2>(
            block, 4, map, [&](std::size_t input, std::size_t product, const auto& codes_of) {
              pairs.emplace_back(input, product);
              const std::size_t member = product / map.tokens;
              alignas(64) std::array<std::uint8_t, 128> bytes;
              store_bytes<arch>(codes_of(std::integral_constant<std::size_t, 1>()), bytes.data());
              CHECK(bytes[support::naive_place(9)] + int4::min_code == members.code(member, 1, 256 + 9));
            });
      });
      return pairs;
    };
    using pairs = std::vector<std::pair<std::size_t, std::size_t>>;
    CHECK(met(std::true_type{}, {1, 1, 5}) == pairs{{5, 0}, {6, 1}, {7, 2}, {8, 3}});
    CHECK(met(std::false_type{}, {1, 1, 5}) == pairs{{5, 0}, {6, 1}, {7, 2}, {8, 3}});
    CHECK(met(std::true_type{}, {1, 0, 2}) == pairs{{2, 0}, {2, 1}, {2, 2}, {2, 3}});
    CHECK(met(std::false_type{}, {2, 3, 0}) == pairs{{0, 0}, {1, 1}, {3, 2}, {4, 3}, {6, 4}, {7, 5}, {9, 6}, {10, 7}});
  });
}

TEST_CASE("results are added where their member, token and row are, and nowhere else", "[kernel]") {
  const auto made = weights();
  const auto members = pluria::sample_shared_floor<int4>(made, support::fitted_grid<int4>(made), rounding, 0, 3);
  // Two tokens of each member, in the middle of four; rows 5 .. 17.
  const std::size_t stride = rows + 2;
  std::vector<float> y(3 * 4 * stride, 0.5F);
  const output_rows out{y.data() + 1 * stride, stride, 4};
  for_each_view<arch>(members, [&](const auto& view, std::size_t) {
    for_each_panel<std::int32_t, arch, 2>(
        view, 5, 18, token_map{2, 2, 0}, out,
        [&](std::size_t row, std::size_t, const auto&, std::int32_t* sums) {
          for (std::size_t product = 0; product < 6; ++product) {
            for (std::size_t r = 0; r < 2; ++r) {
              sums[sums_of_panel<std::decay_t<decltype(view)>> * product + 16 * r + product] +=
                  static_cast<std::int32_t>(row + r);  // three blocks
            }
          }
        },
        [&](std::size_t row, std::size_t count) {
          return [row, count](std::size_t input, const std::int32_t* sums, std::size_t step, float* results) {
            for (std::size_t r = 0; r < count; ++r) {
              std::int32_t total = 0;
              for (std::size_t lane = 0; lane < 16; ++lane) {
                total += sums[r * step + lane];
              }
              results[r] += static_cast<float>(1000 * input + 100 * (row + r)) + static_cast<float>(total);
            }
          };
        });
  });
  std::size_t wrong = 0;
  for (std::size_t m = 0; m < 3; ++m) {
    for (std::size_t t = 0; t < 4; ++t) {
      for (std::size_t row = 0; row < stride; ++row) {
        const bool is_result = (t == 1 || t == 2) && row >= 5 && row < 18;
        const float added = is_result ? static_cast<float>(1000 * (2 * m + t - 1) + 103 * row) : 0.0F;
        wrong += y[(4 * m + t) * stride + row] == 0.5F + added ? 0U : 1U;
      }
    }
  }
  CHECK(wrong == 0);
}

}  // namespace
