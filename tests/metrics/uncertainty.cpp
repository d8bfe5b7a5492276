// SPDX-License-Identifier: MIT
#include <pluria/metrics/uncertainty.hpp>

#include "metrics/reference.hpp"
#include "support/catch.hpp"

using namespace pluria;
using reference::agree;

TEST_CASE("entropies agree with PyTorch's, zeros included", "[metrics]") {
  const reference::results expected("scores.txt");
  const std::vector<double> values = reference::mean_of_members(reference::members);
  const std::vector<double> found = entropies({values, reference::classes});
  REQUIRE(found.size() == expected.all("entropies").size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(agree(found[i], expected.all("entropies")[i]));
  }
}

TEST_CASE("entropy runs from zero for certainty to log C for a uniform distribution", "[metrics]") {
  const double zero = -std::numeric_limits<double>::infinity();
  CHECK(entropy(std::vector<double>{zero, 0.0, zero}) == 0.0);
  CHECK_FALSE(std::signbit(entropy(std::vector<double>{zero, 0.0, zero})));
  CHECK(agree(entropy(std::vector<double>(8, -std::log(8.0))), std::log(8.0)));
}

TEST_CASE("mutual information is the difference of the entropies, example by example", "[metrics]") {
  CHECK(mutual_information(std::vector<double>{1.5, 0.5}, std::vector<double>{1.0, 0.5}) ==
        std::vector<double>{0.5, 0.0});
  CHECK_THROWS_AS(mutual_information(std::vector<double>{1.5}, std::vector<double>{1.0, 0.5}), precondition_error);
}
