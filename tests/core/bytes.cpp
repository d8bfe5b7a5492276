// SPDX-License-Identifier: MIT

#include <pluria/core/bytes.hpp>
#include <support/batches.hpp>
#include <support/byte_batches.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace {

using namespace support;
namespace bytes = pluria::lanes;

TEST_CASE("words repeat until the batch is full", "[core]") {
  std::array<std::uint32_t, 17> source{};
  for (std::uint32_t i = 0; i < source.size(); ++i) {
    source[i] = mixed(i + 1);
  }
  expect_none([&](auto arch) {
    using Arch = decltype(arch);
    constexpr std::size_t size = bytes::words<Arch>::size;
    std::size_t wrong = 0;
    const auto check = [&]<std::size_t Count>(std::integral_constant<std::size_t, Count>) {
      if constexpr (Count <= size) {
        // From an address that is a multiple of 4 only.
        const auto found = lanes_of(bytes::repeated<Count, Arch>(source.data() + 1));
        const auto twin = lanes_of(bytes::repeated_one_by_one<Count, Arch>(source.data() + 1));
        for (std::size_t lane = 0; lane < size; ++lane) {
          wrong += found[lane] == source[1 + lane % Count] && twin[lane] == found[lane] ? 0U : 1U;
        }
      }
    };
    check(std::integral_constant<std::size_t, 4>{});
    check(std::integral_constant<std::size_t, 8>{});
    check(std::integral_constant<std::size_t, 16>{});
    return wrong;
  });
}

TEST_CASE("quarters of 16 bytes are transposed as matrices of 4 x 4", "[core]") {
  std::array<std::uint8_t, 64> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::uint8_t>(i);
  }
  expect_none([&](auto arch) {
    using Arch = decltype(arch);
    std::size_t wrong = 0;
    const auto moved = bytes_of<Arch>(bytes::transposed_quarters(loaded<Arch>(numbers)));
    for (std::size_t quarter = 0; quarter < moved.size(); quarter += 16) {
      for (std::size_t i = 0; i < 4; ++i) {
        for (std::size_t c = 0; c < 4; ++c) {
          wrong += moved[quarter + 4 * c + i] == quarter + 4 * i + c ? 0U : 1U;
        }
      }
    }
    for (std::uint32_t seed = 0; seed < 100; ++seed) {
      const auto batch = loaded<Arch>(made_bytes(seed));
      const auto found = bytes::transposed_quarters(batch);
      wrong += bytes_of<Arch>(found) == bytes_of<Arch>(bytes::transposed_quarters_one_by_one(batch)) ? 0U : 1U;
      wrong += bytes_of<Arch>(bytes::transposed_quarters(found)) == bytes_of<Arch>(batch) ? 0U : 1U;
    }
    return wrong;
  });
}

TEST_CASE("bits are stored where a byte is above another, without sign", "[core]") {
  expect_none([](auto arch) {
    using Arch = decltype(arch);
    constexpr std::size_t size = 4 * bytes::words<Arch>::size;
    std::size_t wrong = 0;
    // Bits that are stored at an odd address, and nothing but them.
    const auto check = [&](const std::array<std::uint8_t, 64>& a, const std::array<std::uint8_t, 64>& b) {
      std::array<std::uint8_t, 16> found{};
      std::array<std::uint8_t, 16> twin{};
      found.fill(0xa5U);
      twin.fill(0xa5U);
      bytes::store_bits_where_above(loaded<Arch>(a), loaded<Arch>(b), &found[1]);
      bytes::store_bits_where_above_one_by_one(loaded<Arch>(a), loaded<Arch>(b), &twin[1]);
      wrong += found == twin && found[0] == 0xa5U && found[1 + size / 8] == 0xa5U ? 0U : 1U;
      for (std::size_t byte = 0; byte < size; ++byte) {
        const bool is_set = (found[1 + byte / 8] >> byte % 8 & 1U) != 0;
        wrong += is_set == (a[byte] > b[byte]) ? 0U : 1U;
      }
    };
    // All pairs of bytes, at places that change.
    std::array<std::uint8_t, 64> a{};
    std::array<std::uint8_t, 64> b{};
    for (std::uint32_t left = 0; left < 256; ++left) {
      for (std::uint32_t first = 0; first < 256; first += 16) {
        for (std::uint32_t i = 0; i < 64; ++i) {
          a[i] = static_cast<std::uint8_t>(left);
          b[i] = static_cast<std::uint8_t>(first + (i + left) % 16);
        }
        check(a, b);
      }
    }
    for (std::uint32_t seed = 0; seed < 100; ++seed) {
      check(made_bytes(2 * seed + 1), made_bytes(2 * seed + 3));
    }
    return wrong;
  });
}

// plus_bit and plus_two_bits of codes of Bits bits, for all codes and bits.
template <int Bits, int Place, class Arch>
std::size_t wrong_sums_of_bits() {
  std::size_t wrong = 0;
  for (std::uint32_t code = 0; code < (1U << Bits) && code < 255; ++code) {
    for (std::uint32_t first = 0; first < 256; first += 64) {
      std::array<std::uint8_t, 64> codes{};
      std::array<std::uint8_t, 64> bits{};
      for (std::uint32_t i = 0; i < 64; ++i) {
        codes[i] = static_cast<std::uint8_t>((code + i) % std::min(1U << Bits, 255U));
        bits[i] = static_cast<std::uint8_t>(first + i);
      }
      const auto one = bytes_of<Arch>(bytes::plus_bit<Place>(loaded<Arch>(codes), loaded<Arch>(bits)));
      const auto two = bytes::plus_two_bits<Bits, Place>(loaded<Arch>(codes), loaded<Arch>(bits));
      const auto lower = bytes_of<Arch>(two[0]);
      const auto upper = bytes_of<Arch>(two[1]);
      for (std::size_t byte = 0; byte < 4 * bytes::words<Arch>::size; ++byte) {
        const std::uint32_t expected = codes[byte] + (bits[byte] >> Place & 1U);
        wrong += one[byte] == expected && lower[byte] == expected ? 0U : 1U;
        wrong += upper[byte] == codes[byte] + (bits[byte] >> (Place + 1) & 1U) ? 0U : 1U;
      }
    }
  }
  return wrong;
}

