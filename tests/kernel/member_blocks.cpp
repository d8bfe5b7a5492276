// SPDX-License-Identifier: MIT

#include <pluria/kernel/member_blocks.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/naive_packing.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace support;
using pluria::bernoulli;
using pluria::coupling;
using pluria::fixed_point_members;
using pluria::lattice;
using pluria::packed_members;
using pluria::symmetric_int;
using pluria::tensor;

using int4 = symmetric_int<4>;
const char* const name = "blocks.0.attn.qkv.weight";

tensor made(std::size_t rows, std::size_t columns) {
  return make_tensor(pluria::dtype::f32, name, {rows, columns}, integer_weights(rows * columns, 1.0F, 9));
}

template <class Number, int F>
fixed_point_members<Number, F> drawn(const tensor& weights, const bernoulli& rounding, std::uint64_t first,
                                     std::size_t count) {
  return {pluria::sample_fixed_point<Number, F>(weights, fitted_grid<Number>(weights)), weights.name(), rounding, first,
          count};
}

// The law of member_storage: how many codes, padding included, a storage's views show otherwise than `code` says.
template <class Arch, pluria::member_storage M>
std::size_t wrong_codes(const M& weights) {
  using number = typename M::number;
  const std::size_t blocks = (weights.columns() + 127) / 128;
  std::size_t wrong = 0;
  std::size_t seen = 0;
  pluria::detail::for_each_view<Arch>(weights, [&](const auto& view, std::size_t first) {
    using view_type = std::decay_t<decltype(view)>;
    seen += view.members();
    // Padding is the code zero.
    const auto check = [&](std::size_t row, std::size_t index, std::size_t m, std::size_t e, std::uint32_t stored) {
      const std::size_t column = 128 * index + e;
      const auto code = static_cast<std::int32_t>(stored) + number::min_code;
      wrong += code == (column < weights.columns() ? weights.code(first + m, row, column) : 0) ? 0U : 1U;
    };
    const auto up_of = [](const std::uint32_t* planes, std::size_t m, std::size_t e) {
      return planes[4 * m + naive_place(e) / 32] >> naive_place(e) % 32 & 1U;
    };
    const std::size_t plane_words = 4 * view.members();
    for (std::size_t row = 0; row < weights.rows(); ++row) {
      for (std::size_t index = 0; index < blocks; ++index) {
        pluria::aligned_vector<std::uint32_t> planes(16 * plane_words, 0U);
        pluria::aligned_vector<std::uint32_t> floors(16 * 32);
        std::array<std::uint32_t, 128> stored{};
        std::size_t first_plane = 0;
        if constexpr (view_type::is_tiled) {
          view.template rows<Arch>(row, index, {floors.data(), 32, planes.data(), plane_words});
          first_plane = row % 16 * plane_words;
          for (std::size_t e = 0; e < 128; ++e) {
            const std::size_t place = naive_place(e);
            stored[e] = floors[row % 16 * 32 + place / 4] >> (8 * (place % 4)) & 0xffU;
          }
        } else {
          const std::uint32_t* block = view.first_block() + (row * blocks + index) * view.block_words();
          pluria::packed_block<number::bits>::unpack(
              std::span<const std::uint32_t, 4 * number::bits>(block, 4 * number::bits), stored);
          if constexpr (view_type::has_planes) {
            view.make_planes(row, index, block, planes.data());
          }
        }
        for (std::size_t m = 0; m < view.members(); ++m) {
          for (std::size_t e = 0; e < 128; ++e) {
            check(row, index, m, e, stored[e] + up_of(planes.data() + first_plane, m, e));
          }
        }
      }
    }
  });
  return wrong + (seen == weights.members() ? 0U : 1U);
}

constexpr std::pair<std::size_t, std::size_t> shapes[] = {{1, 1}, {3, 128}, {2, 129}, {3, 300}, {2, 640}};

// Independent members and lattices of 2, 4, ..., 2^F.
std::vector<coupling> couplings_up_to(int f) {
  std::vector<coupling> result;
  for (std::uint32_t block = 1; block <= 1U << f; block *= 2) {
    result.emplace_back(block);
  }
  return result;
}

template <class Arch, class Number, int F>
std::size_t wrong_fixed_points() {
  std::size_t wrong = 0;
  for (const auto& [rows, columns] : shapes) {
    const tensor weights = made(rows, columns);
    const auto positions = pluria::sample_fixed_point<Number, F>(weights, fitted_grid<Number>(weights));
    for (const coupling& coupled : couplings_up_to(F)) {
      const bernoulli rounding{.seed = 0x123456789abcdef0U, .coupling = coupled};
      // From before the end of one lattice block, over whole ones if they are small; and the very last members.
      const std::uint64_t end = std::uint64_t{coupled.block()} << 32;
      for (const auto& [first, count] :
           {std::pair<std::uint64_t, std::size_t>{0, 1}, {3 * coupled.block() - 1, 11}, {end - 5, 5}}) {
        wrong += wrong_codes<Arch>(fixed_point_members<Number, F>(positions, name, rounding, first, count));
      }
    }
  }
  return wrong;
}

