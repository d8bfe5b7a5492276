// SPDX-License-Identifier: MIT
#pragma once
// What products see of a tensor's members, whatever form they are stored in: codes that all of them share, and one
// plane of bits a member, set where its code is one more. A packed tensor is one member without a plane; a fixed-point
// tensor makes its planes from the fractions and the members' random bytes when it is asked; both are blocks of 128
// columns of a row. A shared floor has both in memory, in tiles of 16 rows.

#include <pluria/core/bytes.hpp>
#include <pluria/core/lanes.hpp>
#include <pluria/kernel/member_packers.hpp>
#include <pluria/kernel/tile_rows.hpp>
#include <pluria/kernel/unpack.hpp>
#include <pluria/random/address.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/fixed_point.hpp>
#include <pluria/tensor/fixed_point_tensor.hpp>
#include <pluria/tensor/packed_tensor.hpp>
#include <pluria/tensor/row_tiles.hpp>
#include <pluria/tensor/shared_floor_tensor.hpp>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

/// Members first, first + 1, ..., first + count - 1 of a tensor, drawn from its positions whenever they are needed.
template <number_system N, int F = 4, class Generator = generator>
class fixed_point_members {
 public:
  using number = N;

  /// `name` is the tensor's: it and the number of a member decide its bits. Throws precondition_error where a lattice
  /// has more than 2^F members, without a member, and beyond 2^32 members or blocks of them.
  fixed_point_members(fixed_point_tensor<N, F> positions, std::string_view name,
                      const basic_bernoulli<Generator>& rounding, std::uint64_t first, std::size_t count)
      : positions_(std::move(positions)), rounding_(rounding), hash_(name_hash(name)), first_(first), count_(count) {
    require(count >= 1, "fixed_point_members: at least one member");
    // Refused here, not in a product; the first one, too, as the sum may wrap around.
    fixed_point<F>::bits(rounding_, hash_, first);
    fixed_point<F>::bits(rounding_, hash_, first + count - 1);
  }

  const fixed_point_tensor<N, F>& positions() const noexcept { return positions_; }
  const basic_bernoulli<Generator>& rounding() const noexcept { return rounding_; }
  std::size_t rows() const noexcept { return positions_.rows(); }
  std::size_t columns() const noexcept { return positions_.columns(); }
  std::size_t members() const noexcept { return count_; }
  std::uint64_t first() const noexcept { return first_; }
  std::uint64_t name_hash_value() const noexcept { return hash_; }

  std::size_t code_bits() const noexcept { return positions_.code_bits(); }  ///< whatever the number of members
  std::size_t granule_bits() const noexcept { return positions_.granule_bits(); }

  /// The definition: the code of one weight in one of the members, counted from 0.
  std::int32_t code(std::size_t member, std::size_t row, std::size_t column) const {
    const std::uint64_t k = first_ + member;
    const std::uint32_t byte =
        fixed_point<F>::byte(fixed_point<F>::bits(rounding_, hash_, k), row, positions_.blocks_in_row(),
                             column / block_size, column % block_size);
    const auto dither = static_cast<std::int32_t>(fixed_point<F>::dither(byte, rounding_.coupling, k));
    return (positions_.code(row, column) + dither) >> F;
  }

 private:
  fixed_point_tensor<N, F> positions_;
  basic_bernoulli<Generator> rounding_;
  std::uint64_t hash_;
  std::uint64_t first_;
  std::size_t count_;
};

/// Members that are each packed for themselves.
template <number_system N>
class packed_members {
 public:
  using number = N;

  /// Throws precondition_error without a member, or where they do not share one size.
  explicit packed_members(std::vector<packed_tensor<N>> members) : members_(std::move(members)) {
    require(!members_.empty(), "packed_members: at least one member");
    for (const packed_tensor<N>& member : members_) {
      require(member.grid().map == members_.front().grid().map, "packed_members: all members have the same size");
    }
  }

  std::size_t rows() const noexcept { return members_.front().rows(); }
  std::size_t columns() const noexcept { return members_.front().columns(); }
  std::size_t members() const noexcept { return members_.size(); }
  const packed_tensor<N>& operator[](std::size_t member) const { return members_[member]; }
  std::size_t code_bits() const noexcept { return members() * members_.front().code_bits(); }
  std::size_t granule_bits() const noexcept { return members_.front().granule_bits(); }

  std::int32_t code(std::size_t member, std::size_t row, std::size_t column) const {
    return members_[member].code(row, column);
  }

 private:
  std::vector<packed_tensor<N>> members_;
};

