// SPDX-License-Identifier: MIT

#include <pluria/ensemble/budget.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/catch.hpp>
#include <support/checkpoints.hpp>

#include <cmath>
#include <cstddef>

#include "stored_int4.hpp"

namespace {

using pluria::quantizer;
using pluria::rounded_members;
using pluria::storage_budget;
using pluria::storage_form;
using pluria::symmetric_int;

// The weights of support::make_checkpoint that are rounded by default: [3, 129] takes 6 blocks, [2, 50] takes 2 and
// [4, 64] takes 4. Kept: 3 halves, 4 * 16 floats and 2 int32 of 4 bytes, 6 + 256 + 8 bytes.
constexpr std::size_t weights = 3 * 129 + 2 * 50 + 4 * 64;
constexpr std::size_t padded = (6 + 2 + 4) * 128;
constexpr std::size_t tiled = (2 * 16 + 16 + 16) * 128;  // rows filled up to 16
constexpr std::size_t kept = 6 + 256 + 8;

template <class Int, class G>
rounded_members::storage storage_of(const quantizer<Int, G>& used) {
  return rounded_members(support::make_checkpoint(), used, pluria::nearest{}).packed_storage();
}

TEST_CASE("the storage of a member counts padding, granules and what is kept", "[ensemble]") {
  const auto channel = storage_of(quantizer<symmetric_int<5>>{});
  CHECK(channel.weights == weights);
  CHECK(channel.code_bits == 5 * padded);
  CHECK(channel.granule_bits == 32 * (3 + 2 + 4));
  CHECK(channel.kept_bytes == kept);
  CHECK(storage_of(quantizer<symmetric_int<5>, pluria::per_tensor>{}).granule_bits == 32 * 3);
  // 129 columns are 48 + 48 + 33, 50 are 48 + 2 and 64 are 48 + 16.
  CHECK(storage_of(quantizer<symmetric_int<3>, pluria::per_group>{pluria::per_group(48)}).granule_bits ==
        32 * (3 * 3 + 2 * 2 + 4 * 2));
  CHECK(storage_of(quantizer<symmetric_int<3>, pluria::per_group>{pluria::per_group(48)}).code_bits == 3 * padded);
}

TEST_CASE("an ensemble's budget has codes once per member, granules and kept tensors once", "[ensemble]") {
  const auto storage = storage_of(quantizer<symmetric_int<5>>{});
  for (const std::size_t members : {0U, 1U, 8U, 100U}) {
    const pluria::ensemble_budget budget = storage_budget(storage, storage_form::packed, members);
    const std::size_t bits = members * 5 * padded + 32 * 9;
    CHECK(budget.members == members);
    CHECK(budget.bits_per_weight == static_cast<double>(bits) / static_cast<double>(weights));
    CHECK(budget.total_bytes == bits / 8 + kept);
  }
}

TEST_CASE("members over a shared floor take a bit each, fixed-point ones nothing", "[ensemble]") {
  const auto storage = storage_of(quantizer<symmetric_int<4>>{});
  CHECK(storage.padded_weights == padded);
  CHECK(storage.tiled_weights == tiled);
  CHECK(storage.tiled_code_bits == 4 * tiled);
  CHECK(storage.tiled_granule_bits == 32 * 9);
  for (const std::size_t members : {1U, 10U, 64U}) {
    const std::size_t shared_bits = (4 + members) * tiled + 32 * 9;
    CHECK(storage_budget(storage, storage_form::shared_floor, members).total_bytes == shared_bits / 8 + kept);
    CHECK(storage_budget(storage, storage_form::shared_floor, members).bits_per_weight ==
          static_cast<double>(shared_bits) / static_cast<double>(weights));
    CHECK(storage_budget(storage, storage_form::fixed_point, members).total_bytes == (8 * padded + 32 * 9) / 8 + kept);
  }
}

TEST_CASE("the budget of a form is what its storage takes", "[ensemble]") {
  for (const pluria::any_quantizer& used : {support::stored_int4(), support::stored_int4_in_groups()}) {
    const rounded_members members(support::make_checkpoint(), used, pluria::bernoulli{});
    for (const storage_form form : {storage_form::packed, storage_form::shared_floor, storage_form::fixed_point}) {
      std::size_t bits = 0;
      for (const char* name : {"a.weight", "b.weight", "c.weight"}) {
        const auto stored = members.stored(name, form, 0, 10);
        REQUIRE(stored.has_value());
        bits += stored->code_bits() + stored->granule_bits();
      }
      CHECK(storage_budget(members.packed_storage(), form, 10).total_bytes == bits / 8 + kept);
    }
  }
}

TEST_CASE("activations are those of every member", "[ensemble]") {
  CHECK(pluria::activation_bytes(10, 50, 128) == 10 * 50 * 128 * 4);
}

TEST_CASE("bits are rounded up to bytes", "[ensemble]") {
  CHECK(storage_budget({.weights = 1, .code_bits = 1, .granule_bits = 0, .kept_bytes = 10}, storage_form::packed, 1)
            .total_bytes == 11);
  CHECK(storage_budget({.weights = 1, .code_bits = 4, .granule_bits = 0, .kept_bytes = 10}, storage_form::packed, 2)
            .total_bytes == 11);
  CHECK(storage_budget({.weights = 1, .code_bits = 3, .granule_bits = 0, .kept_bytes = 10}, storage_form::packed, 3)
            .total_bytes == 12);
}

TEST_CASE("bits per weight of nothing are no number", "[ensemble]") {
  const rounded_members none(pluria::checkpoint{}, quantizer<symmetric_int<4>>{}, pluria::nearest{});
  const pluria::ensemble_budget budget = storage_budget(none.packed_storage(), storage_form::packed, 8);
  CHECK(std::isnan(budget.bits_per_weight));
  CHECK(budget.total_bytes == 0);
}

TEST_CASE("the budget of caches is what they take", "[ensemble]") {
  const pluria::cache_sizes sizes{.members = 8, .layers = 3, .capacity = 100, .heads = 2, .head_width = 16};
  for (const auto type : {pluria::cache_type::float32, pluria::cache_type::float16}) {
    CHECK(pluria::cache_bytes(sizes, type) == pluria::key_value_cache(sizes, type).bytes());
    CHECK(pluria::cache_bytes(sizes, type, 5) == 5 * pluria::cache_bytes(sizes, type));
  }
  // LLaMA of 1.1 billion parameters (22 layers, 4 heads of 64), context 8192, 8 members.
  CHECK(pluria::cache_bytes({8, 22, 8192, 4, 64}, pluria::cache_type::float16) == 1476395008);
}

}  // namespace
