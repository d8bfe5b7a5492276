// SPDX-License-Identifier: MIT

#include <pluria/tensor/checkpoint.hpp>
#include <support/catch.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using pluria::bad_input;
using pluria::checkpoint;
using pluria::dtype;
using pluria::precondition_error;
using pluria::tensor;

// Bytes that a shared vector owns, from `offset` on: files align nothing.
tensor with_bytes(std::string name, dtype type, pluria::tensor_shape shape, std::vector<std::uint8_t> bytes,
                  std::size_t offset = 0, std::string file = {}) {
  const auto owner = std::make_shared<const std::vector<std::uint8_t>>(std::move(bytes));
  return {std::move(name), type,           std::move(shape), std::as_bytes(std::span(*owner)).subspan(offset),
          owner,           std::move(file)};
}

template <class Error, class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

static_assert(pluria::size_of(dtype::f64) == 8 && pluria::size_of(dtype::bf16) == 2 &&
              pluria::size_of(dtype::boolean) == 1);
static_assert(pluria::name_of(dtype::f64) == "F64" && pluria::name_of(dtype::u8) == "U8" &&
              pluria::name_of(dtype::boolean) == "BOOL");
static_assert(pluria::is_weight_type(dtype::bf16) && !pluria::is_weight_type(dtype::f64));

TEST_CASE("every type's name says its size", "[tensor]") {
  for (int i = 0; i <= static_cast<int>(dtype::boolean); ++i) {
    const auto type = static_cast<dtype>(i);
    const std::string name(pluria::name_of(type));
    const std::string digits = name.substr(
        name.find_first_of("0123456789") == std::string::npos ? name.size() : name.find_first_of("0123456789"));
    CHECK(pluria::size_of(type) == (digits.empty() ? 1 : std::stoul(digits) / 8));
  }
}

TEST_CASE("a tensor has rows, and columns of all that follows", "[tensor]") {
  const auto of_shape = [](const pluria::tensor_shape& shape) {
    return tensor::from_floats("w", shape, std::vector<float>(pluria::element_count(shape, "w")));
  };
  CHECK(of_shape({}).rows() == 1);
  CHECK(of_shape({}).columns() == 1);
  CHECK(of_shape({7}).rows() == 1);
  CHECK(of_shape({7}).columns() == 7);
  CHECK(of_shape({4, 3, 2, 2}).rows() == 4);
  CHECK(of_shape({4, 3, 2, 2}).columns() == 12);
  CHECK(of_shape({0, 3}).rows() == 0);
  CHECK(of_shape({0, 3}).columns() == 0);
  CHECK(of_shape({3, 0}).rows() == 3);
  CHECK(of_shape({3, 0}).columns() == 0);
  CHECK(of_shape({3, 0}).to_floats().empty());
}

TEST_CASE("weights are read as floats, from any byte", "[tensor]") {
  const float one_and_a_half = 1.5F;
  std::vector<std::uint8_t> floats(9);
  std::memcpy(&floats[1], &one_and_a_half, 4);
  std::memcpy(&floats[5], &one_and_a_half, 4);
  CHECK(with_bytes("w", dtype::f32, {2}, floats, 1).to_floats() == std::vector<float>{1.5F, 1.5F});
  // 1, -2 and the smallest subnormal, behind a byte of padding.
  CHECK(with_bytes("w", dtype::f16, {3}, {9, 0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00}, 1).to_floats() ==
        std::vector<float>{1.0F, -2.0F, 0x1p-24F});
  CHECK(with_bytes("w", dtype::bf16, {2}, {9, 0x80, 0x3f, 0x00, 0xc0}, 1).to_floats() ==
        std::vector<float>{1.0F, -2.0F});

  const tensor w = tensor::from_floats("w", {2, 3}, {0, 1, 2, 3, 4, 5});
  std::array<float, 2> slice{};
  w.read(3, slice);
  CHECK(slice == std::array<float, 2>{3, 4});
  CHECK_NOTHROW(w.read(6, std::span<float>{}));
  CHECK_THROWS_AS(w.read(5, slice), precondition_error);
  CHECK_THROWS_AS(w.read(7, std::span<float>{}), precondition_error);
  CHECK_THROWS_AS(w.read(std::numeric_limits<std::size_t>::max(), slice), precondition_error);
}

