// SPDX-License-Identifier: MIT

#include <pluria/kernel/int8_backend.hpp>
#include <support/catch.hpp>
#include <support/integer_weights.hpp>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

#ifdef PLURIA_WITH_ONEDNN

std::vector<std::int8_t> made(std::size_t count, std::uint32_t first) {
  std::vector<std::int8_t> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] =
        static_cast<std::int8_t>(static_cast<int>(support::mixed(first + static_cast<std::uint32_t>(i)) % 255) - 127);
  }
  return values;
}

void check(const std::vector<std::int8_t>& x, std::size_t tokens, const std::vector<std::int8_t>& w, std::size_t rows,
           std::size_t columns) {
  std::vector<std::int32_t> sums(tokens * rows, -1);
  pluria::onednn_int8::multiply(x.data(), tokens, w.data(), rows, columns, sums.data());
  std::size_t wrong = 0;
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t row = 0; row < rows; ++row) {
      std::int32_t expected = 0;
      for (std::size_t column = 0; column < columns; ++column) {
        expected += x[t * columns + column] * w[row * columns + column];
      }
      wrong += sums[t * rows + row] == expected ? 0U : 1U;
    }
  }
  CAPTURE(tokens, rows, columns);
  CHECK(wrong == 0);
}

TEST_CASE("oneDNN's integer products are exact, whatever their sizes and however often they are asked for",
          "[kernel]") {
  if (!pluria::onednn_int8::is_exact()) {
    return;
  }
  for (int again = 0; again < 2; ++again) {
    for (const auto& [tokens, rows, columns] : {std::tuple(1U, 1U, 128U), std::tuple(5U, 16U, 128U),
                                                std::tuple(9U, 37U, 384U), std::tuple(64U, 128U, 256U)}) {
      check(made(std::size_t{tokens} * columns, 1), tokens, made(std::size_t{rows} * columns, 99), rows, columns);
    }
  }
}

TEST_CASE("oneDNN's sums of the largest products do not saturate where it says so", "[kernel]") {
  if (!pluria::onednn_int8::is_exact()) {
    return;
  }
  for (const int sign : {1, -1}) {
    check(std::vector<std::int8_t>(7 * 1024, 127), 7,
          std::vector<std::int8_t>(24 * 1024, static_cast<std::int8_t>(sign * 127)), 24, 1024);
  }
}

TEST_CASE("oneDNN is the backend where it is linked", "[kernel]") {
  CHECK(std::is_same_v<pluria::default_int8_backend, pluria::onednn_int8>);
}

#else

TEST_CASE("without a library there is no backend", "[kernel]") {
  CHECK(std::is_same_v<pluria::default_int8_backend, pluria::portable_int8>);
}

#endif

}  // namespace
