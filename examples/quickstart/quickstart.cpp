// SPDX-License-Identifier: MIT
#include <pluria/pluria.hpp>

#include <iostream>

using namespace pluria;

// Your own network, on an ordinary checkpoint: here 784 pixels, 128 ReLUs, 10 classes, in plain Eigen.
row_major_matrix logits(const checkpoint& weights, const row_major_matrix& pixels) {
  const auto layer = [&](const row_major_matrix& x, const std::string& name) -> row_major_matrix {
    const auto weight = weights[name + ".weight"].to_floats(), bias = weights[name + ".bias"].to_floats();
    const Eigen::Map<const row_major_matrix> w(weight.data(), static_cast<Eigen::Index>(bias.size()), x.cols());
    return (x * w.transpose()).rowwise() + Eigen::Map<const Eigen::RowVectorXf>(bias.data(), w.rows());
  };
  return layer(layer(pixels, "hidden").cwiseMax(0.0F), "output");
}

int main(int count, char** files) try {
  if (count != 4)
    throw bad_input("give three files: mlp.safetensors images.idx.gz labels.idx.gz");
  const checkpoint weights = load_safetensors(files[1]);
  const idx_array images = load_idx(files[2]), labels = load_idx(files[3]);
  if (images.values.size() != labels.values.size() * 784)
    throw bad_input("expected a label for each 28x28 image");
  using bytes = Eigen::Matrix<std::uint8_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const row_major_matrix pixels =
      Eigen::Map<const bytes>(images.values.data(), static_cast<Eigen::Index>(labels.values.size()), 784)
          .cast<float>() /
      255.0F;

  const quantizer<symmetric_int<5>, per_channel> int5;
  const rounded_members members{weights, int5, bernoulli{.seed = 7}};  // member k depends on weights, seed and k alone

  scores checkpoint_scores{std::vector<std::int32_t>(labels.values.begin(), labels.values.end())};
  scores nearest_scores = checkpoint_scores, ensemble = checkpoint_scores;
  checkpoint_scores.add(logits(weights, pixels));
  nearest_scores.add(logits(rounded_members{weights, int5, nearest{}}[0], pixels));
  for (std::uint64_t k = 0; k < 8; ++k) {
    ensemble.add(logits(members[k], pixels));
  }

  std::cout << "full precision       NLL " << checkpoint_scores.nll() << "  ECE " << checkpoint_scores.ece() << '\n'
            << "INT-5, to nearest    NLL " << nearest_scores.nll() << "  ECE " << nearest_scores.ece() << '\n'
            << "INT-5, 8 members     NLL " << ensemble.nll() << "  ECE " << ensemble.ece() << "  ambiguity "
            << ensemble.ambiguity() << '\n';
} catch (const std::exception& error) {
  std::cerr << "quickstart: " << error.what() << '\n';
  return 2;
}
