// SPDX-License-Identifier: MIT
#pragma once
// What the benchmarks of products run on: the members of one made tensor in every form of storage, in copies that take
// turns, and their products. Storage is made when it is first asked for, and the longest unused goes when there is too
// much of it.

#include <pluria/kernel/matvec.hpp>
#include <pluria/kernel/member_blocks.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cases.hpp"
#include "turns.hpp"

namespace bench {

struct matrix_size {
  std::size_t rows;
  std::size_t columns;

  std::size_t weights() const { return rows * columns; }
  bool is_cached() const { return weights() * sizeof(float) <= std::size_t{1} << 20; }  // stays in second-level cache
  std::string name() const { return std::to_string(rows) + "x" + std::to_string(columns); }
};

inline constexpr matrix_size cached{256, 1024};
inline constexpr matrix_size square{4096, 4096};
inline constexpr matrix_size wide{4096, 14336};

/// What was made lately, under its name.
class shelf {
 public:
  static shelf& common() {
    static shelf only;
    return only;
  }

  std::shared_ptr<void> find(const std::string& name) {
    const auto found =
        std::find_if(things_.begin(), things_.end(), [&](const auto& kept) { return kept.name == name; });
    if (found == things_.end()) {
      return nullptr;
    }
    things_.splice(things_.begin(), things_, found);
    return found->what;
  }

  void make_room(std::size_t bytes) {
    while (!things_.empty() && bytes_ + bytes > most_bytes) {
      bytes_ -= things_.back().bytes;
      things_.pop_back();
    }
  }

  void put(const std::string& name, std::shared_ptr<void> what, std::size_t bytes) {
    things_.push_front({name, std::move(what), bytes});
    bytes_ += bytes;
  }

 private:
  static constexpr std::size_t most_bytes = 5 * (std::size_t{1} << 30);
  struct thing {
    std::string name;
    std::shared_ptr<void> what;
    std::size_t bytes;
  };
  std::list<thing> things_;  // the last used first
  std::size_t bytes_ = 0;
};

// Copies have grids of their own: small granules come from memory too.
template <class N>
packed_members<N> copy_of(const packed_members<N>& original) {
  const auto grid = std::make_shared<const tensor_grid<N>>(original[0].grid());
  std::vector<packed_tensor<N>> members;
  for (std::size_t m = 0; m < original.members(); ++m) {
    members.emplace_back(grid);
    std::copy(original[m].words().begin(), original[m].words().end(), members.back().data());
  }
  return packed_members<N>(std::move(members));
}
template <class N>
shared_floor_tensor<N> copy_of(const shared_floor_tensor<N>& original) {
  shared_floor_tensor<N> copy(std::make_shared<const tensor_grid<N>>(original.grid()), original.members());
  std::copy(original.words().begin(), original.words().end(), copy.data());
  return copy;
}
template <class N, int F, class Generator>
fixed_point_members<N, F, Generator> copy_of(const fixed_point_members<N, F, Generator>& original) {
  fixed_point_tensor<N, F> copy(std::make_shared<const tensor_grid<N>>(original.positions().grid()));
  const auto words = original.positions().words();
  std::copy(words.begin(), words.end(), copy.data());
  return {std::move(copy), "weights", original.rounding(), original.first(), original.members()};
}

/// Codes of 8 bits, one row after the other: members decoded ahead.
using int8_matrix = aligned_vector<std::int8_t>;

inline int8_matrix copy_of(const int8_matrix& original) {
  return original;
}

inline std::size_t bytes_of(const int8_matrix& codes) {
  return codes.size();
}
inline std::size_t bytes_of(const tensor& weights) {
  return weights.bytes().size();
}
template <member_storage M>
std::size_t bytes_of(const M& weights) {
  return (weights.code_bits() + weights.granule_bits()) / 8;
}

/// Copies of what `make` gives, of which a name and a size say all: one where it stays in cache, else so many that they
/// come from memory.
template <class Make>
auto copies_of(const std::string& name, const matrix_size& size, Make&& make) {
  using made = decltype(make());
  const std::string key = name + "/" + size.name();
  if (const auto found = shelf::common().find(key)) {
    return std::static_pointer_cast<turning<made>>(found);
  }
  made first = make();
  const std::size_t bytes = bytes_of(first);
  const std::size_t copies = size.is_cached() ? 1 : beyond_caches / bytes + 1;
  shelf::common().make_room(copies * bytes);
  auto all =
      std::make_shared<turning<made>>(std::move(first), copies, [](const auto& original) { return copy_of(original); });
  shelf::common().put(key, all, copies * bytes);
  return all;
}

inline std::shared_ptr<turning<tensor>> weights_of(dtype type, const matrix_size& size) {
  return copies_of(std::string(name_of(type)), size, [&] { return made_tensor(type, size.rows, size.columns); });
}

template <int Bits, granularity G>
std::shared_ptr<const tensor_grid<symmetric_int<Bits>>> grid_on(const tensor& weights, const G& granules) {
  return std::make_shared<const tensor_grid<symmetric_int<Bits>>>(
      quantizer<symmetric_int<Bits>, G>{granules}.fit(weights));
}

// The forms of storage, each with the members' number.

/// One member of them is rounded to nearest.
template <int Bits>
struct packed_form {
  static std::string name() { return "packed INT-" + std::to_string(Bits); }

