// SPDX-License-Identifier: MIT
// A whole network: ten INT-4 members of the middle Vision Transformer over the same images, from the file to the
// logits, on all cores. The float engine draws one float32 checkpoint after the other; the others run all members at
// once on weights as they are stored.
//
//   cmake --workflow --preset bench

#include <pluria/core/error.hpp>
#include <pluria/ensemble/stored_vit.hpp>
#include <pluria/io/safetensors.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/nn/dense_matrix.hpp>
#include <pluria/nn/vit.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/rounding/bernoulli.hpp>

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "turns.hpp"

namespace {

using namespace bench;

constexpr std::size_t members = 10;
constexpr std::size_t images = 200;
const std::string size = std::to_string(images) + " images";

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
