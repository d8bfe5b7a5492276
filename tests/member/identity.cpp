// SPDX-License-Identifier: MIT

#include <pluria/member/identity.hpp>
#include <support/catch.hpp>

namespace {

using namespace pluria;

TEST_CASE("a member's metadata says everything that its bits depend on", "[member]") {
  const member_identity identity(bernoulli{.seed = 18446744073709551615U, .coupling = lattice(8)}, {"INT-5", "INT-4"},
                                 {"channel"});
  CHECK(identity.metadata(70000, {{"format", "pt"}}) == text_map{{"format", "pt"},
                                                                 {"pluria.coupling", "lattice:8"},
                                                                 {"pluria.granularity", "channel"},
                                                                 {"pluria.member", "70000"},
                                                                 {"pluria.rounding", "bernoulli"},
                                                                 {"pluria.scale", "absmax"},
                                                                 {"pluria.seed", "18446744073709551615"},
                                                                 {"pluria.stream", "2, threefry4x32-13"},
                                                                 {"pluria.system", "INT-4 INT-5"}});
}

TEST_CASE("rounding to nearest has neither seed nor number, and what the source says of itself goes", "[member]") {
  const member_identity identity(nearest{}, {"INT-5"}, {"group:32"});
  CHECK(identity.metadata(3, {{"pluria.member", "9"}, {"pluria.old", "x"}}) ==
        text_map{{"pluria.granularity", "group:32"},
                 {"pluria.rounding", "nearest"},
                 {"pluria.scale", "absmax"},
                 {"pluria.stream", "2, threefry4x32-13"},
                 {"pluria.system", "INT-5"}});
}

}  // namespace
