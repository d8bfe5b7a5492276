// SPDX-License-Identifier: MIT
// Any bytes are either predictions, all of whose rows can be read or are refused one by one, or refused with bad_input.

#include <pluria/io/kld.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  try {
    const pluria::kld_predictions file(std::as_bytes(std::span(input, size)), nullptr, "input");
    if (file.labels().size() != file.examples() || file.examples() > size) {
      std::abort();
    }
    std::vector<double> row(file.classes());
    for (std::size_t i = 0; i < file.examples(); ++i) {
      file.read(i, row);
    }
  } catch (const pluria::bad_input&) {
  }
  return 0;
}
