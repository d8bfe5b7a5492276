// SPDX-License-Identifier: MIT
#pragma once
// Grids out of a table: value = scale * (entry of a fixed, ascending table). NF4 (Dettmers et al., "QLoRA", NeurIPS
// 2023, appendix E) and ternary weights; tables that are fitted to the weights are in fitted_codebook.hpp. A position
// is found by a binary search, in all lanes together:
//
//   below = index of the highest entry <= v
//   position = 65536 * (below + min_code) + 65536 * (v - table[below]) / (table[below + 1] - table[below])

#include <pluria/core/lookup.hpp>
#include <pluria/core/magnitude.hpp>
#include <pluria/number/concept.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

namespace pluria {

/// `Size` ascending points, a power of two from 4 on, and what a position among them is computed with.
template <std::size_t Size>
struct point_table {
  /// The points, and behind them, for each, 65536 / (next point - point), or anything finite where there is no next
  /// one.
  std::array<float, 2 * Size> points{};
  /// The points in the order of the search: at 2^l + j the one that step l compares with where j came out before it.
  std::array<float, Size> steps{};

  point_table() = default;
  explicit constexpr point_table(const std::array<float, 2 * Size>& points_and_reciprocals) noexcept
      : points(points_and_reciprocals) {
    for (std::size_t first = 1; first < Size; first *= 2) {
      for (std::size_t j = 0; j < first; ++j) {
        steps[first + j] = points[(2 * j + 1) * (Size / 2 / first)];
      }
    }
  }

  friend bool operator==(const point_table&, const point_table&) = default;
};

/// The position of a float, or of every lane of a batch, that lies between point `below` of a table and the next; the
/// first point has code `min_code`.
//
// The quotient by reciprocal is at most 65536: value - point is at most the rounded step, and a float times its rounded
// reciprocal is at most 1. So positions do not decrease from one step to the next. A difference and then a product:
// nothing here can be contracted into an operation that would round differently.
template <std::size_t Size, class Float, class Codes>
PLURIA_INLINE Codes position_above(const Float& value, const point_table<Size>& table, const Codes& below,
                                   std::int32_t min_code) noexcept {
  const float* points = table.points.data();
  const auto fraction =
      Float((value - lanes::looked_up<Size>(points, below)) * lanes::looked_up<Size>(points + Size, below));
  return Codes((below << 16) + (lanes::round_half_even(fraction) + Codes(65536 * min_code)));
}

/// The position of a float, or of every lane of a batch, among the points of a table, of which the first has code
/// `min_code`. `value` lies between the first point and the last finite one.
//
// One member from cache is sampled at 0.45 to 0.57 of the rate of INT-4 for 16 points with AVX-512 (0.39 to 0.43 with
// AVX2), at 0.07 to 0.14 for 256 points; eight members in one pass at 0.84 (0.77) and 0.43.
template <std::size_t Size, class Float>
PLURIA_INLINE auto position_among(const Float& value, const point_table<Size>& table, std::int32_t min_code) noexcept {
  using codes = decltype(lanes::round_half_even(value));
  constexpr auto half = static_cast<std::int32_t>(Size / 2);
  const float* points = table.points.data();
  const float* steps = table.steps.data();
  // The first two steps know their points: a comparison with one, a choice between two.
  codes below = lanes::add_where_at_least(codes(0), value, Float(steps[1]), half);
  const auto second = lanes::where_at_least(value, Float(steps[1]), Float(steps[3]), Float(steps[2]));
  below = lanes::add_where_at_least(below, value, second, half / 2);
  lanes::unrolled<std::bit_width(Size) - 3>([&](auto level) PLURIA_INLINE_LAMBDA {
    constexpr std::int32_t step = half >> (2 + level);
    if constexpr (Size * sizeof(float) <= sizeof(Float)) {
      // All points in one register: points[below + step], with the sum in the address. What lies behind the points is
      // in the table, too, and not chosen.
      below = lanes::add_where_at_least(below, value, lanes::looked_up<Size>(points + step, below), step);
    } else {
      // Few points for every step, which may fit into a register where all of them do not.
      constexpr std::size_t first = std::size_t{4} << level;
      const auto point = lanes::looked_up<first>(steps + first, codes(below >> (std::bit_width(Size) - 3 - level)));
      below = lanes::add_where_at_least(below, value, point, step);
    }
  });
  return position_above(value, table, below, min_code);
}

/// What finds the place of a value without a search, for points of which `suits` is true, about those no closer than a
/// 30th of their range: of 32 equal cells each has at most one point inside, so one product finds the cell and one
/// comparison the side of its point.
struct cell_table {
  static constexpr std::size_t cells = 32;
  float first_point = 0.0F;
  float cells_per_unit = 0.0F;             ///< a little fewer than all, so that the last point is in the last cell
  std::array<float, cells> next_points{};  ///< the point that a value of this cell may reach or not
  std::array<float, cells> below{};        ///< the index of the point before that, an integer's bits

