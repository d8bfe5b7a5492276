// SPDX-License-Identifier: MIT
// One member of a Vision Transformer over a set of images: seconds, GFLOP/s, and beside them, in the same run, what
// Eigen's matrix product reaches on this machine and how long drawing the member takes. Prints one JSON object;
// bench/vit_torch.py sets it against PyTorch.

#include <pluria/pluria.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace pluria;

template <class Work>
double seconds(Work&& work) {
  const auto started = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
}

// The best of several square products per thread, all threads at once: what the forward pass could reach.
double eigen_gflops(int threads) {
  constexpr Eigen::Index size = 768;
  const auto workers = static_cast<std::size_t>(thread_count(threads));
  std::vector<row_major_matrix> a(workers, row_major_matrix::Random(size, size));
  std::vector<row_major_matrix> b(workers, row_major_matrix::Random(size, size));
  std::vector<row_major_matrix> c(workers, row_major_matrix::Zero(size, size));
  double best = 1e300;
  for (int repeat = 0; repeat < 7; ++repeat) {
    best = std::min(best, seconds([&] {
                      parallel_for(workers, threads, [&](std::size_t i) {
                        for (int inner = 0; inner < 4; ++inner) {
                          c[i].noalias() += a[i] * b[i].transpose();
                        }
                      });
                    }));
  }
  return 2e-9 * size * size * size * 4 * static_cast<double>(workers) / best;
}

}  // namespace

int main(int argument_count, char** arguments) {
  std::string model;
  std::string images = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz";
  int threads = 0;
  std::size_t limit = 0;
  CLI::App app("Times one member of a Vision Transformer.\n");
  app.add_option("--model", model, "checkpoint, .safetensors")->required();
  app.add_option("--images", images, "idx or idx.gz");
  app.add_option("--threads", threads, "0: all cores");
  app.add_option("--limit", limit, "images; 0: all");
  CLI11_PARSE(app, argument_count, arguments);

  try {
    Eigen::setNbThreads(1);
    const checkpoint weights = load_safetensors(model);
    const idx_array loaded = load_idx(images);
    const image_view all{loaded.values, loaded.shape.at(0), 1, loaded.shape.at(1), loaded.shape.at(2)};
    const image_view view = all.part(0, limit == 0 ? all.count : limit);
    const rounded_members members(weights, quantizer<symmetric_int<5>>{}, bernoulli{.seed = 1}, threads);
    members[0];  // warms the caches and the threads up
    std::optional<vit<dense_matrix>> network;
    const double drawing = seconds([&] { network.emplace(load_vit(members[1])); });
    network->logits(view.part(0, std::min<std::size_t>(view.count, 256)), threads);
    row_major_matrix logits;
    const double elapsed = seconds([&] { logits = network->logits(view, threads); });
    // What PyTorch is compared on is the checkpoint itself: the same arithmetic, on weights both have.
    const row_major_matrix checked =
        load_vit(weights).logits(view.part(0, std::min<std::size_t>(view.count, 100)), threads);
    nlohmann::json report{{"images", view.count},
                          {"threads", thread_count(threads)},
                          {"seconds", elapsed},
                          {"gflops", 1e-9 * network->flops_per_image() * static_cast<double>(view.count) / elapsed},
                          {"eigen_gflops", eigen_gflops(threads)},
                          {"drawing_seconds", drawing},
                          {"drawing_share", drawing / elapsed}};
    for (Eigen::Index i = 0; i < checked.rows(); ++i) {
      report["logits"].push_back(std::vector<float>(checked.row(i).begin(), checked.row(i).end()));
    }
    std::cout << report.dump() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "bench_vit: " << error.what() << '\n';
    return 2;
  }
  return 0;
}
