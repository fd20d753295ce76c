#include "tests/sims/cloud_hypervisor/options.h"

#include "lib/base/text.h"

#include <array>
#include <string_view>

namespace attest::sims::cloud_hypervisor {
namespace {

struct Flag {
  std::string_view name;
  bool takes_values = true;
  Version since = {};
};
constexpr std::array flags = {Flag{"api-socket"},
                              Flag{"event-monitor"},
                              Flag{"log-file"},
                              Flag{"seccomp"},
                              Flag{"kernel"},
                              Flag{"cmdline"},
                              Flag{"initramfs"},
                              Flag{"firmware"},
                              Flag{"cpus"},
                              Flag{"memory"},
                              Flag{"disk"},
                              Flag{"net"},
                              Flag{"vsock"},
                              Flag{"serial"},
                              Flag{"console"},
                              Flag{"platform"},
                              Flag{"pmem"},
                              Flag{"rng"},
                              Flag{"balloon"},
                              Flag{"restore"},
                              Flag{"landlock-rules"},
                              Flag{"landlock", false},
                              Flag{"pvpanic", false},
                              Flag{"watchdog", false},
                              Flag{"no-shutdown", false, {52, 0, 0}},
                              Flag{"version", false},
                              Flag{"help", false}};

// "512M" in bytes.
std::uint64_t bytes_of(const std::string& text) {
  std::size_t end = 0;
  std::uint64_t number = 0;
  try {
    number = std::stoull(text, &end);
  } catch (const std::exception&) {
    throw failed({"Error parsing --memory", "'" + text + "' is no size"});
  }
  std::string unit = text.substr(end);
  if (unit == "K") return number << 10;
  if (unit == "M") return number << 20;
  if (unit == "G") return number << 30;
  return number;
}

json serial_of(const std::string& value) {
  auto parts = parse_parts(value, "mode");
  if (parts.contains("file")) return {{"mode", "File"}, {"file", parts["file"]}};
  if (parts.contains("socket")) return {{"mode", "Socket"}, {"socket", parts["socket"]}};
  std::string mode = parts["mode"];
  if (!mode.empty()) mode[0] = static_cast<char>(std::toupper(mode[0]));
  return {{"mode", mode}};
}

}  // namespace

Options parse_options(const std::vector<std::string>& words, const Version& version) {
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].starts_with("-v")) continue;
    const Flag* found = nullptr;
    for (auto& flag : flags)
      if (words[i] == "--" + std::string(flag.name) && version >= flag.since) found = &flag;
    if (words[i] == "-V") found = &flags[flags.size() - 2];
    if (!found) throw failed({"Unrecognized argument: " + words[i]});
    auto& values = options.values[std::string(found->name)];
    if (!found->takes_values) continue;
    if (i + 1 == words.size())
      throw failed({"No value provided for option '" + std::string(found->name) + "'"});
    while (i + 1 < words.size() && !words[i + 1].starts_with("-")) values.push_back(words[++i]);
  }
  return options;
}

std::map<std::string, std::string> parse_parts(const std::string& value, const std::string& bare) {
  std::map<std::string, std::string> parts;
  for (auto& part : base::split(value, ',')) {
    auto equals = part.find('=');
    if (equals == part.npos)
      parts[bare] = part;
    else
      parts[part.substr(0, equals)] = part.substr(equals + 1);
  }
  return parts;
}

json config_of(const Options& options) {
  if (!options.has("kernel")) return nullptr;
  json config{{"payload", {{"kernel", options.value("kernel")}}},
              {"cpus", {{"boot_vcpus", 1}, {"max_vcpus", 1}}},
              {"memory", {{"size", 512ull << 20}}},
              {"serial", {{"mode", "Null"}}},
              {"console", {{"mode", "Tty"}}}};
  if (options.has("cmdline")) config["payload"]["cmdline"] = options.value("cmdline");
  if (options.has("initramfs")) config["payload"]["initramfs"] = options.value("initramfs");
  if (options.has("cpus"))
    if (auto parts = parse_parts(options.value("cpus"), "boot"); parts.contains("boot"))
      config["cpus"]["boot_vcpus"] = config["cpus"]["max_vcpus"] = std::stoi(parts["boot"]);
  if (options.has("memory"))
    config["memory"]["size"] = bytes_of(parse_parts(options.value("memory"), "size")["size"]);
  if (options.has("serial")) config["serial"] = serial_of(options.value("serial"));
  if (options.has("console")) config["console"] = serial_of(options.value("console"));
  if (options.has("disk"))
    for (auto& disk : options.values.at("disk")) {
      auto parts = parse_parts(disk);
      config["disks"].push_back({{"path", parts["path"]}, {"readonly", parts["readonly"] == "on"}});
    }
  if (options.has("vsock")) {
    auto parts = parse_parts(options.value("vsock"));
    config["vsock"] = {{"cid", std::stoi(parts["cid"])}, {"socket", parts["socket"]}};
  }
  return config;
}

}  // namespace attest::sims::cloud_hypervisor
