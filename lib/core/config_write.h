// Config structs -> JSON values, along the table; keys come in the table's order.
#pragma once
#include "lib/core/config_fields.h"

#include <nlohmann/json.hpp>

namespace attest::core::config {

using OrderedJson = nlohmann::ordered_json;

/// Whether `text` can stand in JSON, which is UTF-8.
bool is_utf8(const std::string& text);

template <class T>
OrderedJson write(const T& value) {
  if constexpr (Flag<T> || Text<T>)
    return value;
  else if constexpr (Number<T>)
    return to_number(value);
  else if constexpr (Choice<T>)
    return Names<T>::all.at(static_cast<std::size_t>(value));
  else if constexpr (List<T>) {
    auto list = OrderedJson::array();
    for (auto& one : value) list.push_back(write(one));
    return list;
  } else {
    auto object = OrderedJson::object();
    if constexpr (Map<T>)
      for (auto& [key, entry] : value) object[key] = write(entry);
    else
      for_each_field<T>(
          [&](const auto& field) { object[std::string(field.name)] = write(value.*field.member); });
    return object;
  }
}

}  // namespace attest::core::config
