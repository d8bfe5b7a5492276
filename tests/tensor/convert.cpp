// SPDX-License-Identifier: MIT

#include <pluria/tensor/convert.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace {

using namespace pluria;

TEST_CASE("weights become the nearest of their new type", "[tensor]") {
  const std::vector<float> values{1.0F, -0.333251953125F, 65504.0F, 1e-7F, 0.0F, -1.00390625F};
  const tensor floats = tensor::from_floats("w", {2, 3}, values, "f.safetensors");
  const tensor halves = converted(floats, dtype::f16);
  CHECK(halves.type() == dtype::f16);
  CHECK(halves.name() == "w");
  CHECK(halves.file() == "f.safetensors");
  CHECK(halves.shape() == tensor_shape{2, 3});
  CHECK(halves.to_floats() == std::vector<float>{1.0F, -0.333251953125F, 65504.0F, 0x1p-23F, 0.0F, -1.00390625F});
  // 1.00390625 is half way between two bfloat16; 1 is the even one.
  CHECK(converted(floats, dtype::bf16).to_floats() ==
        std::vector<float>{1.0F, -0.333984375F, 65536.0F, 215 * 0x1p-31F, 0.0F, -1.0F});
  CHECK(converted(halves, dtype::f32).to_floats() == halves.to_floats());
}

TEST_CASE("tensors longer than what is converted at once come back", "[tensor]") {
  std::vector<float> values(5000);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i % 251) - 125.0F + (i < 2048 ? 0.0F : 0.5F);  // in eight binary digits
  }
  const tensor floats = tensor::from_floats("w", {5000}, values);
  for (const dtype type : {dtype::f16, dtype::bf16}) {
    const tensor narrow = converted(floats, type);
    CHECK(narrow.to_floats() == values);
    std::vector<float> part(3001);
    narrow.read(999, part);
    CHECK(std::equal(part.begin(), part.end(), values.begin() + 999));
  }
}

TEST_CASE("a tensor of the type already is not copied", "[tensor]") {
  const tensor floats = tensor::from_floats("w", {2}, {1.0F, 2.0F});
  CHECK(converted(floats, dtype::f32).bytes().data() == floats.bytes().data());
}

TEST_CASE("a checkpoint's weights are converted, the rest stays", "[tensor]") {
  checkpoint from("f.safetensors", {{"format", "pt"}});
  from.add(tensor::from_floats("w", {1}, {3.0F}));
  const auto owner = std::make_shared<std::vector<std::int64_t>>(std::vector<std::int64_t>{7});
  from.add({"steps", dtype::i64, {1}, std::as_bytes(std::span(*owner)), owner});
  const checkpoint to = converted(from, dtype::bf16);
  CHECK(to.file() == "f.safetensors");
  CHECK(to.metadata() == from.metadata());
  CHECK(to["w"].type() == dtype::bf16);
  CHECK(to["w"].to_floats() == std::vector<float>{3.0F});
  CHECK(to["steps"].type() == dtype::i64);
  CHECK(to["steps"].bytes().data() == from["steps"].bytes().data());
}

TEST_CASE("what is no weight is not converted", "[tensor]") {
  const auto owner = std::make_shared<std::vector<std::int64_t>>(std::vector<std::int64_t>{7});
  const tensor integers{"steps", dtype::i64, {1}, std::as_bytes(std::span(*owner)), owner, "f.safetensors"};
  CHECK_THROWS_WITH(converted(integers, dtype::f32),
                    "f.safetensors: tensor \"steps\": expected dtype F32, F16 or BF16, found I64");
  std::vector<std::byte> bytes(8);
  CHECK_THROWS_AS(write_weights(std::vector<float>{1.0F}, dtype::i64, bytes), precondition_error);
  CHECK_THROWS_AS(write_weights(std::vector<float>{1.0F}, dtype::f32, bytes), precondition_error);
}

}  // namespace
