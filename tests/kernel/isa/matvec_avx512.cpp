// SPDX-License-Identifier: MIT

#include "products.hpp"

#include "made_products.hpp"

static_assert(xsimd::batch<float>::size == 16, "compiled with -march=x86-64-v4");

std::vector<std::uint32_t> isa::products_of_avx512() {
  return made_products<xsimd::default_arch>();
}
