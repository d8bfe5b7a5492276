// SPDX-License-Identifier: MIT
#pragma once
// Examples that belong together, such as the tokens of a document: only the groups are independent of each other, so
// that standard errors are over groups.

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace pluria {

/// Groups by any numbers, as 0, 1, ... in the order of their first examples, so that sums over groups have one order.
struct numbered_groups {
  std::vector<std::size_t> of_example;
  std::size_t count = 0;

  explicit numbered_groups(std::span<const std::int32_t> group) {
    std::unordered_map<std::int32_t, std::size_t> number_of;
    of_example.reserve(group.size());
    for (const std::int32_t name : group) {
      of_example.push_back(number_of.try_emplace(name, number_of.size()).first->second);
    }
    count = number_of.size();
  }
};

}  // namespace pluria
