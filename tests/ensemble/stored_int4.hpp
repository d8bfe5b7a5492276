// SPDX-License-Identifier: MIT
#pragma once
// What the tests of networks on stored members share: INT-4 members of a checkpoint, and checkpoints of the codes that
// fixed-point positions give.

#include <pluria/kernel/sample.hpp>
#include <pluria/member/any_quantizer.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/quantize/rule.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace support {

using int4 = pluria::symmetric_int<4>;

inline const pluria::bernoulli rounding{.seed = 3, .coupling = pluria::lattice(4)};
inline constexpr std::size_t member_count = 3;

inline pluria::any_quantizer stored_int4() {
  return pluria::any_quantizer::with_products(pluria::quantizer<int4>{});
}

inline float largest_difference(const pluria::row_major_matrix& a, const pluria::row_major_matrix& b) {
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.cols() == b.cols());
  return (a - b).cwiseAbs().maxCoeff();
}

/// Members 2, 3 and 4 as checkpoints, with the codes that their fixed-point positions give.
inline std::vector<pluria::checkpoint> fixed_point_checkpoints(const pluria::checkpoint& from) {
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
