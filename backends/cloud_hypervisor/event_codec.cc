#include "attest/error.h"
#include "backends/cloud_hypervisor/event_monitor.h"
#include "lib/base/text.h"

#include <nlohmann/json.hpp>

namespace attest::cloud_hypervisor {
namespace {

std::string string_at(const nlohmann::json& object, const char* key) {
  auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

std::optional<MonitorEvent> EventReader::next() {
  std::optional<std::string> text;
  try {
    text = splitter_.next();
  } catch (const Error& error) {
    throw Error(Error::Kind::protocol, "the event monitor of Cloud Hypervisor sent no JSON object")
        .attach("what came", error.what());
  }
  if (!text) return std::nullopt;
  auto object = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  MonitorEvent event;
  if (object.is_object()) {
    event.source = string_at(object, "source");
    event.event = string_at(object, "event");
    if (auto found = object.find("properties"); found != object.end() && found->is_object())
      event.id = string_at(*found, "id");
  }
  if (event.source.empty() || event.event.empty())
    throw Error(Error::Kind::protocol,
                "the event monitor of Cloud Hypervisor sent what is no event: '" +
                    base::printable(text->substr(0, 200)) + "'");
  return event;
}

}  // namespace attest::cloud_hypervisor
