// SPDX-License-Identifier: MIT

#include <pluria/member/concept.hpp>
#include <support/catch.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace {

using pluria::checkpoint;
using pluria::member_source;

// Separately trained networks.
struct deep_ensemble {
  std::vector<checkpoint> trained;
  checkpoint operator[](std::uint64_t k) const { return trained[k]; }
};
// What is drawn must not change the source, and must be a checkpoint of its own.
struct consuming {
  checkpoint operator[](std::uint64_t);
};
struct lending {
  const checkpoint& operator[](std::uint64_t) const;
};
struct nameless {
  checkpoint draw(std::uint64_t) const;
};

static_assert(member_source<deep_ensemble>);
static_assert(!member_source<consuming> && !member_source<lending> && !member_source<nameless>);
static_assert(!member_source<checkpoint> && !member_source<int>);

template <member_source S>
std::string files_of(const S& source, std::uint64_t count) {
  std::string files;
  for (std::uint64_t k = 0; k < count; ++k) {
    files += source[k].file() + ' ';
  }
  return files;
}

TEST_CASE("separately trained networks are a member source", "[member]") {
  const deep_ensemble source{{checkpoint("a.safetensors"), checkpoint("b.safetensors")}};
  CHECK(files_of(source, 2) == "a.safetensors b.safetensors ");
}

}  // namespace
