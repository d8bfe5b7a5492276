// SPDX-License-Identifier: MIT
#pragma once
// One xsimd architecture of every width that a file is compiled for and that the kernels are laid out for: what
// functions do depends on the width alone, and each architecture takes a compiler seconds.

#include <xsimd/xsimd.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace support {

template <class Arch>
inline constexpr bool stands_for_its_width =
    std::is_same_v<Arch, xsimd::default_arch> || std::is_same_v<Arch, xsimd::sse4_2> ||
    std::is_same_v<Arch, xsimd::fma3<xsimd::avx2>>;

/// `work(arch)` for each of them; how many there are.
template <class Work>
std::size_t for_each_architecture(Work&& work) {
  std::size_t count = 0;
  xsimd::supported_architectures::for_each([&](auto arch) {
    if constexpr (stands_for_its_width<decltype(arch)>) {
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