TEST_CASE("a bit of another batch's byte adds one to a byte, and two bits give two", "[core]") {
  expect_none([](auto arch) {
    using Arch = decltype(arch);
    std::size_t wrong = 0;
    bytes::unrolled<4>([&](auto two) {
      wrong += wrong_sums_of_bits<4, 2 * two, Arch>();
      wrong += wrong_sums_of_bits<3, 2 * two, Arch>();
      wrong += wrong_sums_of_bits<8, 2 * two, Arch>();
    });
    return wrong;
  });
}

TEST_CASE("a bit for every byte adds one to it", "[core]") {
  expect_none([](auto arch) {
    using Arch = decltype(arch);
    constexpr std::size_t size = 4 * bytes::words<Arch>::size;
    std::size_t wrong = 0;
    const auto check = [&](std::array<std::uint8_t, 64> values, const std::array<std::uint8_t, 64>& bits) {
      for (std::uint8_t& value : values) {
        value = std::min<std::uint8_t>(value, 254);
      }
      const auto batch = loaded<Arch>(values);
      // The bits at an odd address.
      const auto found = bytes_of<Arch>(bytes::plus_bits(batch, &bits[1]));
      const auto twin = bytes_of<Arch>(bytes::plus_bits_one_by_one(batch, &bits[1]));
      for (std::size_t byte = 0; byte < size; ++byte) {
        const std::uint32_t expected = values[byte] + (bits[1 + byte / 8] >> byte % 8 & 1U);
        wrong += found[byte] == expected && twin[byte] == expected ? 0U : 1U;
      }
    };
    // Each bit alone, above the smallest and the largest bytes; then any.
    for (std::size_t bit = 0; bit < size; ++bit) {
      for (const std::uint8_t value : {std::uint8_t{0}, std::uint8_t{127}, std::uint8_t{254}}) {
        std::array<std::uint8_t, 64> values{};
        std::array<std::uint8_t, 64> bits{};
        values.fill(value);
        bits[1 + bit / 8] = static_cast<std::uint8_t>(1U << bit % 8);
        check(values, bits);
      }
    }
    for (std::uint32_t seed = 0; seed < 200; ++seed) {
      check(made_bytes(seed), made_bytes(1000 + 2 * seed));
    }
    return wrong;
  });
}

TEST_CASE("bytes become floats, without sign", "[core]") {
  std::array<std::uint8_t, 257 + 64> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::uint8_t>(i);
  }
  expect_none([&](auto arch) {
    using Arch = decltype(arch);
    std::size_t wrong = 0;
    // From every address.
    for (std::size_t first = 0; first < 256; ++first) {
      const auto found = lanes_of(bytes::floats_from_bytes<Arch>(&numbers[first]));
      const auto twin = lanes_of(bytes::floats_from_bytes_one_by_one<Arch>(&numbers[first]));
      for (std::size_t lane = 0; lane < found.size(); ++lane) {
        const auto expected = static_cast<float>((first + lane) % 256);
        wrong += found[lane] == expected && twin[lane] == expected ? 0U : 1U;
      }
    }
    return wrong;
  });
}

TEST_CASE("bits choose between two floats, lane by lane and bit for bit", "[core]") {
  expect_none([](auto arch) {
    using Arch = decltype(arch);
    using floats = bytes::floats<Arch>;
    constexpr std::size_t size = floats::size;
    // Patterns that arithmetic would change: signalling NaN, -0, subnormals.
    std::array<std::uint32_t, 16> set{0x7f800001U, 0x80000000U, 1U, 0xffffffffU};
    std::array<std::uint32_t, 16> clear{0U, 0xff800001U, 0x3f800000U, 0x80000001U};
    for (std::uint32_t lane = 4; lane < 16; ++lane) {
      set[lane] = mixed(lane);
      clear[lane] = mixed(lane + 100);
    }
    const auto a = bytes::as<float>(bytes::words<Arch>::load_unaligned(set.data()));
    const auto b = bytes::as<float>(bytes::words<Arch>::load_unaligned(clear.data()));
    std::size_t wrong = 0;
    const auto check = [&](const std::array<std::uint8_t, 64>& bits) {
      for (std::size_t first = 0; first < 128; first += size) {
        const auto found = lanes_of(bytes::as<std::uint32_t>(bytes::choose(&bits[1], first, a, b)));
        for (std::size_t lane = 0; lane < size; ++lane) {
          const std::size_t bit = first + lane;
          wrong += found[lane] == ((bits[1 + bit / 8] >> bit % 8 & 1U) != 0 ? set[lane] : clear[lane]) ? 0U : 1U;
        }
      }
    };
    for (std::size_t bit = 0; bit < 128; ++bit) {
      std::array<std::uint8_t, 64> bits{};
      bits[1 + bit / 8] = static_cast<std::uint8_t>(1U << bit % 8);
      check(bits);
    }
    for (std::uint32_t seed = 0; seed < 100; ++seed) {
      check(made_bytes(seed));
    }
    return wrong;
  });
}

}  // namespace
