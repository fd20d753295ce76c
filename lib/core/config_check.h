// The rules of single values: what is expected in words, whether a value is that, and the errors
// when it is not. Used by the reader and by validate(), so that both say the same. No JSON here.
#pragma once
#include "attest/error.h"
#include "lib/core/config_fields.h"

#include <string>
#include <string_view>
#include <vector>

namespace attest::core::config {

/// Error{usage} "<path>: <text>"; an empty path is shown as "config".
Error problem(const std::string& path, const std::string& text);
/// Error{usage} "<path>: expected <expected>, got <got>".
Error mismatch(const std::string& path, const std::string& expected, const std::string& got);
/// Error{usage} for a key that is not among `valid`, with the nearest one or else all of them.
Error unknown_key(const std::string& path, std::string_view key,
                  const std::vector<std::string>& valid);

/// `the string "lots"`: safe to print, cut when it is long.
std::string got_text(std::string_view text);
/// "the number 8".
std::string got_number(std::int64_t number);

std::string expected_number(const Rule& rule);
std::string expected_text(const Rule& rule);
std::string expected_choice(std::span<const std::string_view> names);
/// What a value of type T under `rule` must be, in words.
template <class T>
std::string expected(const Rule& rule) {
  if constexpr (Flag<T>)
    return "true or false";
  else if constexpr (Number<T>)
    return expected_number(rule);
  else if constexpr (Text<T>)
    return expected_text(rule);
  else if constexpr (Choice<T>)
    return expected_choice(Names<T>::all);
  else if constexpr (List<T>)
    return "a list, each item " + expected<typename T::value_type>(rule);
  else if constexpr (Shorthand<T>)
    return "a path or an object";
  else
    return "an object";
}

/// The regular expression (ECMA 262) of the texts that `form` takes; "" if it takes all.
std::string_view pattern(Form form);
/// Whether `form` takes this text, which is not empty.
bool accepts(Form form, std::string_view text);

/// These throw Error{usage} if the value breaks the rule.
void check_number(std::int64_t number, const Rule& rule, const std::string& path);
void check_text(std::string_view text, const Rule& rule, const std::string& path);
void check_key(std::string_view key, Form form, const std::string& path);
void check_size(std::size_t entries, const Rule& rule, const std::string& path);

/// Throws Error{usage} if an item is in the list twice and the rule forbids that.
template <class T>
void check_unique(const std::vector<T>& list, const Rule& rule, const std::string& path) {
  if constexpr (Number<T>) {
    if (!rule.unique) return;
    std::map<T, int> seen;
    for (auto& one : list)
      if (seen[one]++)
        throw problem(path, std::to_string(to_number(one)) + " is in the list twice");
  }
}

}  // namespace attest::core::config
