// SPDX-License-Identifier: MIT
#include <pluria/io/kld.hpp>

#include "io/kld_file.hpp"
#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

using namespace pluria;
using namespace pluria::test;

namespace {

kld_predictions parsed(const std::string& text) {
  return {bytes_of(text), nullptr, "f.kld"};
}

std::string refused(const std::string& text) {
  return refusal([&] { (void)parsed(text); });
}

// Two contexts of five tokens out of a vocabulary of three: positions 2 and 3 of each are scored.
std::string small_file() {
  std::string text = kld_head(5, 3, 2, {0, 1, 2, 1, 0, 2, 2, 2, 0, 1});
  for (int row = 0; row < 4; ++row) {
    append_kld_codes(text, 0x1p-16F, -1.0F - static_cast<float>(row),
                     {0, 0x8000, static_cast<std::uint16_t>(row == 0 ? 0xffff : 0)});
  }
  return text;
}

std::vector<double> row_of(const kld_predictions& file, std::size_t example) {
  std::vector<double> row(file.classes());
  file.read(example, row);
  return row;
}

}  // namespace

TEST_CASE("the second half of every context is scored against the tokens that follow", "[io]") {
  const std::string text = small_file();
  const kld_predictions file = parsed(text);
  CHECK(file.context() == 5);
  CHECK(file.classes() == 3);
  CHECK(file.chunks() == 2);
  CHECK(file.examples() == 4);
  CHECK(file.labels() == std::vector<std::int32_t>{1, 0, 0, 1});
  CHECK(file.groups() == std::vector<std::int32_t>{0, 0, 1, 1});
  CHECK(row_of(file, 0) == std::vector<double>{-1.0, -0.5, -0x1p-16});
  CHECK(row_of(file, 3) == std::vector<double>{-4.0, -3.5, -4.0});
  CHECK_THROWS_AS(row_of(file, 4), precondition_error);
  std::vector<double> narrow(2);
  CHECK_THROWS_AS(file.read(0, narrow), precondition_error);
  CHECK(file.row_data().size() == 4 * 16);
}

TEST_CASE("contexts of even length leave one position more unscored", "[io]") {
  // n = 4: positions 2..2, so token 3 of every context.
  std::string text = kld_head(4, 2, 2, {0, 1, 0, 1, 1, 1, 1, 0});
  append_kld_codes(text, 0x1p-16F, -1.0F, {0, 0x8000});
  append_kld_codes(text, 0.0F, -0.6931472F, {0, 0});
  CHECK(parsed(text).labels() == std::vector<std::int32_t>{1, 0});
  CHECK(row_of(parsed(text), 1)[0] == static_cast<double>(-0.6931472F));
}

TEST_CASE("log-probabilities come back within 1.3e-4, those 16 below the largest as 16 below", "[io]") {
  std::vector<float> logits;
  for (int c = 0; c < 1001; ++c) {
    logits.push_back(static_cast<float>(c * 37 % 1001) / 50.0F - 7.0F);  // from -7 to 13
  }
  std::string text = kld_head(3, 1001, 1, {5, 6, 7});
  append_kld_row(text, logits);
  const std::vector<double> row = row_of(parsed(text), 0);
  long double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<long double>(logit) - 13);
  }
  const double largest = static_cast<double>(-std::log(sum));
  for (std::size_t c = 0; c < logits.size(); ++c) {
    const double expected = std::max(static_cast<double>(logits[c]) - 13.0, -16.0) + largest;
    CHECK(std::abs(row[c] - expected) < 1.3e-4);
  }
}

TEST_CASE("files of other tokens are told apart", "[io]") {
  std::string text = small_file();
  const kld_predictions file = parsed(text);
  const std::string same = small_file();
  CHECK(file.same_tokens(parsed(same)));
  std::string other = small_file();
  other[20 + 4 * 7] = 1;
  CHECK_FALSE(file.same_tokens(parsed(other)));
}

TEST_CASE("a kld file outlives its name", "[io]") {
  const temporary_folder folder;
  std::ofstream(folder / "member-0.kld", std::ios::binary) << small_file();
  const kld_predictions file = load_kld(folder / "member-0.kld");
  std::filesystem::remove(folder / "member-0.kld");
  CHECK(row_of(file, 1) == std::vector<double>{-2.0, -1.5, -2.0});
  CHECK(file.file() == (folder / "member-0.kld").string());
}

TEST_CASE("a refused kld file is named with what was expected and found", "[io]") {
  CHECK(mentions(refused("GGUF"), {"f.kld", "expected", "_logits_", "found other bytes"}));
  CHECK(mentions(refused("_logits_\5"), {"f.kld", "expected context length", "found 1 bytes"}));
  CHECK(refused(kld_head(2, 3, 1, {0, 0})) == "f.kld: tokens of a context: expected at least 3, found 2");
  CHECK(refused(kld_head(5, 0, 1, {})) == "f.kld: tokens of the vocabulary: expected at least 1, found 0");
  CHECK(refused(kld_head(5, 3, -1, {})) == "f.kld: contexts: expected at least 1, found -1");
  std::string text = small_file();
  text[20 + 4 * 3] = 3;
  CHECK(refused(text) == "f.kld: token 3: expected 0..2, found 3");
  CHECK(mentions(refused(kld_head(2147483647, 2147483647, 2147483647, {})), {"f.kld", "complete", "found 0 in all"}));
}

TEST_CASE("rows that are no distribution are named", "[io]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const auto& [scale, least] : {std::pair{nan, -1.0F},
                                     {0.1F, nan},
                                     {-0.1F, -1.0F},
                                     {0.0F, 0.1F},
                                     {1.0F, -16.0F},
                                     {0.0F, -infinity},
                                     {infinity, -1.0F}}) {
    std::string text = kld_head(3, 2, 1, {0, 1, 1});
    append_kld_codes(text, scale, least, {0, 1});
    const kld_predictions file = parsed(text);
    CHECK(mentions(refusal([&] { row_of(file, 0); }), {"f.kld", "example 0", "expected a scale", "found least"}));
  }
}

TEST_CASE("a kld file cut or lengthened anywhere is refused", "[io]") {
  const std::string whole = small_file();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CHECK(mentions(refused(whole.substr(0, length)), {"f.kld", "expected", "found"}));
  }
  CHECK_FALSE(refused(whole + '\0').empty());
}

TEST_CASE("every hostile kld file is refused by its name", "[io]") {
  const auto files = hostile_files("kld");
  REQUIRE(files.size() >= 15);
  for (const auto& file : files) {
    INFO(file.string());
    CHECK(mentions(refusal([&] {
                     const kld_predictions found = load_kld(file);
                     for (std::size_t i = 0; i < found.examples(); ++i) {
                       row_of(found, i);
                     }
                   }),
                   {file.string() + ": ", "expected", "found"}));
  }
}
