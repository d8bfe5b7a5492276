// SPDX-License-Identifier: MIT
// Whole networks, from the file to the logits, on all cores: ten INT-4 members of the middle Vision Transformer over
// the same images, and eight of the byte-level LLaMA over the same windows of text. The float engine draws float32
// checkpoints; the others run all members at once on weights as they are stored.
//
//   cmake --workflow --preset bench

#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>
#include <pluria/ensemble/stored_llama.hpp>
#include <pluria/ensemble/stored_vit.hpp>
#include <pluria/io/safetensors.hpp>
#include <pluria/io/safetensors_folder.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/dense_matrix.hpp>
#include <pluria/nn/llama.hpp>
#include <pluria/nn/vit.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/rounding/bernoulli.hpp>

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "turns.hpp"

namespace {

using namespace bench;

constexpr std::size_t members = 10;
constexpr std::size_t images = 200;
const std::string size = std::to_string(images) + " images";

constexpr std::size_t text_members = 8;
constexpr std::size_t windows = 4;
constexpr std::size_t context = 512;
const std::string text_size = std::to_string(windows) + " windows";

// Made ones: their pixels do not change how long a network takes.
std::vector<std::uint8_t> made_pixels() {
  std::vector<std::uint8_t> pixels(images * 28 * 28);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(i * 2654435761U >> 24);
  }
  return pixels;
}

image_view all_images() {
  static const std::vector<std::uint8_t> pixels = made_pixels();
  return {pixels, images, 1, 28, 28};
}

rounded_members ensemble() {
  return rounded_members(load_safetensors(PLURIA_BENCH_MODEL),
                         any_quantizer::with_products(quantizer<symmetric_int<4>, per_channel>{}),
                         bernoulli{.seed = 1});
}

// "bytes" are not counted here; "operations" are images through the whole ensemble.
product float_engine() {
  return {[] {
            const rounded_members source = ensemble();
            for (std::uint64_t k = 0; k < members; ++k) {
              benchmark::DoNotOptimize(load_vit(source[k]).logits(all_images(), 0));
            }
          },
          0, images};
}

product stored_engine(storage_form form, activation_type activations) {
  return {
      [=] { benchmark::DoNotOptimize(stored_vit(ensemble(), form, 0, members, activations).logits(all_images(), 0)); },
      0, images};
}

rounded_members text_ensemble() {
  return rounded_members(load_safetensors_folder(PLURIA_BENCH_LLAMA),
                         any_quantizer::with_products(quantizer<symmetric_int<4>, per_channel>{}),
                         bernoulli{.seed = 1});
}

llama_configuration text_configuration() {
  return read_llama_configuration(std::filesystem::path(PLURIA_BENCH_LLAMA) / "config.json");
}

// All members through windows of made tokens; "operations" are tokens through the whole ensemble.
template <class W>
void run_windows(const llama<W>& network) {
  parallel_for(windows, 0, [&](std::size_t window) {
    std::vector<std::int32_t> tokens(context);
    for (std::size_t i = 0; i < context; ++i) {
      tokens[i] = static_cast<std::int32_t>((window * context + i) * 2654435761U >> 24 & 0xffU);
    }
    key_value_cache cache = network.make_cache(context, cache_type::float32);
    for (std::size_t first = 0; first < context; first += 128) {
      benchmark::DoNotOptimize(network.logits(std::span(tokens).subspan(first, 128), cache, 128));
    }
  });
}

product float_text_engine() {
  return {[] {
            const rounded_members source = text_ensemble();
            std::vector<checkpoint> drawn;
            for (std::uint64_t k = 0; k < text_members; ++k) {
              drawn.push_back(source[k]);
            }
            run_windows(load_llama(drawn, text_configuration()));
          },
          0, windows * context};
}

product stored_text_engine(storage_form form, activation_type activations) {
  return {[=] { run_windows(stored_llama(text_ensemble(), text_configuration(), form, 0, text_members, activations)); },
          0, windows * context};
}

struct engine {
  const char* name;
  storage_form form;
};
constexpr engine engines[] = {
    {"packed", storage_form::packed}, {"shared", storage_form::shared_floor}, {"fixed", storage_form::fixed_point}};

}  // namespace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) {
    return 2;
  }
  Eigen::setNbThreads(1);  // the images are spread over the threads
  const effort spent{5, 1};
  const make_product reference = float_engine;
  register_rate("float, float32/" + size, reference, reference, spent);
  for (const engine& current : engines) {
    for (const activation_type activations : {activation_type::float32, activation_type::int8}) {
      const std::string name =
          std::string(current.name) + (activations == activation_type::int8 ? ", int8" : ", float32");
      register_rate(
          name + "/" + size, [=] { return stored_engine(current.form, activations); }, reference, spent);
    }
  }
  const make_product text_reference = float_text_engine;
  register_rate("LLaMA, float, float32/" + text_size, text_reference, text_reference, spent);
  for (const activation_type activations : {activation_type::float32, activation_type::int8}) {
    const std::string name =
        std::string("LLaMA, shared, ") + (activations == activation_type::int8 ? "int8" : "float32");
    register_rate(
        name + "/" + text_size, [=] { return stored_text_engine(storage_form::shared_floor, activations); },
        text_reference, spent);
  }
  register_ratio(
      "eight INT-4 members of the LLaMA, shared int8/float engine/" + text_size, [] { return float_text_engine().run; },
      [] { return stored_text_engine(storage_form::shared_floor, activation_type::int8).run; }, 1, {"at_most", 0.50},
      {7, 1});
  register_ratio(
      "ten INT-4 members of the middle model, shared int8/float engine/" + size, [] { return float_engine().run; },
      [] { return stored_engine(storage_form::shared_floor, activation_type::int8).run; }, 1, {"at_most", 0.40},
      {7, 1});
  try {
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    std::cerr << "bench_engines: " << error.what() << '\n';
    return 2;
  }
  benchmark::Shutdown();
  return 0;
}
