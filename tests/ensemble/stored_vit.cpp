// SPDX-License-Identifier: MIT
// Networks on stored members against networks on the checkpoints that the same members are.

#include <pluria/ensemble/stored_vit.hpp>
#include <pluria/io/safetensors.hpp>
#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "stored_int4.hpp"

namespace {

using namespace pluria;
using namespace support;

checkpoint source() {
  return load_safetensors(PLURIA_SOURCE_DIR "/tests/nn/reference/token.safetensors");
}

const std::vector<std::uint8_t>& pixels() {
  static const std::vector<std::uint8_t> made = [] {
    std::vector<std::uint8_t> values(std::size_t{5} * 28 * 28);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<std::uint8_t>(static_cast<std::uint32_t>(i) * 2654435761U >> 24);
    }
    return values;
  }();
  return made;
}
image_view images() {
  return {pixels(), 5, 1, 28, 28};
}

TEST_CASE("members over a shared floor, packed and as checkpoints give the same logits", "[ensemble]") {
  const checkpoint weights = source();
  const rounded_members members(weights, stored_int4(), rounding);
  const std::vector<checkpoint> drawn{members[2], members[3], members[4]};
  const row_major_matrix expected = load_vit(drawn).logits(images());
  const auto logits = [&](storage_form form) {
    return stored_vit(members, form, 2, member_count, activation_type::float32).logits(images());
  };
  const row_major_matrix packed = logits(storage_form::packed);
  // The same weights, summed in another order: the tolerance is that of the comparison with timm (tests/nn/vit.cpp).
  CHECK(largest_difference(packed, expected) <= 1e-4F);
  CHECK(logits(storage_form::shared_floor) == packed);
  // Members are others: the comparison says something.
  CHECK(largest_difference(expected.topRows(5), expected.bottomRows(5)) > 0.01F);
}

TEST_CASE("members drawn from fixed-point positions give the logits of their codes", "[ensemble]") {
  const checkpoint weights = source();
  const rounded_members members(weights, stored_int4(), rounding);
  const auto drawn = fixed_point_checkpoints(weights);
  const row_major_matrix expected = load_vit(drawn).logits(images());
  CHECK(largest_difference(
            stored_vit(members, storage_form::fixed_point, 2, member_count, activation_type::float32).logits(images()),
            expected) <= 1e-4F);
}

TEST_CASE("int8 activations move logits a little, and all forms alike", "[ensemble]") {
  const rounded_members members(source(), stored_int4(), rounding);
  const auto logits = [&](storage_form form, activation_type activations) {
    return stored_vit(members, form, 0, member_count, activations).logits(images());
  };
  const row_major_matrix floats = logits(storage_form::packed, activation_type::float32);
  const row_major_matrix int8 = logits(storage_form::packed, activation_type::int8);
  CHECK(logits(storage_form::shared_floor, activation_type::int8) == int8);
  const float moved = largest_difference(int8, floats);
  CHECK(moved > 0.0F);
  CHECK(moved < 0.05F * floats.cwiseAbs().maxCoeff());  // a token is rounded by 1 / 254 of its largest value at most
}

TEST_CASE("any number of threads gives the same bits from stored members", "[ensemble]") {
  const rounded_members members(source(), stored_int4(), rounding);
  const auto network = stored_vit(members, storage_form::shared_floor, 0, member_count, activation_type::int8);
  CHECK(network.logits(images(), 1) == network.logits(images(), 2));
}

TEST_CASE("matrices that the rule keeps are shared by all members", "[ensemble]") {
  const checkpoint weights = source();
  const rule all_but_head([](std::string_view name, std::span<const std::size_t> shape) {
    return quantized_by_default(name, shape) && name != "head.weight" ? rule::decision(stored_int4()) : std::nullopt;
  });
  const rounded_members members(weights, all_but_head, rounding);
  CHECK_FALSE(members.stored("head.weight", storage_form::packed, 0, 1).has_value());
  const std::vector<checkpoint> drawn{members[0], members[1], members[2]};
  CHECK(largest_difference(
            stored_vit(members, storage_form::shared_floor, 0, 3, activation_type::float32).logits(images()),
            load_vit(drawn).logits(images())) <= 1e-4F);
}

TEST_CASE("a tensor that is not there is named", "[ensemble]") {
  const rounded_members members(source(), stored_int4(), rounding);
  CHECK_THROWS_AS(members.stored("none.weight", storage_form::packed, 0, 1), bad_input);
  const rounded_members without(source(), quantizer<int4>{}, rounding);
  CHECK_THROWS_AS(without.stored("head.weight", storage_form::packed, 0, 1), precondition_error);
}

}  // namespace
