#include "tests/sims/firecracker/shape.h"

#include "tests/sims/firecracker/fault.h"

#include <cstdint>
#include <limits>
#include <map>

namespace attest::sims::firecracker {
namespace {

std::string position(std::string_view text, std::size_t at) {
  std::size_t line = 1, column = 0;
  for (char byte : text.substr(0, at)) {
    ++column;
    if (byte == '\n') {
      ++line;
      column = 0;
    }
  }
  return " at line " + std::to_string(line) + " column " + std::to_string(column);
}

// serde stops where it has read the word that it does not like.
std::string after_word(std::string_view text, const std::string& word) {
  auto at = text.find(word);
  return position(text, at == std::string_view::npos ? text.size() : at + word.size());
}

std::string alternatives(const std::vector<std::string>& names) {
  auto quoted = [](const std::string& name) { return "`" + name + "`"; };
  if (names.size() == 1) return "expected " + quoted(names[0]);
  if (names.size() == 2) return "expected " + quoted(names[0]) + " or " + quoted(names[1]);
  std::string list = "expected one of ";
  for (auto& name : names) list += (&name == &names[0] ? "" : ", ") + quoted(name);
  return list;
}

std::string described(const json& value) {
  if (value.is_string()) return "string " + value.dump();
  if (value.is_boolean()) return "boolean `" + value.dump() + "`";
  if (value.is_number_float()) return "floating point `" + value.dump() + "`";
  if (value.is_number()) return "integer `" + value.dump() + "`";
  if (value.is_null()) return "null";
  return value.is_array() ? "sequence" : "map";
}

std::uint64_t most_of(const std::string& type) {
  static const std::map<std::string, std::uint64_t> limits = {
      {"u8", std::numeric_limits<std::uint8_t>::max()},
      {"u16", std::numeric_limits<std::uint16_t>::max()},
      {"u32", std::numeric_limits<std::uint32_t>::max()},
      {"u64", std::numeric_limits<std::uint64_t>::max()}};
  auto found = limits.find(type);
  return found == limits.end() ? 0 : found->second;
}

void check_member(const json& value, const Member& member, const Version& version,
                  std::string_view text) {
  if (value.is_null() && !member.required) return;
  auto wrong = [&](const std::string& expected) {
    throw Fault("invalid type: " + described(value) + ", expected " + expected +
                after_word(text, value.dump()));
  };
  if (std::uint64_t most = most_of(member.type)) {
    if (!value.is_number_integer()) wrong(member.type);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most)
      throw Fault("invalid value: " + described(value) + ", expected " + member.type +
                  after_word(text, value.dump()));
  } else if (member.type == "string") {
    if (!value.is_string()) wrong("a string");
  } else if (member.type == "bool") {
    if (!value.is_boolean()) wrong("a boolean");
  } else if (member.type == "list") {
    if (!value.is_array()) wrong("a sequence");
    for (auto& item : value) check_shape(item, *member.inner, version, text);
  } else if (member.type == "object") {
    check_shape(value, *member.inner, version, text);
  } else if (member.type == "one") {
    if (!value.is_string()) wrong("string or map");
    for (auto& variant : member.variants)
      if (variant == value.get<std::string>()) return;
    throw Fault("unknown variant `" + value.get<std::string>() + "`, " +
                alternatives(member.variants) + after_word(text, value.dump()));
  }
}

}  // namespace

void check_shape(const json& value, const Shape& shape, const Version& version,
                 std::string_view text) {
  if (!value.is_object())
    throw Fault("invalid type: " + described(value) + ", expected struct" +
                after_word(text, value.dump()));
  std::vector<std::string> names;
  for (auto& member : shape.members)
    if (member.since <= version) names.push_back(member.name);
  for (auto& [name, inner] : value.items()) {
    const Member* known = nullptr;
    for (auto& member : shape.members)
      if (member.name == name && member.since <= version) known = &member;
    if (known)
      check_member(inner, *known, version, text);
    else if (!shape.open)
      throw Fault("unknown field `" + name + "`, " +
                  (names.empty() ? "there are no fields" : alternatives(names)) +
                  after_word(text, "\"" + name + "\""));
  }
  for (auto& member : shape.members)
    if (member.required && !value.contains(member.name))
      throw Fault("missing field `" + member.name + "`" + position(text, text.size()));
}

json parse_body(std::string_view text, const Shape& shape, const Version& version) {
  json value;
  try {
    value = json::parse(text);
  } catch (const json::parse_error& failure) {
    bool cut = failure.byte > text.size();
    throw Fault((cut ? "EOF while parsing a value" : "expected value") +
                position(text, std::min(failure.byte, text.size())));
  }
  check_shape(value, shape, version, text);
  return value;
}

}  // namespace attest::sims::firecracker
