// SPDX-License-Identifier: MIT
// The products of all members with a batch of tokens each, where arithmetic is the limit: beside Eigen's and oneDNN's
// float products, with oneDNN and with our own loops, on one core. Weights come from memory in turn. Every rate is
// measured by turns with one Eigen float product of the same batch.
//
//   cmake --workflow --preset bench
//
// Up to 7 GiB of memory.

#include <pluria/kernel/int8_backend.hpp>
#include <pluria/kernel/matmul.hpp>

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "matvec_cases.hpp"
#include "turns.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace {

using namespace bench;

constexpr activation_type float32 = activation_type::float32;
constexpr activation_type int8 = activation_type::int8;

product eigen_product(const matrix_size& size, std::size_t tokens) {
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto weights = weights_of(dtype::f32, size);
  const auto values = std::make_shared<vectors>(size, tokens);
  const auto index_of = [](std::size_t value) { return static_cast<Eigen::Index>(value); };
  return {[=] {
            const Eigen::Map<const matrix> w(floats_of(weights->next()), index_of(size.rows), index_of(size.columns));
            const Eigen::Map<const matrix> x(values->x.data(), index_of(tokens), index_of(size.columns));
            Eigen::Map<matrix> y(values->y.data(), index_of(tokens), index_of(size.rows));
            y.noalias() = x * w.transpose();
          },
          static_cast<double>(bytes_of(weights->first())), operations_of(size, tokens)};
}

template <class Backend, class Form>
product members_product(const Form& form, const matrix_size& size, std::size_t members, std::size_t tokens,
                        activation_type activations) {
  const auto weights = members_of(form, size, per_channel{}, members);
  const auto values = std::make_shared<vectors>(size, members * tokens);
  return {[=] { matmul<Backend>(weights->next(), values->x, tokens, values->y, activations); },
          static_cast<double>(bytes_of(weights->first())), operations_of(size, members * tokens)};
}

#ifdef PLURIA_WITH_ONEDNN

/// oneDNN's float product of the same matrices as Eigen's.
product onednn_product(const matrix_size& size, std::size_t tokens) {
  using dnnl::memory;
  const auto weights = weights_of(dtype::f32, size);
  const auto values = std::make_shared<vectors>(size, tokens);
  const auto extent = [](std::size_t value) { return static_cast<memory::dim>(value); };
  const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  const memory::desc x({extent(tokens), extent(size.columns)}, memory::data_type::f32, memory::format_tag::ab);
  const memory::desc w({extent(size.columns), extent(size.rows)}, memory::data_type::f32, memory::format_tag::ba);
  const memory::desc y({extent(tokens), extent(size.rows)}, memory::data_type::f32, memory::format_tag::ab);
  const dnnl::matmul multiply(dnnl::matmul::primitive_desc(dnnl::matmul::desc(x, w, y), cpu));
  return {[=, stream = dnnl::stream(cpu)]() mutable {
            auto* const floats = const_cast<float*>(floats_of(weights->next()));
            multiply.execute(stream, {{DNNL_ARG_SRC, memory(x, cpu, values->x.data())},
                                      {DNNL_ARG_WEIGHTS, memory(w, cpu, floats)},
                                      {DNNL_ARG_DST, memory(y, cpu, values->y.data())}});
            stream.wait();
          },
          static_cast<double>(bytes_of(weights->first())), operations_of(size, tokens)};
}

