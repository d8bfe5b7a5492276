// SPDX-License-Identifier: MIT

#include "rule_file.hpp"

#include <pluria/core/error.hpp>
#include <pluria/io/file_error.hpp>
#include <pluria/quantize/rule.hpp>
#include <pluria/quantize/scale.hpp>

#include <cerrno>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>

namespace pluria::examples {
namespace {

using decision = rule_file::decision;

constexpr const char* kept = "keep";

std::string in_quotes(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

std::string found(const nlohmann::ordered_json& value) {
  return value.is_string() ? in_quotes(value.get<std::string>()) : std::string("JSON of type ") + value.type_name();
}

nlohmann::ordered_json entry_of(const decision& decided) {
  if (!decided) {
    return kept;
  }
  nlohmann::ordered_json entry{{"system", decided->system()}, {"granularity", decided->granularity_name()}};
  if (decided->scale_name() != absmax::name()) {
    entry["range"] = decided->scale_name();
  }
  return entry;
}

nlohmann::ordered_json parsed(const std::filesystem::path& path) {
  std::ifstream stream(path);
  if (!stream) {
    throw file_error(path, "read", errno);
  }
  // A document tree would keep only the last of two equal names.
  std::vector<std::set<std::string>> names;
  const auto expect_new = [&](int /*depth*/, nlohmann::ordered_json::parse_event_t event,
                              const nlohmann::ordered_json& value) {
    if (event == nlohmann::ordered_json::parse_event_t::object_start) {
      names.emplace_back();
    } else if (event == nlohmann::ordered_json::parse_event_t::object_end) {
      names.pop_back();
    } else if (event == nlohmann::ordered_json::parse_event_t::key &&
               !names.back().insert(value.get<std::string>()).second) {
      throw bad_input(mismatch_message(path.string(), "every key once", found(value) + " twice"));
    }
    return true;
  };
  try {
    return nlohmann::ordered_json::parse(stream, expect_new);
  } catch (const nlohmann::ordered_json::parse_error& error) {
    throw bad_input(mismatch_message(path.string(), "JSON", error.what()));
  }
}

decision decision_of(const nlohmann::ordered_json& value, const std::string& where,
                     const rule_file::quantizer_maker& make) {
  if (value == kept) {
    return std::nullopt;
  }
  if (!value.is_object() || !value.contains("system")) {
    throw bad_input(mismatch_message(where, "\"keep\" or an object with \"system\"", found(value)));
  }
  std::map<std::string, std::string> texts;
  for (const auto& [key, text] : value.items()) {
    if (key != "system" && key != "granularity" && key != "range") {
      throw bad_input(mismatch_message(where + ": keys", "\"system\", \"granularity\" and \"range\"", in_quotes(key)));
    }
    if (!text.is_string()) {
      throw bad_input(mismatch_message(where + ": " + key, "a name", found(text)));
    }
    texts[key] = text.get<std::string>();
  }
  try {
    return make(texts["system"], texts["granularity"], texts["range"]);
  } catch (const bad_input& error) {
    // Keys are called as options are.
    const std::string_view message = error.what();
    throw bad_input(where + ": " + std::string(message.substr(message.starts_with("--") ? 2 : 0)));
  }
}

}  // namespace

rule_file::rule_file(std::filesystem::path path, const quantizer_maker& make) : path_(std::move(path)) {
  const nlohmann::ordered_json content = parsed(path_);
  if (!content.is_object()) {
    throw bad_input(mismatch_message(path_.string(), "an object with \"default\" and \"tensors\"", found(content)));
  }
  for (const auto& [key, value] : content.items()) {
    if (key == "default") {
      by_default_ = decision_of(value, path_.string() + ": default", make);
    } else if (key != "tensors") {
      throw bad_input(mismatch_message(path_.string() + ": keys", "\"default\" and \"tensors\"", in_quotes(key)));
    } else if (!value.is_object()) {
      throw bad_input(mismatch_message(path_.string() + ": tensors", "an object of their names", found(value)));
    } else {
      for (const auto& [name, entry] : value.items()) {
        tensors_.emplace_back(name, decision_of(entry, where(name), make));
      }
    }
  }
}

pluria::rule rule_file::rule() const {
  std::map<std::string, decision, std::less<>> named(tensors_.begin(), tensors_.end());
  return pluria::rule([by_default = by_default_, named = std::move(named)](
                          std::string_view name, std::span<const std::size_t> shape) -> decision {
    if (const auto found = named.find(name); found != named.end()) {
      return found->second;
    }
    return quantized_by_default(name, shape) ? by_default : std::nullopt;
  });
}

void rule_file::expect_tensors(const checkpoint& weights) const {
  for (const auto& [name, decided] : tensors_) {
    const tensor* const current = weights.find(name);
    if (current == nullptr) {
      throw bad_input(mismatch_message(where(name), "a tensor of " + weights.file(), "none of that name"));
    }
    if (decided && (current->shape().size() < 2 || !is_weight_type(current->type()))) {
      throw bad_input(mismatch_message(where(name), "two or more dimensions in F32, F16 or BF16, to be rounded",
                                       to_string(current->shape()) + " in " + std::string(name_of(current->type()))));
    }
  }
}

std::string rule_file::text() const {
  nlohmann::ordered_json content = nlohmann::ordered_json::object();
  if (by_default_) {
    content["default"] = entry_of(by_default_);
  }
  content["tensors"] = nlohmann::ordered_json::object();
  for (const auto& [name, decided] : tensors_) {
    content["tensors"][name] = entry_of(decided);
  }
  return content.dump(1) + "\n";
}

std::string rule_file::where(const std::string& name) const {
  return path_.string() + ": tensor " + in_quotes(name);
}

}  // namespace pluria::examples
