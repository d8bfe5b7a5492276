// SPDX-License-Identifier: MIT
#pragma once
// Grids of every granularity: fitted to a tensor, or made up, so that no two granules are taken for each other.

#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/tensor_grid.hpp>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace support {

template <class Number>
using shared_grid = std::shared_ptr<const pluria::tensor_grid<Number>>;

template <class Number, class G = pluria::per_channel>
shared_grid<Number> fitted_grid(const pluria::tensor& weights, const G& granularity = {}) {
  return std::make_shared<const pluria::tensor_grid<Number>>(pluria::quantizer<Number, G>{granularity}.fit(weights));
}

/// One granule, one for each row, and groups of 16, 32, 48 and 128 columns.
inline std::vector<pluria::granule_map> all_maps(std::size_t rows, std::size_t columns) {
  using pluria::granule_map;
  return {granule_map::whole(rows, columns),      granule_map::groups(rows, columns, columns),
          granule_map::groups(rows, columns, 16), granule_map::groups(rows, columns, 32),
          granule_map::groups(rows, columns, 48), granule_map::groups(rows, columns, 128)};
}

/// A grid with all scales different: 1, 1 + 1/256, ... ; up to 8, where scales are stored in binary16.
template <class Number>
shared_grid<Number> made_grid(const pluria::granule_map& map) {
  std::vector<typename Number::granule> granules(map.size());
  for (std::size_t i = 0; i < granules.size(); ++i) {
    granules[i].scale = decltype(granules[i].scale)(1.0F + static_cast<float>(i) / 256.0F);
  }
  return std::make_shared<const pluria::tensor_grid<Number>>(map, std::move(granules));
}

}  // namespace support