  cell_table() = default;
  /// Of ascending, finite points.
  explicit constexpr cell_table(std::span<const float> points) noexcept
      : first_point(points.front()), cells_per_unit(31.99F / (points.back() - points.front())) {
    for (std::size_t cell = 0; cell < cells; ++cell) {
      const std::size_t at = before(points, start(cell));
      next_points[cell] = at + 1 < points.size() ? points[at + 1] : std::numeric_limits<float>::infinity();
      below[cell] = std::bit_cast<float>(static_cast<std::int32_t>(at));
    }
  }

  /// Whether every cell has at most one of the points inside.
  static constexpr bool suits(std::span<const float> points) noexcept {
    const cell_table made(points);
    bool all = true;
    for (std::size_t cell = 0; cell < cells; ++cell) {
      // Its values reach from slack before its place to slack beyond its end.
      all = all && before(points, made.start(cell + 1) + 2 * made.slack()) <= before(points, made.start(cell)) + 1;
    }
    return all;
  }

 private:
  // A cell begins where rounding cannot take a value of the last one.
  constexpr float slack() const noexcept { return 0.001F / cells_per_unit; }
  constexpr float start(std::size_t cell) const noexcept {
    return first_point + static_cast<float>(cell) / cells_per_unit - slack();
  }
  // The last point at or before a place, or the first.
  static constexpr std::size_t before(std::span<const float> points, float place) noexcept {
    std::size_t at = 0;
    while (at + 1 < points.size() && points[at + 1] <= place) {
      ++at;
    }
    return at;
  }
};

/// What the search finds, by cells of the same points: with 16 of them in 0.84 of the time for one member from cache
/// with AVX-512.
template <std::size_t Size, class Float>
PLURIA_INLINE auto position_among(const Float& value, const point_table<Size>& table, const cell_table& cells,
                                  std::int32_t min_code) noexcept {
  const auto cell = lanes::truncated(Float((value - Float(cells.first_point)) * Float(cells.cells_per_unit)));
  const auto below = lanes::as<std::int32_t>(lanes::looked_up<cell_table::cells>(cells.below.data(), cell));
  const auto next = lanes::looked_up<cell_table::cells>(cells.next_points.data(), cell);
  return position_above(value, table, lanes::add_where_at_least(below, value, next, 1), min_code);
}

/// A fixed table: its ascending `values`, the code of the first one, and which of its values, below and above zero, the
/// extreme weights are to have at most.
template <class Table>
concept codebook_table = requires {
  { Table::name() } -> std::convertible_to<std::string>;
  { Table::values[0] } -> std::convertible_to<float>;
  { Table::values.size() } -> std::convertible_to<std::size_t>;
  { Table::min_code } -> std::convertible_to<std::int32_t>;
  { Table::reach } -> std::convertible_to<float_extremes>;
};

template <codebook_table Table>
struct scaled_codebook {
  static constexpr std::size_t size = Table::values.size();
  static_assert(size >= 3 && size <= 256, "a codebook has 3 to 256 values");

  static constexpr int bits = static_cast<int>(std::bit_width(size - 1));
  static constexpr std::int32_t min_code = Table::min_code;
  static constexpr std::int32_t max_code = min_code + static_cast<std::int32_t>(size) - 1;

  struct granule {
    float scale = 1.0F;  ///< at least smallest_scale
    friend bool operator==(const granule&, const granule&) = default;
  };
  static constexpr int granule_bits = 32;

  /// Weights of at most this magnitude fit: their scale times every value is finite.
  static constexpr float largest_weight =
      std::numeric_limits<float>::max() *
      (std::min(-Table::reach.lowest, Table::reach.highest) / std::max(-Table::values.front(), Table::values.back()));

  /// 2^-110, so that 65536 / scale is finite, or more where a value is so small that its product would be subnormal and
  /// rounded coarsely.
  static constexpr float smallest_scale = [] {
    float smallest = 0x1p-110F;
    for (const float value : Table::values) {
      smallest = value == 0.0F ? smallest : std::max(smallest, 0x1p-126F / (value < 0.0F ? -value : value));
    }
    return smallest;
  }();

  static std::string name() { return Table::name(); }

  /// The granule with the smallest scale for which no (finite) weight lies beyond the table's reach.
  static granule fit(std::span<const float> weights) noexcept {
    const auto [lowest, highest] = extremes(weights);
    const float scale = std::max({highest / Table::reach.highest, lowest / Table::reach.lowest, smallest_scale});
    // The quotient, rounded up, may put the outermost value beyond the largest float.
    const float outermost = scale * std::max(-Table::values.front(), Table::values.back());
    return {std::isinf(outermost) ? std::nextafter(scale, 0.0F) : scale};
  }

