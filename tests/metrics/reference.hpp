// SPDX-License-Identifier: MIT
#pragma once
// The synthetic members that make_reference.py scored, made from integers by the same formulas, and its results.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace reference {

inline constexpr std::size_t examples = 400;
inline constexpr std::size_t classes = 10;
inline constexpr std::size_t members = 5;

// Log-probabilities come with a few units of rounding in 2^-53 of logits up to 900 (one example) and 18 (the others);
// sums over 400 examples add at most 400 units of the mean magnitude, about 5: 400 * 2^-53 * 5 + 900 * 2^-50 / 400
// < 2.3e-13.
inline constexpr double rounding_bound = 1e-12;

/// splitmix64.
constexpr std::uint64_t hashed(std::uint64_t index) noexcept {
  std::uint64_t z = index + 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

constexpr std::int64_t base(std::size_t example, std::size_t c) noexcept {
  if (example == 0) {
    return c == 4 || c == 7 ? 3 << 16 : 0;
  }
  return example == 1 ? 0 : static_cast<std::int64_t>(hashed(example * classes + c) >> 44) - (1 << 19);
}

/// The logit of member k; an exact multiple of 2^-16, -900 or -inf.
inline float logit(std::size_t member, std::size_t example, std::size_t c) {
  if (example == 3 && (c == 2 || c == 5)) {
    return -std::numeric_limits<float>::infinity();
  }
  if (example == 4 && c == 6) {
    return -900.0F;
  }
  const std::int64_t noise =
      example < 2 ? 0
                  : static_cast<std::int64_t>(hashed((member + 1) * 1000003 + example * classes + c) >> 46) - (1 << 17);
  return static_cast<float>(base(example, c) + noise) / 65536.0F;
}

/// A member's logits, [examples, classes].
inline std::vector<float> logits(std::size_t member) {
  std::vector<float> result;
  for (std::size_t i = 0; i < examples; ++i) {
    for (std::size_t c = 0; c < classes; ++c) {
      result.push_back(logit(member, i, c));
    }
  }
  return result;
}

inline std::vector<std::int32_t> labels() {
  std::vector<std::int32_t> result;
  for (std::size_t i = 0; i < examples; ++i) {
    const std::uint64_t draw = hashed(77000000 + i);
    std::size_t label = 0;
    if (draw % 4 == 3) {
      label = (draw >> 8) % classes;
    } else {
      for (std::size_t c = 1; c < classes; ++c) {
        label = base(i, c) > base(i, label) ? c : label;
      }
    }
    result.push_back(static_cast<std::int32_t>(i == 3 ? 1 : i == 4 ? 6 : label));
  }
  return result;
}

inline std::vector<std::int32_t> groups() {
  std::vector<std::int32_t> result;
  for (std::size_t i = 0; i < examples; ++i) {
    result.push_back(static_cast<std::int32_t>((hashed(88000000 + i) >> 3) % 23) * 5 - 7);
  }
  return result;
}

/// The log-softmax of logits row by row, by its definition: a ten-line twin of the library's.
inline std::vector<double> log_softmax(const std::vector<float>& logits) {
  std::vector<double> result(logits.begin(), logits.end());
  for (std::size_t row = 0; row < result.size(); row += classes) {
    double sum = 0.0;
    for (std::size_t c = 0; c < classes; ++c) {
      sum += std::exp(result[row + c]);
    }
    for (std::size_t c = 0; c < classes; ++c) {
      result[row + c] -= std::log(sum);
    }
  }
  return result;
}

/// The log of the mean of the first `count` members' distributions, by its definition, all members at hand.
inline std::vector<double> mean_of_members(std::size_t count) {
  std::vector<std::vector<double>> all;
  for (std::size_t k = 0; k < count; ++k) {
    all.push_back(log_softmax(logits(k)));
  }
  std::vector<double> result(examples * classes);
  for (std::size_t i = 0; i < result.size(); ++i) {
    double largest = -std::numeric_limits<double>::infinity();
    for (const std::vector<double>& member : all) {
      largest = std::max(largest, member[i]);
    }
    double sum = 0.0;
    for (const std::vector<double>& member : all) {
      sum += std::isinf(largest) ? 0.0 : std::exp(member[i] - largest);
    }
    result[i] = std::isinf(largest) ? largest : largest + std::log(sum / static_cast<double>(count));
  }
  return result;
}

/// The numbers of a reference file, by name.
class results {
 public:
  explicit results(const std::string& file) {
    std::ifstream lines(std::string(PLURIA_SOURCE_DIR) + "/tests/metrics/reference/" + file);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string name;
      words >> name;
      for (std::string word; words >> word;) {
        // strtod reads what Python writes: subnormals and infinities too.
        numbers_[name].push_back(std::strtod(word.c_str(), nullptr));
      }
    }
  }
  const std::vector<double>& all(const std::string& name) const {
    const auto found = numbers_.find(name);
    if (found == numbers_.end()) {
      throw std::runtime_error("no reference numbers named " + name);
    }
    return found->second;
  }
  double operator()(const std::string& name) const { return all(name).at(0); }
  double operator()(const std::string& name, std::size_t count) const {
    return (*this)(name + "_" + std::to_string(count));
  }

 private:
  std::map<std::string, std::vector<double>> numbers_;
};

/// Whether two numbers agree to the rounding bound, relative for numbers above 1.
inline bool agree(double a, double b, double bound = rounding_bound) {
  return std::isinf(a) || std::isinf(b) ? a == b : std::abs(a - b) <= bound * std::max(1.0, std::abs(b));
}

/// The text of the exception that `call` throws.
template <class Exception, class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Exception& error) {
    return error.what();
  }
  return "nothing thrown";
}

}  // namespace reference