TEST_CASE("a tensor that is no weight is not read, and the message says why", "[tensor]") {
  const tensor steps = with_bytes("steps", dtype::i32, {1}, {1, 0, 0, 0}, 0, "vit.safetensors");
  CHECK(message_of<bad_input>([&] { steps.to_floats(); }) ==
        "vit.safetensors: tensor \"steps\": expected dtype F32, F16 or BF16, found I32");
  CHECK(steps.bytes().size() == 4);
}

TEST_CASE("bytes and shape must agree", "[tensor]") {
  CHECK_THROWS_AS(with_bytes("w", dtype::f16, {3}, {0, 0, 0, 0}), precondition_error);
  CHECK_THROWS_AS(with_bytes("w", dtype::f16, {2}, {0, 0, 0, 0, 0}), precondition_error);
  CHECK_NOTHROW(with_bytes("w", dtype::f16, {2}, {0, 0, 0, 0}));
  const std::size_t half = std::size_t{1} << 32;
  CHECK(message_of<bad_input>([&] {
          with_bytes("w", dtype::f16, {half, half}, {}, 0, "big.safetensors");
        }) ==
        "big.safetensors: tensor \"w\": expected a shape whose product fits into 64 bits, "
        "found [4294967296, 4294967296]");
  // 2^63 elements fit, their bytes would not.
  CHECK_THROWS_AS(with_bytes("w", dtype::f16, {half, half / 2}, {}), precondition_error);
}

TEST_CASE("a copy of a tensor shares its bytes and keeps them alive", "[tensor]") {
  auto original = std::make_unique<tensor>(tensor::from_floats("w", {2}, {1, 2}));
  const tensor copy = *original;
  CHECK(copy.bytes().data() == original->bytes().data());
  original.reset();
  CHECK(copy.to_floats() == std::vector<float>{1, 2});
}

TEST_CASE("a checkpoint keeps the order of the file and finds tensors by name", "[tensor]") {
  checkpoint weights("vit.safetensors", {{"num_heads", "4"}});
  weights.add(tensor::from_floats("b", {1}, {1}, "vit.safetensors"));
  weights.add(tensor::from_floats("a", {1, 2}, {2, 3}, "vit.safetensors"));
  REQUIRE(weights.tensors().size() == 2);
  CHECK(weights.tensors()[0].name() == "b");
  CHECK(weights.tensors()[1].name() == "a");
  CHECK(weights.file() == "vit.safetensors");
  CHECK(weights.metadata().at("num_heads") == "4");
  CHECK(weights["a"].to_floats() == std::vector<float>{2, 3});
  CHECK(weights.find("c") == nullptr);
  CHECK(weights.expect("a", {1, 2}).name() == "a");

  const checkpoint copy = weights;
  CHECK(copy["b"].bytes().data() == weights["b"].bytes().data());

  CHECK(message_of<bad_input>([&] {
          weights.expect("a", {2, 1});
        }) == "vit.safetensors: tensor \"a\": expected shape [2, 1], found [1, 2]");
  CHECK(message_of<bad_input>([&] { weights["head.weight"]; }) ==
        "vit.safetensors: tensor \"head.weight\": expected, not found");
  CHECK(message_of<bad_input>([&] { weights.add(tensor::from_floats("a", {1}, {0}, "vit.safetensors")); }) ==
        "vit.safetensors: tensor \"a\": the name stands twice in the checkpoint");
  CHECK(weights.tensors().size() == 2);
}

}  // namespace
