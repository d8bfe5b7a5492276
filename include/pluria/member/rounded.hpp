// SPDX-License-Identifier: MIT
#pragma once
// The members of LPE-BSR (Nam & Lee, "Ex Uno Pluria", NeurIPS 2024): one checkpoint, rounded at random to a grid, once
// per member. The grids are fitted once; a member is made when it is asked for and never stored.

#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/member/any_quantizer.hpp>
#include <pluria/member/concept.hpp>
#include <pluria/member/identity.hpp>
#include <pluria/random/address.hpp>
#include <pluria/tensor/checkpoint.hpp>
#include <pluria/tensor/packing.hpp>
#include <pluria/tensor/row_tiles.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace pluria {

/// A member source: member k is a pure function of (weights, rule, rounding, k).
class rounded_members {
 public:
  /// Fits the grid of every tensor that the rule wants rounded. Throws bad_input, naming file, tensor and index, for
  /// weights that are NaN, infinite or of a type that is not F32, F16 or BF16, and for two names with the same hash.
  /// `threads` (0: all) are used to draw members.
  rounded_members(checkpoint weights, const rule& decide, any_rounding rounding, int threads = 0)
      : weights_(std::move(weights)), rounding_(rounding), threads_(threads) {
    std::unordered_map<std::uint64_t, std::string> hashes;
    // A tensor that several names share is decided, fitted and counted once, under its first name: a head tied to an
    // embedding stays as the embedding does.
    std::map<std::tuple<const std::byte*, dtype, tensor_shape>, std::size_t> first_places;
    std::set<std::string> systems;
    std::set<std::string> granularities;
    std::set<std::string> scales;
    const std::vector<tensor>& tensors = weights_.tensors();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const tensor& current = tensors[i];
      const auto [known, is_new] = hashes.emplace(name_hash(current.name()), current.name());
      if (!is_new) {
        throw bad_input(current.where() + ": its name has the same 64-bit FNV-1a hash as \"" + known->second +
                        "\"; rename one of them");
      }
      const auto [place, is_first] =
          current.size() == 0
              ? std::pair(first_places.end(), true)
              : first_places.emplace(std::tuple(current.bytes().data(), current.type(), current.shape()), i);
      origins_.push_back(is_first ? i : place->second);
      grids_.emplace_back();
      if (!is_first) {
        continue;
      }
      const auto quantizer = decide(current.name(), current.shape());
      if (!quantizer || current.size() == 0) {
        storage_.kept_bytes += current.bytes().size();
        continue;
      }
      grids_.back() = quantizer->fit(current);
      systems.insert(quantizer->system());
      granularities.insert(quantizer->granularity_name());
      scales.insert(quantizer->scale_name());
      storage_.weights += current.size();
      storage_.padded_weights += current.rows() * blocks_per_row(current.columns()) * block_size;
      storage_.code_bits += grids_.back()->code_bits();
      const std::size_t tiled_rows = (current.rows() + row_tile::rows - 1) / row_tile::rows * row_tile::rows;
      storage_.tiled_weights += tiled_rows * blocks_per_row(current.columns()) * block_size;
      storage_.tiled_code_bits += grids_.back()->code_bits() / current.rows() * tiled_rows;
      storage_.granule_bits += grids_.back()->granule_bits();
      storage_.tiled_granule_bits += grids_.back()->grid.tiled_granule_bits();
      storage_.saturated += grids_.back()->saturated;
    }
    identity_.emplace(rounding_, systems, granularities, scales);
  }

  /// Member k: rounded tensors are float32 grid values, the others share their bytes with the source. Its identity
  /// stands in the metadata, under names that begin with "pluria.".
  checkpoint operator[](std::uint64_t k) const {
    const std::vector<tensor>& sources = weights_.tensors();
    std::vector<std::optional<tensor>> drawn(grids_.size());
    parallel_for(grids_.size(), threads_,
                 [&](std::size_t i) { drawn[i] = grids_[i] ? grids_[i]->draw(rounding_, k) : sources[i]; });
    checkpoint member(weights_.file(), identity_->metadata(k, weights_.metadata()));
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      member.add(origins_[i] == i ? *drawn[i] : drawn[origins_[i]]->renamed(sources[i].name()));
    }
    return member;
  }

  /// Whether the rule rounds the tensor `name`. Throws bad_input when there is no such tensor.
  bool rounds(std::string_view name) const { return grid_of(weights_[name]).has_value(); }

  /// Members first, first + 1, ..., first + count - 1 of the tensor `name` in a form of storage, or nothing where the
  /// rule keeps it. Throws bad_input when there is no such tensor; else as stored_members.
  std::optional<any_members> stored(std::string_view name, storage_form form, std::uint64_t first,
                                    std::size_t count) const {
    const tensor& source = weights_[name];
    const std::optional<gridded_tensor>& grid = grid_of(source);
    if (!grid) {
      return std::nullopt;
    }
    require(static_cast<bool>(grid->store), "rounded_members: only tensors quantized with_products can be stored");
    return grid->store(rounding_, form, first, count, threads_);
  }

  /// What one member takes packed for itself, its floors in tiles, and what all members share.
  struct storage {
    std::size_t weights = 0;             ///< rounded weights
    std::size_t padded_weights = 0;      ///< rounded weights and what fills their rows' last blocks
    std::size_t tiled_weights = 0;       ///< the same where rows are filled up to tiles of 16, too
    std::size_t code_bits = 0;           ///< of one member, padding included
    std::size_t tiled_code_bits = 0;     ///< the same in tiles
    std::size_t granule_bits = 0;        ///< shared by all members
    std::size_t tiled_granule_bits = 0;  ///< the same in tiles
    std::size_t saturated = 0;           ///< rounded weights beyond their grid, for which rounding is biased
    std::size_t kept_bytes = 0;          ///< tensors that are not rounded, shared by all members
  };
  const storage& packed_storage() const noexcept { return storage_; }

  const checkpoint& source() const noexcept { return weights_; }
  const any_rounding& rounding() const noexcept { return rounding_; }

 private:
  // Of a tensor of weights_.
  const std::optional<gridded_tensor>& grid_of(const tensor& source) const {
    return grids_[origins_[static_cast<std::size_t>(&source - weights_.tensors().data())]];
  }

  checkpoint weights_;
  any_rounding rounding_;
  int threads_;
  std::vector<std::optional<gridded_tensor>> grids_;  // in the order of the tensors; none where a tensor is kept
  std::vector<std::size_t> origins_;                  // the first tensor with the same bytes, mostly itself
  storage storage_;
  std::optional<member_identity> identity_;
};

static_assert(member_source<rounded_members>);

}  // namespace pluria
