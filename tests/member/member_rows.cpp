// SPDX-License-Identifier: MIT

#include <pluria/kernel/sample.hpp>
#include <pluria/member/member_rows.hpp>
#include <pluria/number/affine_int.hpp>
#include <pluria/number/block_scaled.hpp>
#include <pluria/number/codebook.hpp>
#include <pluria/number/fitted_codebook.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/architectures.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace {

using pluria::any_grid;
using pluria::any_rounding;
using pluria::bernoulli;
using pluria::dtype;
using pluria::granule_map;
using pluria::lattice;
using pluria::nearest;
using pluria::precondition_error;
using pluria::symmetric_int;
using pluria::tensor;
using pluria::tensor_shape;
using pluria::write_member_rows;
using support::shared_grid;

const std::vector<any_rounding> roundings{nearest{}, bernoulli{.seed = 1},
                                          bernoulli{.seed = 1, .coupling = lattice(4)}};

tensor made_weights(const tensor_shape& shape, dtype type = dtype::f32, const std::string& name = "w") {
  return support::make_tensor(type, name, shape, support::integer_weights(pluria::element_count(shape, name), 1.0F, 11),
                              "net.safetensors");
}

template <pluria::number_system N>
shared_grid<N> grid_of(const tensor& weights) {
  if constexpr (requires { N::block; }) {
    return support::fitted_grid<N>(weights, pluria::per_group(N::block));
  } else {
    return support::fitted_grid<N>(weights);
  }
}

// Rows of member k by the scalar definition, a weight at a time.
template <pluria::number_system N>
std::vector<std::byte> expected_rows(const tensor& weights, const pluria::tensor_grid<N>& grid,
                                     const any_rounding& rounding, std::uint64_t k, std::size_t first_row,
                                     std::size_t count, dtype type) {
  const std::vector<float> all = weights.to_floats();
  const std::uint64_t hash = pluria::name_hash(weights.name());
  const std::size_t columns = weights.columns();
  std::vector<float> values(count * columns);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t row = first_row + i / columns;
    const std::size_t column = i % columns;
    const auto& granule = grid.at(row, column);
    const std::uint64_t block = row * pluria::blocks_per_row(columns) + column / 128;
    const std::int32_t position = N::position(all[row * columns + column], granule);
    const std::int32_t code = std::visit(
        [&](const auto& method) {
          return pluria::member_code(method, position, hash, block, static_cast<std::uint32_t>(column % 128), k);
        },
        rounding);
    values[i] = N::decode(code, granule);
  }
  std::vector<std::byte> bytes(values.size() * pluria::size_of(type));
  pluria::write_weights(values, type, bytes);
  return bytes;
}

// Room for the rows of some members, each behind and before a byte that nothing may touch, so at odd addresses too.
class guarded_room {
 public:
  guarded_room(std::size_t members, std::size_t bytes) : bytes_(bytes), room_(members * (bytes + 1) + 1, guard) {
    for (std::size_t m = 0; m < members; ++m) {
      spans_.push_back(std::span<std::byte>(room_).subspan(m * (bytes + 1) + 1, bytes));
    }
  }
  std::span<const std::span<std::byte>> spans() const noexcept { return spans_; }
  bool holds(std::size_t member, const std::vector<std::byte>& expected) const {
    return std::equal(spans_[member].begin(), spans_[member].end(), expected.begin(), expected.end());
  }
  bool is_intact() const {
    bool intact = true;
    for (std::size_t place = 0; place < room_.size(); place += bytes_ + 1) {
      intact = intact && room_[place] == guard;
    }
    return intact;
  }
  bool is_untouched() const {
    return std::all_of(room_.begin(), room_.end(), [](std::byte byte) { return byte == guard; });
  }

 private:
  static constexpr std::byte guard{0xa5};
  std::size_t bytes_;
  std::vector<std::byte> room_;
  std::vector<std::span<std::byte>> spans_;
};

struct part {
  std::uint64_t first = 0;
  std::size_t members = 1;
  std::size_t first_row = 0;
  std::size_t rows = 0;
  dtype type = dtype::f32;
  int threads = 1;
};

