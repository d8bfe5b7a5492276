// SPDX-License-Identifier: MIT
#pragma once
// What `llama-perplexity --save-all-logits FILE` writes (llama.cpp, tools/perplexity): a text's tokens and, for the
// second half of every context, the log-probabilities of the next token in 16 bits. All numbers are little-endian:
//
//   8 bytes          "_logits_"
//   int32 x 3        n, the tokens of a context; V, those of the vocabulary; chunks, how many contexts there are
//   int32            tokens, [chunks, n]
//   then for every chunk and every position j = n/2 (rounded down), ..., n - 2 of it
//     float32 x 2    scale, least log-probability
//     uint16         codes, [V], and one more without meaning where V is odd
//
// The distribution of position j is that of token j + 1, given those before it: log p(c) = least + scale * code(c). Its
// resolution: a code is within scale / 2 of the log-probability, and scale is at most 16 / 65535, so within 1.3e-4
// nats; what lies more than 16 nats below the most probable token has been raised to that, code 0. So the probabilities
// of a row sum to more than 1, by up to V e^-16 (0.014 for 128 000 tokens) times the largest.

#include <pluria/core/error.hpp>
#include <pluria/core/ieee.hpp>
#include <pluria/io/mapped_file.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pluria {

/// The distributions in such a file. Its bytes are shared, and a row becomes numbers when it is read.
class kld_predictions {
 public:
  /// Throws bad_input, naming `file`, unless these are all bytes of such a file and every token is in the vocabulary.
  kld_predictions(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, std::string file)
      : file_(std::move(file)), owner_(std::move(owner)) {
    constexpr std::string_view magic = "_logits_";
    if (bytes.size() < magic.size() || std::memcmp(bytes.data(), magic.data(), magic.size()) != 0) {
      throw bad_input(file_ +
                      ": expected a file of llama-perplexity --save-all-logits, which begins with \"_logits_\", found "
                      "other bytes");
    }
    std::array<std::int32_t, 3> extents{};
    if (bytes.size() < magic.size() + sizeof(extents)) {
      throw bad_input(mismatch_message(file_,
                                       "context length, vocabulary and number of contexts after the first 8 bytes",
                                       std::to_string(bytes.size() - magic.size()) + " bytes"));
    }
    std::memcpy(extents.data(), bytes.data() + magic.size(), sizeof(extents));
    // Shorter contexts have no scored position.
    context_ = extent("tokens of a context", extents[0], 3);
    classes_ = extent("tokens of the vocabulary", extents[1], 1);
    chunks_ = extent("contexts", extents[2], 1);

    // Each factor is below 2^31, so that only the last product could pass 2^64: it is compared by division.
    const std::size_t row_count = chunks_ * scored();
    const std::size_t token_bytes = chunks_ * context_ * sizeof(std::int32_t);
    const std::span<const std::byte> body = bytes.subspan(magic.size() + sizeof(extents));
    if (body.size() < token_bytes || (body.size() - token_bytes) % row_bytes() != 0 ||
        (body.size() - token_bytes) / row_bytes() != row_count) {
      throw bad_input(mismatch_message(file_,
                                       std::to_string(token_bytes) + " bytes of tokens and " +
                                           std::to_string(row_count) + " * " + std::to_string(row_bytes()) +
                                           " of log-probabilities (is it complete?)",
                                       std::to_string(body.size()) + " in all"));
    }
    tokens_ = body.first(token_bytes);
    rows_ = body.subspan(token_bytes);
    for (std::size_t i = 0; i < chunks_ * context_; ++i) {
      const std::int32_t found = token(i);
      if (found < 0 || static_cast<std::size_t>(found) >= classes_) {
        throw bad_input(mismatch_message(file_ + ": token " + std::to_string(i), "0.." + std::to_string(classes_ - 1),
                                         std::to_string(found)));
      }
    }
  }