template <int Bits, int F>
struct kept {
  using number = symmetric_int<Bits>;
  static constexpr int fraction_bits = F;
};
using all_kept = std::tuple<kept<2, 1>, kept<3, 2>, kept<4, 3>, kept<4, 4>, kept<5, 5>, kept<6, 6>, kept<7, 7>,
                            kept<8, 8>, kept<8, 4>>;

TEMPLATE_LIST_TEST_CASE("planes made from fractions and bytes are the definition's codes", "[kernel]", all_kept) {
  CHECK(wrong_fixed_points<xsimd::default_arch, typename TestType::number, TestType::fraction_bits>() == 0);
}

TEST_CASE("every instruction set that is compiled makes the definition's planes", "[kernel]") {
  CHECK(for_each_architecture([](auto arch) {
          CAPTURE(decltype(arch)::name());
          CHECK(wrong_fixed_points<decltype(arch), int4, 4>() == 0);
        }) >= 1);
}

TEST_CASE("packed members and shared floors show their codes", "[kernel]") {
  using int5 = symmetric_int<5>;
  for (const auto& [rows, columns] : shapes) {
    const tensor weights = made(rows, columns);
    const auto grid = fitted_grid<int5>(weights, pluria::per_group(48));
    const bernoulli rounding{.seed = 3, .coupling = lattice(4)};
    CHECK(wrong_codes<xsimd::default_arch>(
              packed_members<int5>(pluria::sample<int5>(weights, grid, rounding, 1, 10))) == 0);
    CHECK(wrong_codes<xsimd::default_arch>(pluria::sample_shared_floor<int5>(weights, grid, rounding, 1, 10)) == 0);
  }
}

TEST_CASE("a drawn code is (2^F position + dither) >> F, the dither from the formula", "[kernel]") {
  const tensor weights = made(3, 300);
  const std::uint64_t hash = pluria::name_hash(name);
  for (const std::uint32_t block : {1U, 8U}) {
    const bernoulli rounding{.seed = 99, .coupling = coupling{block}};
    const auto members = drawn<int4, 4>(weights, rounding, 13, 20);
    std::size_t wrong = 0;
    for (std::size_t m = 0; m < 20; ++m) {
      const std::uint64_t k = 13 + m;
      const pluria::stream random(99, hash, pluria::purpose::fixed_point, block == 1 ? 0 : 3, k / block);
      for (std::size_t row = 0; row < 3; ++row) {
        for (std::size_t column = 0; column < 300; ++column) {
          // Three blocks a row are two pairs of 16 outputs.
          const std::size_t place = naive_place(column % 128);
          const std::uint32_t word =
              random(16 * (2 * row + column / 256) + place % 64 / 4)[column / 128 % 2 * 2 + place / 64];
          const std::uint32_t byte = word >> (8 * (place % 4)) & 0xffU;
          const std::uint32_t dither =
              (byte / 16 + (2 * (byte % 16) + 1) * (16 / block) * static_cast<std::uint32_t>(k % block)) % 16;
          const std::int32_t position = members.positions().code(row, column);
          const auto expected = static_cast<std::int32_t>(std::floor((position + static_cast<double>(dither)) / 16));
          wrong += members.code(m, row, column) == expected ? 0U : 1U;
        }
      }
    }
    CAPTURE(block);
    CHECK(wrong == 0);
    CHECK(members.members() == 20);
    CHECK(members.first() == 13);
    CHECK(members.rows() == 3);
    CHECK(members.columns() == 300);
    CHECK(members.rounding() == rounding);
    CHECK(members.name_hash_value() == hash);
    CHECK(members.code_bits() == 9 * 128 * 8);
    CHECK(members.granule_bits() == 3 * 32);
  }
}

TEST_CASE("the kernel's planes hold for another generator too", "[kernel]") {
  using other = pluria::threefry4x32<20>;
  const tensor weights = made(3, 300);
  const auto positions = pluria::sample_fixed_point<int4, 4>(weights, fitted_grid<int4>(weights));
  for (const std::uint32_t block : {1U, 4U}) {
    const pluria::basic_bernoulli<other> rounding{.seed = 7, .coupling = coupling{block}};
    const fixed_point_members<int4, 4, other> members(positions, name, rounding, 2, 5);
    CHECK(wrong_codes<xsimd::default_arch>(members) == 0);
    const auto usual = drawn<int4, 4>(weights, bernoulli{.seed = 7, .coupling = coupling{block}}, 2, 5);
    std::size_t different = 0;
    for (std::size_t column = 0; column < 300; ++column) {
      different += members.code(0, 0, column) == usual.code(0, 0, column) ? 0U : 1U;
    }
    CHECK(different > 0);
  }
}

