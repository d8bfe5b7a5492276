// SPDX-License-Identifier: MIT
#pragma once
// Images as a network sees them, and their cutting into patches: a convolution whose stride is its kernel is one matrix
// product on the gathered patches (Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, section 3.1).

#include <pluria/core/error.hpp>
#include <pluria/nn/activations.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pluria {

/// count x channels x height x width bytes, row-major; a view.
struct image_view {
  std::span<const std::uint8_t> pixels;
  std::size_t count = 0;
  std::size_t channels = 1;
  std::size_t height = 0;
  std::size_t width = 0;

  std::size_t image_size() const noexcept { return channels * height * width; }

  /// Images first, first + 1, ..., first + number - 1.
  image_view part(std::size_t first, std::size_t number) const {
    require(first <= count && number <= count - first, "image_view: no such images");
    return {pixels.subspan(first * image_size(), number * image_size()), number, channels, height, width};
  }
};

/// What a byte is to the network: (byte / 255 - mean) / std of its channel.
class pixel_normalization {
 public:
  /// One mean and standard deviation per channel. Throws precondition_error when their numbers differ or an std is not
  /// positive.
  pixel_normalization(std::span<const float> mean, std::span<const float> std) {
    require(mean.size() == std.size() && !mean.empty(), "pixel_normalization: as many means as standard deviations");
    for (std::size_t channel = 0; channel < mean.size(); ++channel) {
      require(std[channel] > 0.0F, "pixel_normalization: standard deviations are positive");
      std::array<float, 256>& values = values_.emplace_back();
      for (std::size_t byte = 0; byte < 256; ++byte) {
        values[byte] = (static_cast<float>(byte) / 255.0F - mean[channel]) / std[channel];
      }
    }
  }

  std::size_t channels() const noexcept { return values_.size(); }
  /// The 256 values of a channel.
  const std::array<float, 256>& channel(std::size_t number) const { return values_[number]; }

 private:
  std::vector<std::array<float, 256>> values_;
};

/// The normalized patches of the images: one row per patch, images one after the other and patches in row-major order,
/// columns in the order channel, y, x, as a convolution's weight is flattened. One member.
/// Throws precondition_error when the patch size does not divide the image, or channels disagree.
inline void gather_patches(const image_view& images, std::size_t patch, const pixel_normalization& normalization,
                           activations& patches) {
  require(patch > 0 && images.height % patch == 0 && images.width % patch == 0,
          "gather_patches: the patch size must divide height and width");
  require(images.channels == normalization.channels(), "gather_patches: one mean and std per channel");
  const std::size_t down = images.height / patch;
  const std::size_t across = images.width / patch;
  patches.resize(1, images.count * down * across, images.channels * patch * patch);
  float* out = patches.values().data();
  for (std::size_t image = 0; image < images.count; ++image) {
    for (std::size_t row = 0; row < down; ++row) {
      for (std::size_t column = 0; column < across; ++column) {
        for (std::size_t channel = 0; channel < images.channels; ++channel) {
          const std::array<float, 256>& value = normalization.channel(channel);
          for (std::size_t y = 0; y < patch; ++y) {
            const std::uint8_t* line =
                &images.pixels[((image * images.channels + channel) * images.height + row * patch + y) * images.width +
                               column * patch];
            for (std::size_t x = 0; x < patch; ++x) {
              *out++ = value[line[x]];
            }
          }
        }
      }
    }
  }
}

}  // namespace pluria
