// SPDX-License-Identifier: MIT
#pragma once
// What the tests of networks on stored members share: INT-4 members of a checkpoint, and checkpoints of the codes that
// fixed-point positions give.

#include <pluria/member/any_quantizer.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <vector>

namespace support {

using int4 = pluria::symmetric_int<4>;

inline const pluria::bernoulli rounding{.seed = 3, .coupling = pluria::lattice(4)};
inline constexpr std::size_t member_count = 3;

/// INT-4 whose members can be stored and multiplied, per channel or in groups of 48: these products are compiled once,
/// for all tests here.
pluria::any_quantizer stored_int4();
pluria::any_quantizer stored_int4_in_groups();

inline float largest_difference(const pluria::row_major_matrix& a, const pluria::row_major_matrix& b) {
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.cols() == b.cols());
  return (a - b).cwiseAbs().maxCoeff();
}

/// Members 2, 3 and 4 as checkpoints, with the codes that their fixed-point positions give.
std::vector<pluria::checkpoint> fixed_point_checkpoints(const pluria::checkpoint& from);

}  // namespace support
