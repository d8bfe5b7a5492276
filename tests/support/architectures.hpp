// SPDX-License-Identifier: MIT
#pragma once
// Every xsimd architecture that a file is compiled for and that the kernels are laid out for.

#include <xsimd/xsimd.hpp>

#include <cstddef>
#include <string_view>

namespace support {

/// `work(arch)` for each of them; how many there are.
template <class Work>
std::size_t for_each_architecture(Work&& work) {
  std::size_t count = 0;
  xsimd::supported_architectures::for_each([&](auto arch) {
    if constexpr (xsimd::batch<float, decltype(arch)>::size <= 16) {
      ++count;
      work(arch);
    }
  });
  return count;
}

/// Whether xsimd::fma rounds once there. Elsewhere it is a product and a sum, that compilers may fuse or not.
template <class Arch>
bool has_fused_products() {
  const std::string_view name = Arch::name();
  return name.find("fma") != name.npos || name.find("avx512") != name.npos || name.find("arm64") != name.npos;
}

}  // namespace support
