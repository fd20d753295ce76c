#include "lib/core/config_check.h"

#include "lib/base/text.h"

#include <algorithm>

namespace attest::core::config {
namespace {

constexpr std::string_view lower = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view digits = "0123456789";

std::string operator+(std::string_view a, std::string_view b) { return std::string(a).append(b); }

bool only(std::string_view text, const std::string& allowed) {
  return text.find_first_not_of(allowed) == text.npos;
}

// inet_aton takes 12 and 0x1f for addresses, so a machine of that name could not be reached by it.
bool reads_as_address(std::string_view name) {
  if (name.starts_with("0x")) return only(name.substr(2), digits + "abcdef");
  return only(name, std::string(digits));
}

// Why `name` cannot be a machine's name, or "".
std::string machine_name_problem(std::string_view name) {
  if (name.empty()) return "it is empty";
  if (name.size() > 63)
    return "it has " + std::to_string(name.size()) + " characters, of at most 63";
  auto bad = name.find_first_not_of(lower + digits + "-");
  if (bad != name.npos && upper.find(name[bad]) != upper.npos) return "it has upper-case letters";
  if (bad != name.npos) return "only a-z, 0-9 and '-' are allowed";
  if (name.starts_with('-') || name.ends_with('-')) return "it starts or ends with '-'";
  if (name == "localhost") return "every machine calls itself that";
  if (reads_as_address(name)) return "programs would take it for an IP address";
  return {};
}

// The valid machine name that is most like `name`, or "".
std::string like_machine_name(std::string_view name) {
  std::string better;
  for (char c : name.substr(0, 63)) {
    if (auto at = upper.find(c); at != upper.npos) c = lower[at];
    bool good = (lower + digits).find(c) != std::string::npos;
    if (good || (!better.empty() && better.back() != '-')) better += good ? c : '-';
  }
  while (better.ends_with('-')) better.pop_back();
  return name.size() <= 63 && machine_name_problem(better).empty() ? better : "";
}

// Well-formed pieces only: cutting in the middle of a character would show as U+FFFD.
std::string cut(std::string_view text, std::size_t most) {
  if (text.size() <= most) return base::printable(text);
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  return base::printable(text.substr(0, most)) + "...";
}

std::string alternatives(std::span<const std::string_view> names) {
  std::vector<std::string_view> shown;
  std::ranges::copy_if(names, std::back_inserter(shown), [](auto name) { return !name.empty(); });
  std::string text;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (i) text += i + 1 == shown.size() ? " or " : ", ";
    text += "\"" + std::string(shown[i]) + "\"";
  }
  return text;
}

std::string_view expected_form(Form form) {
  switch (form) {
    case Form::any:
      return "a string";
    case Form::path:
      return "a path";
    case Form::path_or_name:
      return "a name or a path";
    case Form::guest_path:
      return "an absolute path without '..'";
    case Form::file_mode:
      return "an octal mode such as \"0644\"";
    case Form::machine_name:
      return "a host name of a-z, 0-9 and '-'";
    case Form::env_name:
      return "a name of letters, digits and '_' that starts with no digit";
    case Form::credential_name:
      return "a name of 1 to 255 letters, digits, '_', '-', '.' and '@'";
  }
  return {};
}

bool is_guest_path(std::string_view text) {
  if (text.size() < 2 || text[0] != '/') return false;
  auto steps = base::split(text, '/');
  return std::ranges::find(steps, "..") == steps.end();
}

bool is_file_mode(std::string_view text) {
  bool lengths = (text.size() >= 3 && text.size() <= 4) || (text.size() == 5 && text[0] == '0');
  return lengths && only(text, "01234567");
}

}  // namespace

std::string child(const std::string& path, std::string_view key) {
  bool plain = !key.empty() && key.size() <= 255 && only(key, lower + upper + "0123456789_-.@");
  std::string step = plain ? std::string(key) : "\"" + cut(key, 60) + "\"";
  return path.empty() ? step : path + "." + step;
}

