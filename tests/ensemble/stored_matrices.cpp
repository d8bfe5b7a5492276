// SPDX-License-Identifier: MIT

#include <pluria/ensemble/stored_matrices.hpp>
#include <pluria/number/symmetric_int.hpp>
#include <pluria/quantize/quantizer.hpp>
#include <pluria/rounding/nearest.hpp>
#include <support/catch.hpp>
#include <support/checkpoints.hpp>
#include <support/tensors.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/made_activations.hpp"
#include "stored_int4.hpp"

namespace {

using namespace pluria;
using namespace support;

constexpr storage_form forms[] = {storage_form::packed, storage_form::shared_floor, storage_form::fixed_point};
constexpr activation_type activation_types[] = {activation_type::float32, activation_type::int8};

// a.weight, b.weight and c.weight are rounded, the rest is kept.
rounded_members made_members() {
  return {make_checkpoint(), stored_int4(), rounding};
}

constexpr std::size_t tokens = 5;

// X W^T for all members, each from an input of its own.
template <weight_matrix Matrix>
activations product(const Matrix& matrix) {
  activations y(matrix.members(), tokens, matrix.rows());
  y.values().setZero();
  matrix.add_product(made_activations(matrix.members(), tokens, matrix.columns(), 40), y);
  return y;
}

row_major_matrix matrix_of(const tensor& weights) {
  const std::vector<float> values = weights.to_floats();
  return Eigen::Map<const row_major_matrix>(values.data(), static_cast<Eigen::Index>(weights.rows()),
                                            static_cast<Eigen::Index>(weights.columns()));
}

// Whether member m of the matrix is member first + m of the source, for all of them.
bool has_members(const any_matrix& matrix, const rounded_members& source, const std::string& name,
                 std::uint64_t first) {
  const activations x = made_activations(matrix.members(), tokens, matrix.columns(), 40);
  const activations y = product(matrix);
  const row_major_matrix zero =
      row_major_matrix::Zero(static_cast<Eigen::Index>(tokens), static_cast<Eigen::Index>(matrix.rows()));
  bool same = true;
  for (std::size_t m = 0; m < matrix.members(); ++m) {
    same = same && is_product(y.member(m), x.member(m), matrix_of(source[first + m][name]), zero);
  }
  return same;
}

TEST_CASE("a matrix that is stored has the members that were chosen", "[ensemble]") {
  const rounded_members source = made_members();
  for (const storage_form form : {storage_form::packed, storage_form::shared_floor}) {
    for (const std::uint64_t first : {0U, 6U}) {
      for (const std::size_t count : {1U, 3U}) {
        const auto matrices = stored_matrices(source, {.form = form, .first = first, .count = count});
        for (const std::string name : {"a.weight", "b.weight", "c.weight"}) {
          const any_matrix matrix = matrices(name);
          CAPTURE(static_cast<int>(form), first, count, name);
          CHECK(matrix.rows() == source.source()[name].rows());
          CHECK(matrix.columns() == source.source()[name].columns());
          CHECK(matrix.members() == count);
          CHECK(has_members(matrix, source, name, first));
        }
      }
    }
  }
  // Members are others: the comparison says something.
  CHECK_FALSE(has_members(stored_matrices(source, {.first = 1, .count = 3})("a.weight"), source, "a.weight", 0));
}

TEST_CASE("a matrix is stored and multiplied in the form that was chosen", "[ensemble]") {
  const rounded_members source = made_members();
  std::vector<row_major_matrix> products;
  for (const storage_form form : forms) {
    for (const activation_type inputs : activation_types) {
      for (const int threads : {1, 2, 0}) {
        const any_matrix matrix = stored_matrices(source, {form, 2, 4, inputs, threads})("a.weight");
        const stored_matrix expected(*source.stored("a.weight", form, 2, 4), inputs, 1);
        CAPTURE(static_cast<int>(form), static_cast<int>(inputs), threads);
        CHECK(product(matrix).values() == product(expected).values());
      }
      products.push_back(product(stored_matrices(source, {form, 2, 4, inputs, 1})("a.weight")).values());
    }
  }
  // Fixed-point positions draw other members, and int8 activations give other products.
  CHECK(products[0] == products[2]);
  CHECK(products[0] != products[4]);
  for (const std::size_t form : {0U, 2U, 4U}) {
    CHECK(products[form] != products[form + 1]);
  }
}

TEST_CASE("nothing chosen is member 0, packed, with float32 activations", "[ensemble]") {
  const rounded_members source = made_members();
  const any_matrix matrix = stored_matrices(source, {})("c.weight");
  CHECK(matrix.members() == 1);
  CHECK(product(matrix).values() ==
        product(stored_matrix(*source.stored("c.weight", storage_form::packed, 0, 1))).values());
}

TEST_CASE("a tensor that the rule keeps is the matrix of all members, whatever was chosen", "[ensemble]") {
  const rounded_members source = made_members();
  for (const storage_form form : forms) {
    for (const activation_type inputs : activation_types) {
      for (const std::string name : {"wte.weight", "a.bias", "d.weight"}) {
        const any_matrix matrix = stored_matrices(source, {form, 2, 3, inputs, 1})(name);
        const tensor& kept = source.source()[name];
        CAPTURE(static_cast<int>(form), static_cast<int>(inputs), name);
        CHECK(matrix.rows() == kept.rows());
        CHECK(matrix.columns() == kept.columns());
        CHECK(matrix.members() == 3);
        CHECK(has_members(matrix, source, name, 0));
        CHECK(product(matrix).values() == product(dense_matrix::shared(kept, 3)).values());
      }
    }
  }
}

TEST_CASE("what was chosen may change, and matrices outlive what they were made from", "[ensemble]") {
  std::optional<rounded_members> source = made_members();
  const rounded_members kept = made_members();
  std::optional<stored_form> chosen = stored_form{.first = 4, .count = 2};
  auto matrices = stored_matrices(*source, *chosen);
  *chosen = {.first = 0, .count = 1};
  chosen.reset();
  std::string name = "a.weight";
  const any_matrix rounded = matrices(name);
  name = "wte.weight";
  const any_matrix shared = matrices(name);
  name = "x";
  matrices = nullptr;
  source.reset();
  CHECK(rounded.members() == 2);
  CHECK(has_members(rounded, kept, "a.weight", 4));
  CHECK(has_members(shared, kept, "wte.weight", 4));
}

TEST_CASE("matrices of any order and number of calls are the same", "[ensemble]") {
  const rounded_members source = made_members();
  const auto matrices = stored_matrices(source, {.form = storage_form::shared_floor, .count = 2});
  const row_major_matrix once = product(matrices("a.weight")).values();
  matrices("wte.weight");
  matrices("b.weight");
  CHECK(product(matrices("a.weight")).values() == once);
}

TEST_CASE("a matrix that cannot be made is refused as its tensor is", "[ensemble]") {
  const rounded_members source = made_members();
  const auto message = [&](std::string_view name) {
    return message_of<bad_input>([&] { stored_matrices(source, {})(name); });
  };
  CHECK(message("none.weight") == "net.safetensors: tensor \"none.weight\": expected, not found");
  CHECK(message("") == "net.safetensors: tensor \"\": expected, not found");
  CHECK(message("steps") == "net.safetensors: tensor \"steps\": expected dtype F32, F16 or BF16, found I32");
}

TEST_CASE("what storage has no room for is refused of rounded tensors only", "[ensemble]") {
  const auto refuses = [](const rounded_members& source, const stored_form& chosen) {
    CHECK_NOTHROW(stored_matrices(source, chosen)("wte.weight"));
    CHECK_THROWS_AS(stored_matrices(source, chosen)("a.weight"), precondition_error);
  };
  const rounded_members source = made_members();
  refuses(source, {.form = storage_form::shared_floor, .count = 65});
  refuses(source, {.first = (std::uint64_t{1} << 34) - 1, .count = 2});  // a lattice of 4 has 2^34 members
  const rounded_members to_nearest(make_checkpoint(), stored_int4(), nearest{});
  CHECK_NOTHROW(stored_matrices(to_nearest, {})("a.weight"));
  refuses(to_nearest, {.count = 2});
  refuses(to_nearest, {.form = storage_form::shared_floor});
  const rounded_members without_products(make_checkpoint(), quantizer<int4>{}, rounding);
  refuses(without_products, {});
}

TEST_CASE("no member is no matrix", "[ensemble]") {
  const rounded_members source = made_members();
  CHECK_THROWS_AS(stored_matrices(source, {.count = 0})("wte.weight"), precondition_error);
}

}  // namespace
