// SPDX-License-Identifier: MIT
#pragma once
// What the products of members are measured against: one model in float32 by Eigen, one in bfloat16, and reading.

#include <pluria/core/lanes.hpp>
#include <pluria/core/parallel.hpp>

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <xsimd/xsimd.hpp>

#include "bfloat16_product.hpp"
#include "matvec_cases.hpp"

namespace bench {

/// Eigen's product of a float matrix, row after row as in a checkpoint: twice as fast as column after column.
inline product eigen_product(const matrix_size& size, int threads = 1) {
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto weights = weights_of(dtype::f32, size);
  const auto values = std::make_shared<vectors>(size, 1);
  const auto index_of = [](std::size_t value) { return static_cast<Eigen::Index>(value); };
  return {[=] {
            const float* const floats = floats_of(weights->next());
            for_rows(size.rows, threads, [&](std::size_t first, std::size_t last) {
              const Eigen::Map<const matrix> part(floats + first * size.columns, index_of(last - first),
                                                  index_of(size.columns));
              const Eigen::Map<const Eigen::VectorXf> x(values->x.data(), index_of(size.columns));
              Eigen::Map<Eigen::VectorXf> y(values->y.data() + first, index_of(last - first));
              y.noalias() = part * x;
            });
          },
          static_cast<double>(bytes_of(weights->first())), operations_of(size, 1)};
}

/// One model in bfloat16, decoded as it is read, with sums in float32. Rows are a multiple of 16, columns of 32.
inline product bfloat16_product(const matrix_size& size, int threads = 1) {
  const auto weights = weights_of(dtype::bf16, size);
  const auto values = std::make_shared<vectors>(size, 1);
  const auto sorted = std::make_shared<aligned_vector<float>>(size.columns);
  return {[=] {
            sort_inputs(values->x, *sorted);
            const auto* stored = reinterpret_cast<const std::uint16_t*>(weights->next().bytes().data());
            for_rows(size.rows, threads, [&](std::size_t first, std::size_t last) {
              std::fill(values->y.begin() + static_cast<std::ptrdiff_t>(first),
                        values->y.begin() + static_cast<std::ptrdiff_t>(last), 0.0F);
              add_bfloat16_rows(stored, first, last, size.columns, sorted->data(), values->y.data());
            });
          },
          static_cast<double>(bytes_of(weights->first())), operations_of(size, 1)};
}

/// Reads the words of members over a shared floor and adds them up. From four places by turns, with requests 2 KiB
/// ahead into the second-level cache: of 14 ways (1, 4, 8 and 16 places; requests from none to 16 KiB, into either
/// cache) the fastest; one place takes 1.15 times as long.
template <granularity G>
product reading(const matrix_size& size, const G& granules, std::size_t members) {
  const auto weights = members_of(shared_floor_form<4>{}, size, granules, members);
  const auto sum = std::make_shared<std::uint32_t>();
  return {[=] {
            using words = xsimd::batch<std::uint32_t>;
            constexpr std::size_t places = 4;
            constexpr std::size_t at_once = 64;  // four lines
            const auto all = weights->next().words();
            const std::size_t part = all.size() / places / at_once * at_once;
            std::array<words, at_once / words::size> sums;
            sums.fill(words(0U));
            for (std::size_t i = 0; i < part; i += at_once) {
              for (std::size_t place = 0; place < places; ++place) {
                const std::uint32_t* const from = all.data() + place * part + i;
                for (std::size_t line = 0; line < at_once; line += 16) {
                  lanes::request_line(from + line + 512);
                }
                for (std::size_t b = 0; b < sums.size(); ++b) {
                  sums[b] = sums[b] + words::load_aligned(from + b * words::size);
                }
              }
            }
            alignas(64) std::array<std::uint32_t, words::size> lanes_of_sum;
            *sum = 0;
            for (const words& batch : sums) {
              batch.store_aligned(lanes_of_sum.data());
              *sum += std::accumulate(lanes_of_sum.begin(), lanes_of_sum.end(), 0U);
            }
          },
          static_cast<double>(bytes_of(weights->first())), 0};
}

}  // namespace bench
