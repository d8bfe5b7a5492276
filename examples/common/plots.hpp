// SPDX-License-Identifier: MIT
#pragma once
// Plots of an evaluation through gnuplot: NLL and ECE against the number of members, and reliability diagrams. The data
// and the script stay beside the pictures, so that anyone can draw them again.

#include <pluria/metrics/calibration.hpp>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "evaluation.hpp"

namespace pluria::examples {

/// A reliability diagram's name and bars.
using reliability_curve = std::pair<std::string, std::vector<reliability_bin>>;

/// Writes curves.{png,svg} and reliability.{png,svg} to `folder`, with their data and script. Without gnuplot only the
/// latter; returns whether pictures were drawn.
bool draw_plots(const std::filesystem::path& folder, const evaluation& result,
                const std::vector<reliability_curve>& reliability);

}  // namespace pluria::examples