namespace detail {

// Where the planes of a block are: nowhere, or made when they are needed.
enum class plane_place { none, made };

// The blocks of a tensor, one after the other: packed codes, and one plane for each member where there are any.
template <number_system N, plane_place Planes>
class block_view {
 public:
  using number = N;
  static constexpr bool has_planes = Planes != plane_place::none;
  static constexpr bool is_tiled = false;
  static constexpr std::size_t floor_words = packed_block<N::bits>::words;
  // Writes the planes of a block to `room`, 16 bytes a member.
  using plane_maker = void (*)(const void* self, std::size_t row, std::size_t index, const std::uint32_t* block,
                               std::uint32_t* room);

  // Where planes are made, by make(self, ...).
  block_view(const tensor_grid<N>& grid, std::span<const std::uint32_t> words, std::size_t block_words,
             std::size_t members, plane_maker make = nullptr, const void* self = nullptr)
      : grid_(&grid),
        first_block_(words.data()),
        block_words_(block_words),
        members_(members),
        make_(make),
        self_(self) {
    require((make != nullptr) == (Planes == plane_place::made), "block_view: a maker where planes are made");
  }

  const tensor_grid<N>& grid() const { return *grid_; }
  std::size_t members() const { return members_; }
  std::size_t block_words() const { return has_planes ? block_words_ : floor_words; }
  const std::uint32_t* first_block() const { return first_block_; }

  // Writes the planes of all members, 16 bytes each, of a block that begins at `block`.
  PLURIA_INLINE void make_planes(std::size_t row, std::size_t index, const std::uint32_t* block,
                                 std::uint32_t* room) const {
    make_(self_, row, index, block, room);
  }

 private:
  const tensor_grid<N>* grid_;
  const std::uint32_t* first_block_;
  std::size_t block_words_;
  std::size_t members_;
  plane_maker make_;
  const void* self_;
};

// The tiles of a shared floor.
template <number_system N>
class tile_view {
 public:
  using number = N;
  static constexpr bool has_planes = true;
  static constexpr bool is_tiled = true;
  static constexpr std::size_t floor_words = tile_codes<N::bits>::words;

  explicit tile_view(const shared_floor_tensor<N>& weights)
      : grid_(&weights.grid()),
        first_(weights.words().data()),
        members_(weights.members()),
        tile_words_(weights.tile_words()),
        panel_words_(weights.tiles_in_panel() * weights.tile_words()) {}

  const tensor_grid<N>& grid() const { return *grid_; }
  std::size_t members() const { return members_; }
  std::size_t tile_words() const { return tile_words_; }
  std::size_t panel_words() const { return panel_words_; }

  // The tiles of 16 rows, of which `row` is one.
  PLURIA_INLINE const std::uint32_t* panel(std::size_t row) const {
    return first_ + row / row_tile::rows * panel_words_;
  }

  // Block `index` of the 16 rows, row by row.
  template <class Arch>
  void rows(std::size_t row, std::size_t index, const row_places& out) const {
    const std::size_t words = shared_floor_tensor<N>::tiles_in_block * tile_words_;
    const std::uint32_t* const tiles = panel(row) + index * words;
    for (std::size_t word = 0; word < words; word += 16) {
      lanes::request_line(tiles + words_ahead + word);
    }
    rows_of_tiles<N::bits, Arch>(tiles, members_, out);
  }

 private:
  const tensor_grid<N>* grid_;
  const std::uint32_t* first_;
  std::size_t members_;
  std::size_t tile_words_;
  std::size_t panel_words_;
};

// Makes the planes of members out of their positions' fractions.
template <number_system N, int F, class Generator, class Arch>
class fixed_point_planes {
 public:
  explicit fixed_point_planes(const fixed_point_members<N, F, Generator>& members)
      : members_(&members),
        random_(fixed_point<F>::bits(members.rounding(), members.name_hash_value(), members.first())),
        block_(members.rounding().coupling.block()),
        place_(static_cast<std::uint32_t>(members.first() % block_)) {}

  // The plane_maker of a block_view.
  static void make(const void* self, std::size_t row, std::size_t index, const std::uint32_t* block,
                   std::uint32_t* room) {
    static_cast<const fixed_point_planes*>(self)->write(row, index, block, room);
  }

 private:
  using words = lanes::words<Arch>;
  using unpacked = unpacked_block<Arch>;
  using bytes = typename unpacked::bytes;

