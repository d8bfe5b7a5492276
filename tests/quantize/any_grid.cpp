// SPDX-License-Identifier: MIT

#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/any_grid.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace {

using pluria::any_grid;
using pluria::block_size;
using pluria::dtype;
using pluria::tensor;

template <class N, class G>
void agrees_with_its_type(const G& granularity) {
  constexpr std::size_t rows = 3;
  constexpr std::size_t columns = 300;
  const tensor weights =
      support::make_tensor(dtype::f32, "w", {rows, columns}, support::integer_weights(rows * columns, 1.0F, 3));
  const auto grid = std::make_shared<const pluria::tensor_grid<N>>(pluria::quantizer<N, G>{granularity}.fit(weights));
  const any_grid erased = any_grid::of<N>(grid);
  CHECK(erased.map() == grid->map);
  CHECK(erased.bits() == N::bits);
  CHECK(erased.min_code() == N::min_code);
  CHECK(erased.granule_bits() == grid->granule_bits());
  CHECK(erased.tiled_granule_bits() == grid->in_tiles().granule_bits());

  const std::vector<float> all = weights.to_floats();
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; column += block_size) {
      const std::size_t count = std::min(block_size, columns - column);
      any_grid::block<float> values{};
      std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(row * columns + column), count, values.begin());
      any_grid::block<std::int32_t> positions{};
      erased.positions(row, column, count, values, positions);
      any_grid::block<std::uint32_t> stored{};
      for (std::size_t e = 0; e < count; ++e) {
        wrong += positions[e] == N::position(values[e], grid->at(row, column + e)) ? 0U : 1U;
        stored[e] = static_cast<std::uint32_t>(e % static_cast<std::size_t>(N::max_code - N::min_code + 1));
      }
      std::vector<float> decoded(count);
      erased.values(row, column, stored, decoded);
      for (std::size_t e = 0; e < count; ++e) {
        const std::int32_t code = static_cast<std::int32_t>(stored[e]) + N::min_code;
        wrong += decoded[e] == N::decode(code, grid->at(row, column + e)) ? 0U : 1U;
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a grid whose number system is erased gives its positions and values", "[quantize]") {
  agrees_with_its_type<pluria::symmetric_int<4>>(pluria::per_channel{});
  agrees_with_its_type<pluria::symmetric_int<8>>(pluria::per_tensor{});
  agrees_with_its_type<pluria::full_range_int<4>>(pluria::per_group(32));
  agrees_with_its_type<pluria::full_range_int<2>>(pluria::per_group(48));
}

TEST_CASE("a grid whose number system is erased keeps the granules alive", "[quantize]") {
  auto grid = std::make_shared<const pluria::tensor_grid<pluria::symmetric_int<4>>>(
      pluria::granule_map::whole(1, 1), std::vector<pluria::symmetric_int<4>::granule>{{.scale = 2.0F}});
  const any_grid erased = any_grid::of<pluria::symmetric_int<4>>(grid);
  grid.reset();
  any_grid::block<std::uint32_t> stored{};
  stored[0] = 7 + 3;
  float value = 0;
  erased.values(0, 0, stored, std::span(&value, 1));
  CHECK(value == 6.0F);
}

}  // namespace
