// SPDX-License-Identifier: MIT
#pragma once
// The tensor types of ggml (enum ggml_type of ggml.h), under the numbers that GGUF files store, and how many bytes
// their blocks take (ggml-common.h). Types are blocks of elements along the innermost dimension; a plain type is a
// block of 1.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pluria {

/// What the bytes of a GGUF tensor are. 4, 5, 31 to 33 and 36 to 38 were types that ggml has given up.
enum class ggml_type : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q8_1 = 9,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  q8_k = 15,
  iq2_xxs = 16,
  iq2_xs = 17,
  iq3_xxs = 18,
  iq1_s = 19,
  iq4_nl = 20,
  iq3_s = 21,
  iq2_s = 22,
  iq4_xs = 23,
  i8 = 24,
  i16 = 25,
  i32 = 26,
  i64 = 27,
  f64 = 28,
  iq1_m = 29,
  bf16 = 30,
  tq1_0 = 34,
  tq2_0 = 35,
  mxfp4 = 39,
  nvfp4 = 40,
  q1_0 = 41,
  q2_0 = 42
};

/// A type's name, as ggml's own files spell it in capitals ("Q4_K"), and the size of its blocks.
struct ggml_layout {
  std::string_view name;
  std::uint32_t block_elements = 0;
  std::uint32_t block_bytes = 0;

  friend bool operator==(const ggml_layout&, const ggml_layout&) = default;
};

namespace detail {
inline constexpr ggml_layout ggml_layouts[] = {{"F32", 1, 4},
                                               {"F16", 1, 2},
                                               {"Q4_0", 32, 18},
                                               {"Q4_1", 32, 20},
                                               {},
                                               {},
                                               {"Q5_0", 32, 22},
                                               {"Q5_1", 32, 24},
                                               {"Q8_0", 32, 34},
                                               {"Q8_1", 32, 36},
                                               {"Q2_K", 256, 84},
                                               {"Q3_K", 256, 110},
                                               {"Q4_K", 256, 144},
                                               {"Q5_K", 256, 176},
                                               {"Q6_K", 256, 210},
                                               {"Q8_K", 256, 292},
                                               {"IQ2_XXS", 256, 66},
                                               {"IQ2_XS", 256, 74},
                                               {"IQ3_XXS", 256, 98},
                                               {"IQ1_S", 256, 50},
                                               {"IQ4_NL", 32, 18},
                                               {"IQ3_S", 256, 110},
                                               {"IQ2_S", 256, 82},
                                               {"IQ4_XS", 256, 136},
                                               {"I8", 1, 1},
                                               {"I16", 1, 2},
                                               {"I32", 1, 4},
                                               {"I64", 1, 8},
                                               {"F64", 1, 8},
                                               {"IQ1_M", 256, 56},
                                               {"BF16", 1, 2},
                                               {},
                                               {},
                                               {},
                                               {"TQ1_0", 256, 54},
                                               {"TQ2_0", 256, 66},
                                               {},
                                               {},
                                               {},
                                               {"MXFP4", 32, 17},
                                               {"NVFP4", 64, 36},
                                               {"Q1_0", 128, 18},
                                               {"Q2_0", 64, 18}};
}  // namespace detail

/// The layout of the type that files number `id`; nothing where no such type is known.
constexpr std::optional<ggml_layout> find_ggml_layout(std::uint32_t id) noexcept {
  constexpr std::size_t count = sizeof(detail::ggml_layouts) / sizeof(detail::ggml_layouts[0]);
  if (id >= count || detail::ggml_layouts[id].block_bytes == 0) {
    return std::nullopt;
  }
  return detail::ggml_layouts[id];
}

constexpr ggml_layout layout_of(ggml_type type) noexcept {
  return detail::ggml_layouts[static_cast<std::uint32_t>(type)];
}

constexpr std::string_view name_of(ggml_type type) noexcept {
  return layout_of(type).name;
}

/// Whether elements are stored as codes of a number system, not each as a number of its own.
constexpr bool is_quantized(ggml_type type) noexcept {
  return layout_of(type).block_elements > 1;
}

static_assert(layout_of(ggml_type::q8_k).name == "Q8_K" && layout_of(ggml_type::iq1_m).name == "IQ1_M" &&
              layout_of(ggml_type::tq2_0).name == "TQ2_0" && layout_of(ggml_type::q2_0).name == "Q2_0");

}  // namespace pluria
