// SPDX-License-Identifier: MIT

#include "products.hpp"

#include "made_products.hpp"

static_assert(xsimd::batch<float>::size == 8 && XSIMD_WITH_FMA3_AVX2, "compiled with -march=x86-64-v3");

std::vector<std::uint32_t> isa::products_of_avx2() {
  return made_products<xsimd::default_arch>();
}
