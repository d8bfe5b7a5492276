// SPDX-License-Identifier: MIT
#pragma once
// What the members of a language model predict: the next token all along the windows of a text, and the choices of
// questions. All members go through the network together; windows and questions are shared out among threads.

#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/ensemble/predictive.hpp>
#include <pluria/nn/any_matrix.hpp>
#include <pluria/nn/llama.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../common/progress.hpp"
#include "../common/streamed_scores.hpp"
#include "questions.hpp"
#include "token_windows.hpp"

namespace pluria::examples {

// Scores should not depend on how a cache is stored: float16 is for decoding.
inline constexpr cache_type evaluation_cache = cache_type::float32;

/// Tokens that go through the network at a time while a window is predicted.
//
// A window at a time would hold the logits of all its tokens and members: for a vocabulary of 32 000, 8 members and 512
// tokens half a gigabyte in every thread.
inline constexpr std::size_t tokens_at_once = 128;

namespace detail {

// The log-probabilities of one row of logits of member k. `name()` is what messages call the row.
template <class Name>
void read_row(const row_major_matrix& logits, std::size_t row, std::span<double> log_probabilities, const Name& name) {
  const auto columns = static_cast<std::size_t>(logits.cols());
  const std::span<const float> values(logits.data() + row * columns, columns);
  check_logit_row(values, name);
  log_softmax(values, log_probabilities);
}

}  // namespace detail

/// The next tokens of the windows of a text.
class window_predictions {
 public:
  /// With `is_repeated`, logits are kept for more passes where they take at most `most_kept_bytes`; else the network
  /// runs again.
  window_predictions(const llama<any_matrix>& network, const token_windows& text, bool is_repeated, int threads,
                     progress& shown)
      : network_(&network), text_(&text), labels_(text.labels()), threads_(threads), shown_(&shown) {
    const std::size_t bytes = labels_.size() * network.members() * network.configuration().vocabulary * sizeof(float);
    keeps_ = is_repeated && bytes <= most_kept_bytes;
    pieces_.resize(keeps_ ? text.count() : 0);
  }

  static constexpr std::size_t most_kept_bytes = std::size_t{512} << 20;

  std::size_t members() const { return network_->members(); }
  std::span<const std::int32_t> labels() const { return labels_; }
  std::size_t blocks() const { return text_->count(); }
  std::size_t classes(std::size_t) const { return network_->configuration().vocabulary; }

  template <class Work>
  void run(const std::string& what, std::size_t, const Work& work) {
    shown_->describe(what);
    parallel_for(blocks(), threads_, [&](std::size_t window) {
      const std::size_t first = window * text_->labels_per_window();
      const std::size_t last = first + text_->labels_per_window();
      std::vector<row_major_matrix> passing;
      std::vector<row_major_matrix>& pieces = keeps_ ? pieces_[window] : passing;
      std::optional<key_value_cache> cache;
      if (pieces.empty()) {
        cache.emplace(network_->make_cache(text_->context, evaluation_cache));
      }
      std::vector<double> log_probabilities(classes(window));
      work(window, first, last, [&](std::size_t i, std::size_t k) -> std::span<const double> {
        const std::size_t token = i - first;  // the one that is read; the next one is predicted
        const std::size_t piece = token / tokens_at_once;
        const std::size_t length = std::min(tokens_at_once, last - first - piece * tokens_at_once);
        if (piece == pieces.size()) {
          if (!keeps_ && piece > 0) {
            pieces.back() = row_major_matrix();
          }
          pieces.push_back(network_->logits(text_->window(window).subspan(token, length), *cache, length));
        }
        detail::read_row(pieces[piece], k * length + token % tokens_at_once, log_probabilities, [&] {
          return fmt::format("{}: member {}, window {}, token {}", text_->file, k, text_->number(window), token + 1);
        });
        return log_probabilities;
      });
      if (passes_ == 0) {
        shown_->advance(text_->context * members());
      }
    });
    ++passes_;
  }

  bad_input zero_probability(std::size_t example, std::size_t count) const {
    return bad_input(
        mismatch_message(fmt::format("{}: probability of token {} of window {}, in the mean of the first {} members",
                                     text_->file, example % text_->labels_per_window() + 1,
                                     text_->number(example / text_->labels_per_window()), count),
                         "more than 0, for a temperature to be fitted", "0"));
  }

