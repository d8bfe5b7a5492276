// SPDX-License-Identifier: MIT
#pragma once
// Who multiplies matrices of 8-bit integers: oneDNN where PLURIA_WITH_ONEDNN is defined (CMake target pluria::onednn),
// and the machine adds products of bytes exactly, else nobody, and products go through the loops of matvec.hpp. Integer
// sums are exact: both give the same.

#include <cstddef>
#include <cstdint>

#ifdef PLURIA_WITH_ONEDNN
#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>
#include <unordered_map>
#endif

namespace pluria {

/// No library: a backend that is never asked.
struct portable_int8 {};

#ifdef PLURIA_WITH_ONEDNN

/// oneDNN's matrix product. It runs on the OpenMP threads of its caller, so on one inside a parallel loop.
struct onednn_int8 {
  /// Whether its sums are exact here: only with VNNI. Other machines add neighbouring products in 16 bits, which
  /// saturate (oneDNN's developer guide, "Nuances of int8 Computations").
  static bool is_exact() {
    static const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
    // A set of bits that grows from one to the next.
    const auto has = [](dnnl::cpu_isa needed) {
      return (isa & static_cast<unsigned>(needed)) == static_cast<unsigned>(needed);
    };
    return has(dnnl::cpu_isa::avx512_core_vnni) || has(dnnl::cpu_isa::avx2_vnni);
  }

  /// sums = x w^T, where is_exact(): x is tokens x columns, w rows x columns, sums tokens x rows, all row-major.
  static void multiply(const std::int8_t* x, std::size_t tokens, const std::int8_t* w, std::size_t rows,
                       std::size_t columns, std::int32_t* sums) {
    using dnnl::memory;
    using product = dnnl::matmul;
    static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
    const auto size = [](std::size_t extent) { return static_cast<memory::dim>(extent); };
    const memory::desc x_desc({size(tokens), size(columns)}, memory::data_type::s8, memory::format_tag::ab);
    const memory::desc w_desc({size(columns), size(rows)}, memory::data_type::s8, memory::format_tag::ba);
    const memory::desc sums_desc({size(tokens), size(rows)}, memory::data_type::s32, memory::format_tag::ab);
    // Making a product of some size takes longer than a small one itself.
    thread_local std::map<std::tuple<std::size_t, std::size_t, std::size_t>, product> made;
    const auto key = std::tuple(tokens, rows, columns);
    auto found = made.find(key);
    if (found == made.end()) {
      found = made.emplace(key, product(product::primitive_desc(product::desc(x_desc, w_desc, sums_desc), cpu))).first;
    }
    thread_local dnnl::stream own(cpu);
    // oneDNN takes pointers that are not to const, and only reads.
    found->second.execute(own, {{DNNL_ARG_SRC, memory(x_desc, cpu, const_cast<std::int8_t*>(x))},
                                {DNNL_ARG_WEIGHTS, memory(w_desc, cpu, const_cast<std::int8_t*>(w))},
                                {DNNL_ARG_DST, memory(sums_desc, cpu, sums)}});
    own.wait();
  }
};

using default_int8_backend = onednn_int8;

#else

using default_int8_backend = portable_int8;

#endif

}  // namespace pluria
