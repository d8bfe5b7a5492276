// SPDX-License-Identifier: MIT
// Decoding a language model one token at a time, where weights come from memory: one model in bfloat16 or in integers,
// and ensembles of INT-4 members, in groups of 32 with float16 scales and per channel. A step goes from a token to the
// most probable next one in the mean of the members. The network has the shape of a LLaMA of 1.1 billion parameters
// with made weights; a small one beside it, to see that everything runs.
//
//   cmake --workflow --preset bench

#include <pluria/core/error.hpp>

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "decode_cases.hpp"
#include "turns.hpp"

namespace {

using namespace bench;

constexpr weight_form forms[] = {
    {"bfloat16", 16},  // as it is mapped from a file
    {"bfloat16, huge pages", 16, {}, 1, false, false, weight_pages::huge},
    {"INT-8 to nearest, channel", 8, storage_form::packed, 1, false, true},
    {"packed INT-6, channel, S=1", 6, storage_form::packed, 1, false, true},
    {"packed INT-5, channel, S=1", 5, storage_form::packed, 1, false, true},
    {"packed INT-4, groups of 32, S=1", 4, storage_form::packed, 1, true},
    {"shared floor INT-4, groups of 32, S=1", 4, storage_form::shared_floor, 1, true},
    {"shared floor INT-4, groups of 32, S=4", 4, storage_form::shared_floor, 4, true},
    {"shared floor INT-4, groups of 32, S=8", 4, storage_form::shared_floor, 8, true},
    {"shared floor INT-4, groups of 32, S=16", 4, storage_form::shared_floor, 16, true},
    {"packed INT-4, groups of 32, S=8", 4, storage_form::packed, 8, true},
    {"packed INT-4, channel, S=1", 4, storage_form::packed, 1, false},
    {"shared floor INT-4, channel, S=4", 4, storage_form::shared_floor, 4, false},
    {"shared floor INT-4, channel, S=8", 4, storage_form::shared_floor, 8, false},
    {"shared floor INT-4, channel, S=16", 4, storage_form::shared_floor, 16, false},
    {"packed INT-4, channel, S=8", 4, storage_form::packed, 8, false},
};

const weight_form& form_of(const std::string& name) {
  return *std::find_if(std::begin(forms), std::end(forms), [&](const weight_form& form) { return form.name == name; });
}

// Models are large: the reference stays, of the others the last two that were asked for.
class models {
 public:
  explicit models(llama_shape shape) : shape_(std::move(shape)) {}

  const llama_shape& shape() const { return shape_; }

  std::shared_ptr<const decoder> operator()(const std::string& name) {
    if (!weights_) {
      weights_ = std::make_unique<checkpoint>(made_llama(shape_.configuration));
    }
    const auto found = std::find_if(made_.begin(), made_.end(), [&](const auto& kept) { return kept.first == name; });
    if (found != made_.end()) {
      std::rotate(made_.begin(), found, found + 1);
      return made_.front().second;
    }
    const bool is_reference = name == forms[0].name;
    if (!is_reference && made_.size() > 2) {
      made_.erase(
          std::find_if(made_.rbegin(), made_.rend(), [](const auto& kept) { return kept.first != forms[0].name; })
              .base() -
          1);
    }
    made_.insert(made_.begin(),
                 {name, std::make_shared<const decoder>(shape_.configuration, *weights_, form_of(name))});
    return made_.front().second;
  }

  void clear() {
    made_.clear();
    weights_.reset();
  }

 private:
  llama_shape shape_;
  std::unique_ptr<checkpoint> weights_;
  std::vector<std::pair<std::string, std::shared_ptr<const decoder>>> made_;  // the last used first
};

struct setting {
  std::size_t context;
  int threads;

  std::string name(const llama_shape& shape) const {
    return std::string(shape.name) + ", context " + std::to_string(context) + (threads == 2 ? ", two threads" : "");
  }
};

// rate/<form>/<setting>: a step by turns with the bfloat16 model's, with the counters of register_rate and "bytes" of
// weights and caches, "of_reference_bytes" and "other", the part of the time that is not products.
void register_steps(const std::shared_ptr<models>& all, const std::string& form, const setting& at, int turns) {
  benchmark::RegisterBenchmark(("rate/" + form + "/" + at.name(all->shape())).c_str(),
                               [=](benchmark::State& state) {
                                 decoding reference((*all)(forms[0].name), at.context, at.threads);
                                 decoding own((*all)(form), at.context, at.threads);
                                 reference.step();
                                 own.step();
                                 std::vector<double> times;
                                 std::vector<double> ratios;
                                 std::vector<double> others;
                                 for (auto _ : state) {
                                   const double other = seconds([&] { reference.step(); }, 1);
                                   const double before = own.product_seconds();
                                   const double time = seconds([&] { own.step(); }, 1);
                                   others.push_back(1.0 - (own.product_seconds() - before) / time);
                                   times.push_back(time);
                                   ratios.push_back(time / other);
                                   state.SetIterationTime(time);
                                 }
                                 state.counters["seconds"] = median(times);
                                 state.counters["of_reference"] = median(ratios);
                                 state.counters["other"] = median(others);
                                 state.counters["bytes"] = own.bytes();
                                 state.counters["of_reference_bytes"] = own.bytes() / reference.bytes();
                               })
      ->UseManualTime()
      ->Iterations(turns)
      ->Unit(benchmark::kMillisecond);
}

// rate/<form>/<tokens> at once: from the prompt to the first token, once.
void register_prefill(const std::shared_ptr<models>& all, const std::string& form, std::size_t tokens) {
  const std::string size = std::string(all->shape().name) + ", prompt of " + std::to_string(tokens);
  benchmark::RegisterBenchmark(
      ("rate/" + form + "/" + size).c_str(),
      [=](benchmark::State& state) {
        const auto model = (*all)(form);
        const std::vector<std::int32_t> prompt(tokens, 7);
        std::vector<double> times;
        for (auto _ : state) {
          key_value_cache cache = model->network(1).make_cache(tokens);
          times.push_back(seconds([&] { benchmark::DoNotOptimize(model->network(1).logits(prompt, cache, 1)); }, 1));
          state.SetIterationTime(times.back());
        }
        state.counters["seconds"] = median(times);
      })
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond);
}