 private:
  const llama<any_matrix>* network_;
  const token_windows* text_;
  std::vector<std::int32_t> labels_;
  int threads_;
  progress* shown_;
  bool keeps_ = false;
  int passes_ = 0;
  std::vector<std::vector<row_major_matrix>> pieces_;  // logits of every window, where they are kept
};

static_assert(prediction_source<window_predictions>);

/// The answers to questions: a member's log-probability of each choice after the context, the sum over its tokens or
/// their mean, normalized over the choices.
class choice_predictions {
 public:
  choice_predictions(const llama<any_matrix>& network, const question_set& asked, bool length_normalization,
                     int threads, progress& shown)
      : network_(&network),
        asked_(&asked),
        labels_(asked.labels()),
        length_normalization_(length_normalization),
        threads_(threads),
        shown_(&shown) {}

  std::size_t members() const { return network_->members(); }
  std::span<const std::int32_t> labels() const { return labels_; }
  std::size_t blocks() const { return asked_->questions.size(); }
  std::size_t classes(std::size_t question) const { return asked_->questions[question].choices.size(); }

  template <class Work>
  void run(const std::string& what, std::size_t, const Work& work) {
    shown_->describe(what);
    parallel_for(blocks(), threads_, [&](std::size_t number) {
      const std::vector<std::vector<double>> scores = choice_scores(number);
      std::vector<double> log_probabilities(classes(number));
      work(number, number, number + 1, [&](std::size_t, std::size_t k) -> std::span<const double> {
        const std::span<const double> member = scores[k];
        check_logit_row(member, [&] { return fmt::format("{}: member {}, question {}", asked_->file, k, number); });
        log_softmax(member, log_probabilities);
        return log_probabilities;
      });
      shown_->advance(asked_->questions[number].tokens() * members());
    });
  }

  bad_input zero_probability(std::size_t example, std::size_t count) const {
    return bad_input(mismatch_message(
        fmt::format("{}: probability of the answer to question {}, in the mean of the first {} members", asked_->file,
                    example, count),
        "more than 0, for a temperature to be fitted", "0"));
  }

 private:
  // Of every member and choice. The context goes through the network once: each choice is taken back from the cache.
  std::vector<std::vector<double>> choice_scores(std::size_t number) const {
    const question& asked = asked_->questions[number];
    std::vector<std::vector<double>> scores(members(), std::vector<double>(asked.choices.size()));
    std::vector<double> log_probabilities(network_->configuration().vocabulary);
    const auto of_token = [&](const row_major_matrix& logits, std::size_t row, std::size_t k, std::int32_t token) {
      detail::read_row(logits, row, log_probabilities,
                       [&] { return fmt::format("{}: member {}, question {}", asked_->file, k, number); });
      return log_probabilities[static_cast<std::size_t>(token)];
    };
    key_value_cache cache = network_->make_cache(asked.positions(), evaluation_cache);
    const row_major_matrix after_context = network_->logits(asked.context, cache, 1);
    for (std::size_t c = 0; c < asked.choices.size(); ++c) {
      const std::vector<std::int32_t>& choice = asked.choices[c];
      const std::size_t more = choice.size() - 1;
      const row_major_matrix after_tokens =
          more == 0 ? row_major_matrix() : network_->logits(std::span(choice).first(more), cache, more);
      cache.truncate(asked.context.size());
      for (std::size_t k = 0; k < members(); ++k) {
        double sum = of_token(after_context, k, k, choice[0]);
        for (std::size_t i = 0; i < more; ++i) {
          sum += of_token(after_tokens, k * more + i, k, choice[i + 1]);
        }
        scores[k][c] = length_normalization_ ? sum / static_cast<double>(choice.size()) : sum;
      }
    }
    return scores;
  }

  const llama<any_matrix>* network_;
  const question_set* asked_;
  std::vector<std::int32_t> labels_;
  bool length_normalization_;
  int threads_;
  progress* shown_;
};

static_assert(prediction_source<choice_predictions>);

}  // namespace pluria::examples