template <pluria::number_system N, class Arch = xsimd::default_arch>
bool follows_the_definition(const tensor& weights, const shared_grid<N>& grid, const any_rounding& rounding,
                            const part& asked) {
  guarded_room room(asked.members, asked.rows * weights.columns() * pluria::size_of(asked.type));
  write_member_rows<Arch>(weights, any_grid::of<N, Arch>(grid), rounding, asked.first, asked.first_row, asked.type,
                          room.spans(), asked.threads);
  bool same = room.is_intact();
  for (std::size_t m = 0; same && m < asked.members; ++m) {
    same = room.holds(
        m, expected_rows<N>(weights, *grid, rounding, asked.first + m, asked.first_row, asked.rows, asked.type));
  }
  return same;
}

TEMPLATE_TEST_CASE("rows of members of any number system follow the scalar definition", "[member]", symmetric_int<2>,
                   symmetric_int<8>, pluria::full_range_int<4>, pluria::affine_int<3>, pluria::affine_int<8>,
                   pluria::nf4, pluria::least_variance_codebook<4>, pluria::fp8_e4m3, pluria::nvfp4, pluria::mxint8) {
  const tensor weights = made_weights({5, 300});
  const auto grid = grid_of<TestType>(weights);
  for (const any_rounding& rounding : roundings) {
    CAPTURE(TestType::name(), rounding.index());
    CHECK(follows_the_definition<TestType>(weights, grid, rounding, {.first = 2, .members = 3, .rows = 5}));
    CHECK(follows_the_definition<TestType>(weights, grid, rounding,
                                           {.first = 2, .members = 2, .first_row = 3, .rows = 2}));
  }
}

TEST_CASE("rows of members of any shape, source and weight type follow the scalar definition", "[member]") {
  using int5 = symmetric_int<5>;
  for (const dtype source : {dtype::f32, dtype::f16, dtype::bf16}) {
    for (const tensor_shape& shape : {tensor_shape{}, {1}, {200}, {3, 1}, {3, 127}, {3, 128}, {3, 129}, {2, 2, 5, 5}}) {
      const tensor weights = made_weights(shape, source);
      const auto grid = grid_of<int5>(weights);
      for (const any_rounding& rounding : roundings) {
        for (const dtype type : {dtype::f32, dtype::f16, dtype::bf16}) {
          CAPTURE(shape, source, type, rounding.index());
          CHECK(follows_the_definition<int5>(weights, grid, rounding,
                                             {.first = 7, .members = 2, .rows = weights.rows(), .type = type}));
        }
      }
    }
  }
}

TEST_CASE("rows of members have the granules of the tensor's rows", "[member]") {
  using int4 = symmetric_int<4>;
  const tensor weights = made_weights({6, 200});
  for (const granule_map& map : support::all_maps(6, 200)) {
    const auto grid = support::made_grid<int4>(map);
    CAPTURE(map.size());
    for (std::size_t first_row = 0; first_row <= 6; ++first_row) {
      CHECK(follows_the_definition<int4>(weights, grid, bernoulli{.seed = 3},
                                         {.members = 2, .first_row = first_row, .rows = 6 - first_row}));
    }
  }
}

TEST_CASE("weights beyond the grid get its outermost values", "[member]") {
  using int3 = symmetric_int<3>;
  const tensor weights = support::make_tensor(dtype::f32, "w", {1, 6}, std::vector<float>{-9, 9, 3, -3, 1e30F, -1e30F});
  const auto grid = std::make_shared<const pluria::tensor_grid<int3>>(granule_map::whole(1, 6),
                                                                      std::vector<int3::granule>{{.scale = 1.0F}});
  for (const any_rounding& rounding : roundings) {
    std::vector<float> values(6);
    const std::vector<std::span<std::byte>> out{std::as_writable_bytes(std::span(values))};
    write_member_rows(weights, any_grid::of<int3>(grid), rounding, 0, 0, dtype::f32, out);
    CHECK(values == std::vector<float>{-3, 3, 3, -3, 3, -3});
  }
}

