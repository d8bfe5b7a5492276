// SPDX-License-Identifier: MIT

#include <pluria/kernel/block_values.hpp>
#include <pluria/number/affine_int.hpp>
#include <pluria/number/minifloat.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/tensor/packing.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensor_grids.hpp>
#include <support/tensors.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace {

using namespace pluria;
using arch = xsimd::default_arch;

// How many values of codes and of the codes one above are not those that the system decodes; 9 rows, more than a panel,
// of two blocks and a part.
template <class N, class G>
std::size_t wrong_values(const G& granularity) {
  constexpr std::size_t rows = 9;
  constexpr std::size_t columns = 300;
  const tensor weights =
      support::make_tensor(dtype::f32, "w", {rows, columns}, support::integer_weights(rows * columns, 1.0F, 7));
  const auto grid = support::fitted_grid<N>(weights, granularity);
  detail::block_values<N, arch> values_of(*grid);
  constexpr std::size_t width = lanes::floats<arch>::size;
  std::size_t wrong = 0;
  for (std::size_t index = 0; index < 3; ++index) {
    for (std::size_t row = 0; row < rows; ++row) {
      alignas(64) std::array<std::uint8_t, block_size> codes;
      for (std::size_t place = 0; place < block_size; ++place) {
        codes[place] =
            static_cast<std::uint8_t>((37 * place + row) % static_cast<std::size_t>(N::max_code - N::min_code));
      }
      const auto values = values_of.template of_block<true>(row, index, codes.data());
      alignas(64) std::array<std::array<float, block_size>, 2> found;
      for (std::size_t half = 0; half < 2; ++half) {
        for (std::size_t batch = 0; batch < 64 / width; ++batch) {
          values.template at<0>(half, batch).store_aligned(&found[0][64 * half + width * batch]);
          values.template at<1>(half, batch).store_aligned(&found[1][64 * half + width * batch]);
        }
      }
      for (std::size_t e = 0; e < std::min(block_size, columns - index * block_size); ++e) {
        const std::size_t place = kernel_place(e);
        const std::int32_t code = codes[place] + N::min_code;
        const auto& granule = grid->at(row, index * block_size + e);
        wrong += found[0][place] == N::decode(code, granule) ? 0U : 1U;
        wrong += found[1][place] == N::decode(code + 1, granule) ? 0U : 1U;
      }
    }
  }
  return wrong;
}

TEST_CASE("codes of a block, and those one above, have the values of their granules", "[kernel]") {
  CHECK(wrong_values<symmetric_int<4>>(per_channel{}) == 0);
  CHECK(wrong_values<symmetric_int<4>>(per_group(48)) == 0);
  CHECK(wrong_values<fp8_e4m3>(per_channel{}) == 0);
  CHECK(wrong_values<fp4_e2m1>(per_group(32)) == 0);
  CHECK(wrong_values<affine_int<3>>(per_tensor{}) == 0);
  CHECK(wrong_values<affine_int<3>>(per_channel{}) == 0);
  CHECK(wrong_values<affine_int<3>>(per_group(16)) == 0);
}

}  // namespace
