// SPDX-License-Identifier: MIT

#include <pluria/kernel/block_reader.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>
#include <support/tensors.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace {

using namespace support;
using number = pluria::symmetric_int<4>;
using reader = pluria::detail::block_reader<number, xsimd::default_arch>;

// Counts how often each block is given, and keeps its floors.
struct recording_packer {
  std::vector<int>* times;
  std::vector<std::uint32_t>* floors;

  template <class Ints>
  static Ints position(const Ints& position) {
    return position;
  }
  void operator()(const reader::split& block, std::uint64_t index) const {
    ++(*times)[index];
    block.pack_floors(floors->data() + 16 * index);
  }
};

template <class G>
void check(const pluria::tensor_shape& shape, pluria::dtype type, const G& granularity) {
  const auto weights = make_tensor(type, "w", shape, integer_weights(pluria::element_count(shape, "w")));
  const auto grid = pluria::quantizer<number, G>{granularity}.fit(weights);
  const std::vector<float> values = weights.to_floats();
  const std::size_t columns = weights.columns();
  const std::size_t in_row = pluria::blocks_per_row(columns);
  const std::uint64_t blocks = weights.rows() * in_row;
  std::vector<int> times(blocks, 0);
  std::vector<std::uint32_t> floors(16 * blocks);
  // Three places of different lengths, one of them empty.
  const reader read(weights, grid);
  std::array<reader::run, 3> runs{read.blocks(0, blocks / 3), read.blocks(blocks, blocks),
                                  read.blocks(blocks / 3, blocks)};
  read(std::span(runs), recording_packer{&times, &floors});

  std::size_t wrong = 0;
  for (std::uint64_t block = 0; block < blocks; ++block) {
    wrong += times[block] == 1 ? 0U : 1U;
    const std::span<const std::uint32_t, 16> words(floors.data() + 16 * block, 16);
    for (std::size_t e = 0; e < 128; ++e) {
      const std::size_t row = block / in_row;
      const std::size_t column = block % in_row * 128 + e;
      const std::int32_t expected =
          column < columns ? number::position(values[row * columns + column], grid.at(row, column)) >> 16 : 0;
      const auto found = static_cast<std::int32_t>(pluria::packed_block<4>::at(words, e)) + number::min_code;
      wrong += found == expected ? 0U : 1U;
    }
  }
  CAPTURE(pluria::to_string(shape), static_cast<int>(type), granularity.name());
  CHECK(wrong == 0);
}

TEST_CASE("every block of every place is read once, on its own granules", "[kernel]") {
  for (const pluria::tensor_shape& shape :
       {pluria::tensor_shape{1}, {5, 300}, {40, 256}, {3, 128}, {9, 7}, {1, 5000}}) {
    for (const pluria::dtype type : {pluria::dtype::f32, pluria::dtype::f16, pluria::dtype::bf16}) {
      check(shape, type, pluria::per_tensor{});
      check(shape, type, pluria::per_channel{});
      check(shape, type, pluria::per_group(16));
      check(shape, type, pluria::per_group(128));
      check(shape, type, pluria::per_group(192));
    }
  }
}

}  // namespace
