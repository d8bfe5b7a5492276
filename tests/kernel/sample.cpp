// SPDX-License-Identifier: MIT

#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/exhaustive.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_fixed_point.hpp>
#include <support/naive_packing.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>
#include <support/widths.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using pluria::bernoulli;
using pluria::coupling;
using pluria::dtype;
using pluria::lattice;
using pluria::nearest;
using pluria::packed_tensor;
using pluria::sample;
using pluria::symmetric_int;
using pluria::tensor;
using support::fitted_grid;
using support::make_tensor;
using support::shared_grid;

using support::field_widths;
constexpr dtype weight_types[] = {dtype::f32, dtype::f16, dtype::bf16};
const coupling couplings[] = {pluria::independent, lattice(2), lattice(8), lattice(256)};
const char* const name = "blocks.0.attn.qkv.weight";

tensor made(const pluria::tensor_shape& shape, dtype type = dtype::f32, float scale = 1.0F, const char* called = name) {
  return make_tensor(type, called, shape, support::integer_weights(pluria::element_count(shape, called), scale, 9));
}

template <class Int>
std::vector<shared_grid<Int>> grids_of(const tensor& weights) {
  return {fitted_grid<Int>(weights, pluria::per_tensor{}), fitted_grid<Int>(weights, pluria::per_channel{}),
          fitted_grid<Int>(weights, pluria::per_group(16)), fitted_grid<Int>(weights, pluria::per_group(48)),
          fitted_grid<Int>(weights, pluria::per_group(128))};
}

// How many tiles of members over a shared floor are not, word for word, what the same members packed each for
// themselves say: the floor is `rounding`'s code where no member goes up. Behind the last column weights are 0, behind
// the last row words are.
template <class Int>
std::size_t wrong_shared_floors(const tensor& weights, const shared_grid<Int>& grid, const bernoulli& rounding,
                                std::uint64_t first, std::size_t count, int threads = 1) {
  const auto shared = pluria::sample_shared_floor<Int>(weights, grid, rounding, first, count, threads);
  const auto alone = sample<Int>(weights, grid, rounding, first, count);
  const std::vector<float> values = weights.to_floats();
  const std::size_t columns = weights.columns();
  std::size_t wrong = shared.members() == count && shared.grid() == grid->in_tiles() ? 0U : 1U;
  for (std::size_t panel = 0; panel < shared.panels(); ++panel) {
    for (std::size_t index = 0; index < shared.tiles_in_panel(); ++index) {
      support::tile_values stored{};
      std::vector<support::tile_values> ups(count);
      for (std::size_t r = 0; r < 16 && 16 * panel + r < weights.rows(); ++r) {
        const std::size_t row = 16 * panel + r;
        for (std::size_t c = 0; c < 32; ++c) {
          const std::size_t column = 32 * index + c;
          const bool inside = column < columns;
          const std::int32_t floor =
              inside ? Int::position(values[row * columns + column], grid->at(row, column)) >> 16 : 0;
          stored[r][c] = static_cast<std::uint32_t>(floor - Int::min_code);
          for (std::size_t m = 0; m < count && inside; ++m) {
            const std::int32_t code = alone[m].code(row, column);
            ups[m][r][c] = static_cast<std::uint32_t>(code - floor);
            wrong += ups[m][r][c] <= 1 && shared.code(m, row, column) == code ? 0U : 1U;
          }
        }
      }
      std::vector<std::uint32_t> expected = support::naive_tile(Int::bits, stored);
      const std::vector<std::uint32_t> planes = support::naive_tile_planes(ups);
      expected.insert(expected.end(), planes.begin(), planes.end());
      const auto found = shared.tile(panel, index);
      wrong += std::equal(found.begin(), found.end(), expected.begin(), expected.end()) ? 0U : 1U;
    }
  }
  return wrong;
}

// How many words of a tensor's kept positions are not the definition's, F fractional bits; zeros behind the row's end.
template <class Int, int F>
std::size_t wrong_positions(const tensor& weights, const shared_grid<Int>& grid) {
  const auto kept = pluria::sample_fixed_point<Int, F>(weights, grid);
  const std::vector<float> values = weights.to_floats();
  const std::size_t columns = weights.columns();
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < weights.rows(); ++row) {
    for (std::size_t index = 0; index < kept.blocks_in_row(); ++index) {
      std::array<std::uint32_t, 128> floors{};
      std::array<std::uint32_t, 128> fractions{};
      for (std::size_t e = 0; e < 128; ++e) {
        const std::size_t column = 128 * index + e;
        std::int32_t code = 0;
        if (column < columns) {
          const std::int32_t position = Int::position(values[row * columns + column], grid->at(row, column));
          code = support::naive_fixed_point(position, F);
          wrong += kept.code(row, column) == code && pluria::fixed_point<F>::code(position) == code ? 0U : 1U;
        }
        floors[e] = static_cast<std::uint32_t>((code >> F) - Int::min_code);
        fractions[e] = static_cast<std::uint32_t>(code) % (1U << F);
      }
      const std::vector<std::uint32_t> high = support::naive_block(Int::bits, floors);
      const std::vector<std::uint32_t> low = support::naive_block(F, fractions);
      const auto found_high = kept.floors(row, index);
      const auto found_low = kept.fractions(row, index);
      wrong += std::equal(high.begin(), high.end(), found_high.begin(), found_high.end()) ? 0U : 1U;
      wrong += std::equal(low.begin(), low.end(), found_low.begin(), found_low.end()) ? 0U : 1U;
    }
  }
  return wrong;
}