  /// The position of a float, or of every lane of a batch; weights beyond the outermost values are clamped to them.
  //
  // By one reciprocal a granule. On the grid it and two products are off by 2^-24 each, 3 * 2^-24 |value| together:
  // below the value that is the step beside it, whose fraction then rounds to 65536 as long as this is less than half a
  // position's unit, 2^-17 of the step, and the fraction's own 4 roundings are counted: values of at most 41 steps.
  // Between product and difference stands the clamp: they cannot be contracted.
  template <class Float>
  PLURIA_INLINE static auto position(const Float& weight, const granule& granule) noexcept {
    const auto value =
        lanes::clamp(Float(weight * Float(65536.0F / granule.scale)), table.points.front(), table.points[size - 1]);
    // Where cells are looked up in registers: AVX-512. Elsewhere they would be gathered.
    if constexpr (has_cells && sizeof(Float) * 2 >= sizeof(cell_table::below)) {
      return position_among(value, table, cells, min_code);
    } else {
      return position_among<padded_size>(value, table, min_code);
    }
  }

  static constexpr float unit(std::int32_t code) noexcept {
    return Table::values[static_cast<std::size_t>(code - min_code)];
  }

  static constexpr bool is_uniform = [] {
    bool all = true;
    for (std::int32_t code = min_code; code <= max_code; ++code) {
      all = all && unit(code) == static_cast<float>(code);
    }
    return all;
  }();

  static float decode(std::int32_t code, const granule& granule) noexcept { return granule.scale * unit(code); }

 private:
  static constexpr std::size_t padded_size = std::max<std::size_t>(4, std::bit_ceil(size));

  static constexpr double step(std::size_t index) noexcept {
    return static_cast<double>(Table::values[index + 1]) - static_cast<double>(Table::values[index]);
  }

  // In units of a position; behind the last value stands what no weight reaches.
  static constexpr auto table = [] {
    std::array<float, 2 * padded_size> points{};
    for (std::size_t i = 0; i < padded_size; ++i) {
      points[i] = i < size ? 65536.0F * Table::values[i] : std::numeric_limits<float>::infinity();
      points[padded_size + i] = i + 1 < size ? static_cast<float>(1.0 / step(i)) : 0.0F;
    }
    return point_table<padded_size>(points);
  }();

  static constexpr std::span<const float> finite_points{table.points.data(), size};
  static constexpr bool has_cells = size > 4 && cell_table::suits(finite_points);
  static constexpr cell_table cells{finite_points};

  static constexpr bool is_exact_enough = [] {
    bool all = true;
    for (std::size_t i = 0; i + 1 < size; ++i) {
      const double ends[] = {Table::values[i], Table::values[i + 1]};
      all = all && std::max(-ends[0], ends[1]) <= 41.0 * step(i);
    }
    return all;
  }();
  static_assert(is_exact_enough, "the values of a codebook must ascend, by at least 1/41 of their magnitude");
  static_assert(Table::values.front() <= Table::reach.lowest && Table::reach.lowest < 0.0F &&
                    0.0F < Table::reach.highest && Table::reach.highest <= Table::values.back(),
                "a codebook reaches to both sides of zero, and no farther than its values");
};

/// The 4-bit NormalFloat: zero, 7 quantiles of the normal distribution below it and 8 above, divided by the largest;
/// codes as published, 0..15. Quantiles of 1/2 + i (p - 1/2) / n for i = 1..n, n = 7 and 8, p = 0.9677083
/// (bitsandbytes, create_normal_map).
struct nf4_table {
  static std::string name() { return "NF4"; }
  static constexpr std::array<float, 16> values{-1.0F,
                                                -0.6961928009986877F,
                                                -0.5250730514526367F,
                                                -0.39491748809814453F,
                                                -0.28444138169288635F,
                                                -0.18477343022823334F,
                                                -0.09105003625154495F,
                                                0.0F,
                                                0.07958029955625534F,
                                                0.16093020141124725F,
                                                0.24611230194568634F,
                                                0.33791524171829224F,
                                                0.44070982933044434F,
                                                0.5626170039176941F,
                                                0.7229568362236023F,
                                                1.0F};
  static constexpr std::int32_t min_code = 0;
  static constexpr float_extremes reach{-1.0F, 1.0F};
};
using nf4 = scaled_codebook<nf4_table>;

/// -1, 0 and 1 times the largest magnitude: the grid of symmetric_int<2>, as a table. (Networks that are trained with
/// ternary weights scale by the mean magnitude, which clips.)
struct ternary_table {
  static std::string name() { return "ternary"; }
  static constexpr std::array<float, 3> values{-1.0F, 0.0F, 1.0F};
  static constexpr std::int32_t min_code = -1;
  static constexpr float_extremes reach{-1.0F, 1.0F};
};
using ternary = scaled_codebook<ternary_table>;

static_assert(factored_system<nf4> && bounded_system<nf4> && !scaled_system<nf4>);
static_assert(scaled_system<ternary>);

}  // namespace pluria