TEST_CASE("many rows, and rows of many columns, are the same for any number of threads", "[member]") {
  using int4 = symmetric_int<4>;
  // Several parts of rows; a row to each part; and more columns than a part wants.
  for (const tensor_shape& shape : {tensor_shape{700, 100}, {40'000, 1}, {3, 33'000}}) {
    const tensor weights = made_weights(shape);
    const auto grid = grid_of<int4>(weights);
    for (const int threads : {1, 2, 3, 0}) {
      for (const std::size_t first_row : {0U, 1U}) {
        CAPTURE(shape, threads, first_row);
        CHECK(follows_the_definition<int4>(weights, grid, bernoulli{.seed = 5},
                                           {.members = 2,
                                            .first_row = first_row,
                                            .rows = weights.rows() - first_row,
                                            .type = dtype::bf16,
                                            .threads = threads}));
      }
    }
  }
}

TEST_CASE("rows of members are the same on machines of every width", "[member]") {
  using int6 = symmetric_int<6>;
  const tensor weights = made_weights({4, 170});
  const auto grid = support::fitted_grid<int6>(weights, pluria::per_group(48));
  CHECK(support::for_each_architecture([&](auto arch) {
          for (const any_rounding& rounding : roundings) {
            CAPTURE(decltype(arch)::name(), rounding.index());
            CHECK(follows_the_definition<int6, decltype(arch)>(
                weights, grid, rounding, {.first = 1, .members = 5, .first_row = 1, .rows = 3, .type = dtype::f16}));
          }
        }) > 0);
}

TEST_CASE("members may begin anywhere, within blocks of a lattice and up to the last number", "[member]") {
  using int4 = symmetric_int<4>;
  const tensor weights = made_weights({2, 130});
  const auto grid = grid_of<int4>(weights);
  const std::uint64_t count = std::uint64_t{1} << 32;
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{6}, count - 9}) {
    for (const any_rounding& rounding : roundings) {
      CHECK(follows_the_definition<int4>(weights, grid, rounding, {.first = first, .members = 9, .rows = 2}));
    }
  }
  const auto write = [&](const any_rounding& rounding, std::uint64_t first, std::size_t members) {
    const guarded_room room(members, 2 * 130 * 4);
    write_member_rows(weights, any_grid::of<int4>(grid), rounding, first, 0, dtype::f32, room.spans());
  };
  CHECK_THROWS_AS(write(bernoulli{}, count - 9, 10), precondition_error);
  CHECK_THROWS_AS(write(bernoulli{}, std::numeric_limits<std::uint64_t>::max(), 2), precondition_error);
  // Blocks are what is numbered: a lattice of 4 has four times as many members. Rounding to nearest has no numbers.
  const any_rounding coupled = bernoulli{.seed = 1, .coupling = lattice(4)};
  CHECK(follows_the_definition<int4>(weights, grid, coupled, {.first = 4 * count - 1, .rows = 2}));
  CHECK_THROWS_AS(write(coupled, 4 * count - 1, 2), precondition_error);
  CHECK_NOTHROW(write(nearest{}, std::numeric_limits<std::uint64_t>::max(), 2));
}

TEST_CASE("members of another name or seed are others", "[member]") {
  using int4 = symmetric_int<4>;
  const tensor weights = made_weights({4, 64});
  const any_grid grid = any_grid::of<int4>(grid_of<int4>(weights));
  const auto drawn = [&](const tensor& from, const any_rounding& rounding) {
    std::vector<float> values(4 * 64);
    const std::vector<std::span<std::byte>> out{std::as_writable_bytes(std::span(values))};
    write_member_rows(from, grid, rounding, 0, 0, dtype::f32, out);
    return values;
  };
  const std::vector<float> one = drawn(weights, bernoulli{.seed = 1});
  CHECK(drawn(made_weights({4, 64}), bernoulli{.seed = 1}) == one);
  CHECK(drawn(weights.renamed("v"), bernoulli{.seed = 1}) != one);
  CHECK(drawn(weights, bernoulli{.seed = 2}) != one);
  CHECK(drawn(weights.renamed("v"), nearest{}) == drawn(weights, nearest{}));
}

TEST_CASE("rows of tensors that are no weights are refused by name", "[member]") {
  using int4 = symmetric_int<4>;
  const auto bytes = std::make_shared<const std::vector<std::byte>>(8);
  const tensor steps("steps", dtype::i32, {1, 2}, *bytes, bytes, "net.safetensors");
  const any_grid grid = any_grid::of<int4>(support::made_grid<int4>(granule_map::whole(1, 2)));
  const std::string message = "net.safetensors: tensor \"steps\": expected dtype F32, F16 or BF16, found I32";
  for (const std::size_t members : {0U, 1U}) {
    const guarded_room room(members, 8);
    CHECK(support::message_of<pluria::bad_input>(
              [&] { write_member_rows(steps, grid, nearest{}, 0, 0, dtype::f32, room.spans()); }) == message);
    CHECK(room.is_untouched());
  }
}

