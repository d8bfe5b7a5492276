// SPDX-License-Identifier: MIT

#include "stored_int4.hpp"

#include <pluria/kernel/sample.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/quantize/rule.hpp>

#include <memory>
#include <utility>

namespace support {

pluria::any_quantizer stored_int4() {
  return pluria::any_quantizer::with_products(pluria::quantizer<int4>{});
}

pluria::any_quantizer stored_int4_in_groups() {
  return pluria::any_quantizer::with_products(pluria::quantizer<int4, pluria::per_group>{pluria::per_group(48)});
}

std::vector<pluria::checkpoint> fixed_point_checkpoints(const pluria::checkpoint& from) {
  std::vector<pluria::checkpoint> members(member_count, pluria::checkpoint(from.file(), from.metadata()));
  for (const pluria::tensor& current : from.tensors()) {
    if (!pluria::quantized_by_default(current.name(), current.shape())) {
      for (pluria::checkpoint& member : members) {
        member.add(current);
      }
      continue;
    }
    const auto grid = std::make_shared<const pluria::tensor_grid<int4>>(pluria::quantizer<int4>{}.fit(current));
    const pluria::fixed_point_members<int4> stored(pluria::sample_fixed_point<int4>(current, grid), current.name(),
                                                   rounding, 2, member_count);
    for (std::size_t m = 0; m < member_count; ++m) {
      std::vector<float> values(current.size());
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t row = i / current.columns();
        values[i] = int4::decode(stored.code(m, row, i % current.columns()), grid->at(row, 0));
      }
      members[m].add(pluria::tensor::from_floats(current.name(), current.shape(), std::move(values), current.file()));
    }
  }
  return members;
}

}  // namespace support
