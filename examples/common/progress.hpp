// SPDX-License-Identifier: MIT
#pragma once
// A progress line on standard error: how far, how fast, how long still. Nothing is written unless it is a terminal.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <string>
#include <utility>

namespace pluria::examples {

class progress {
 public:
  /// Work of `total` steps, which are shown in units of `steps_per_unit`: "images", or "MB" of 10^6 bytes.
  progress(std::size_t total, std::string unit, double steps_per_unit = 1.0)
      : total_(total), unit_(std::move(unit)), steps_per_unit_(steps_per_unit) {}
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  ~progress() { clear(); }

  /// What is being done now: "INT-5, member 3 of 8".
  void describe(std::string text) {
    const std::lock_guard lock(mutex_);
    text_ = std::move(text);
  }

  /// `steps` more are done. Threads may call this together.
  void advance(std::size_t steps) {
    const std::size_t done = done_.fetch_add(steps) + steps;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    const auto now = clock::now();
    if (!is_terminal_ || !lock || (now - drawn_ < std::chrono::milliseconds(100) && done < total_)) {
      return;
    }
    drawn_ = now;
    const double seconds = std::chrono::duration<double>(now - started_).count();
    const double rate = static_cast<double>(done) / std::max(seconds, 1e-9);
    const double share = static_cast<double>(done) / static_cast<double>(std::max<std::size_t>(total_, 1));
    const auto left = static_cast<long>(static_cast<double>(total_ - std::min(done, total_)) / std::max(rate, 1e-9));
    constexpr std::size_t width = 24;
    const auto filled = std::min(width, static_cast<std::size_t>(share * static_cast<double>(width)));
    const std::string bar = std::string(filled, '#') + std::string(width - filled, '.');
    fmt::print(stderr, "\r[{}] {:3.0f} % of {:.0f} {}  {}  {:.0f} {}/s  {}:{:02} left\x1b[K", bar, 100 * share,
               static_cast<double>(total_) / steps_per_unit_, unit_, text_, rate / steps_per_unit_, unit_, left / 60,
               left % 60);
    std::fflush(stderr);
  }

  /// Removes the line, so that something else can be printed.
  void clear() {
    if (is_terminal_) {
      std::fputs("\r\x1b[K", stderr);
      std::fflush(stderr);
    }
  }

 private:
  using clock = std::chrono::steady_clock;
  std::size_t total_;
  std::string unit_;
  double steps_per_unit_;
  std::string text_;
  std::atomic<std::size_t> done_ = 0;
  clock::time_point started_ = clock::now();
  clock::time_point drawn_ = started_;
  std::mutex mutex_;
  bool is_terminal_ = isatty(STDERR_FILENO) == 1;
};

}  // namespace pluria::examples
