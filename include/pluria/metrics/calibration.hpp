// SPDX-License-Identifier: MIT
#pragma once
// Calibration of the most probable class: confidences are put into M equal-width bins, closed on the right, and
//
//   ECE = sum_b n_b / N * |mean confidence - accuracy| = 1 / N * sum_b |sum over i in b of (confidence - correct)|
//
// (Naeini, Cooper & Hauskrecht, AAAI 2015; Guo, Pleiss, Sun & Weinberger, ICML 2017, section 2), M = 15. The second
// form is the one computed. ECE is biased upwards, by about .006 at 10 000 examples for a perfectly calibrated model:
// read it with its bootstrap standard error (Efron 1979) and the signed gap, which says over- or underconfident.

#include <pluria/core/lanes.hpp>
#include <pluria/metrics/groups.hpp>
#include <pluria/metrics/table.hpp>
#include <pluria/random/address.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace pluria {

inline constexpr std::size_t default_calibration_bins = 15;

/// All that calibration sees of an example: the probability of the most probable class, and whether that is the label.
struct judged_confidence {
  double confidence = 0.0;
  bool correct = false;
};

/// The confidence of one example and whether it was right, from its log-probabilities [C], C > 0, and its label.
inline judged_confidence judge(std::span<const double> log_probabilities, std::size_t label) noexcept {
  const std::size_t best = most_probable(log_probabilities);
  return {std::exp(log_probabilities[best]), best == label};
}

/// Each example's confidence and whether it was right, [N]. Throws as `check_examples`.
inline std::vector<judged_confidence> judged_confidences(const log_probability_table& table,
                                                         std::span<const std::int32_t> labels) {
  check_examples(table, labels);
  std::vector<judged_confidence> result(table.rows());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = judge(table.row(i), static_cast<std::size_t>(labels[i]));
  }
  return result;
}

/// The bin of a confidence: clamp(ceil(bins * confidence) - 1, 0, bins - 1), the product rounded to double. Bin m
/// covers (m / bins, (m + 1) / bins]; 0 falls into bin 0. Needs bins > 0 and a confidence that is not NaN.
inline std::size_t calibration_bin(double confidence, std::size_t bins = default_calibration_bins) noexcept {
  const double last = static_cast<double>(bins) - 1.0;
  return static_cast<std::size_t>(std::clamp(std::ceil(static_cast<double>(bins) * confidence) - 1.0, 0.0, last));
}

/// One bar of a reliability diagram; the means are NaN where the bin is empty.
struct reliability_bin {
  std::size_t count = 0;
  double mean_confidence = std::numeric_limits<double>::quiet_NaN();
  double accuracy = std::numeric_limits<double>::quiet_NaN();
};

namespace detail {

// What an example adds to the ECE: confidence - correct, to its bin.
struct binned_gap {
  double gap = 0.0;
  std::size_t bin = 0;
};

inline std::vector<binned_gap> binned_gaps(std::span<const judged_confidence> examples, std::size_t bins) {
  require(bins > 0, "calibration needs at least one bin");
  require(!examples.empty(), "calibration needs at least one example");
  std::vector<binned_gap> result(examples.size());
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const double confidence = examples[i].confidence;
    if (!(confidence >= 0.0 && confidence <= 1.0 + 2.0 * log_probability_slack)) [[unlikely]] {
      throw bad_input(
          mismatch_message("confidence of example " + std::to_string(i), "a probability", std::to_string(confidence)));
    }
    result[i] = {confidence - (examples[i].correct ? 1.0 : 0.0), calibration_bin(confidence, bins)};
  }
  return result;
}

inline double sum_of_magnitudes(std::span<const double> values) noexcept {
  double sum = 0.0;
  for (const double value : values) {
    sum += std::abs(value);
  }
  return sum;
}

}  // namespace detail

/// The reliability diagram, lowest confidences first, [bins]. Throws bad_input for a confidence outside 0..1,
/// precondition_error for no examples or no bins.
inline std::vector<reliability_bin> reliability_bins(std::span<const judged_confidence> examples,
                                                     std::size_t bins = default_calibration_bins) {
  const std::vector<detail::binned_gap> gaps = detail::binned_gaps(examples, bins);
  std::vector<double> confidence(bins);
  std::vector<std::size_t> correct(bins);
  std::vector<reliability_bin> result(bins);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const std::size_t bin = gaps[i].bin;
    ++result[bin].count;
    confidence[bin] += examples[i].confidence;
    correct[bin] += examples[i].correct ? 1U : 0U;
  }
  for (std::size_t bin = 0; bin < bins; ++bin) {
    if (result[bin].count > 0) {
      const auto count = static_cast<double>(result[bin].count);
      result[bin].mean_confidence = confidence[bin] / count;
      result[bin].accuracy = static_cast<double>(correct[bin]) / count;
    }
  }
  return result;
}

/// The expected calibration error, in 0..1. Throws as `reliability_bins`.
inline double ece(std::span<const judged_confidence> examples, std::size_t bins = default_calibration_bins) {
  std::vector<double> sums(bins);
  for (const detail::binned_gap& example : detail::binned_gaps(examples, bins)) {
    sums[example.bin] += example.gap;
  }
  return detail::sum_of_magnitudes(sums) / static_cast<double>(examples.size());
}

/// Mean confidence - accuracy, in -1..1: positive where the model is overconfident. Throws as `reliability_bins`.
inline double confidence_gap(std::span<const judged_confidence> examples) {
  double sum = 0.0;
  for (const detail::binned_gap& example : detail::binned_gaps(examples, 1)) {
    sum += example.gap;
  }
  return sum / static_cast<double>(examples.size());
}