std::string item(const std::string& path, std::size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

Error problem(const std::string& path, const std::string& text) {
  return {Error::Kind::usage, (path.empty() ? "config" : path) + ": " + text};
}

Error mismatch(const std::string& path, const std::string& expected, const std::string& got) {
  return problem(path, "expected " + expected + ", got " + got);
}

Error unknown_key(const std::string& path, std::string_view key,
                  const std::vector<std::string>& valid) {
  auto text = "unknown key '" + cut(key, 60) + "'";
  if (auto advice = base::did_you_mean(key, valid); !advice.empty())
    return problem(path, text + "; " + advice);
  return problem(path, text).hint("valid keys: " + base::join(valid, ", "));
}

std::string got_text(std::string_view text) {
  if (text.empty()) return "the empty string";
  return "the string \"" + cut(text, 60) + "\"";
}

std::string got_number(std::int64_t number) { return "the number " + std::to_string(number); }

std::string expected_number(const Rule& rule) {
  std::string what(rule.what.empty() ? "a whole number" : rule.what);
  return what + " between " + std::to_string(rule.min) + " and " + std::to_string(rule.max);
}

std::string expected_text(const Rule& rule) {
  if (!rule.choices.empty()) return alternatives(rule.choices);
  std::string form(expected_form(rule.form));
  return rule.filled && rule.form == Form::any ? form + " that is not empty" : form;
}

std::string expected_choice(std::span<const std::string_view> names) { return alternatives(names); }

std::string_view pattern(Form form) {
  switch (form) {
    case Form::any:
    case Form::path:
    case Form::path_or_name:
      return "";
    case Form::guest_path:
      return R"(^(?![\s\S]*/\.\.(/|$))/[\s\S]+$)";
    case Form::file_mode:
      return "^0?[0-7]{3,4}$";
    case Form::machine_name:
      return "^(?!localhost$)(?![0-9]+$)(?!0x[0-9a-f]*$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    case Form::env_name:
      return "^[A-Za-z_][A-Za-z0-9_]*$";
    case Form::credential_name:
      return R"(^(?!\.{1,2}$)[A-Za-z0-9_.@-]{1,255}$)";
  }
  return {};
}

bool accepts(Form form, std::string_view text) {
  switch (form) {
    case Form::any:
    case Form::path:
    case Form::path_or_name:
      return true;
    case Form::guest_path:
      return is_guest_path(text);
    case Form::file_mode:
      return is_file_mode(text);
    case Form::machine_name:
      return machine_name_problem(text).empty();
    case Form::env_name:
      return !text.empty() && only(text, lower + upper + "0123456789_") &&
             digits.find(text[0]) == digits.npos;
    case Form::credential_name:
      return !text.empty() && text.size() <= 255 && text != "." && text != ".." &&
             only(text, lower + upper + "0123456789_.@-");
  }
  return false;
}

void check_number(std::int64_t number, const Rule& rule, const std::string& path) {
  if (number < rule.min || number > rule.max)
    throw mismatch(path, expected_number(rule), got_number(number));
}

void check_text(std::string_view text, const Rule& rule, const std::string& path) {
  bool fits = true;
  if (!rule.choices.empty())
    fits = std::ranges::find(rule.choices, text) != rule.choices.end();
  else if (text.empty())
    fits = !rule.filled;
  else
    fits = accepts(rule.form, text);
  if (!fits) throw mismatch(path, expected_text(rule), got_text(text));
  // All of these become arguments, paths or environment, where a NUL would cut them short.
  if (text.find('\0') != text.npos)
    throw mismatch(path, "text without NUL characters", got_text(text));
}

void check_key(std::string_view key, Form form, const std::string& path) {
  if (form == Form::any || accepts(form, key)) return;
  auto shown = "'" + cut(key, 60) + "'";
  if (form != Form::machine_name)
    throw problem(path, "expected as key " + std::string(expected_form(form)) + ", got " + shown);
  auto text = shown + " cannot be a machine's name: " + machine_name_problem(key);
  if (auto better = like_machine_name(key); !better.empty())
    text += "; did you mean '" + better + "'?";
  throw problem(path, text);
}

void check_size(std::size_t entries, const Rule& rule, const std::string& path) {
  if (entries > rule.most)
    throw problem(path, "expected at most " + std::to_string(rule.most) + " entries, got " +
                            std::to_string(entries));
}

}  // namespace attest::core::config
