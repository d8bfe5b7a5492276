// SPDX-License-Identifier: MIT
#pragma once
// What the sampling kernel is measured against: the limits of the machine, the best loop that rounds to nearest, and
// what a user would write instead of this library.

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <numeric>
#include <random>
#include <xsimd/xsimd.hpp>

#include "sample_cases.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace bench {

inline constexpr float peer_scale = 0.05F / 7.0F;

inline work copying(std::size_t count) {
  const auto weights = weights_of(dtype::f32, count);
  const auto out = std::make_shared<aligned_vector<float>>(count, 0.0F);
  return [weights, out, count] { std::memcpy(out->data(), weights->next_floats(), count * sizeof(float)); };
}

/// The sum of all weights: nothing is written.
inline work reading(std::size_t count) {
  const auto weights = weights_of(dtype::f32, count);
  const auto out = std::make_shared<float>();
  return [weights, out, count] {
    using batch = xsimd::batch<float>;
    const float* in = weights->next_floats();
    batch sums[4] = {batch(0.0F), batch(0.0F), batch(0.0F), batch(0.0F)};
    for (std::size_t i = 0; i < count; i += 4 * batch::size) {
      for (std::size_t part = 0; part < 4; ++part) {
        sums[part] = sums[part] + batch::load_aligned(in + i + part * batch::size);
      }
    }
    alignas(64) float parts[batch::size];
    (sums[0] + sums[1] + sums[2] + sums[3]).store_aligned(parts);
    *out = std::accumulate(std::begin(parts), std::end(parts), 0.0F);
  };
}

// One product and one conversion per batch, and 4 shuffles to narrow and order 4 batches: nothing that rounds and
// narrows can do with less. No clamp, no packing, no randomness. What comes from memory is asked for ahead, into the
// second-level cache, and the codes are stored past the caches: of the ten variants tried (requests at 0, 2, 4, 12 and
// 32 KiB, into either cache, either store) the fastest or within 3 % of it; without requests it takes 1.2 times as
// long.
template <bool FromMemory>
void round_to_int8(const float* in, std::int8_t* out, std::size_t count, float scale) {
#if defined(__AVX512BW__)
  const __m512 inverse = _mm512_set1_ps(1.0F / scale);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto codes = [&](std::size_t i) { return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_load_ps(in + i), inverse)); };
  for (std::size_t i = 0; i < count; i += 64) {
    if constexpr (FromMemory) {
      for (std::size_t line = 0; line < 4; ++line) {
        _mm_prefetch(reinterpret_cast<const char*>(in + i) + 4096 + 64 * line, _MM_HINT_T1);
      }
    }
    const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(codes(i), codes(i + 16)),
                                              _mm512_packs_epi32(codes(i + 32), codes(i + 48)));
    const __m512i ordered = _mm512_permutexvar_epi32(order, packed);
    if constexpr (FromMemory) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(out + i), ordered);
    } else {
      _mm512_store_si512(out + i, ordered);
    }
  }
#elif defined(__AVX2__)
  const __m256 inverse = _mm256_set1_ps(1.0F / scale);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const auto codes = [&](std::size_t i) { return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_load_ps(in + i), inverse)); };
  for (std::size_t i = 0; i < count; i += 32) {
    if constexpr (FromMemory) {
      for (std::size_t line = 0; line < 2; ++line) {
        _mm_prefetch(reinterpret_cast<const char*>(in + i) + 4096 + 64 * line, _MM_HINT_T1);
      }
    }
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(codes(i), codes(i + 8)),
                                              _mm256_packs_epi32(codes(i + 16), codes(i + 24)));
    const __m256i ordered = _mm256_permutevar8x32_epi32(packed, order);
    if constexpr (FromMemory) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(out + i), ordered);
    } else {
      _mm256_store_si256(reinterpret_cast<__m256i*>(out + i), ordered);
    }
  }
#else
  const float inverse = 1.0F / scale;
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = static_cast<std::int8_t>(std::nearbyint(in[i] * inverse));
  }
#endif
}

inline work nearest_to_int8(std::size_t count) {
  const auto weights = weights_of(dtype::f32, count);
  const auto out = std::make_shared<aligned_vector<std::int8_t>>(count, std::int8_t{0});
  return [weights, out, count] {
    const auto round = count == in_cache ? round_to_int8<false> : round_to_int8<true>;
    round(weights->next_floats(), out->data(), count, peer_scale);
  };
}

/// The standard library's generator and distribution, one weight at a time.
inline work standard_library(std::size_t count) {
  const auto weights = weights_of(dtype::f32, count);
  const auto out = std::make_shared<aligned_vector<std::int8_t>>(count, std::int8_t{0});
  return [weights, out, count, random = std::mt19937(1)]() mutable {
    const float* in = weights->next_floats();
    for (std::size_t i = 0; i < count; ++i) {
      const float steps = in[i] / peer_scale;
      const float below = std::floor(steps);
      std::bernoulli_distribution up(steps - below);
      (*out)[i] = static_cast<std::int8_t>(below + (up(random) ? 1.0F : 0.0F));
    }
  };
}

/// An Eigen expression: floor of the weight in steps plus a uniform number.
inline work eigen_expression(std::size_t count) {
  const auto weights = weights_of(dtype::f32, count);
  const auto out = std::make_shared<aligned_vector<std::int8_t>>(count, std::int8_t{0});
  return [weights, out, count] {
    const auto size = static_cast<Eigen::Index>(count);
    const Eigen::Map<const Eigen::ArrayXf> in(weights->next_floats(), size);
    Eigen::Map<Eigen::Array<std::int8_t, Eigen::Dynamic, 1>> codes(out->data(), size);
    codes = (in / peer_scale + 0.5F * (Eigen::ArrayXf::Random(size) + 1.0F)).floor().cast<std::int8_t>();
  };
}

/// A scalar loop with xorshift32, 16 bits a decision.
inline work xorshift_loop(std::size_t count) {
  const auto weights = weights_of(dtype::f32, count);
  const auto out = std::make_shared<aligned_vector<std::int8_t>>(count, std::int8_t{0});
  return [weights, out, count, state = std::uint32_t{1}]() mutable {
    const float* in = weights->next_floats();
    const float inverse = 1.0F / peer_scale;
    for (std::size_t i = 0; i < count; ++i) {
      state ^= state << 13;
      state ^= state >> 17;
      state ^= state << 5;
      const float uniform = static_cast<float>(state >> 16) * 0x1p-16F;
      (*out)[i] = static_cast<std::int8_t>(std::floor(in[i] * inverse + uniform));
    }
  };
}

}  // namespace bench
