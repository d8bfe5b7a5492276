// SPDX-License-Identifier: MIT
#pragma once
// One parallel loop, over OpenMP where the including program is compiled with it and serial where it is not. Results
// never depend on the number of threads: every index writes its own place, and nothing is reduced in here.

#include <pluria/core/error.hpp>

#include <atomic>
#include <cstddef>
#include <exception>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace pluria {

/// The number of threads to use when `requested` are asked for: 0 means all that the machine offers.
/// Throws precondition_error when negative.
inline int thread_count(int requested) {
  require(requested >= 0, "the number of threads must not be negative");
#ifdef _OPENMP
  return requested == 0 ? omp_get_max_threads() : requested;
#else
  return 1;
#endif
}

/// How indices are divided among threads. `taken`: each thread takes the next one when it is done, for work of uneven
/// size. `dealt`: each thread has a run of its own, the same in every loop of the same length, so that what it reads
/// and writes again is still in its core's cache: for short loops of even work.
enum class division { taken, dealt };

namespace detail {

// The body of a loop with its type erased: what runs loops is compiled once, and a body once, not once for one thread
// and again for several.
class loop_body {
 public:
  template <class Work>
  explicit loop_body(const Work& work)
      : work_(&work),
        call_([](const void* object, std::size_t index) { (*static_cast<const Work*>(object))(index); }) {}

  void operator()(std::size_t index) const { call_(work_, index); }

 private:
  const void* work_;
  void (*call_)(const void* work, std::size_t index);
};

// Every file has its own: files compiled for different ISAs, with OpenMP and without, link into one program.
template <division Division>
static void run_loop(std::size_t count, int threads, const loop_body& work) {
  [[maybe_unused]] const int used = thread_count(threads);
#ifdef _OPENMP
  if (used > 1 && count > 1) {
    std::exception_ptr failure;
    std::atomic<std::size_t> failed_at = count;
    const auto guarded = [&](std::size_t index) {
      if (failed_at.load(std::memory_order_relaxed) < index) {
        return;
      }
      try {
        work(index);
      } catch (...) {
#pragma omp critical(pluria_parallel_for)
        if (index < failed_at) {
          failed_at = index;
          failure = std::current_exception();
        }
      }
    };
    if constexpr (Division == division::taken) {
#pragma omp parallel for schedule(dynamic) num_threads(used)
      for (std::size_t index = 0; index < count; ++index) {
        guarded(index);
      }
    } else {
#pragma omp parallel for schedule(static) num_threads(used)
      for (std::size_t index = 0; index < count; ++index) {
        guarded(index);
      }
    }
    if (failure) {
      std::rethrow_exception(failure);
    }
    return;
  }
#endif
  for (std::size_t index = 0; index < count; ++index) {
    work(index);
  }
}

}  // namespace detail

/// Calls `work(index)` for every index below `count`, on `threads` threads (0: all). An exception leaves the loop after
/// the calls under way have ended; with several, the one of the lowest index that threw is rethrown.
template <division Division = division::taken, class Work>
void parallel_for(std::size_t count, int threads, Work&& work) {
  const auto body = [&](std::size_t index) { work(index); };
  detail::run_loop<Division>(count, threads, detail::loop_body(body));
}

}  // namespace pluria
