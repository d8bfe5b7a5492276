// SPDX-License-Identifier: MIT
#pragma once
// What flows through a network: rows (tokens of all images of a batch) x width floats for each of S members, the
// members one below the other, so that a layer handles all of them in one call. A plain model has one member.

#include <pluria/core/error.hpp>

#include <Eigen/Core>

#include <cstddef>

namespace pluria {

using row_major_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

class activations {
 public:
  activations() = default;
  activations(std::size_t members, std::size_t rows, std::size_t width) { resize(members, rows, width); }

  /// Changes the sizes; values are unspecified afterwards, and memory is kept where it suffices.
  void resize(std::size_t members, std::size_t rows, std::size_t width) {
    members_ = members;
    rows_ = rows;
    values_.resize(static_cast<Eigen::Index>(members * rows), static_cast<Eigen::Index>(width));
  }

  std::size_t members() const noexcept { return members_; }
  std::size_t rows() const noexcept { return rows_; }  ///< of each member
  std::size_t width() const noexcept { return static_cast<std::size_t>(values_.cols()); }

  /// All members: (members * rows) x width.
  row_major_matrix& values() noexcept { return values_; }
  const row_major_matrix& values() const noexcept { return values_; }

  /// The rows x width block of one member; where there is only one member, it serves for all.
  auto member(std::size_t m) { return values_.middleRows(first_row(m), static_cast<Eigen::Index>(rows_)); }
  auto member(std::size_t m) const { return values_.middleRows(first_row(m), static_cast<Eigen::Index>(rows_)); }

 private:
  Eigen::Index first_row(std::size_t m) const {
    require(members_ == 1 || m < members_, "activations: no such member");
    return members_ == 1 ? 0 : static_cast<Eigen::Index>(m * rows_);
  }

  std::size_t members_ = 0;
  std::size_t rows_ = 0;
  row_major_matrix values_;
};

}  // namespace pluria
