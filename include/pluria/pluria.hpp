// SPDX-License-Identifier: MIT
#pragma once
// Everything but the optional backends. Includes Eigen and nlohmann-json; single headers compile faster.

#include <pluria/calibrate/temperature.hpp>
#include <pluria/ensemble/budget.hpp>
#include <pluria/ensemble/predictive.hpp>
#include <pluria/ensemble/scores.hpp>
#include <pluria/ensemble/stored_llama.hpp>
#include <pluria/ensemble/stored_vit.hpp>
#include <pluria/ensemble/streaming_scores.hpp>
#include <pluria/io/gguf.hpp>
#include <pluria/io/gguf_writer.hpp>
#include <pluria/io/idx.hpp>
#include <pluria/io/kld.hpp>
#include <pluria/io/mapped_pages.hpp>
#include <pluria/io/npy.hpp>
#include <pluria/io/safetensors.hpp>
#include <pluria/io/safetensors_folder.hpp>
#include <pluria/kernel/any_members.hpp>
#include <pluria/kernel/matmul.hpp>
#include <pluria/kernel/matvec.hpp>
#include <pluria/kernel/sample.hpp>
#include <pluria/member/rounded.hpp>
#include <pluria/metrics/calibration.hpp>
#include <pluria/metrics/diversity.hpp>
#include <pluria/metrics/proper_score.hpp>
#include <pluria/metrics/uncertainty.hpp>
#include <pluria/nn/llama.hpp>
#include <pluria/nn/vit.hpp>
#include <pluria/number/half_scaled_int.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/granularity.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/rounding/bernoulli.hpp>
#include <pluria/rounding/nearest.hpp>
#include <pluria/tensor/convert.hpp>
#include <pluria/version.hpp>
