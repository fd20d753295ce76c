#include "lib/core/config_read.h"

#include "lib/base/sys_error.h"
#include "lib/core/config_table.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace attest::core::config {

bool read_flag(const Json& from, const std::string& path) {
  if (!from.is_boolean()) throw mismatch(path, expected<bool>({}), describe(from));
  return from.get<bool>();
}

std::int64_t read_number(const Json& from, const Rule& rule, const std::string& path) {
  if (!from.is_number_integer()) throw mismatch(path, expected_number(rule), describe(from));
  auto number = from.get<std::int64_t>();
  check_number(number, rule, path);
  return number;
}

std::string read_text(const Json& from, const Rule& rule, const std::string& path) {
  if (!from.is_string()) throw mismatch(path, expected_text(rule), describe(from));
  auto& text = from.get_ref<const std::string&>();
  check_text(text, rule, path);
  return text;
}

std::size_t read_choice(const Json& from, std::span<const std::string_view> names,
                        const std::string& path) {
  auto found = names.end();
  if (from.is_string())
    found = std::find(names.begin(), names.end(), from.get_ref<const std::string&>());
  if (found == names.end()) throw mismatch(path, expected_choice(names), describe(from));
  return static_cast<std::size_t>(found - names.begin());
}

namespace {

// One byte more than is allowed, so that the parser sees that it is too much; /dev/zero ends too.
std::string read_bounded(const std::string& path) {
  std::string attempt = "reading config '" + path + "'";
  if (std::error_code ignored; std::filesystem::is_directory(path, ignored))
    throw base::sys_error(attempt, EISDIR);
  std::ifstream file(path, std::ios::binary);
  if (!file) throw base::sys_error(attempt);
  std::string text(most_text + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) throw base::sys_error(attempt);
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

void make_absolute(Config& config, const std::filesystem::path& directory) {
  auto each = [&](auto& value, const Rule& rule, const std::string&) {
    if constexpr (Text<std::remove_cvref_t<decltype(value)>>) {
      bool is_path = rule.form == Form::path ||
                     (rule.form == Form::path_or_name && value.find('/') != value.npos);
      if (is_path && !value.empty()) value = (directory / value).string();
    }
  };
  walk(config, {}, "", each);
}

}  // namespace
}  // namespace attest::core::config

namespace attest {

Config Config::from_json(std::string_view text) {
  Config config;
  core::config::read(core::config::parse_json(text), config, {}, "");
  return config;
}

Config Config::from_file(const std::string& path) {
  auto text = core::config::read_bounded(path);
  try {
    auto config = from_json(text);
    core::config::make_absolute(config, std::filesystem::absolute(path).parent_path());
    return config;
  } catch (Error& error) {
    error.during("reading config '" + path + "'");
    throw;
  }
}

}  // namespace attest
