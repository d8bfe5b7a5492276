// SPDX-License-Identifier: MIT
#pragma once
// A Vision Transformer, or an ensemble of it, run over labelled images: a test set, and one that temperatures are
// fitted on and choices are made on.

#include <pluria/ensemble/scores.hpp>
#include <pluria/io/idx.hpp>
#include <pluria/nn/any_matrix.hpp>
#include <pluria/nn/vit.hpp>
#include <pluria/tensor/checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "progress.hpp"

namespace pluria::examples {

/// As they stand on the command line.
struct image_options {
  std::string images = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz";
  std::string labels = "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz";
  std::size_t first = 0;
  std::size_t limit = 0;  ///< 0: all
  std::string calibration_images = {};
  std::string calibration_labels = {};
  std::size_t calibration_first = 0;
  std::size_t calibration_limit = 0;
  std::size_t heads = 0;
  std::string mean = {};
  std::string std = {};
};

void add_options(command_line& app, image_options& chosen);

/// Images with their labels.
struct labelled_images {
  idx_array images;
  std::vector<std::int32_t> labels;
  std::size_t first = 0;
  std::string label_file;

  image_view view() const {
    const std::size_t height = images.shape[1];
    const std::size_t width = images.shape[2];
    return {images.values, labels.size(), 1, height, width};
  }
};

labelled_images load_images(const std::string& image_file, const std::string& label_file, std::size_t first,
                            std::size_t limit);

/// The sets that every ensemble is scored on, and how to run a network over them.
class evaluator {
 public:
  /// Loads the sets. Throws bad_input naming the option or file that will not do.
  evaluator(const image_options& chosen, int threads);

  struct both {
    scores test;
    std::optional<scores> calibration;
  };

  /// Where images that are done are shown; nowhere before.
  void show(progress& shown) { shown_ = &shown; }

  const labelled_images& test() const { return test_; }

  /// Throws bad_input where the network does not fit the images or labels.
  void check(const checkpoint& weights);

  both empty_scores() const;

  /// Runs one member over both sets; `keep`, where given, gets the test logits, [N, C].
  void add(checkpoint member, both& result, std::vector<float>* keep = nullptr) const;

  /// Runs all members of a stored network over both sets, each layer once for all of them; then adds member after
  /// member and calls added(k). Holds their logits meanwhile.
  void add_all(const vit<any_matrix>& network, both& result, std::vector<float>* keep,
               const std::function<void(std::size_t)>& added) const;

  const vit_options& network_options() const { return network_; }

  /// Images that one member runs over.
  std::size_t images_per_member() const {
    return test_.labels.size() + (calibration_ ? calibration_->labels.size() : 0);
  }

 private:
  // Batch by batch, so that a member's logits are never held as a whole unless they are to be kept.
  void add(const vit<dense_matrix>& network, const labelled_images& set, scores& target,
           std::vector<float>* keep) const;

  // [member][image][class]
  std::vector<float> all_logits(const vit<any_matrix>& network, const labelled_images& set) const;

  void advance(std::size_t images) const;

  labelled_images test_;
  std::optional<labelled_images> calibration_;
  vit_options network_;
  std::size_t classes_ = 0;
  int threads_;
  progress* shown_ = nullptr;
};

}  // namespace pluria::examples
