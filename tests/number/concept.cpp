// SPDX-License-Identifier: MIT

#include <pluria/number/concept.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <support/catch.hpp>

#include <cstdint>
#include <span>
#include <string>

namespace {

using pluria::number_system;

// Unsigned codes around a point between two of them: value = scale * (code - 1.5). Not on one side more than the other.
struct mid_rise {
  static constexpr int bits = 2;
  static constexpr std::int32_t min_code = 0;
  static constexpr std::int32_t max_code = 3;
  using granule = pluria::symmetric_int<2>::granule;
  static constexpr int granule_bits = 32;
  static std::string name() { return "mid-rise"; }
  static granule fit(std::span<const float>) { return {}; }
  template <class Float>
  static auto position(const Float& weight, const granule& granule) {
    const Float steps = weight * Float(1.0F / granule.scale) + Float(1.5F);
    return pluria::lanes::round_half_even(Float(pluria::lanes::clamp(steps, 0.0F, 3.0F) * Float(65536.0F)));
  }
  static float decode(std::int32_t code, const granule& granule) {
    return granule.scale * (static_cast<float>(code) - 1.5F);
  }
};
static_assert(number_system<mid_rise>);

struct offset_grid : mid_rise {
  static float decode(std::int32_t code, const granule&) { return static_cast<float>(code) + 0.25F; }
};

// Codes 0..3 at code + scale, or their negatives.
template <int Sign>
struct shifted : mid_rise {
  static float decode(std::int32_t code, const granule& granule) {
    return (Sign < 0 ? -1.0F : 1.0F) * (static_cast<float>(code) + granule.scale);
  }
};

struct too_many_codes : mid_rise {
  static constexpr std::int32_t max_code = 4;
};
struct too_many_bits : mid_rise {
  static constexpr int bits = 9;
};
struct without_lanes : mid_rise {
  static std::int32_t position(float weight, const granule& granule) { return mid_rise::position(weight, granule); }
};
struct wide_values : mid_rise {
  static double decode(std::int32_t code, const granule&) { return code; }
};
static_assert(!number_system<int> && !number_system<too_many_codes> && !number_system<too_many_bits> &&
              !number_system<without_lanes> && !number_system<wide_values>);

TEST_CASE("the padding's code is the nearest to zero, the lower one of two", "[number]") {
  CHECK(pluria::code_nearest_zero<pluria::symmetric_int<2>>({}) == 0);
  CHECK(pluria::code_nearest_zero<pluria::symmetric_int<8>>({0x1p-110F}) == 0);
  CHECK(pluria::code_nearest_zero<mid_rise>({}) == 1);
  CHECK(pluria::code_nearest_zero<offset_grid>({}) == 0);
  // Grids that begin above zero, end below it, or fall with the code.
  CHECK(pluria::code_nearest_zero<shifted<0>>({10.0F}) == 0);
  CHECK(pluria::code_nearest_zero<shifted<0>>({-10.0F}) == 3);
  for (const float shift : {-4.0F, -3.0F, -2.5F, -1.75F, -0.5F, 0.0F, 1.0F}) {
    const auto nearest = [&](float scale) {
      std::int32_t best = 0;
      for (std::int32_t code = 1; code <= 3; ++code) {
        const auto distance = [&](std::int32_t c) { return std::abs(scale * (static_cast<float>(c) + shift)); };
        best = distance(code) < distance(best) ? code : best;
      }
      return best;
    };
    CHECK(pluria::code_nearest_zero<shifted<1>>({shift}) == nearest(1.0F));
    CHECK(pluria::code_nearest_zero<shifted<-1>>({shift}) == nearest(-1.0F));
  }
}

}  // namespace
