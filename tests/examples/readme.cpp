// SPDX-License-Identifier: MIT
#include <string>

#include "examples/program.hpp"
#include "support/catch.hpp"

TEST_CASE("README shows exactly the quickstart", "[examples]") {
  const std::string readme = read_text(PLURIA_SOURCE_DIR "/README.md");
  const std::string program = read_text(PLURIA_SOURCE_DIR "/examples/quickstart/quickstart.cpp");
  const std::string licence = "// SPDX-License-Identifier: MIT\n";
  REQUIRE(program.starts_with(licence));
  CHECK(readme.find("```cpp\n" + program.substr(licence.size()) + "```\n") != std::string::npos);
}

TEST_CASE("README shows exactly the quickstart's output", "[examples]") {
  const std::string readme = read_text(PLURIA_SOURCE_DIR "/README.md");
  CHECK(readme.find(read_text(PLURIA_SOURCE_DIR "/examples/quickstart/expected_output.txt")) != std::string::npos);
}