/// oneDNN's products of int8 matrices and nothing else: members decoded ahead, inputs rounded ahead, sums left as they
/// are.
product decoded_product(const matrix_size& size, std::size_t members, std::size_t tokens) {
  const auto weights = copies_of("decoded INT-4, S=" + std::to_string(members), size, [&] {
    const auto packed = members_of(shared_floor_form<4>{}, size, per_channel{}, members);
    int8_matrix codes(members * size.weights());
    for (std::size_t m = 0, i = 0; m < members; ++m) {
      for (std::size_t row = 0; row < size.rows; ++row) {
        for (std::size_t column = 0; column < size.columns; ++column) {
          codes[i++] = static_cast<std::int8_t>(packed->first().code(m, row, column));
        }
      }
    }
    return codes;
  });
  const auto inputs = std::make_shared<int8_matrix>(members * tokens * size.columns);
  const vectors values(size, members * tokens);
  for (std::size_t i = 0; i < inputs->size(); ++i) {
    (*inputs)[i] = static_cast<std::int8_t>(values.x[i] * 127);
  }
  const auto sums = std::make_shared<aligned_vector<std::int32_t>>(members * tokens * size.rows, 0);
  return {[=] {
            const int8_matrix& all = weights->next();
            for (std::size_t m = 0; m < members; ++m) {
              onednn_int8::multiply(inputs->data() + m * tokens * size.columns, tokens, all.data() + m * size.weights(),
                                    size.rows, size.columns, sums->data() + m * tokens * size.rows);
            }
          },
          static_cast<double>(bytes_of(weights->first())), operations_of(size, members * tokens)};
}

#endif

void register_product(const std::string& name, const matrix_size& size, std::size_t tokens, const make_product& make) {
  const std::string place = "/" + size.name() + " batch " + std::to_string(tokens);
  const effort spent = size.is_cached() ? effort{5, 2} : effort{tokens > 64 ? 3 : 5, 1};
  register_rate(
      name + place, make, [=] { return eigen_product(size, tokens); }, spent);
}

void register_batch(const matrix_size& size, std::size_t tokens) {
  const auto add = [&](const std::string& name, const make_product& make) {
    register_product(name, size, tokens, make);
  };
  add("Eigen float", [=] { return eigen_product(size, tokens); });
#ifdef PLURIA_WITH_ONEDNN
  add("oneDNN float", [=] { return onednn_product(size, tokens); });
#endif
  const auto add_members = [&](const auto& form, std::size_t members) {
    const std::string name = form.name() + ", ";
    const std::string count = ", S=" + std::to_string(members);
    add(name + "float32" + count, [=] { return members_product<portable_int8>(form, size, members, tokens, float32); });
    add(name + "int8" + count, [=] { return members_product<portable_int8>(form, size, members, tokens, int8); });
#ifdef PLURIA_WITH_ONEDNN
    if (onednn_int8::is_exact()) {
      add(name + "int8 by oneDNN" + count,
          [=] { return members_product<onednn_int8>(form, size, members, tokens, int8); });
    }
#endif
  };
  add_members(packed_form<4>{}, 1);
  add_members(shared_floor_form<4>{}, 10);
#ifdef PLURIA_WITH_ONEDNN
  if (onednn_int8::is_exact()) {
    add("decoded ahead, int8 by oneDNN, S=10", [=] { return decoded_product(size, 10, tokens); });
  }
#endif
}

// Against one Eigen float product of the same batch.
void register_targets() {
#ifdef PLURIA_WITH_ONEDNN
  if (!onednn_int8::is_exact()) {
    return;
  }
  constexpr std::size_t tokens = 64;
  const make_work eigen = [] { return eigen_product(square, tokens).run; };
  register_ratio("batch 64 ten INT-4 shared floor int8 by oneDNN/Eigen float/" + square.name(), eigen,
                 [] { return members_product<onednn_int8>(shared_floor_form<4>{}, square, 10, tokens, int8).run; }, 1,
                 {"at_most", 2.0}, {9, 1});
  register_ratio("batch 64 ten INT-4 decoded ahead int8 by oneDNN/Eigen float/" + square.name(), eigen,
                 [] { return decoded_product(square, 10, tokens).run; }, 1, {"at_most", 1.3}, {9, 1});
#endif
}

}  // namespace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) {
    return 2;
  }
  Eigen::setNbThreads(1);
#if defined(_OPENMP)
  omp_set_num_threads(1);  // oneDNN's
#endif
  register_batch(cached, 8);
  for (const std::size_t tokens : {8U, 64U, 512U}) {
    register_batch(square, tokens);
  }
  register_targets();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
