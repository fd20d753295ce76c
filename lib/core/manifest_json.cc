#include "lib/core/manifest_json.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace attest::core {
namespace {

using nlohmann::json;

constexpr int format_version = 1;

json write(const Identities& identities) {
  json object = json::object();
  for (auto& [name, identity] : identities)
    object[name] = {{"size", identity.size}, {"xxh3_128", identity.checksum}};
  return object;
}

// By the numbers of Ready.
constexpr std::array<std::string_view, 3> ready_names = {"agent", "basic", "multi_user"};

// Reads members and says which one is wrong.
class Reader {
 public:
  Reader(const json& object, std::string dir, std::string at = {})
      : object_(object), dir_(std::move(dir)), at_(std::move(at)) {
    if (!object_.is_object()) throw wrong("expected an object", at_);
  }

  Error wrong(const std::string& what, const std::string& where) const {
    return Error(Error::Kind::usage, "the manifest of the snapshot '" + dir_ + "' is wrong" +
                                         (where.empty() ? "" : " at '" + where + "'") + ": " + what)
        .hint("make the snapshot again");
  }
  const json& member(const char* key) const {
    auto found = object_.find(key);
    if (found == object_.end()) throw wrong("it is not there", at_ + key);
    return *found;
  }
  std::string text(const char* key) const {
    auto& value = member(key);
    if (!value.is_string()) throw wrong("expected a string, got " + value.dump(), at_ + key);
    return value.get<std::string>();
  }
  std::uint64_t number(const char* key) const {
    auto& value = member(key);
    if (!value.is_number_unsigned())
      throw wrong("expected a whole number, got " + value.dump(), at_ + key);
    return value.get<std::uint64_t>();
  }
  int small_number(const char* key) const {
    auto value = number(key);
    if (value > 1'048'576)
      throw wrong("the number " + std::to_string(value) + " is too large", at_ + key);
    return static_cast<int>(value);
  }
  Ready ready(const char* key) const {
    auto name = text(key);
    auto found = std::ranges::find(ready_names, name);
    if (found == ready_names.end())
      throw wrong("expected agent, basic or multi_user, got '" + base::printable(name) + "'",
                  at_ + key);
    return static_cast<Ready>(found - ready_names.begin());
  }
  Identities identities(const char* key) const {
    Identities all;
    auto& value = member(key);
    if (!value.is_object()) throw wrong("expected an object", at_ + key);
    for (auto& [name, item] : value.items()) {
      Reader reader(item, dir_, at_ + key + "." + name + ".");
      all[name] = {reader.number("size"), reader.text("xxh3_128")};
    }
    return all;
  }
  std::vector<net::Nic> nics(const char* key) const {
    std::vector<net::Nic> all;
    auto& value = member(key);
    if (!value.is_array()) throw wrong("expected a list", at_ + key);
    for (std::size_t i = 0; i < value.size(); ++i) {
      Reader reader(value[i], dir_, at_ + key + "[" + std::to_string(i) + "].");
      all.push_back({.vlan = reader.small_number("vlan"),
                     .mac = reader.text("mac"),
                     .ipv4 = reader.text("ipv4"),
                     .ipv6 = reader.text("ipv6")});
    }
    return all;
  }

 private:
  const json& object_;
  std::string dir_, at_;
};

std::string words(const base::FileIdentity& identity) {
  return std::to_string(identity.size) + " bytes, " + identity.checksum;
}

void compare(std::vector<std::string>& found, const std::string& what, const std::string& saved,
             const std::string& now) {
  if (saved != now) found.push_back(what + ": saved with '" + saved + "', here is '" + now + "'");
}

void compare(std::vector<std::string>& found, const std::string& what, const Identities& saved,
             const Identities& now) {
  for (auto& [name, identity] : saved) {
    auto here = now.find(name);
    if (here == now.end())
      found.push_back(what + " '" + name + "': saved with one, here is none");
    else if (here->second != identity)
      found.push_back(what + " '" + name + "': saved with " + words(identity) + ", here is " +
                      words(here->second));
  }
  for (auto& [name, identity] : now)
    if (!saved.contains(name))
      found.push_back(what + " '" + name + "': saved without, here is one");
}

}  // namespace

std::string to_json(const Manifest& manifest) {
  json nics = json::array();
  for (auto& nic : manifest.nics)
    nics.push_back({{"vlan", nic.vlan}, {"mac", nic.mac}, {"ipv4", nic.ipv4}, {"ipv6", nic.ipv6}});
  json object{{"format", format_version},
              {"machine", manifest.machine},
              {"backend", manifest.backend},
              {"monitor", manifest.monitor},
              {"snapshot_format", manifest.format},
              {"cpu", manifest.cpu},
              {"memory_mb", manifest.memory_mb},
              {"vcpus", manifest.vcpus},
              {"saved_at", manifest.saved_at},
              {"ready", ready_names[static_cast<std::size_t>(manifest.ready)]},
              {"network", nics},
              {"seed", manifest.seed},
              {"programs", write(manifest.programs)},
              {"disks", write(manifest.disks)},
              {"files", write(manifest.files)}};
  // A path may hold any bytes.
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Manifest parse_manifest(std::string_view text, const std::string& dir) {
  auto object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded())
    throw Error(Error::Kind::usage, "the manifest of the snapshot '" + dir + "' is not JSON (" +
                                        std::to_string(text.size()) + " bytes)")
        .hint("make the snapshot again");
  Reader reader(object, dir);
  if (auto version = reader.number("format"); version != format_version)
    throw reader.wrong("expected 1, got " + std::to_string(version), "format")
        .hint("this attest reads format 1: make the snapshot with the attest that restores it");
  Manifest manifest;
  manifest.machine = reader.text("machine");
  manifest.backend = reader.text("backend");
  manifest.monitor = reader.text("monitor");
  manifest.format = reader.text("snapshot_format");
  manifest.cpu = reader.text("cpu");
  manifest.memory_mb = reader.small_number("memory_mb");
  manifest.vcpus = reader.small_number("vcpus");
  manifest.saved_at = reader.text("saved_at");
  manifest.ready = reader.ready("ready");
  manifest.nics = reader.nics("network");
  manifest.seed = reader.text("seed");
  manifest.programs = reader.identities("programs");
  manifest.disks = reader.identities("disks");
  manifest.files = reader.identities("files");
  return manifest;
}

std::vector<std::string> differences(const Manifest& saved, const Manifest& now) {
  std::vector<std::string> found;
  compare(found, "backend", saved.backend, now.backend);
  compare(found, "monitor", saved.monitor, now.monitor);
  compare(found, "snapshot format", saved.format, now.format);
  compare(found, "CPU", saved.cpu, now.cpu);
  compare(found, "memory_mb", std::to_string(saved.memory_mb), std::to_string(now.memory_mb));
  compare(found, "vcpus", std::to_string(saved.vcpus), std::to_string(now.vcpus));
  if (saved.nics.size() != now.nics.size())
    compare(found, "number of network cards", std::to_string(saved.nics.size()),
            std::to_string(now.nics.size()));
  compare(found, "program", saved.programs, now.programs);
  compare(found, "disk", saved.disks, now.disks);
  return found;
}

}  // namespace attest::core
