// SPDX-License-Identifier: MIT
#pragma once
// Products of some members, as bits. matvec_avx2.cpp and matvec_avx512.cpp are compiled for the ISA of their name and
// give those of its instructions.

#include <cstdint>
#include <vector>

namespace isa {

std::vector<std::uint32_t> products_of_avx2();
std::vector<std::uint32_t> products_of_avx512();

}  // namespace isa