TEST_CASE("a grid of another size, or a type that is none of weights, is refused", "[member]") {
  using int4 = symmetric_int<4>;
  const tensor weights = made_weights({4, 32});
  const auto write = [&](const granule_map& map, dtype type) {
    const guarded_room room(2, 4 * 32 * pluria::size_of(type));
    write_member_rows(weights, any_grid::of<int4>(support::made_grid<int4>(map)), bernoulli{}, 0, 0, type,
                      room.spans());
  };
  CHECK_NOTHROW(write(granule_map::groups(4, 32, 32), dtype::f32));
  CHECK_THROWS_AS(write(granule_map::groups(3, 32, 32), dtype::f32), precondition_error);
  CHECK_THROWS_AS(write(granule_map::groups(5, 32, 32), dtype::f32), precondition_error);
  CHECK_THROWS_AS(write(granule_map::groups(4, 48, 48), dtype::f32), precondition_error);
  CHECK_THROWS_AS(write(granule_map::whole(32, 4), dtype::f32), precondition_error);
  for (const dtype type : {dtype::f64, dtype::i32, dtype::i16, dtype::boolean}) {
    CHECK_THROWS_AS(write(granule_map::groups(4, 32, 32), type), precondition_error);
  }
}

TEST_CASE("room that is not for the same whole rows of the tensor is refused and left as it was", "[member]") {
  using int4 = symmetric_int<4>;
  const tensor weights = made_weights({4, 32});
  const any_grid grid = any_grid::of<int4>(grid_of<int4>(weights));
  constexpr std::size_t row = 32 * 4;
  const auto refuses = [&](std::size_t first_row, std::size_t one, std::size_t two) {
    std::vector<std::byte> room(one + two, std::byte{0xa5});
    const std::span<std::byte> all(room);
    const std::vector<std::span<std::byte>> out{all.first(one), all.subspan(one)};
    CHECK_THROWS_AS(write_member_rows(weights, grid, nearest{}, 0, first_row, dtype::f32, out), precondition_error);
    return std::all_of(room.begin(), room.end(), [](std::byte byte) { return byte == std::byte{0xa5}; });
  };
  CHECK(refuses(0, row, 2 * row));
  CHECK(refuses(0, 2 * row, row));
  CHECK(refuses(0, row, row + 4));
  CHECK(refuses(0, row + 4, row + 4));
  CHECK(refuses(0, row - 1, row - 1));
  CHECK(refuses(0, 0, row));
  CHECK(refuses(0, 5 * row, 5 * row));
  CHECK(refuses(1, 4 * row, 4 * row));
  CHECK(refuses(4, row, row));
  CHECK(refuses(5, 0, 0));
  // No sum that wraps around.
  CHECK(refuses(std::numeric_limits<std::size_t>::max(), row, row));
  CHECK(refuses(std::numeric_limits<std::size_t>::max() - 1, 2 * row, 2 * row));
}

TEST_CASE("no rows, no columns and no members are nothing to write", "[member]") {
  using int4 = symmetric_int<4>;
  const tensor weights = made_weights({4, 32});
  const any_grid grid = any_grid::of<int4>(grid_of<int4>(weights));
  const guarded_room room(2, 0);
  for (const std::size_t first_row : {0U, 4U}) {
    CHECK_NOTHROW(write_member_rows(weights, grid, bernoulli{}, 0, first_row, dtype::f32, room.spans()));
  }
  CHECK_NOTHROW(write_member_rows(weights, grid, bernoulli{}, 0, 0, dtype::f32, {}));
  for (const tensor_shape& shape : {tensor_shape{3, 0}, {0, 3}, {0}}) {
    const tensor empty = made_weights(shape);
    const any_grid none =
        any_grid::of<int4>(support::made_grid<int4>(granule_map::whole(empty.rows(), empty.columns())));
    CHECK_NOTHROW(write_member_rows(empty, none, bernoulli{}, 0, 0, dtype::f32, room.spans()));
  }
  CHECK(room.is_untouched());
}

}  // namespace
