// SPDX-License-Identifier: MIT
#pragma once
// A model's weights in bfloat16 as they came, multiplied without ever being floats in memory: the single model that an
// ensemble is measured against.

#include <pluria/core/aligned_vector.hpp>
#include <pluria/core/error.hpp>
#include <pluria/core/float16.hpp>
#include <pluria/nn/activations.hpp>
#include <pluria/nn/weight_matrix.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "bfloat16_product.hpp"

namespace bench {

class bfloat16_matrix {
 public:
  /// Rows are a multiple of 16, columns of 32; `threads` share the rows.
  bfloat16_matrix(tensor weights, int threads) : weights_(std::move(weights)), threads_(threads) {
    require(weights_.type() == dtype::bf16 && weights_.rows() % 16 == 0 && weights_.columns() % 32 == 0,
            "bfloat16_matrix: multiples of 16 rows and 32 columns in BF16");
  }

  std::size_t rows() const noexcept { return weights_.rows(); }
  std::size_t columns() const noexcept { return weights_.columns(); }
  std::size_t members() const noexcept { return 1; }

  void add_product(const activations& x, activations& y) const {
    if (x.rows() == 1) {
      aligned_vector<float> sorted(columns());
      sort_inputs({x.values().data(), columns()}, sorted);
      for_rows(rows() / 8, threads_, [&](std::size_t first, std::size_t last) {
        add_bfloat16_rows(stored(), 8 * first, 8 * last, columns(), sorted.data(), y.values().data());
      });
      return;
    }
    // Many tokens: as many rows as floats as stay in second-level cache, multiplied by Eigen.
    const std::size_t at_once =
        std::max<std::size_t>(16, (std::size_t{256} << 10) / columns() / sizeof(float) / 16 * 16);
    for_rows((rows() + at_once - 1) / at_once, threads_, [&](std::size_t first, std::size_t last) {
      row_major_matrix floats;
      for (std::size_t row = first * at_once; row < std::min(rows(), last * at_once); row += at_once) {
        const std::size_t count = std::min(at_once, rows() - row);
        floats.resize(static_cast<Eigen::Index>(count), static_cast<Eigen::Index>(columns()));
        for (std::size_t i = 0; i < count * columns(); ++i) {
          floats.data()[i] = float_from_bfloat16(stored()[row * columns() + i]);
        }
        y.values().middleCols(static_cast<Eigen::Index>(row), static_cast<Eigen::Index>(count)).noalias() +=
            x.values() * floats.transpose();
      }
    });
  }

 private:
  const std::uint16_t* stored() const { return reinterpret_cast<const std::uint16_t*>(weights_.bytes().data()); }

  tensor weights_;
  int threads_;
};

static_assert(weight_matrix<bfloat16_matrix>);

}  // namespace bench
