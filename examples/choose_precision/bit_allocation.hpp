// SPDX-License-Identifier: MIT
#pragma once
// Which candidate each tensor takes so that all of them together keep to a budget of bits, where their costs add up.
//
// Greedy on the lower convex hulls of the tensors' (bits, cost): everything begins with most bits; the step that costs
// least per bit saved is taken again and again. A step goes to any candidate of fewer bits, not to the next, so that
// one of bad cost in between does not block those behind it. Each stop of this way has the least cost of all choices of
// at most as many bits: steps are the edges of the hulls in the order of their slopes, so a stop minimizes cost + slope
// * bits, the Lagrangian of the budget (Shoham & Gersho, IEEE Trans. ASSP 36(9), 1988). Between two stops there may be
// a choice that makes more of the budget.

#include <pluria/core/error.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace pluria::examples {

/// One way to round a tensor.
struct bit_candidate {
  std::uint64_t bits = 0;  ///< of all its weights and granules
  double cost = 0.0;
};

/// The candidate of each tensor, as an index into its own, or nothing where the fewest bits of all are more than the
/// budget. Steps that cost less than nothing are taken even where the budget is met. Throws precondition_error for a
/// tensor without candidates, and for costs that are not finite.
inline std::optional<std::vector<std::size_t>> allocate_bits(std::span<const std::vector<bit_candidate>> tensors,
                                                             std::uint64_t budget) {
  std::vector<std::size_t> chosen;
  std::uint64_t bits = 0;
  for (const std::vector<bit_candidate>& candidates : tensors) {
    require(!candidates.empty(), "allocate_bits: every tensor needs a candidate");
    std::size_t most = 0;
    for (std::size_t j = 0; j < candidates.size(); ++j) {
      require(std::isfinite(candidates[j].cost), "allocate_bits: costs must be finite");
      const bool is_cheaper = candidates[j].bits == candidates[most].bits && candidates[j].cost < candidates[most].cost;
      most = candidates[j].bits > candidates[most].bits || is_cheaper ? j : most;
    }
    chosen.push_back(most);
    bits += candidates[most].bits;
  }
  while (true) {
    double best_rate = std::numeric_limits<double>::infinity();
    std::size_t best_tensor = 0;
    std::size_t best_candidate = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const bit_candidate& current = tensors[i][chosen[i]];
      for (std::size_t j = 0; j < tensors[i].size(); ++j) {
        const bit_candidate& next = tensors[i][j];
        if (next.bits < current.bits) {
          const double rate = (next.cost - current.cost) / static_cast<double>(current.bits - next.bits);
          if (rate < best_rate) {
            best_rate = rate;
            best_tensor = i;
            best_candidate = j;
          }
        }
      }
    }
    if (bits <= budget && best_rate >= 0.0) {
      return chosen;
    }
    if (std::isinf(best_rate)) {
      return std::nullopt;  // nothing is left to save
    }
    bits -= tensors[best_tensor][chosen[best_tensor]].bits - tensors[best_tensor][best_candidate].bits;
    chosen[best_tensor] = best_candidate;
  }
}

}  // namespace pluria::examples