  // fraction + dither >= 2^F, that is fraction > 2^F - 1 - dither, on bytes whose upper F bits they are: there sums
  // modulo 2^F come by themselves.
  void write(std::size_t row, std::size_t index, const std::uint32_t* block, std::uint32_t* room) const {
    const std::size_t members = members_->members();
    const std::size_t pairs = (members_->positions().blocks_in_row() + 1) / 2;
    const std::uint64_t output = 16 * (row * pairs + index / 2);
    const auto fractions = unpack<F, Arch>(block + packed_block<N::bits>::words);
    auto own = random_;
    std::uint32_t first_place = place_;
    std::size_t m = 0;
    for (; m < members; ++own.member, first_place = 0) {
      const auto random = outputs_from<unpacked>(output, own);
      bytes bounds;
      bytes steps;
      for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
        const words byte = index % 2 == 0 ? random[slice][half] : random[slice][2 + half];
        const words odd = ((byte & everywhere(fixed_point<F>::rest_mask)) << 1) + everywhere(1);
        const int shift = 8 - std::countr_zero(block_);
        steps[half][slice] = block_ == 1 ? words(0U) : (odd & everywhere(0xffU >> shift)) << shift;
        bounds[half][slice] = ~byte & everywhere(0xffU & ~fixed_point<F>::rest_mask);
      });
      for (std::uint32_t skipped = 0; skipped < first_place; ++skipped) {
        next(bounds, steps);
      }
      for (const std::size_t end = std::min<std::size_t>(members, m + block_ - first_place); m < end; ++m) {
        auto* plane = reinterpret_cast<std::byte*>(room + 4 * m);
        for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
          lanes::store_bits_where_above(fractions[half][slice] << (8 - F), bounds[half][slice],
                                        plane + 8 * half + unpacked::width / 2 * slice);
        });
        next(bounds, steps);
      }
    }
  }

  static words everywhere(std::uint32_t byte) { return words(byte * 0x01010101U); }

  PLURIA_INLINE static void next(bytes& bounds, const bytes& steps) {
    for_each_byte_batch<Arch>([&](auto half, auto slice) PLURIA_INLINE_LAMBDA {
      bounds[half][slice] = lanes::as<std::uint32_t>(lanes::as<std::uint8_t>(bounds[half][slice]) -
                                                     lanes::as<std::uint8_t>(steps[half][slice]));
    });
  }

  const fixed_point_members<N, F, Generator>* members_;
  basic_stream<Generator> random_;
  std::uint32_t block_;
  std::uint32_t place_;
};

template <number_system N>
const tensor_grid<N>& grid_of(const packed_members<N>& weights) {
  return weights[0].grid();
}
template <number_system N>
const tensor_grid<N>& grid_of(const shared_floor_tensor<N>& weights) {
  return weights.grid();
}
template <number_system N, int F, class Generator>
const tensor_grid<N>& grid_of(const fixed_point_members<N, F, Generator>& weights) {
  return weights.positions().grid();
}

// Calls work(view, first member) for each part of a storage that is read as a whole.
template <class Arch, number_system N, class Work>
void for_each_view(const packed_members<N>& weights, Work&& work) {
  for (std::size_t member = 0; member < weights.members(); ++member) {
    work(block_view<N, plane_place::none>(weights[member].grid(), weights[member].words(), packed_block<N::bits>::words,
                                          1),
         member);
  }
}
template <class M>
inline constexpr bool is_shared_floor = false;
template <number_system N>
inline constexpr bool is_shared_floor<shared_floor_tensor<N>> = true;

template <class Arch, number_system N, class Work>
void for_each_view(const shared_floor_tensor<N>& weights, Work&& work) {
  work(tile_view<N>(weights), std::size_t{0});
}
template <class Arch, number_system N, int F, class Generator, class Work>
void for_each_view(const fixed_point_members<N, F, Generator>& weights, Work&& work) {
  const fixed_point_tensor<N, F>& positions = weights.positions();
  const fixed_point_planes<N, F, Generator, Arch> planes(weights);
  work(block_view<N, plane_place::made>(positions.grid(), positions.words(), positions.block_words, weights.members(),
                                        planes.make, &planes),
       std::size_t{0});
}

}  // namespace detail

/// What products are computed from: members of one tensor in any form of storage. Law: code(member, row, column) is
/// what for_each_view shows of it.
template <class M>
concept member_storage = number_system<typename M::number> && requires(const M& weights, std::size_t i) {
  { weights.rows() } -> std::same_as<std::size_t>;
  { weights.columns() } -> std::same_as<std::size_t>;
  { weights.members() } -> std::same_as<std::size_t>;
  { weights.code(i, i, i) } -> std::same_as<std::int32_t>;
  { weights.code_bits() } -> std::same_as<std::size_t>;
  { weights.granule_bits() } -> std::same_as<std::size_t>;
};

}  // namespace pluria
