// Config::set(): one "path=value", as --attest_set gives it.
#include "lib/base/text.h"
#include "lib/core/config_read.h"
#include "lib/core/config_table.h"

#include <charconv>

namespace attest::core::config {
namespace {

using Steps = std::span<const std::string>;

// "machines.web.vlans[0]" -> machines, web, vlans, 0.
std::vector<std::string> steps_of(std::string_view path) {
  std::string dotted;
  for (char c : path) {
    if (c == '[')
      dotted += '.';
    else if (c != ']')
      dotted += c;
  }
  return base::split(dotted, '.');
}

// The value as JSON. Where a string is meant its quotes are optional, and text that does not even
// look like JSON becomes a string too, for the reader to refuse in words that fit the key.
template <class T>
Json value_of(std::string_view text) {
  auto trimmed = base::trim(text);
  char first = trimmed.empty() ? '\0' : trimmed.front();
  if (Text<T> && first != '"') return text;
  if ((Choice<T> || Shorthand<T>) && first != '"' && first != '{') return text;
  if (first == '{' || first == '[' || first == '"') return parse_json(trimmed);
  try {
    return parse_json(trimmed);
  } catch (const Error&) {
    return text;
  }
}

Error unknown_entry(const std::string& path, const std::string& key,
                    const std::vector<std::string>& known) {
  if (known.empty()) return problem(path, "there is no '" + key + "', nor any other entry");
  auto text = "there is no '" + key + "'";
  if (auto advice = base::did_you_mean(key, known); !advice.empty()) text += "; " + advice;
  return problem(path, text).hint("known: " + base::join(known, ", "));
}

template <class T>
void assign(T& target, Steps steps, std::string_view text, const Rule& rule,
            const std::string& path);

template <Map T>
void assign_entry(T& target, Steps steps, std::string_view text, const Rule& rule,
                  const std::string& path) {
  if constexpr (Text<typename T::mapped_type>) {
    // Nothing can be below a string, so the rest is one key; names of credentials have dots.
    auto key = base::join({steps.begin(), steps.end()}, ".");
    check_key(key, rule.keys, path);
    assign(target[key], {}, text, rule, child(path, key));
  } else {
    auto entry = target.find(steps.front());
    if (entry == target.end()) {
      std::vector<std::string> known;
      for (auto& [key, ignored] : target) known.push_back(key);
      throw unknown_entry(path, steps.front(), known);
    }
    assign(entry->second, steps.subspan(1), text, rule, child(path, steps.front()));
  }
}

template <class T>
void assign(T& target, Steps steps, std::string_view text, const Rule& rule,
            const std::string& path) {
  if (steps.empty()) {
    Json value = value_of<T>(text);
    if (List<T> && !value.is_array())
      throw mismatch(path, expected<T>(rule), describe(value))
          .hint("lists are written as JSON, for example [1,2] or [\"a\",\"b\"]");
    return read(value, target, rule, path);
  }
  auto& step = steps.front();
  if constexpr (Object<T>) {
    bool known = false;
    for_each_field<T>([&](const auto& field) {
      if (field.name != step) return;
      known = true;
      assign(target.*field.member, steps.subspan(1), text, field.rule, child(path, step));
    });
    if (!known) throw unknown_key(path, step, keys_of<T>());
  } else if constexpr (List<T>) {
    std::size_t index = 0;
    auto [end, failed] = std::from_chars(step.data(), step.data() + step.size(), index);
    if (failed != std::errc{} || end != step.data() + step.size() || index >= target.size())
      throw problem(
          path, "there is no item '" + step + "', the list has " + std::to_string(target.size()));
    assign(target[index], steps.subspan(1), text, rule, item(path, index));
    check_unique(target, rule, path);
  } else if constexpr (Map<T>) {
    assign_entry(target, steps, text, rule, path);
  } else {
    throw problem(path, "is " + expected<T>(rule) + ", it has no key '" + step + "'");
  }
}

}  // namespace
}  // namespace attest::core::config

namespace attest {

void Config::set(std::string_view assignment) {
  using namespace core::config;
  auto equals = assignment.find('=');
  if (equals == assignment.npos || base::trim(assignment.substr(0, equals)).empty())
    throw Error(Error::Kind::usage,
                "expected path=value, got '" + base::printable(assignment.substr(0, 100)) + "'")
        .hint("for example machines.web.memory_mb=1024");
  Config changed = *this;
  try {
    assign(changed, steps_of(base::trim(assignment.substr(0, equals))),
           assignment.substr(equals + 1), {}, "");
  } catch (Error& error) {
    error.during("setting '" + base::printable(assignment.substr(0, 100)) + "'");
    throw;
  }
  *this = std::move(changed);
}

}  // namespace attest
