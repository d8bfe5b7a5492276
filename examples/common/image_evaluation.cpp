// SPDX-License-Identifier: MIT

#include "image_evaluation.hpp"

#include <pluria/core/error.hpp>
#include <pluria/core/parallel.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "options.hpp"

namespace pluria::examples {

void add_options(command_line& app, image_options& chosen) {
  app.add_option("--images", chosen.images, "test images, idx or idx.gz");
  app.add_option("--labels", chosen.labels, "their labels, idx or idx.gz");
  app.add_option("--first", chosen.first, "the first image to use");
  app.add_option("--limit", chosen.limit, "how many images to use; 0: all that follow");
  app.add_option("--calibration-images", chosen.calibration_images, "images that temperatures are fitted on");
  app.add_option("--calibration-labels", chosen.calibration_labels, "their labels");
  app.add_option("--calibration-first", chosen.calibration_first, "the first of them to use");
  app.add_option("--calibration-limit", chosen.calibration_limit, "how many of them; 0: all that follow");
  app.add_option("--heads", chosen.heads, "attention heads; 0: from the metadata, else width / 64");
  app.add_option("--mean", chosen.mean, "of pixels in 0..1, comma-separated per channel; else from the metadata");
  app.add_option("--std", chosen.std, "of pixels, likewise");
}

labelled_images load_images(const std::string& image_file, const std::string& label_file, std::size_t first,
                            std::size_t limit) {
  labelled_images result{load_idx(image_file), {}, first, label_file};
  const idx_array labels = load_idx(label_file);
  if (result.images.shape.size() != 3) {
    throw bad_input(
        mismatch_message(image_file, "3 dimensions: images, height, width", to_string(result.images.shape)));
  }
  const std::size_t count = result.images.shape[0];
  if (labels.shape != tensor_shape{count}) {
    throw bad_input(mismatch_message(label_file,
                                     "one label for each of the " + std::to_string(count) + " images of " + image_file,
                                     "shape " + to_string(labels.shape)));
  }
  if (first >= count || limit > count - first) {
    throw bad_input(mismatch_message(image_file,
                                     "at least " + std::to_string(first + std::max<std::size_t>(limit, 1)) + " images",
                                     std::to_string(count)));
  }
  const std::size_t last = limit == 0 ? count : first + limit;
  // Only what is used stays in memory.
  const std::size_t pixels = result.images.shape[1] * result.images.shape[2];
  result.images.values =
      std::vector<std::uint8_t>(result.images.values.begin() + static_cast<std::ptrdiff_t>(first * pixels),
                                result.images.values.begin() + static_cast<std::ptrdiff_t>(last * pixels));
  result.labels.assign(labels.values.begin() + static_cast<std::ptrdiff_t>(first),
                       labels.values.begin() + static_cast<std::ptrdiff_t>(last));
  return result;
}

evaluator::evaluator(const image_options& chosen, int threads) : threads_(threads) {
  if (chosen.calibration_images.empty() != chosen.calibration_labels.empty()) {
    throw bad_input("--calibration-images and --calibration-labels: expected both or none");
  }
  if (chosen.calibration_images.empty() && (chosen.calibration_first != 0 || chosen.calibration_limit != 0)) {
    throw bad_input("--calibration-first and --calibration-limit: expected with --calibration-images only");
  }
  test_ = load_images(chosen.images, chosen.labels, chosen.first, chosen.limit);
  if (!chosen.calibration_images.empty()) {
    calibration_ = load_images(chosen.calibration_images, chosen.calibration_labels, chosen.calibration_first,
                               chosen.calibration_limit);
  }
  Eigen::setNbThreads(1);  // the batches are spread over the threads
  network_.heads = chosen.heads == 0 ? std::nullopt : std::optional(chosen.heads);
  network_.mean = chosen.mean.empty() ? std::vector<float>{} : parse_floats(chosen.mean, "--mean");
  network_.std = chosen.std.empty() ? std::vector<float>{} : parse_floats(chosen.std, "--std");
}

void evaluator::check(const checkpoint& weights) {
  const vit_configuration network = read_vit_configuration(weights, network_);
  classes_ = network.classes;
  for (const labelled_images* set : {&test_, calibration_ ? &*calibration_ : nullptr}) {
    if (set == nullptr) {
      continue;
    }
    const image_view view = set->view();
    const std::size_t patch = network.patch;
    if (network.channels != view.channels || view.height % patch != 0 || view.width % patch != 0 ||
        (view.height / patch) * (view.width / patch) != network.patches) {
      throw bad_input(mismatch_message(
          weights.file() + ": input",
          fmt::format("{} channel images of {} x {} pixels", view.channels, view.height, view.width),
          fmt::format("{} channels, {} patches of {} x {} pixels", network.channels, network.patches, patch, patch)));
    }
    try {
      check_labels(set->labels, classes_);
    } catch (const bad_input& error) {
      throw bad_input(set->label_file + ", from image " + std::to_string(set->first) + " on: " + error.what() + " (" +
                      weights.file() + " has " + std::to_string(classes_) + " classes)");
    }
  }
}

evaluator::both evaluator::empty_scores() const {
  return {scores(test_.labels, classes_),
          calibration_ ? std::optional<scores>(std::in_place, calibration_->labels, classes_) : std::nullopt};
}

void evaluator::add(checkpoint member, both& result, std::vector<float>* keep) const {
  const vit<dense_matrix> network = load_vit(member, network_);
  member = checkpoint();  // the network holds what it needs
  add(network, test_, result.test, keep);
  if (calibration_) {
    add(network, *calibration_, *result.calibration, nullptr);
  }
}

void evaluator::add_all(const vit<any_matrix>& network, both& result, std::vector<float>* keep,
                        const std::function<void(std::size_t)>& added) const {
  const std::vector<float> of_test = all_logits(network, test_);
  const std::vector<float> of_calibration = calibration_ ? all_logits(network, *calibration_) : std::vector<float>{};
  const auto member = [&](const std::vector<float>& logits, std::size_t k) {
    const std::size_t size = logits.size() / network.members();
    return std::span<const float>(logits).subspan(k * size, size);
  };
  for (std::size_t k = 0; k < network.members(); ++k) {
    result.test.add(member(of_test, k));
    if (calibration_) {
      result.calibration->add(member(of_calibration, k));
    }
    if (keep != nullptr) {
      keep->assign(member(of_test, k).begin(), member(of_test, k).end());
    }
    added(k);
  }
}

void evaluator::add(const vit<dense_matrix>& network, const labelled_images& set, scores& target,
                    std::vector<float>* keep) const {
  const image_view images = set.view();
  const std::size_t at_once = 8 * network.batch();
  if (keep != nullptr) {
    keep->resize(images.count * classes_);
  }
  parallel_for((images.count + at_once - 1) / at_once, threads_, [&](std::size_t index) {
    const std::size_t first = index * at_once;
    const std::size_t count = std::min(at_once, images.count - first);
    const row_major_matrix logits = network.logits(images.part(first, count), 1);
    target.add(first, logits);
    if (keep != nullptr) {
      std::copy_n(logits.data(), logits.size(), keep->begin() + static_cast<std::ptrdiff_t>(first * classes_));
    }
    advance(count);
  });
}

std::vector<float> evaluator::all_logits(const vit<any_matrix>& network, const labelled_images& set) const {
  const image_view images = set.view();
  const std::size_t at_once = network.batch();
  std::vector<float> all(network.members() * images.count * classes_);
  parallel_for((images.count + at_once - 1) / at_once, threads_, [&](std::size_t index) {
    const std::size_t first = index * at_once;
    const std::size_t count = std::min(at_once, images.count - first);
    const row_major_matrix logits = network.logits(images.part(first, count), 1);
    for (std::size_t m = 0; m < network.members(); ++m) {
      std::copy_n(logits.data() + m * count * classes_, count * classes_,
                  all.begin() + static_cast<std::ptrdiff_t>((m * images.count + first) * classes_));
    }
    advance(count * network.members());
  });
  return all;
}

void evaluator::advance(std::size_t images) const {
  if (shown_ != nullptr) {
    shown_->advance(images);
  }
}

}  // namespace pluria::examples
