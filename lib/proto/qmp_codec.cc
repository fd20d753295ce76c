#include "lib/proto/qmp_codec.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <nlohmann/json.hpp>

namespace attest::proto {
namespace {

using nlohmann::json;

// QEMU itself accepts 1024 levels; its answers have fewer than ten.
constexpr int deepest = 1024;

Error broken(const std::string& what, std::string_view text) {
  std::string shown(text.substr(0, 200));
  if (text.size() > shown.size()) shown += "...";
  return Error(Error::Kind::protocol, "QMP: " + what + ": '" + base::printable(shown) + "'");
}

bool is_space(char byte) { return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n'; }

std::string string_at(const json& object, const char* key) {
  auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string version_of(const json& greeting) {
  auto version = greeting.value(json::json_pointer("/version/qemu"), json::object());
  auto part = [&](const char* key) {
    auto found = version.find(key);
    return found != version.end() ? found->dump() : "?";
  };
  return part("major") + "." + part("minor") + "." + part("micro");
}

json parse_object(std::string_view text) {
  json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) throw broken("expected a JSON object, got", text);
  return object;
}

}  // namespace

std::optional<std::string> JsonSplitter::next() {
  if (depth_ == 0) {
    std::size_t start = 0;
    while (start < pending_.size() && is_space(pending_[start])) ++start;
    pending_.erase(0, start);
    if (pending_.empty()) return std::nullopt;
    if (pending_[0] != '{') throw broken("expected a JSON object, got", pending_);
  }
  for (; scanned_ < pending_.size(); ++scanned_) {
    if (scanned_ >= limit_)
      throw broken("an object of more than " + std::to_string(limit_) + " bytes", pending_);
    char byte = pending_[scanned_];
    if (in_string_) {
      if (escaped_)
        escaped_ = false;
      else if (byte == '\\')
        escaped_ = true;
      else if (byte == '"')
        in_string_ = false;
      continue;
    }
    if (byte == '"') in_string_ = true;
    if (byte == '{' || byte == '[')
      if (++depth_ > deepest) throw broken("an object that is nested too deeply", pending_);
    if (byte != '}' && byte != ']') continue;
    if (--depth_ > 0) continue;
    std::string object = pending_.substr(0, scanned_ + 1);
    pending_.erase(0, scanned_ + 1);
    scanned_ = 0;
    return object;
  }
  return std::nullopt;
}

QmpMessage parse_qmp(std::string_view text) {
  json object = parse_object(text);
  QmpMessage message;
  if (auto id = object.find("id"); id != object.end() && id->is_number_unsigned())
    message.id = id->get<std::uint64_t>();
  if (auto greeting = object.find("QMP"); greeting != object.end()) {
    message.kind = QmpMessage::Kind::greeting;
    message.name = greeting->is_object() ? version_of(*greeting) : "?";
  } else if (auto value = object.find("return"); value != object.end()) {
    message.kind = QmpMessage::Kind::reply;
    message.text = value->dump();
  } else if (auto error = object.find("error"); error != object.end() && error->is_object()) {
    message.kind = QmpMessage::Kind::error;
    message.name = string_at(*error, "class");
    message.text = string_at(*error, "desc");
  } else if (auto event = object.find("event"); event != object.end() && event->is_string()) {
    message.kind = QmpMessage::Kind::event;
    message.name = event->get<std::string>();
    auto data = object.find("data");
    message.text = data != object.end() ? data->dump() : "{}";
  } else {
    throw broken("neither greeting, reply, error nor event", text);
  }
  return message;
}

std::string qmp_command(std::string_view command, std::string_view arguments, std::uint64_t id) {
  json object{{"execute", command}, {"id", id}};
  if (!arguments.empty()) {
    json parsed = json::parse(arguments, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_object())
      throw Error(Error::Kind::usage, "the arguments of QMP's '" + std::string(command) +
                                          "' are not a JSON object: '" + std::string(arguments) +
                                          "'");
    object["arguments"] = std::move(parsed);
  }
  return object.dump() + "\n";
}

QmpShutdown parse_shutdown(std::string_view data) {
  json object = parse_object(data);
  QmpShutdown shutdown;
  if (auto guest = object.find("guest"); guest != object.end() && guest->is_boolean())
    shutdown.guest = guest->get<bool>();
  shutdown.reason = string_at(object, "reason");
  return shutdown;
}

}  // namespace attest::proto