/// How an ECE is bootstrapped.
struct ece_bootstrap {
  std::uint64_t seed = 0;
  std::uint32_t resamples = 200;
  std::size_t bins = default_calibration_bins;
};

namespace detail {

// Calls add(number) for `count` numbers 0 <= number < count, drawn with replacement.
template <class Add>
void for_each_draw(const stream& random, std::size_t count, Add&& add) {
  using lane_words = xsimd::batch<std::uint32_t>;
  constexpr std::size_t lane_count = lane_words::size;
  static_assert(16 % lane_count == 0, "16 outputs of the layout in random/address.hpp fill whole batches");
  const auto lane_numbers = lanes::numbers<lane_words::arch_type>();

  // 16 outputs own 64 words: word w of output o belongs to draw 16 * w + o of the 64.
  std::array<std::uint32_t, 64> words{};
  for (std::size_t first = 0; first < count; first += words.size()) {
    for (std::size_t output = 0; output < 16; output += lane_count) {
      const auto generated = random.lanes_from(first / 4 + output, lane_numbers);
      for (std::size_t word = 0; word < 4; ++word) {
        generated[word].store_unaligned(words.data() + 16 * word + output);
      }
    }
    const std::size_t draws = std::min(words.size(), count - first);
    for (std::size_t draw = 0; draw < draws; ++draw) {
      add(std::uint64_t{words[draw]} * count >> 32);
    }
  }
}

// The standard deviation, divisor resamples - 1, of statistic(random) over the resamples.
template <class Statistic>
double bootstrap_error(const ece_bootstrap& options, std::size_t count, Statistic&& statistic) {
  require(options.resamples >= 2, "a bootstrap needs at least two resamples");
  require((count - 1) >> 32 == 0, "a bootstrap takes at most 2^32 examples");
  std::vector<double> resampled(options.resamples);
  double sum = 0.0;
  for (std::uint32_t resample = 0; resample < options.resamples; ++resample) {
    resampled[resample] = statistic(stream{options.seed, name_hash("ece"), purpose::bootstrap, 0, resample});
    sum += resampled[resample];
  }
  const double mean = sum / options.resamples;
  double squares = 0.0;
  for (const double value : resampled) {
    squares += (value - mean) * (value - mean);
  }
  return std::sqrt(squares / (options.resamples - 1.0));
}

}  // namespace detail

/// The bootstrap standard error of the ECE: the standard deviation (divisor resamples - 1) of the ECE over resamples of
/// N examples with replacement. A pure function of the examples and the options: draw number d of resample r is example
/// floor(N * w / 2^32), w the word of element d mod 128 of block d / 128 under `purpose::bootstrap`, member r; so the
/// probabilities are exact to 2^-32. Throws as `reliability_bins`, and precondition_error for fewer than two resamples
/// or more than 2^32 examples.
inline double ece_standard_error(std::span<const judged_confidence> examples, const ece_bootstrap& options = {}) {
  const std::vector<detail::binned_gap> gaps = detail::binned_gaps(examples, options.bins);
  std::vector<double> sums(options.bins);
  return detail::bootstrap_error(options, gaps.size(), [&](const stream& random) {
    std::fill(sums.begin(), sums.end(), 0.0);
    detail::for_each_draw(random, gaps.size(), [&](std::size_t number) { sums[gaps[number].bin] += gaps[number].gap; });
    return detail::sum_of_magnitudes(sums) / static_cast<double>(gaps.size());
  });
}

/// The same for examples that belong together in groups (tokens of a document), where only the groups are independent:
/// G groups are drawn as examples are above, each with all of its examples (the pairs cluster bootstrap; Cameron,
/// Gelbach & Miller, "Bootstrap-Based Improvements for Inference with Clustered Errors", 2008, section III). `group`
/// names each example's, by any numbers. With every example its own group this is the error above. NaN for one group.
/// Throws as above, and precondition_error unless there is a group number for each example.
inline double ece_standard_error(std::span<const judged_confidence> examples, std::span<const std::int32_t> group,
                                 const ece_bootstrap& options = {}) {
  require(group.size() == examples.size(), "ece_standard_error: one group number per example is needed");
  const std::vector<detail::binned_gap> gaps = detail::binned_gaps(examples, options.bins);
  const numbered_groups groups(group);
  std::vector<double> gaps_of(groups.count * options.bins);
  std::vector<std::size_t> sizes(groups.count);
  for (std::size_t i = 0; i < gaps.size(); ++i) {
    const std::size_t number = groups.of_example[i];
    gaps_of[number * options.bins + gaps[i].bin] += gaps[i].gap;
    ++sizes[number];
  }
  std::vector<double> sums(options.bins);
  const double error = detail::bootstrap_error(options, groups.count, [&](const stream& random) {
    std::fill(sums.begin(), sums.end(), 0.0);
    std::size_t drawn = 0;
    detail::for_each_draw(random, groups.count, [&](std::size_t number) {
      drawn += sizes[number];
      for (std::size_t bin = 0; bin < options.bins; ++bin) {
        sums[bin] += gaps_of[number * options.bins + bin];
      }
    });
    return detail::sum_of_magnitudes(sums) / static_cast<double>(drawn);
  });
  return groups.count < 2 ? std::numeric_limits<double>::quiet_NaN() : error;
}

}  // namespace pluria