  template <granularity G>
  static auto made(const tensor& weights, const G& granules, std::size_t members) {
    auto grid = grid_on<Bits>(weights, granules);
    if (members == 1) {
      return packed_members<symmetric_int<Bits>>(sample(weights, std::move(grid), nearest{}, 0, 1));
    }
    return packed_members<symmetric_int<Bits>>(sample(weights, std::move(grid), bernoulli{.seed = 1}, 0, members));
  }
};

template <int Bits>
struct shared_floor_form {
  static std::string name() { return "shared floor INT-" + std::to_string(Bits); }

  template <granularity G>
  static auto made(const tensor& weights, const G& granules, std::size_t members) {
    return sample_shared_floor(weights, grid_on<Bits>(weights, granules), bernoulli{.seed = 1}, 0, members);
  }
};

/// A lattice of 16.
struct fixed_point_form {
  static std::string name() { return "fixed point INT-4.4"; }

  template <granularity G>
  static auto made(const tensor& weights, const G& granules, std::size_t members) {
    using number = symmetric_int<4>;
    return fixed_point_members<number, 4>(sample_fixed_point<number, 4>(weights, grid_on<4>(weights, granules)),
                                          weights.name(), bernoulli{.seed = 1, .coupling = lattice(16)}, 0, members);
  }
};

template <class Form, granularity G>
auto members_of(const Form&, const matrix_size& size, const G& granules, std::size_t members) {
  const auto name = Form::name() + ", " + granules.name() + ", S=" + std::to_string(members);
  return copies_of(name, size, [&] { return Form::made(weights_of(dtype::f32, size)->first(), granules, members); });
}

/// Inputs and outputs of `count` products.
struct vectors {
  aligned_vector<float> x;
  aligned_vector<float> y;

  vectors(const matrix_size& size, std::size_t count) : x(count * size.columns), y(count * size.rows, 0.0F) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = 20 * made_weight(static_cast<std::uint32_t>(i + (1U << 30)));
    }
  }
};

inline double operations_of(const matrix_size& size, std::size_t products) {
  return 2.0 * static_cast<double>(size.weights()) * static_cast<double>(products);
}

/// The products of all members, each with an input of its own.
template <class Form, granularity G>
product members_product(const Form& form, const matrix_size& size, const G& granules, std::size_t members,
                        activation_type activations, int threads = 1) {
  const auto weights = members_of(form, size, granules, members);
  const auto values = std::make_shared<vectors>(size, members);
  return {[=] { matvec(weights->next(), values->x, values->y, activations, threads); },
          static_cast<double>(bytes_of(weights->first())), operations_of(size, members)};
}

/// So many products of one packed member each.
template <granularity G>
product separate_products(const matrix_size& size, const G& granules, std::size_t count, activation_type activations) {
  const auto weights = members_of(packed_form<4>{}, size, granules, 1);
  const auto values = std::make_shared<vectors>(size, count);
  return {[=] {
            for (std::size_t i = 0; i < count; ++i) {
              matvec(weights->next(), std::span<const float>(values->x).subspan(i * size.columns, size.columns),
                     std::span(values->y).subspan(i * size.rows, size.rows), activations);
            }
          },
          static_cast<double>(count * bytes_of(weights->first())), operations_of(size, count)};
}

}  // namespace bench