make_work steps(const std::shared_ptr<models>& all, const std::string& form, const setting& at) {
  return [=] {
    const auto own = std::make_shared<decoding>((*all)(form), at.context, at.threads);
    return [own] { own->step(); };
  };
}

// target/<name>/<setting> with a "ratio" that is counted, not timed.
void register_count(const std::string& name, const std::string& size, const std::function<double()>& count,
                    bound kept) {
  benchmark::RegisterBenchmark(("target/" + name + "/" + size).c_str(),
                               [=](benchmark::State& state) {
                                 for (auto _ : state) {
                                   state.SetIterationTime(1e-9);
                                 }
                                 state.counters["ratio"] = count();
                                 state.counters[kept.kind] = kept.value;
                               })
      ->UseManualTime()
      ->Iterations(1);
}

void register_targets(const std::shared_ptr<models>& all) {
  const setting at{128, 1};
  const std::string size = at.name(all->shape());
  const effort spent{11, 1};
  const std::string grouped = "shared floor INT-4, groups of 32, S=8";
  const std::string channel = "shared floor INT-4, channel, S=8";
  register_ratio("decode, " + grouped + "/bfloat16/" + size, steps(all, forms[0].name, at), steps(all, grouped, at), 1,
                 {"at_most", 1.1}, spent);
  register_ratio("decode, " + channel + "/bfloat16/" + size, steps(all, forms[0].name, at), steps(all, channel, at), 1,
                 {"at_most", 1.0}, spent);
  register_ratio("decode, " + grouped + "/bfloat16, huge pages/" + size, steps(all, forms[1].name, at),
                 steps(all, grouped, at), 1, {"at_most", 1.1}, spent);
  register_ratio("decode, " + channel + "/bfloat16, huge pages/" + size, steps(all, forms[1].name, at),
                 steps(all, channel, at), 1, {"at_most", 1.0}, spent);
  register_ratio("decode, " + grouped + "/eight packed/" + size, steps(all, "packed INT-4, groups of 32, S=8", at),
                 steps(all, grouped, at), 1, {"at_most", 0.55}, spent);
  register_ratio("decode, " + channel + "/eight packed/" + size, steps(all, "packed INT-4, channel, S=8", at),
                 steps(all, channel, at), 1, {"at_most", 0.55}, spent);
  for (const auto& [context, most] : {std::pair<std::size_t, double>{128, 0.85}, {2048, 0.95}}) {
    const setting cached{context, 1};
    register_count("bytes, " + grouped + "/bfloat16", cached.name(all->shape()),
                   [=] {
                     return decoding((*all)(grouped), context, 1).bytes() /
                            decoding((*all)(forms[0].name), context, 1).bytes();
                   },
                   {"at_most", most});
  }
  register_count("not products, of a step, " + grouped, size,
                 [=] {
                   decoding own((*all)(grouped), at.context, 1);
                   own.step();
                   std::vector<double> others;
                   for (int turn = 0; turn < spent.turns; ++turn) {
                     const double before = own.product_seconds();
                     const double time = seconds([&] { own.step(); }, 1);
                     others.push_back(1.0 - (own.product_seconds() - before) / time);
                   }
                   return median(others);
                 },
                 {"at_most", 0.15});
}

}  // namespace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) {
    return 2;
  }
  Eigen::setNbThreads(1);
  const auto small = std::make_shared<models>(small_llama());
  for (const char* form : {forms[0].name, "shared floor INT-4, groups of 32, S=8"}) {
    register_steps(small, form, {128, 1}, 3);
    register_prefill(small, form, 64);
  }
  const auto large = std::make_shared<models>(large_llama());
  for (const weight_form& form : forms) {
    register_steps(large, form.name, {128, 1}, 7);
    if (form.bits == 6 || form.bits == 5) {
      continue;  // for the picture of quality
    }
    for (const setting& at :
         {setting{2048, 1}, setting{8192, 1}, setting{128, 2}, setting{2048, 2}, setting{8192, 2}}) {
      register_steps(large, form.name, at, 7);
    }
    if (form.members <= 8) {  // sixteen take minutes, twice as long as eight
      register_prefill(large, form.name, 512);
    }
  }
  register_targets(large);
  try {
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    std::cerr << "bench_decode: " << error.what() << '\n';
    return 2;
  }
  benchmark::Shutdown();
  return 0;
}