// How many codes of a member, padding included, differ from the scalar definition, are not the code below the weight or
// the one above it, or, for a weight on its grid, moved.
template <class Int, class R>
std::size_t wrong_codes(const tensor& weights, const shared_grid<Int>& grid, const R& rounding, std::uint64_t k,
                        const packed_tensor<Int>& member) {
  const std::vector<float> values = weights.to_floats();
  const std::uint64_t hash = pluria::name_hash(weights.name());
  const std::size_t columns = weights.columns();
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < weights.rows(); ++row) {
    for (std::size_t column = 0; column < member.blocks_in_row() * 128; ++column) {
      const std::int32_t code = member.code(row, column);
      if (column >= columns) {
        wrong += code == pluria::code_nearest_zero<Int>(grid->at(row, columns - 1)) ? 0U : 1U;
        continue;
      }
      const std::int32_t position = Int::position(values[row * columns + column], grid->at(row, column));
      const std::uint64_t block = row * member.blocks_in_row() + column / 128;
      wrong += code == pluria::member_code(rounding, position, hash, block, static_cast<std::uint32_t>(column % 128), k)
                   ? 0U
                   : 1U;
      const std::int32_t below = position >> 16;
      wrong += code == below || (code == below + 1 && position % 65536 != 0) ? 0U : 1U;
    }
  }
  return wrong;
}

const pluria::tensor_shape shapes[] = {{},       {1},      {127},    {128},          {129},   {1, 1},
                                       {3, 127}, {2, 128}, {3, 129}, {2, 3, 10, 10}, {17, 5}, {2, 300}};

