// How a config struct is described: per field its name, its member, one sentence and the rule for
// its values. Reading, printing, the schema, the reference, --attest_set and validation are all
// made from these descriptions, which stand in config_table.h.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

namespace attest::core::config {

/// Which texts a string, or a key of a map, may be.
enum class Form {
  any,
  path,             ///< on the host; from_file() makes it absolute
  path_or_name,     ///< a path on the host if it has a slash
  guest_path,       ///< absolute in the machine, no step is ".."
  file_mode,        ///< octal
  machine_name,     ///< a host name of one label
  env_name,         ///< of an environment variable
  credential_name,  ///< of a systemd credential
};

/// What a field's values must be beyond their type. In a list or map, `what`, `min`, `max`, `form`
/// and `choices` are about each item.
struct Rule {
  std::string_view what{};  ///< what a number is, for messages; empty: "a whole number"
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<int>::max();
  Form form = Form::any;                               ///< of strings
  std::span<const std::string_view> choices{};         ///< the only strings allowed; empty: all
  bool filled = false;                                 ///< the empty string is refused
  bool required = false;                               ///< the key must be given
  bool unique = false;                                 ///< no list item twice
  Form keys = Form::any;                               ///< of a map's keys
  std::size_t most = std::numeric_limits<int>::max();  ///< entries of a list or map
};

template <class Owner, class Value>
struct Field {
  std::string_view name;
  Value Owner::* member;
  std::string_view doc;
  Rule rule;
};

template <class Owner, class Value>
constexpr Field<Owner, Value> field(std::string_view name, Value Owner::* member,
                                    std::string_view doc, Rule rule = {}) {
  return {name, member, doc, rule};
}

/// Specialised for each config struct: `all` is a tuple of Field, `shorthand` (optional) the key
/// that a bare JSON string in the object's place stands for.
template <class T>
struct Fields;

/// Specialised for each enum: `all` lists the JSON names in the order of the enumerators.
template <class E>
struct Names;

template <class T>
concept Flag = std::is_same_v<T, bool>;
template <class T>
concept Number = std::is_same_v<T, int> || std::is_same_v<T, std::uint64_t> ||
                 std::is_same_v<T, std::chrono::seconds>;
template <class T>
concept Text = std::is_same_v<T, std::string>;
template <class T>
concept Choice = requires { Names<T>::all; };
template <class T>
concept Object = requires { Fields<T>::all; };
template <class T>
concept Shorthand = Object<T> && requires { Fields<T>::shorthand; };
template <class T>
concept List = std::is_same_v<T, std::vector<typename T::value_type>>;
template <class T>
concept Map = std::is_same_v<T, std::map<std::string, typename T::mapped_type>>;

constexpr std::int64_t to_number(int value) { return value; }
/// Beyond what a rule can allow it is the highest number, which none allows.
constexpr std::int64_t to_number(std::uint64_t value) {
  constexpr auto highest = std::numeric_limits<std::int64_t>::max();
  return value > static_cast<std::uint64_t>(highest) ? highest : static_cast<std::int64_t>(value);
}
constexpr std::int64_t to_number(std::chrono::seconds value) { return value.count(); }

/// Calls `each` with every Field of T, in the table's order.
template <Object T, class F>
constexpr void for_each_field(F&& each) {
  std::apply([&](const auto&... fields) { (each(fields), ...); }, Fields<T>::all);
}

template <Object T>
std::vector<std::string> keys_of() {
  std::vector<std::string> keys;
  for_each_field<T>([&](const auto& field) { keys.emplace_back(field.name); });
  return keys;
}

/// The path of a key below `path`, as messages show it: machines.web. The root's path is empty.
std::string child(const std::string& path, std::string_view key);
/// The path of a list's item: machines.web.vlans[0].
std::string item(const std::string& path, std::size_t index);

/// Calls each(value, rule, path) for `value` and then for everything in it, depth first. `each` may
/// change what it is given, also the size of a list or map, before the walk goes into it.
template <class V, class F>
void walk(V& value, const Rule& rule, const std::string& path, F& each) {
  using T = std::remove_const_t<V>;
  each(value, rule, path);
  if constexpr (Object<T>) {
    for_each_field<T>([&](const auto& field) {
      walk(value.*field.member, field.rule, child(path, field.name), each);
    });
  } else if constexpr (List<T>) {
    for (std::size_t i = 0; i < value.size(); ++i) walk(value[i], rule, item(path, i), each);
  } else if constexpr (Map<T>) {
    for (auto& [key, entry] : value) walk(entry, rule, child(path, key), each);
  }
}

}  // namespace attest::core::config
