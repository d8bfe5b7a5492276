// SPDX-License-Identifier: MIT
#pragma once
// A writer of the files of `llama-perplexity --save-all-logits`, from the description of the format.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace pluria::test {

template <class Value>
void append_bytes(std::string& text, Value value) {
  char bytes[sizeof(Value)];
  std::memcpy(bytes, &value, sizeof(Value));
  text.append(bytes, sizeof(Value));
}

/// What stands before the rows.
inline std::string kld_head(std::int32_t context, std::int32_t vocabulary, std::int32_t chunks,
                            const std::vector<std::int32_t>& tokens) {
  std::string text = "_logits_";
  append_bytes(text, context);
  append_bytes(text, vocabulary);
  append_bytes(text, chunks);
  for (const std::int32_t token : tokens) {
    append_bytes(text, token);
  }
  return text;
}

/// One row of codes as they are stored.
inline void append_kld_codes(std::string& text, float scale, float least, const std::vector<std::uint16_t>& codes) {
  append_bytes(text, scale);
  append_bytes(text, least);
  for (const std::uint16_t code : codes) {
    append_bytes(text, code);
  }
  if (codes.size() % 2 == 1) {
    append_bytes(text, std::uint16_t{0xbeef});
  }
}

/// One row of logits, rounded to 65536 steps over at most 16 nats below the largest.
inline void append_kld_row(std::string& text, const std::vector<float>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  const double least = std::max<double>(*std::min_element(logits.begin(), logits.end()), largest - 16.0);
  double sum = 0.0;
  for (const double logit : logits) {
    sum += std::exp(logit - largest);
  }
  const double scale = (largest - least) / 65535.0;
  std::vector<std::uint16_t> codes;
  for (const double logit : logits) {
    codes.push_back(scale > 0.0 && logit > least ? static_cast<std::uint16_t>(std::lround((logit - least) / scale))
                                                 : std::uint16_t{0});
  }
  append_kld_codes(text, static_cast<float>(scale), static_cast<float>(least - largest - std::log(sum)), codes);
}

}  // namespace pluria::test
