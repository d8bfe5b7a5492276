// SPDX-License-Identifier: MIT

#include <pluria/core/error.hpp>
#include <support/catch.hpp>

#include <stdexcept>
#include <string>
#include <type_traits>

namespace {

static_assert(std::is_base_of_v<std::runtime_error, pluria::bad_input>);
static_assert(std::is_base_of_v<std::logic_error, pluria::precondition_error>);

TEST_CASE("a broken precondition throws its sentence", "[core]") {
  CHECK_NOTHROW(pluria::require(true, "never"));
  CHECK_THROWS_AS(pluria::require(false, "the sentence"), pluria::precondition_error);
  try {
    pluria::require(false, "the sentence");
  } catch (const pluria::precondition_error& error) {
    CHECK(std::string(error.what()) == "the sentence");
  }
}

TEST_CASE("a mismatch says where, what was expected and what was found", "[core]") {
  using pluria::mismatch_message;
  const std::string where = "vit.safetensors: tensor \"head.weight\"";
  const std::string expected = "2 dimensions";
  const std::string found = "3";
  const std::string message = "vit.safetensors: tensor \"head.weight\": expected 2 dimensions, found 3";
  // Every mixture of strings and literals: std::mismatch must not be taken for it.
  CHECK(mismatch_message(where, expected, found) == message);
  CHECK(mismatch_message(where, expected, "3") == message);
  CHECK(mismatch_message(where, "2 dimensions", found) == message);
  CHECK(mismatch_message(where, "2 dimensions", "3") == message);
  CHECK(mismatch_message("vit.safetensors: tensor \"head.weight\"", "2 dimensions", "3") == message);
}

}  // namespace
