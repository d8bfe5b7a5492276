// SPDX-License-Identifier: MIT

#include <pluria/nn/dense_matrix.hpp>
#include <pluria/nn/linear.hpp>
#include <pluria/nn/patch_embedding.hpp>
#include <support/catch.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "made_activations.hpp"

namespace {

using pluria::activations;
using pluria::gather_patches;
using pluria::image_view;
using pluria::pixel_normalization;

const std::array<float, 3> mean{0.485F, 0.456F, 0.406F};
const std::array<float, 3> deviation{0.229F, 0.224F, 0.225F};

std::vector<std::uint8_t> made_pixels(std::size_t count) {
  std::vector<std::uint8_t> pixels(count);
  for (std::size_t i = 0; i < count; ++i) {
    pixels[i] = static_cast<std::uint8_t>(support::mixed(static_cast<std::uint32_t>(i)));
  }
  return pixels;
}

TEST_CASE("a byte is normalized by its channel's mean and standard deviation", "[nn]") {
  const pixel_normalization normalization(mean, deviation);
  REQUIRE(normalization.channels() == 3);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const double m = mean[channel];
      const double expected = (static_cast<double>(byte) / 255 - m) / static_cast<double>(deviation[channel]);
      // Three roundings, the first two of values below 1.
      const double bound =
          2 * support::unit / static_cast<double>(deviation[channel]) + support::unit * std::abs(expected);
      CHECK(std::abs(static_cast<double>(normalization.channel(channel)[byte]) - expected) <= bound);
    }
  }
  CHECK_THROWS_AS(pixel_normalization(std::span<const float>(mean), std::span<const float>(deviation).first(2)),
                  pluria::precondition_error);
  CHECK_THROWS_AS(pixel_normalization({}, {}), pluria::precondition_error);
  const std::array<float, 3> zero{1.0F, 0.0F, 1.0F};
  CHECK_THROWS_AS(pixel_normalization(mean, zero), pluria::precondition_error);
}

TEST_CASE("patches are cut row by row, channel before pixel", "[nn]") {
  const std::size_t count = 2;
  const std::size_t height = 12;
  const std::size_t width = 20;
  const std::vector<std::uint8_t> pixels = made_pixels(count * 3 * height * width);
  const pixel_normalization normalization(mean, deviation);
  for (const std::size_t patch : {1U, 2U, 4U}) {
    activations patches;
    gather_patches({pixels, count, 3, height, width}, patch, normalization, patches);
    CHECK(patches.members() == 1);
    REQUIRE(patches.rows() == count * (height / patch) * (width / patch));
    REQUIRE(patches.width() == 3 * patch * patch);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      const std::size_t image = i / (3 * height * width);
      const std::size_t channel = i / (height * width) % 3;
      const std::size_t y = i / width % height;
      const std::size_t x = i % width;
      const std::size_t row = (image * (height / patch) + y / patch) * (width / patch) + x / patch;
      const std::size_t column = (channel * patch + y % patch) * patch + x % patch;
      wrong += patches.values()(static_cast<Eigen::Index>(row), static_cast<Eigen::Index>(column)) ==
                       normalization.channel(channel)[pixels[i]]
                   ? 0U
                   : 1U;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("gathered patches times the flattened kernel are the convolution", "[nn]") {
  const std::size_t side = 8;
  const std::size_t patch = 4;
  const std::size_t outputs = 5;
  const std::vector<std::uint8_t> pixels = made_pixels(3 * side * side);
  const pixel_normalization normalization(mean, deviation);
  const std::vector<pluria::checkpoint> members{support::made_checkpoint({{"w", {outputs, 3, patch, patch}}}, 1)};
  const std::vector<float> kernel = members.front()["w"].to_floats();
  activations patches;
  gather_patches({pixels, 1, 3, side, side}, patch, normalization, patches);
  activations y;
  pluria::linear<pluria::dense_matrix>(pluria::dense_matrix::load(members, "w")).apply(patches, y);
  for (std::size_t o = 0; o < outputs; ++o) {
    for (std::size_t place = 0; place < 4; ++place) {
      double sum = 0;
      double magnitude = 0;
      for (std::size_t c = 0; c < 3; ++c) {
        for (std::size_t dy = 0; dy < patch; ++dy) {
          for (std::size_t dx = 0; dx < patch; ++dx) {
            const std::size_t row = place / 2 * patch + dy;
            const std::size_t column = place % 2 * patch + dx;
            const double term =
                static_cast<double>(normalization.channel(c)[pixels[(c * side + row) * side + column]]) *
                static_cast<double>(kernel[((o * 3 + c) * patch + dy) * patch + dx]);
            sum += term;
            magnitude += std::abs(term);
          }
        }
      }
      const double found = y.values()(static_cast<Eigen::Index>(place), static_cast<Eigen::Index>(o));
      CHECK(std::abs(found - sum) <= 1.01 * 49 * support::unit * magnitude);  // 48 products and a zero
    }
  }
}

TEST_CASE("a part of the images is a view of them", "[nn]") {
  const std::vector<std::uint8_t> pixels = made_pixels(5 * 2 * 3 * 4);
  const image_view images{pixels, 5, 2, 3, 4};
  CHECK(images.image_size() == 24);
  const image_view part = images.part(2, 3);
  CHECK(part.count == 3);
  CHECK(part.channels == 2);
  CHECK(part.height == 3);
  CHECK(part.width == 4);
  CHECK(part.pixels.data() == pixels.data() + 48);
  CHECK(part.pixels.size() == 72);
  CHECK(images.part(5, 0).pixels.empty());
  CHECK_THROWS_AS(images.part(3, 3), pluria::precondition_error);
  CHECK_THROWS_AS(images.part(6, 0), pluria::precondition_error);
}

TEST_CASE("patches that do not divide the image, and other channels, are refused", "[nn]") {
  const std::vector<std::uint8_t> pixels = made_pixels(3 * 8 * 12);
  const image_view images{pixels, 1, 3, 8, 12};
  const pixel_normalization normalization(mean, deviation);
  activations patches;
  CHECK_NOTHROW(gather_patches(images, 4, normalization, patches));
  for (const std::size_t patch : {0U, 3U, 8U, 12U, 16U}) {
    CHECK_THROWS_AS(gather_patches(images, patch, normalization, patches), pluria::precondition_error);
  }
  const std::span<const float> first = std::span(mean).first(1);
  CHECK_THROWS_AS(gather_patches(images, 4, pixel_normalization(first, first), patches), pluria::precondition_error);
}

}  // namespace
