// JSON values -> config structs, along the table.
#pragma once
#include "lib/core/config_check.h"
#include "lib/core/config_json.h"

namespace attest::core::config {

bool read_flag(const Json& from, const std::string& path);
std::int64_t read_number(const Json& from, const Rule& rule, const std::string& path);
std::string read_text(const Json& from, const Rule& rule, const std::string& path);
/// The index of the name that came.
std::size_t read_choice(const Json& from, std::span<const std::string_view> names,
                        const std::string& path);

/// Sets `to` to what `from` says and to nothing else: keys that are not given get their defaults.
/// Throws Error{usage} naming `path` or a path below it; `to` is then unspecified.
template <class T>
void read(const Json& from, T& to, const Rule& rule, const std::string& path);

template <Object T>
void read_object(const Json& from, T& to, const Rule& rule, const std::string& path) {
  to = {};
  if constexpr (Shorthand<T>) {
    if (from.is_string()) {
      Json written_out{{Fields<T>::shorthand, from}};
      return read_object(written_out, to, rule, path);
    }
  }
  if (!from.is_object()) throw mismatch(path, expected<T>(rule), describe(from));
  for (auto& [key, value] : from.items()) {
    bool known = false;
    for_each_field<T>([&](const auto& field) {
      if (field.name != key) return;
      known = true;
      read(value, to.*field.member, field.rule, child(path, key));
    });
    if (!known) throw unknown_key(path, key, keys_of<T>());
  }
  for_each_field<T>([&](const auto& field) {
    if (field.rule.required && !from.contains(field.name))
      throw problem(path, "key '" + std::string(field.name) + "' is missing");
  });
}

template <List T>
void read_list(const Json& from, T& to, const Rule& rule, const std::string& path) {
  if (!from.is_array()) throw mismatch(path, expected<T>(rule), describe(from));
  check_size(from.size(), rule, path);
  to.clear();
  for (auto& value : from) {
    auto where = item(path, to.size());
    read(value, to.emplace_back(), rule, where);
  }
  check_unique(to, rule, path);
}

template <Map T>
void read_map(const Json& from, T& to, const Rule& rule, const std::string& path) {
  if (!from.is_object()) throw mismatch(path, expected<T>(rule), describe(from));
  check_size(from.size(), rule, path);
  to.clear();
  for (auto& [key, value] : from.items()) {
    check_key(key, rule.keys, path);
    read(value, to[key], rule, child(path, key));
  }
}

template <class T>
void read(const Json& from, T& to, const Rule& rule, const std::string& path) {
  if constexpr (Flag<T>)
    to = read_flag(from, path);
  else if constexpr (Number<T>)
    to = static_cast<T>(read_number(from, rule, path));
  else if constexpr (Text<T>)
    to = read_text(from, rule, path);
  else if constexpr (Choice<T>)
    to = static_cast<T>(read_choice(from, Names<T>::all, path));
  else if constexpr (List<T>)
    read_list(from, to, rule, path);
  else if constexpr (Map<T>)
    read_map(from, to, rule, path);
  else
    read_object(from, to, rule, path);
}

}  // namespace attest::core::config
