// SPDX-License-Identifier: MIT

#if __has_include(<pluria/pluria.hpp>)
#include <pluria/pluria.hpp>
#endif
#include <pluria/number/symmetric_int.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/version.hpp>

#include <iostream>

int main() {
  using int4 = pluria::symmetric_int<4>;
  const float weights[] = {-7.0F, 2.25F};
  const int4::granule granule = int4::fit(weights);
  const auto code = pluria::nearest::code(int4::position(weights[1], granule));
  std::cout << "pluria " << PLURIA_VERSION << '\n';
  return int4::decode(code, granule) == 2.0F ? 0 : 1;
}
