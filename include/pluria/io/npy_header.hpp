// SPDX-License-Identifier: MIT
#pragma once
// The header of NumPy's npy format (numpy.lib.format, NEP 1): a Python dictionary with exactly these keys,
//   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
// of which only what `numpy.save` writes for plain little-endian arrays is understood.

#include <pluria/core/error.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <array>
#include <charconv>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace pluria::detail {

/// What NumPy calls the dtypes that it shares with `pluria::dtype`; bfloat16 is not among them.
inline constexpr std::array<std::pair<std::string_view, dtype>, 12> npy_types{{{"<f8", dtype::f64},
                                                                               {"<f4", dtype::f32},
                                                                               {"<f2", dtype::f16},
                                                                               {"<i8", dtype::i64},
                                                                               {"<i4", dtype::i32},
                                                                               {"<i2", dtype::i16},
                                                                               {"|i1", dtype::i8},
                                                                               {"<u8", dtype::u64},
                                                                               {"<u4", dtype::u32},
                                                                               {"<u2", dtype::u16},
                                                                               {"|u1", dtype::u8},
                                                                               {"|b1", dtype::boolean}}};

struct npy_header {
  dtype type{};
  tensor_shape shape;
};

/// Reads a header's dictionary; `file` is what messages name.
class npy_dictionary {
 public:
  npy_dictionary(std::string_view text, const std::string& file) : rest_(text), file_(file) {}

  /// Throws bad_input for anything but the three keys, for other dtypes, and for arrays of two or more dimensions in
  /// Fortran order.
  npy_header read() {
    std::optional<dtype> type;
    std::optional<bool> fortran_order;
    std::optional<tensor_shape> shape;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr" && !type) {
        type = type_of(string());
      } else if (key == "fortran_order" && !fortran_order) {
        fortran_order = truth();
      } else if (key == "shape" && !shape) {
        shape = tuple();
      } else {
        throw bad_input(mismatch_message(where(), "the keys descr, fortran_order and shape, once each",
                                         '\'' + std::string(key.substr(0, 64)) + '\''));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_blanks();
    if (!rest_.empty()) {
      fail("only blanks after the dictionary");
    }
    if (!type || !fortran_order || !shape) {
      throw bad_input(mismatch_message(where(), "the keys descr, fortran_order and shape",
                                       std::string("no ") + (!type    ? "descr"
                                                             : !shape ? "shape"
                                                                      : "fortran_order")));
    }
    // With fewer than two dimensions both orders are the same bytes.
    if (*fortran_order && shape->size() >= 2) {
      throw bad_input(mismatch_message(where(), "C order (numpy.ascontiguousarray)",
                                       "fortran_order True for " + to_string(*shape)));
    }
    return {*type, std::move(*shape)};
  }

 private:
  std::string where() const { return file_ + ": npy header"; }

  [[noreturn]] void fail(const std::string& expected) const {
    throw bad_input(
        mismatch_message(where(), expected, rest_.empty() ? "its end" : '"' + std::string(rest_.substr(0, 16)) + '"'));
  }

  void skip_blanks() {
    const auto first = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(first == std::string_view::npos ? rest_.size() : first);
  }

  bool accept(char wanted) {
    skip_blanks();
    const bool found = rest_.starts_with(wanted);
    rest_.remove_prefix(found ? 1 : 0);
    return found;
  }

  void expect(char wanted) {
    if (!accept(wanted)) {
      fail(std::string("'") + wanted + '\'');
    }
  }

  std::string_view string() {
    skip_blanks();
    if (rest_.starts_with('[')) {
      fail("a plain dtype, not one with fields");
    }
    if (!rest_.starts_with('\'') && !rest_.starts_with('"')) {
      fail("a string");
    }
    const auto end = rest_.find(rest_.front(), 1);
    if (end == std::string_view::npos) {
      fail("a string with its closing quote");
    }
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool truth() {
    skip_blanks();
    for (const auto& [word, value] : {std::pair<std::string_view, bool>("True", true), {"False", false}}) {
      if (rest_.starts_with(word)) {
        rest_.remove_prefix(word.size());
        return value;
      }
    }
    fail("True or False");
  }

  tensor_shape tuple() {
    tensor_shape shape;
    bool comma = true;
    expect('(');
    while (!accept(')')) {
      std::size_t extent = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), extent);
      if (!comma || error != std::errc{} || shape.size() == 64) {
        fail("a tuple of at most 64 non-negative 64-bit integers");
      }
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      shape.push_back(extent);
      comma = accept(',');
    }
    if (shape.size() == 1 && !comma) {
      fail("(n,): to Python (n) is a number");
    }
    return shape;
  }

  dtype type_of(std::string_view name) const {
    for (const auto& [known, type] : npy_types) {
      if (known == name) {
        return type;
      }
    }
    std::string names;
    for (const auto& [known, type] : npy_types) {
      names += (names.empty() ? "" : ", ") + std::string(known);
    }
    throw bad_input(mismatch_message(where() + ": descr",
                                     (name.starts_with('>') ? "little-endian numbers, one of " : "one of ") + names,
                                     '\'' + std::string(name.substr(0, 64)) + '\''));
  }

  std::string_view rest_;
  const std::string& file_;
};

/// The first bytes of an npy file of version 1.0, up to the values, exactly as NumPy >= 1.23 writes them. Throws
/// bad_input, naming the file, where the format has no such dtype.
inline std::string npy_preamble(dtype type, const tensor_shape& shape, const std::string& file) {
  std::string_view name;
  for (const auto& [known, candidate] : npy_types) {
    if (candidate == type) {
      name = known;
    }
  }
  if (name.empty()) {
    throw bad_input(mismatch_message(file, "a dtype of the npy format", std::string(name_of(type))));
  }
  std::string text = "{'descr': '" + std::string(name) + "', 'fortran_order': False, 'shape': (";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  text += shape.size() == 1 ? ",), }" : "), }";
  // Room for the first extent to grow to 21 digits in place, then 1 to 64 blanks and a line feed up to a multiple
  // of 64.
  if (!shape.empty()) {
    text.append(21 - std::to_string(shape[0]).size(), ' ');
  }
  constexpr std::size_t magic_and_line_feed = 11;
  text.append(64 - (magic_and_line_feed + text.size()) % 64, ' ');
  text += '\n';
  const std::size_t length = text.size();
  require(length <= 0xffff, "npy: too many dimensions for a header of version 1.0");
  std::string preamble("\x93NUMPY\x01\x00", 8);
  preamble += static_cast<char>(length & 0xffU);
  preamble += static_cast<char>(length >> 8U);
  return preamble + text;
}

}  // namespace pluria::detail