  const std::string& file() const noexcept { return file_; }
  std::size_t classes() const noexcept { return classes_; }             ///< V, the tokens of the vocabulary
  std::size_t context() const noexcept { return context_; }             ///< tokens of a context
  std::size_t chunks() const noexcept { return chunks_; }               ///< contexts
  std::size_t examples() const noexcept { return chunks_ * scored(); }  ///< scored positions

  /// The token that follows each scored position: its label, [N].
  std::vector<std::int32_t> labels() const {
    std::vector<std::int32_t> result(examples());
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = token(i / scored() * context_ + context_ / 2 + i % scored() + 1);
    }
    return result;
  }

  /// The number of each scored position's context, [N]: positions of one context are not independent.
  std::vector<std::int32_t> groups() const {
    std::vector<std::int32_t> result(examples());
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = static_cast<std::int32_t>(i / scored());
    }
    return result;
  }

  /// Whether the tokens are those of another file.
  bool same_tokens(const kld_predictions& other) const noexcept {
    return chunks_ == other.chunks_ && context_ == other.context_ &&
           std::memcmp(tokens_.data(), other.tokens_.data(), tokens_.size()) == 0;
  }

  /// The bytes of all rows, those of one example after those of the one before it.
  std::span<const std::byte> row_data() const noexcept { return rows_; }

  /// Writes the log-probabilities of one example as they are stored, [V], nats: their exponentials sum to 1 only to the
  /// resolution above. Throws bad_input, naming the example, when its scale or least log-probability cannot be that of
  /// a distribution; precondition_error beyond the last example and for another number of classes.
  void read(std::size_t example, std::span<double> log_probabilities) const {
    require(example < examples(), "an example beyond the last one");
    require(log_probabilities.size() == classes_, "log-probabilities must have one column per class");
    const std::byte* row = rows_.data() + example * row_bytes();
    std::array<float, 2> line{};
    std::memcpy(line.data(), row, sizeof(line));
    const auto [scale, least] = line;
    // A probability of 1 has been rounded in float, from a logit of up to a few hundred.
    constexpr float slack = 1e-3F;
    if (!(scale >= 0.0F && least + 65535.0F * scale <= slack && least >= -1e6F)) [[unlikely]] {
      throw bad_input(mismatch_message(file_ + ": log-probabilities of example " + std::to_string(example),
                                       "a scale of at least 0 and numbers of at most 0",
                                       "least " + std::to_string(least) + ", scale " + std::to_string(scale)));
    }
    for (std::size_t c = 0; c < classes_; ++c) {
      std::uint16_t code = 0;
      std::memcpy(&code, row + 8 + 2 * c, sizeof(code));
      log_probabilities[c] = static_cast<double>(least) + static_cast<double>(scale) * code;
    }
  }

 private:
  std::size_t extent(const char* what, std::int32_t found, std::int32_t least) const {
    if (found < least) {
      throw bad_input(
          mismatch_message(file_ + ": " + what, "at least " + std::to_string(least), std::to_string(found)));
    }
    return static_cast<std::size_t>(found);
  }

  std::size_t scored() const noexcept { return context_ - 1 - context_ / 2; }
  std::size_t row_bytes() const noexcept { return 2 * (classes_ + classes_ % 2) + 8; }

  std::int32_t token(std::size_t index) const noexcept {
    std::int32_t value = 0;
    std::memcpy(&value, tokens_.data() + index * sizeof(value), sizeof(value));
    return value;
  }

  std::string file_;
  std::shared_ptr<const void> owner_;
  std::size_t context_ = 0;
  std::size_t classes_ = 0;
  std::size_t chunks_ = 0;
  std::span<const std::byte> tokens_;
  std::span<const std::byte> rows_;
};

/// The distributions in a file of `llama-perplexity --save-all-logits`, mapped. Throws bad_input when it cannot be
/// opened or is none.
inline kld_predictions load_kld(const std::filesystem::path& path) {
  const mapped_file file = mapped_file::open(path);
  return {file.bytes(), file.owner(), path.string()};
}

}  // namespace pluria
