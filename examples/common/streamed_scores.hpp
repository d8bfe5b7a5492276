// SPDX-License-Identifier: MIT
#pragma once
// Temperatures and scores of ensembles whose predictions come block by block, from files or out of a network, as often
// as they are asked for: those of a whole set are never in memory.

#include <pluria/calibrate/temperature.hpp>
#include <pluria/core/error.hpp>
#include <pluria/ensemble/streaming_scores.hpp>
#include <pluria/metrics/calibration.hpp>
#include <pluria/metrics/proper_score.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "evaluation.hpp"

namespace pluria::examples {

/// The predictions of S members over N labelled examples.
///
/// Laws: run(what, count, work) calls work(block, first, last, read) once for every block, by several threads at a
/// time, of the examples first, ..., last - 1; read(i, k) gives the log-probabilities of example i by member k,
/// [classes(block)], until the next call, and is called in the order of i, then of k = 0, ..., count - 1. Blocks cover
/// the examples in their order and do not depend on the number of threads. `what` is for those who wait.
template <class Source>
concept prediction_source = requires(const Source& source, std::size_t index) {
  { source.members() } -> std::same_as<std::size_t>;
  { source.labels() } -> std::convertible_to<std::span<const std::int32_t>>;
  { source.blocks() } -> std::same_as<std::size_t>;
  { source.classes(index) } -> std::same_as<std::size_t>;
  /// What is thrown where a temperature is to be fitted to a label that the first `count` members give no probability.
  { source.zero_probability(index, index) } -> std::same_as<bad_input>;
};

/// One temperature for each of the ensembles of the first 1, 2, ..., S members. Every pass over the predictions takes a
/// step of all searches that have not ended: 4 to 6 passes, since Newton's steps square the error. Where a label has
/// probability zero, its likelihood is `label_floor` for every temperature, so that it does not matter; without a floor
/// it throws.
template <prediction_source Source>
std::vector<double> fit_temperatures(Source& source, double label_floor, const std::string& what) {
  constexpr double tolerance = 1e-6;  // relative; the temperature itself is known to some 1e-2
  const std::size_t members = source.members();
  const std::span<const std::int32_t> labels = source.labels();
  std::vector<temperature_search> searches(members, temperature_search(tolerance));
  for (int number = 1;; ++number) {
    std::size_t used = 0;
    std::vector<std::size_t> places;  // of each search's results among all
    std::size_t results = 0;
    for (std::size_t k = 0; k < members; ++k) {
      places.push_back(results);
      results += searches[k].betas().size();
      used = searches[k].done() ? used : k + 1;
    }
    if (used == 0) {
      break;
    }
    std::vector<std::vector<slope_and_curvature>> of_blocks(source.blocks());
    source.run(fmt::format("temperature of {}, pass {}", what, number), used,
               [&](std::size_t block, std::size_t first, std::size_t last, auto&& read) {
                 running_mean ensemble(source.classes(block));
                 std::vector<slope_and_curvature> sums(results);
                 for (std::size_t i = first; i < last; ++i) {
                   const auto label = static_cast<std::size_t>(labels[i]);
                   ensemble.clear();
                   for (std::size_t k = 0; k < used; ++k) {
                     const std::span<const double> mean = ensemble.add(read(i, k));
                     if (searches[k].done()) {
                       continue;
                     }
                     if (std::isinf(mean[label])) {
                       if (label_floor == streaming_scores::no_floor) {
                         throw source.zero_probability(i, k + 1);
                       }
                       continue;
                     }
                     for (std::size_t j = 0; j < searches[k].betas().size(); ++j) {
                       sums[places[k] + j] += nll_derivatives(mean, label, searches[k].betas()[j]);
                     }
                   }
                 }
                 of_blocks[block] = std::move(sums);
               });
    std::vector<slope_and_curvature> sums(results);
    for (const std::vector<slope_and_curvature>& part : of_blocks) {
      for (std::size_t j = 0; j < results; ++j) {
        sums[j] += part[j];
      }
    }
    for (std::size_t k = 0; k < members; ++k) {
      if (!searches[k].done()) {
        searches[k].add(std::span(sums).subspan(places[k], searches[k].betas().size()));
      }
    }
  }
  std::vector<double> temperatures;
  for (const temperature_search& search : searches) {
    temperatures.push_back(search.temperature());
  }
  return temperatures;
}

/// What is left of predictions after the pass over them.
struct scored_ensemble {
  streaming_scores scores;
  std::vector<double> temperatures;      ///< of the first 1, 2, ..., S members, or none
  std::vector<example_scores> tempered;  ///< likewise
};

/// Scores the ensembles of the first 1, 2, ..., S members, in one pass; with a temperature for each, or none.
template <prediction_source Source>
scored_ensemble score_source(Source& source, std::vector<double> temperatures, double label_floor,
                             const std::string& what) {
  const std::span<const std::int32_t> labels = source.labels();
  scored_ensemble result{streaming_scores(labels, source.members(), label_floor), std::move(temperatures), {}};
  result.tempered.assign(result.temperatures.size(), example_scores(labels.size()));
  source.run(what, source.members(), [&](std::size_t block, std::size_t first, std::size_t last, auto&& read) {
    running_mean ensemble(source.classes(block));
    std::vector<double> scaled(source.classes(block));
    for (std::size_t i = first; i < last; ++i) {
      const auto label = static_cast<std::size_t>(labels[i]);
      result.scores.add(
          i, ensemble, [&](std::size_t k) { return read(i, k); },
          [&](std::size_t count, std::span<const double> mean) {
            if (!result.temperatures.empty()) {
              apply_temperature(mean, result.temperatures[count - 1], scaled);
              result.tempered[count - 1].set(i, scaled, label, std::max(scaled[label], label_floor));
            }
          });
    }
  });
  return result;
}

/// What the rows of an ensemble are paired with; null where there is no such model.
struct row_references {
  const scored_ensemble* full_precision = nullptr;
  const scored_ensemble* to_nearest = nullptr;
  std::span<const std::int32_t> groups;  ///< of the examples, for standard errors; none: they are independent
};

/// The rows of the ensembles of the first 1, 2, ..., S members.
std::vector<score_row> rows_of(const scored_ensemble& ensemble, const row_references& paired, int threads,
                               std::size_t bins = default_calibration_bins);

}  // namespace pluria::examples