TEST_CASE("drawn members need a member, a lattice that fits and numbers below the period", "[kernel]") {
  const tensor weights = made(2, 40);
  const auto message = [&](const coupling& coupled, std::uint64_t first, std::size_t count) {
    return message_of<pluria::precondition_error>(
        [&] { drawn<int4, 4>(weights, bernoulli{.seed = 1, .coupling = coupled}, first, count); });
  };
  const std::string period = "the number of a member, or of its block, must be below 2^32";
  CHECK(message(pluria::independent, 0, 0) == "fixed_point_members: at least one member");
  for (const std::uint32_t block : {1U, 2U, 16U}) {
    const std::uint64_t end = std::uint64_t{block} << 32;
    CHECK(message(coupling{block}, end - 1, 1) == "no error");
    CHECK(message(coupling{block}, end - 1, 2) == period);
    CHECK(message(coupling{block}, end, 1) == period);
    CHECK(message(coupling{block}, 0, static_cast<std::size_t>(end + 1)) == period);
  }
  CHECK(message(lattice(16), 0, 3) == "no error");
  CHECK(message(lattice(32), 0, 3) == "fixed_point: a lattice has at most 2^F members, F the fractional bits");
}

TEST_CASE("packed members are at least one, and of one size", "[kernel]") {
  const auto of = [](const tensor& weights, std::uint64_t first, std::size_t count) {
    return pluria::sample<int4>(weights, fitted_grid<int4>(weights), bernoulli{.seed = 5}, first, count);
  };
  CHECK(message_of<pluria::precondition_error>([] { packed_members<int4>({}); }) ==
        "packed_members: at least one member");
  auto members = of(made(3, 129), 0, 2);
  const packed_members<int4> two(members);
  CHECK(two.members() == 2);
  CHECK(two.rows() == 3);
  CHECK(two.columns() == 129);
  CHECK(two[1] == members[1]);
  CHECK(two.code_bits() == 2 * 6 * 128 * 4);
  CHECK(two.granule_bits() == 3 * 32);
  for (const auto& other : {of(made(3, 128), 0, 1), of(made(2, 129), 0, 1)}) {
    auto mixed = members;
    mixed.push_back(other.front());
    CHECK(message_of<pluria::precondition_error>([&] { packed_members<int4>{mixed}; }) ==
          "packed_members: all members have the same size");
  }
}

// Whether, for each kept fraction, the moves up over weights and members are within 5 standard deviations of their
// share; see tests/rounding/fixed_point.cpp. A fraction has a variance of at most f (1 - f) a decision.
template <class Code>
bool is_unbiased(const pluria::fixed_point_tensor<int4, 4>& positions, std::size_t members, Code code) {
  std::array<double, 16> ups{};
  std::array<double, 16> count{};
  for (std::size_t row = 0; row < positions.rows(); ++row) {
    for (std::size_t column = 0; column < positions.columns(); ++column) {
      const std::int32_t position = positions.code(row, column);
      const auto fraction = static_cast<std::size_t>(position & 15);
      for (std::size_t m = 0; m < members; ++m) {
        ups[fraction] += code(m, row, column) - (position >> 4);
        count[fraction] += 1;
      }
    }
  }
  bool within = ups[0] == 0;
  for (std::size_t fraction = 1; fraction < 16; ++fraction) {
    const double f = static_cast<double>(fraction) / 16;
    const double sigma = std::sqrt(count[fraction] * f * (1 - f));
    within = within && count[fraction] > 0 && std::abs(ups[fraction] - count[fraction] * f) <= 5 * sigma;
  }
  return within;
}

TEST_CASE("drawn members are unbiased about the kept positions, and the check refuses biased ones", "[kernel]") {
  const tensor weights = made(20, 200);
  for (const std::uint32_t block : {1U, 2U, 16U}) {
    const auto members = drawn<int4, 4>(weights, bernoulli{.seed = 21, .coupling = coupling{block}}, 0, 64);
    const auto& positions = members.positions();
    const auto code = [&](std::size_t m, std::size_t row, std::size_t column) { return members.code(m, row, column); };
    CAPTURE(block);
    CHECK(is_unbiased(positions, 64, code));
    // 4000 weights and 64 members are 16000 decisions a fraction, of sigma 63 at most. A weight in 16 that goes up
    // whenever its position is not a code moves sums by 16000 / 16 * (1 - f), 500 at f = 1/2.
    CHECK_FALSE(is_unbiased(positions, 64, [&](std::size_t m, std::size_t row, std::size_t column) {
      const std::int32_t position = positions.code(row, column);
      return column % 16 == 3 ? (position + 15) >> 4 : code(m, row, column);
    }));
    CHECK_FALSE(is_unbiased(positions, 64, [&](std::size_t, std::size_t row, std::size_t column) {
      return (positions.code(row, column) + 8) >> 4;  // nearest
    }));
  }
}

TEST_CASE("members whose numbers wrap around are refused", "[kernel]") {
  const tensor weights = support::make_tensor(pluria::dtype::f32, "a.weight", {1, 16}, support::integer_weights(16));
  const auto positions =
      pluria::sample_fixed_point<pluria::symmetric_int<4>>(weights, fitted_grid<pluria::symmetric_int<4>>(weights));
  CHECK_THROWS_AS((pluria::fixed_point_members<pluria::symmetric_int<4>>(positions, "a.weight", pluria::bernoulli{},
                                                                         ~std::uint64_t{0}, 2)),
                  pluria::precondition_error);
}

}  // namespace