TEMPLATE_LIST_TEST_CASE("lanes give the scalar definition's codes, padding holds zero", "[kernel]", field_widths) {
  for (const dtype type : weight_types) {
    for (const pluria::tensor_shape& shape : shapes) {
      const tensor weights = made(shape, type);
      for (const auto& grid : grids_of<TestType>(weights)) {
        std::size_t wrong = wrong_codes<TestType>(weights, grid, nearest{}, 0,
                                                  sample<TestType>(weights, grid, nearest{}, 0, 1).front());
        for (const coupling& coupled : couplings) {
          const bernoulli rounding{.seed = 0x123456789abcdef0U, .coupling = coupled};
          // The members straddle the end of a lattice block.
          const std::uint64_t first = coupled.block() * 3 - 2;
          const auto members = sample<TestType>(weights, grid, rounding, first, 3);
          for (std::size_t m = 0; m < members.size(); ++m) {
            wrong += wrong_codes<TestType>(weights, grid, rounding, first + m, members[m]);
          }
        }
        CAPTURE(pluria::to_string(shape), static_cast<int>(type), grid->map.size());
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("members differ from each other, and with the seed", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({4, 100});
  const auto grid = fitted_grid<int7>(weights);
  for (const coupling& coupled : couplings) {
    const auto members = sample<int7>(weights, grid, bernoulli{.seed = 1, .coupling = coupled}, 0, 4);
    for (std::size_t i = 0; i < members.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        CHECK_FALSE(members[i] == members[j]);
      }
    }
    CHECK_FALSE(sample<int7>(weights, grid, bernoulli{.seed = 2, .coupling = coupled}, 0, 1).front() ==
                members.front());
  }
  const auto rounded = sample<int7>(weights, grid, nearest{}, 0, 2);
  CHECK(rounded[0] == rounded[1]);
}

TEST_CASE("tensors without elements give members without words", "[kernel]") {
  for (const pluria::tensor_shape& shape : {pluria::tensor_shape{0}, {0, 300}, {3, 0}, {0, 0}}) {
    const tensor weights = made(shape);
    for (const auto& grid : grids_of<symmetric_int<7>>(weights)) {
      for (const auto& member : sample<symmetric_int<7>>(weights, grid, bernoulli{}, 0, 2)) {
        CHECK(member.words().empty());
        CHECK(member.rows() == weights.rows());
      }
    }
  }
  const tensor weights = made({2, 2});
  CHECK(sample<symmetric_int<7>>(weights, fitted_grid<symmetric_int<7>>(weights), bernoulli{}, 0, 0).empty());
}

TEMPLATE_LIST_TEST_CASE("a weight on its grid never moves", "[kernel]", field_widths) {
  constexpr std::int32_t codes = TestType::max_code - TestType::min_code + 1;
  for (const float scale : {1.0F, 0.1F, 0x1.fffffep-3F, 0x1p-110F, 3e-20F, 1e30F}) {
    // Three rows; each begins with the outermost code, so that the fit finds the scale again.
    const std::size_t columns = 300;
    std::vector<std::int32_t> expected(3 * columns);
    std::vector<float> values(expected.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      expected[i] = i % columns == 0
                        ? TestType::max_code
                        : static_cast<std::int32_t>(i % static_cast<std::size_t>(codes)) + TestType::min_code;
      values[i] = scale * static_cast<float>(expected[i]);
    }
    const tensor weights = make_tensor(dtype::f32, name, {3, columns}, values);
    const auto grid = std::make_shared<const pluria::tensor_grid<TestType>>(
        pluria::per_channel{}.map({3, columns}), std::vector<typename TestType::granule>(3, {scale}));
    std::size_t moved = 0;
    const auto count = [&](const packed_tensor<TestType>& member) {
      for (std::size_t i = 0; i < expected.size(); ++i) {
        moved += member.code(i / columns, i % columns) == expected[i] ? 0U : 1U;
        moved += member.value(i / columns, i % columns) == values[i] ? 0U : 1U;
      }
    };
    count(sample<TestType>(weights, grid, nearest{}, 0, 1).front());
    for (const coupling& coupled : couplings) {
      for (const auto& member : sample<TestType>(weights, grid, bernoulli{.seed = 5, .coupling = coupled}, 0, 16)) {
        count(member);
      }
    }
    CAPTURE(scale);
    CHECK(moved == 0);
  }
}

TEST_CASE("member k is the same alone, among others and in any order", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({5, 129}, dtype::f16);
  const auto grid = fitted_grid<int7>(weights);
  for (const coupling& coupled : couplings) {
    const bernoulli rounding{.seed = 7, .coupling = coupled};
    const auto members = sample<int7>(weights, grid, rounding, 0, 20);
    REQUIRE(members.size() == 20);
    for (std::size_t k = 20; k-- > 0;) {
      CHECK(sample<int7>(weights, grid, rounding, k, 1).front() == members[k]);
    }
    const auto some = sample<int7>(weights, grid, rounding, 5, 9);
    CHECK(std::equal(some.begin(), some.end(), members.begin() + 5));
  }
}

TEST_CASE("rows that are sampled by themselves are those of the whole tensor", "[kernel]") {
  using int7 = symmetric_int<7>;
  const auto check = [](const auto& rounding) {
    const tensor weights = made({37, 300}, dtype::bf16);
    for (const auto& grid : grids_of<int7>(weights)) {
      const auto whole = sample(weights, grid, rounding, 2, 3);
      for (const auto& [first, count] :
           {std::pair{0, 37}, std::pair{0, 1}, std::pair{5, 20}, std::pair{36, 1}, std::pair{37, 0}}) {
        const auto rows = std::make_shared<const pluria::tensor_grid<int7>>(
            grid->part(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
        std::vector<packed_tensor<int7>> members(3, packed_tensor<int7>(rows));
        pluria::sample_rows_into(std::span(members), weights, *grid, static_cast<std::size_t>(first), rounding, 2, 2);
        std::size_t wrong = 0;
        for (std::size_t m = 0; m < 3; ++m) {
          for (std::size_t row = 0; row < members[m].rows(); ++row) {
            for (std::size_t column = 0; column < 300; ++column) {
              const std::size_t of_whole = static_cast<std::size_t>(first) + row;
              wrong += members[m].value(row, column) == whole[m].value(of_whole, column) ? 0U : 1U;
            }
          }
        }
        CAPTURE(first, count);
        CHECK(wrong == 0);
      }
      std::vector<packed_tensor<int7>> beyond(1, packed_tensor<int7>(grid));
      CHECK_THROWS_AS(pluria::sample_rows_into(std::span(beyond), weights, *grid, 1, rounding, 2),
                      pluria::precondition_error);
    }
  };
  check(nearest{});
  check(bernoulli{.seed = 3});
  check(bernoulli{.seed = 3, .coupling = lattice(2)});
}

TEST_CASE("any number of threads gives the same bits", "[kernel]") {
  using int7 = symmetric_int<7>;
  for (const pluria::tensor_shape& shape : {pluria::tensor_shape{200, 300}, {5000, 3}, {1, 70000}}) {
    const tensor weights = made(shape, dtype::bf16);
    const auto grid = fitted_grid<int7>(weights);
    for (const coupling& coupled : {pluria::independent, lattice(8)}) {
      const bernoulli rounding{.seed = 7, .coupling = coupled};
      const auto expected = sample<int7>(weights, grid, rounding, 3, 2, 1);
      for (const int threads : {0, 2, 3, 7}) {
        CHECK(sample<int7>(weights, grid, rounding, 3, 2, threads) == expected);
      }
    }
  }
}

TEST_CASE("a tensor of many parts, whose rows end everywhere, follows the definition", "[kernel]") {
  using int7 = symmetric_int<7>;
  // 32 blocks a row, the last one cut short; 9600 blocks, more than a thread takes at once.
  const tensor weights = made({300, 4000});
  const bernoulli rounding{.seed = 7};
  for (const auto& grid : {fitted_grid<int7>(weights), fitted_grid<int7>(weights, pluria::per_group(256))}) {
    const auto member = sample<int7>(weights, grid, rounding, 5, 1, 1).front();
    CHECK(sample<int7>(weights, grid, rounding, 5, 1, 3).front() == member);
    if (support::exhaustive) {
      CHECK(wrong_codes<int7>(weights, grid, rounding, 5, member) == 0);
    }
  }
}

TEST_CASE("the generator is a template parameter, and decides the bits", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({3, 300});
  const auto grid = fitted_grid<int7>(weights);
  for (const coupling& coupled : {pluria::independent, lattice(4)}) {
    const pluria::basic_bernoulli<pluria::threefry4x32<20>> rounding{.seed = 7, .coupling = coupled};
    const auto members = sample<int7>(weights, grid, rounding, 2, 5);
    for (std::size_t m = 0; m < members.size(); ++m) {
      CHECK(wrong_codes<int7>(weights, grid, rounding, 2 + m, members[m]) == 0);
    }
    CHECK_FALSE(members == sample<int7>(weights, grid, bernoulli{.seed = 7, .coupling = coupled}, 2, 5));
  }
}

TEST_CASE("members are sampled into forms that exist, and past the caches when they are many", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({512, 256});
  const auto grid = fitted_grid<int7>(weights);
  // 256 members of 64 KiB: 16 MiB.
  for (const coupling& coupled : {pluria::independent, lattice(256)}) {
    const bernoulli rounding{.seed = 7, .coupling = coupled};
    std::vector<packed_tensor<int7>> members(256, packed_tensor<int7>(grid));
    CHECK(members.size() * members.front().words().size_bytes() >= pluria::detail::past_cache_bytes);
    pluria::sample_into<int7>(members, weights, rounding, 0, 2);
    for (const std::size_t k : {0U, 1U, 100U, 255U}) {
      CHECK(members[k] == sample<int7>(weights, grid, rounding, k, 1).front());
    }
    // Again, into the same forms: nothing of before is left.
    pluria::sample_into<int7>(members, weights, rounding, 1000);
    CHECK(members[7] == sample<int7>(weights, grid, rounding, 1007, 1).front());
  }
}

TEST_CASE("forms on other grids are refused", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({4, 100});
  std::vector<packed_tensor<int7>> members{packed_tensor<int7>(fitted_grid<int7>(weights)),
                                           packed_tensor<int7>(fitted_grid<int7>(weights))};
  CHECK_THROWS_AS(pluria::sample_into<int7>(members, weights, nearest{}, 0), pluria::precondition_error);
  members.pop_back();
  CHECK_NOTHROW(pluria::sample_into<int7>(members, weights, nearest{}, 0));
  CHECK_THROWS_AS(pluria::sample_into<int7>(members, made({4, 99}), nearest{}, 0), pluria::precondition_error);
}

template <class Int, class Arch>
bool same_as_native(const tensor& weights) {
  bool same = true;
  for (const auto& grid : grids_of<Int>(weights)) {
    same = same &&
           sample<Int, nearest, Arch>(weights, grid, nearest{}, 0, 1) == sample<Int>(weights, grid, nearest{}, 0, 1);
    for (const coupling& coupled : couplings) {
      const bernoulli rounding{.seed = 11, .coupling = coupled};
      same = same &&
             sample<Int, bernoulli, Arch>(weights, grid, rounding, 6, 3) == sample<Int>(weights, grid, rounding, 6, 3);
    }
  }
  return same;
}

TEST_CASE("batches of every width give the native one's bits", "[kernel]") {
  // Between them, 7 and 8 bits have the fields of all widths.
  const tensor weights = made({3, 300});
  CHECK(support::for_each_architecture([&](auto arch) {
          using Arch = decltype(arch);
          CAPTURE(Arch::name());
          CHECK(same_as_native<symmetric_int<7>, Arch>(weights));
          CHECK(same_as_native<symmetric_int<8>, Arch>(weights));
        }) >= 1);
}

TEMPLATE_LIST_TEST_CASE("floor or ceil of L times the fraction of a block's members go up", "[kernel]", field_widths) {
  const tensor weights = made({3, 150});
  const std::vector<float> values = weights.to_floats();
  const auto grid = fitted_grid<TestType>(weights);
  for (const std::uint32_t block : {2U, 8U, 64U, 256U}) {
    // The second block of members.
    const auto members =
        sample<TestType>(weights, grid, bernoulli{.seed = 3, .coupling = lattice(block)}, block, block);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::int32_t position = TestType::position(values[i], grid->at(i / 150, i % 150));
      const std::uint32_t fraction = static_cast<std::uint32_t>(position) & 0xffffU;
      std::uint32_t up = 0;
      for (const auto& member : members) {
        up += static_cast<std::uint32_t>(member.code(i / 150, i % 150) - (position >> 16));
      }
      wrong += up == block * fraction / 65536 || up == (block * fraction + 65535) / 65536 ? 0U : 1U;
    }
    CAPTURE(block);
    CHECK(wrong == 0);
  }
}

// Whether codes are unbiased: in each of 16 ranges of the fraction the sum of code - position over weights and members
// is within 6 standard deviations of zero. A decision of fraction f varies by f (1 - f); the sum over a whole lattice
// block is floor or ceil of its mean and so varies by less than that of independent members. `code(i, m)` is the code
// of weight i in member m. Of 16 sums, one is beyond 6 sigma by chance with probability below 4e-8.
template <class Code>
bool is_unbiased(const std::vector<std::int32_t>& positions, std::size_t members, Code code) {
  std::array<double, 16> sum{};
  std::array<double, 16> variance{};
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const auto fraction = static_cast<std::uint32_t>(positions[i]) & 0xffffU;
    const double f = fraction / 65536.0;
    for (std::size_t m = 0; m < members; ++m) {
      sum[fraction / 4096] += code(i, m) - positions[i] / 65536.0;
    }
    variance[fraction / 4096] += static_cast<double>(members) * f * (1 - f);
  }
  bool within = true;
  for (std::size_t range = 0; range < sum.size(); ++range) {
    within = within && std::abs(sum[range]) <= 6 * std::sqrt(variance[range]);
  }
  return within;
}

TEST_CASE("sampled members are unbiased, and the check refuses biased roundings", "[kernel]") {
  using int7 = symmetric_int<7>;
  const std::size_t rows = 20;
  const std::size_t columns = 200;
  const tensor weights = made({rows, columns});
  const std::vector<float> values = weights.to_floats();
  const auto grid = fitted_grid<int7>(weights);
  std::vector<std::int32_t> positions;
  for (std::size_t i = 0; i < values.size(); ++i) {
    positions.push_back(int7::position(values[i], grid->at(i / columns, i % columns)));
  }
  const std::size_t count = 256;
  for (const coupling& coupled : couplings) {
    const bernoulli rounding{.seed = 21, .coupling = coupled};
    const auto members = sample<int7>(weights, grid, rounding, 0, count);
    CHECK(is_unbiased(positions, count,
                      [&](std::size_t i, std::size_t m) { return members[m].code(i / columns, i % columns); }));
    // About 250 weights and 64000 decisions a range: a dither 1024 too large, where it is not limited, moves a sum by
    // 64000 / 64 = 1000; the middle ranges have a standard deviation of 126, the outer ones less.
    const std::uint64_t hash = pluria::name_hash(name);
    const std::size_t few = coupled.is_independent() ? 64 : count;
    const auto mutant = [&](auto change) {
      return is_unbiased(positions, few, [&](std::size_t i, std::size_t m) {
        const std::uint64_t block = i / columns * 2 + i % columns / 128;
        const std::uint32_t dither = rounding.dither(hash, block, static_cast<std::uint32_t>(i % columns % 128), m);
        return bernoulli::code(positions[i], static_cast<std::int32_t>(change(dither)));
      });
    };
    CHECK(mutant([](std::uint32_t dither) { return dither; }));
    CHECK_FALSE(mutant([](std::uint32_t dither) { return std::min(dither + 1024, 65535U); }));
    CHECK_FALSE(mutant([](std::uint32_t dither) { return dither - std::min(dither, 1024U); }));
    CHECK_FALSE(mutant([](std::uint32_t dither) { return dither / 2; }));
    CHECK_FALSE(mutant([](std::uint32_t) { return 0x7fffU; }));  // nearest
  }
  const auto rounded = sample<int7>(weights, grid, nearest{}, 0, 1).front();
  CHECK_FALSE(is_unbiased(positions, count,
                          [&](std::size_t i, std::size_t) { return rounded.code(i / columns, i % columns); }));
}

TEST_CASE("a tensor of another name has other members", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({4, 100});
  const tensor renamed = weights.renamed("blocks.1.attn.qkv.weight");
  const auto grid = fitted_grid<int7>(weights);
  for (const coupling& coupled : couplings) {
    const bernoulli rounding{.seed = 2, .coupling = coupled};
    CHECK_FALSE(sample<int7>(weights, grid, rounding, 0, 1) == sample<int7>(renamed, grid, rounding, 0, 1));
  }
  CHECK(sample<int7>(weights, grid, nearest{}, 0, 1) == sample<int7>(renamed, grid, nearest{}, 0, 1));
}

TEMPLATE_LIST_TEST_CASE("granules of zeros, and subnormal and tiny weights, follow the definition", "[kernel]",
                        field_widths) {
  const std::size_t columns = 144;
  std::vector<float> values = support::integer_weights(4 * columns, 0x1p-120F);
  std::fill(values.begin(), values.begin() + columns, 0.0F);
  for (std::size_t i = 0; i < columns; ++i) {
    values[columns + i] = std::bit_cast<float>((i % 2 == 0 ? 0U : 0x80000000U) +
                                               support::mixed(1U + static_cast<std::uint32_t>(i)) % (1U << 23));
    values[2 * columns + i] *= 0x1p-29F;  // down to the smallest float
  }
  const tensor weights = make_tensor(dtype::f32, name, {4, columns}, values);
  for (const auto& grid : grids_of<TestType>(weights)) {
    for (const coupling& coupled : couplings) {
      const bernoulli rounding{.seed = 4, .coupling = coupled};
      const auto members = sample<TestType>(weights, grid, rounding, 0, 2);
      CHECK(wrong_codes<TestType>(weights, grid, rounding, 0, members[0]) == 0);
      CHECK(wrong_codes<TestType>(weights, grid, rounding, 1, members[1]) == 0);
      std::size_t moved = 0;
      for (std::size_t column = 0; column < columns; ++column) {
        moved += members[0].code(0, column) == 0 ? 0U : 1U;
      }
      CHECK(moved == 0);
    }
    CHECK(wrong_codes<TestType>(weights, grid, nearest{}, 0, sample<TestType>(weights, grid, nearest{}, 0, 1)[0]) == 0);
  }
}

TEST_CASE("a grid of another size, a member beyond the period and integers are refused", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({4, 100});
  const auto grid = fitted_grid<int7>(weights);
  CHECK_THROWS_AS(sample<int7>(made({5, 100}), grid, nearest{}, 0, 1), pluria::precondition_error);
  CHECK_THROWS_AS(sample<int7>(made({4, 101}), grid, nearest{}, 0, 1), pluria::precondition_error);
  CHECK_THROWS_AS(sample<int7>(weights, shared_grid<int7>{}, nearest{}, 0, 1), pluria::precondition_error);
  CHECK_THROWS_AS(sample<int7>(weights, grid, nearest{}, 0, 1, -1), pluria::precondition_error);
  const std::uint64_t period = std::uint64_t{1} << 32;
  CHECK_NOTHROW(sample<int7>(weights, grid, bernoulli{}, period - 1, 1));
  CHECK_THROWS_AS(sample<int7>(weights, grid, bernoulli{}, period - 1, 2), pluria::precondition_error);
  const bernoulli coupled{.coupling = lattice(8)};
  CHECK_NOTHROW(sample<int7>(weights, grid, coupled, 8 * period - 1, 1));
  CHECK_THROWS_AS(sample<int7>(weights, grid, coupled, 8 * period, 1), pluria::precondition_error);

  const auto bytes = std::make_shared<const std::vector<std::byte>>(400);
  const tensor integers(name, dtype::i8, {4, 100}, *bytes, bytes, "vit.safetensors");
  CHECK(support::message_of<pluria::bad_input>([&] { sample<int7>(integers, grid, nearest{}, 0, 1); }) ==
        "vit.safetensors: tensor \"blocks.0.attn.qkv.weight\": expected dtype F32, F16 or BF16, found I8");
}

const pluria::tensor_shape odd_shapes[] = {{1, 1}, {3, 127}, {2, 128}, {3, 129}, {17, 5}, {1, 300}, {5, 1}, {300}};

TEMPLATE_LIST_TEST_CASE("members over a shared floor are those that are packed each for themselves", "[kernel]",
                        field_widths) {
  for (const dtype type : weight_types) {
    for (const pluria::tensor_shape& shape : odd_shapes) {
      const tensor weights = made(shape, type);
      for (const auto& grid : {fitted_grid<TestType>(weights, pluria::per_tensor{}), fitted_grid<TestType>(weights),
                               fitted_grid<TestType>(weights, pluria::per_group(16)),
                               fitted_grid<TestType>(weights, pluria::per_group(32)),
                               fitted_grid<TestType>(weights, pluria::per_group(48))}) {
        std::size_t wrong = 0;
        for (const coupling& coupled : couplings) {
          const bernoulli rounding{.seed = 0x123456789abcdef0U, .coupling = coupled};
          wrong += wrong_shared_floors<TestType>(weights, grid, rounding, coupled.block() * 3 - 2, 3);
          wrong += wrong_shared_floors<TestType>(weights, grid, rounding, 5, 1);
        }
        CAPTURE(pluria::to_string(shape), static_cast<int>(type), grid->map.size());
        CHECK(wrong == 0);
      }
    }
  }
  const tensor weights = made({3, 300});
  for (const coupling& coupled : couplings) {
    const bernoulli rounding{.seed = 8, .coupling = coupled};
    CHECK(wrong_shared_floors<TestType>(weights, fitted_grid<TestType>(weights), rounding, 13, 10) == 0);
    CHECK(wrong_shared_floors<TestType>(weights, fitted_grid<TestType>(weights), rounding, 251, 64) == 0);
  }
}

TEST_CASE("any number of threads gives the same words, over a shared floor and as positions", "[kernel]") {
  using int7 = symmetric_int<7>;
  for (const pluria::tensor_shape& shape : {pluria::tensor_shape{200, 300}, {5000, 3}, {1, 70000}}) {
    const tensor weights = made(shape, dtype::bf16);
    const auto grid = fitted_grid<int7>(weights);
    for (const coupling& coupled : {pluria::independent, lattice(8)}) {
      const bernoulli rounding{.seed = 7, .coupling = coupled};
      const auto expected = pluria::sample_shared_floor<int7>(weights, grid, rounding, 3, 10, 1);
      for (const int threads : {0, 2, 3}) {
        CHECK(pluria::sample_shared_floor<int7>(weights, grid, rounding, 3, 10, threads) == expected);
      }
    }
    const auto positions = pluria::sample_fixed_point<int7>(weights, grid, 1);
    for (const int threads : {0, 2, 3}) {
      CHECK(pluria::sample_fixed_point<int7>(weights, grid, threads) == positions);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("members that are sampled later are appended to those that there are", "[kernel]",
                        field_widths) {
  using form = pluria::shared_floor_tensor<TestType>;
  const tensor weights = made({3, 300});
  const auto grid = fitted_grid<TestType>(weights);
  for (const coupling& coupled : couplings) {
    const bernoulli rounding{.seed = 31, .coupling = coupled};
    const auto of = [&](std::uint64_t first, std::size_t count) {
      return pluria::sample_shared_floor<TestType>(weights, grid, rounding, first, count);
    };
    CHECK(form::joined(of(2, 3), of(5, 8)) == of(2, 11));
    CHECK(form::joined(of(0, 1), of(1, 63)) == of(0, 64));
    CHECK(form::joined(form::joined(of(250, 4), of(254, 4)), of(258, 4)) == of(250, 12));
  }
  // The same grid with other weights: other floors.
  const tensor other = make_tensor(dtype::f32, name, {3, 300}, support::integer_weights(900, 0.5F, 77));
  CHECK_THROWS_AS(form::joined(pluria::sample_shared_floor<TestType>(weights, grid, bernoulli{}, 0, 2),
                               pluria::sample_shared_floor<TestType>(other, grid, bernoulli{}, 2, 2)),
                  pluria::precondition_error);
}

TEST_CASE("where granules lie changes no member", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({37, 300});
  for (const std::size_t group : {16U, 48U, 128U}) {
    const auto grid = fitted_grid<int7>(weights, pluria::per_group(group));
    const auto tiles = std::make_shared<const pluria::tensor_grid<int7>>(grid->in_tiles());
    for (const coupling& coupled : couplings) {
      const bernoulli rounding{.seed = 17, .coupling = coupled};
      const auto words = [&](const shared_grid<int7>& on) {
        const auto member = sample<int7>(weights, on, rounding, 6, 1).front();
        return std::vector<std::uint32_t>(member.words().begin(), member.words().end());
      };
      CHECK(words(tiles) == words(grid));
      CHECK(pluria::sample_shared_floor<int7>(weights, tiles, rounding, 6, 3) ==
            pluria::sample_shared_floor<int7>(weights, grid, rounding, 6, 3));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("positions are kept to four bits unless another number is asked for", "[kernel]",
                        field_widths) {
  for (const pluria::tensor_shape& shape : odd_shapes) {
    for (const dtype type : weight_types) {
      const tensor weights = made(shape, type);
      for (const auto& grid : grids_of<TestType>(weights)) {
        CAPTURE(pluria::to_string(shape), static_cast<int>(type), grid->map.size());
        CHECK(wrong_positions<TestType, 4>(weights, grid) == 0);
      }
    }
  }
}

// A tensor whose positions on INT-8's grid of scale 1 / 512 are all fractions of 16 bits, between codes that change.
tensor all_fractions() {
  std::vector<float> values(65536);
  for (std::size_t fraction = 0; fraction < values.size(); ++fraction) {
    const std::int32_t below = static_cast<std::int32_t>(fraction % 7) - 4;
    values[fraction] = (static_cast<float>(below) + static_cast<float>(fraction) / 65536.0F) / 512.0F;
  }
  return make_tensor(dtype::f32, name, {1, 65536}, values);
}

TEST_CASE("every fraction is rounded to F bits, half to even, as the definition says", "[kernel]") {
  using int8 = symmetric_int<8>;
  const tensor weights = all_fractions();
  const auto grid = std::make_shared<const pluria::tensor_grid<int8>>(pluria::per_tensor{}.map({1, 65536}),
                                                                      std::vector<int8::granule>{{1.0F / 512.0F}});
  const std::vector<float> values = weights.to_floats();
  std::size_t missed = 0;
  for (std::size_t fraction = 0; fraction < values.size(); ++fraction) {
    missed +=
        (static_cast<std::uint32_t>(int8::position(values[fraction], grid->at(0, fraction))) & 0xffffU) == fraction
            ? 0U
            : 1U;
  }
  REQUIRE(missed == 0);
  std::array<std::size_t, 8> wrong{};
  pluria::lanes::unrolled<8>(
      [&](auto f) { wrong[f] = wrong_positions<int8, static_cast<int>(decltype(f)::value) + 1>(weights, grid); });
  CHECK(wrong == std::array<std::size_t, 8>{});
}

TEST_CASE("tensors without elements give shared floors and positions without words", "[kernel]") {
  using int7 = symmetric_int<7>;
  for (const pluria::tensor_shape& shape : {pluria::tensor_shape{0}, {0, 300}, {3, 0}, {0, 0}}) {
    const tensor weights = made(shape);
    for (const auto& grid : grids_of<int7>(weights)) {
      const auto shared = pluria::sample_shared_floor<int7>(weights, grid, bernoulli{}, 0, 2);
      CHECK(shared.words().empty());
      CHECK(shared.rows() == weights.rows());
      CHECK(pluria::sample_fixed_point<int7>(weights, grid).words().empty());
    }
  }
}

TEST_CASE("batches of every width give the same floors, planes and positions", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({3, 300});
  const auto grid = fitted_grid<int7>(weights);
  const auto check = [&](auto arch) {
    using Arch = decltype(arch);
    if constexpr (Arch::supported()) {
      CAPTURE(Arch::name());
      CHECK(pluria::sample_fixed_point<int7, 3, Arch>(weights, grid) ==
            pluria::sample_fixed_point<int7, 3>(weights, grid));
      for (const coupling& coupled : couplings) {
        const bernoulli rounding{.seed = 11, .coupling = coupled};
        CHECK(pluria::sample_shared_floor<int7, pluria::generator, Arch>(weights, grid, rounding, 6, 10) ==
              pluria::sample_shared_floor<int7>(weights, grid, rounding, 6, 10));
      }
    }
  };
  check(xsimd::sse4_2{});
  check(xsimd::avx2{});
}

TEST_CASE("shared floors and positions refuse what cannot be sampled", "[kernel]") {
  using int7 = symmetric_int<7>;
  const tensor weights = made({4, 100});
  const auto grid = fitted_grid<int7>(weights);
  const auto shared = [&](const tensor& of, const shared_grid<int7>& on, const coupling& coupled, std::uint64_t first,
                          std::size_t count, int threads = 1) {
    return support::message_of<pluria::precondition_error>(
        [&] { pluria::sample_shared_floor<int7>(of, on, bernoulli{.coupling = coupled}, first, count, threads); });
  };
  CHECK(shared(weights, grid, pluria::independent, 0, 64) == "no error");
  CHECK(shared(weights, grid, pluria::independent, 0, 0) == "shared_floor_tensor: 1 to 64 members");
  CHECK(shared(weights, grid, pluria::independent, 0, 65) == "shared_floor_tensor: 1 to 64 members");
  CHECK(shared(weights, nullptr, pluria::independent, 0, 1) == "shared_floor_tensor: a grid is needed");
  const std::string size = "sample: the grid must have the tensor's rows and columns";
  CHECK(shared(made({5, 100}), grid, pluria::independent, 0, 1) == size);
  CHECK(shared(made({4, 101}), grid, lattice(8), 0, 1) == size);
  CHECK(shared(weights, grid, pluria::independent, 0, 1, -1) == "the number of threads must not be negative");
  const std::uint64_t period = std::uint64_t{1} << 32;
  const std::string beyond = "the number of a member, or of its block, must be below 2^32";
  CHECK(shared(weights, grid, pluria::independent, period - 1, 1) == "no error");
  CHECK(shared(weights, grid, pluria::independent, period - 1, 2) == beyond);
  CHECK(shared(weights, grid, lattice(8), 8 * period - 1, 1) == "no error");
  CHECK(shared(weights, grid, lattice(8), 8 * period - 1, 2) == beyond);

  const auto positions = [&](const tensor& of, const shared_grid<int7>& on) {
    return support::message_of<pluria::precondition_error>([&] { pluria::sample_fixed_point<int7>(of, on); });
  };
  CHECK(positions(weights, nullptr) == "fixed_point_tensor: a grid is needed");
  CHECK(positions(made({5, 100}), grid) == size);
  CHECK(positions(made({4, 101}), grid) == size);

  const auto bytes = std::make_shared<const std::vector<std::byte>>(400);
  const tensor integers(name, dtype::i8, {4, 100}, *bytes, bytes, "vit.safetensors");
  const std::string type =
      "vit.safetensors: tensor \"blocks.0.attn.qkv.weight\": expected dtype F32, F16 or BF16, found I8";
  CHECK(support::message_of<pluria::bad_input>(
            [&] { pluria::sample_shared_floor<int7>(integers, grid, bernoulli{}, 0, 1); }) == type);
  CHECK(support::message_of<pluria::bad_input>([&] { pluria::sample_fixed_point<int7>(integers, grid); }) == type);
}

}  // namespace
