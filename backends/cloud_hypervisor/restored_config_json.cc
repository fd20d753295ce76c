// The config.json of a snapshot, edited for one clone: its own sockets, disks and TAPs. The devices
// stay the same, or their saved states would not fit.
#include "attest/error.h"
#include "backends/cloud_hypervisor/parts_json.h"

namespace attest::cloud_hypervisor {
namespace {

namespace fs = std::filesystem;

Error unfit(const fs::path& dir, const std::string& what) {
  return Error(Error::Kind::usage, "the snapshot '" + dir.string() + "' " + what)
      .hint("restore it with the config of the machine that was saved, or make it again");
}

json* list_of(json& config, const char* key) {
  auto found = config.find(key);
  return found != config.end() && found->is_array() ? &*found : nullptr;
}

std::string id_of(const json& device) {
  auto found = device.is_object() ? device.find("id") : device.end();
  return device.is_object() && found != device.end() && found->is_string()
             ? found->get<std::string>()
             : "";
}

void place_disks(json& config, const fs::path& dir, const Launch& launch) {
  auto* disks = list_of(config, "disks");
  std::size_t count = disks ? disks->size() : 0;
  if (count != launch.drives.size())
    throw unfit(dir, "has " + std::to_string(count) + " disks, and this machine has " +
                         std::to_string(launch.drives.size()));
  for (std::size_t i = 0; i < count; ++i) {
    auto& disk = (*disks)[i];
    if (id_of(disk) != launch.drives[i].id)
      throw unfit(dir, "has a disk '" + id_of(disk) + "' where this machine has '" +
                           launch.drives[i].id + "'");
    disk["path"] = launch.drives[i].file.string();
    disk["readonly"] = launch.drives[i].read_only;
  }
}

void place_nics(json& config, const fs::path& dir, const MachineConfig& machine,
                const std::vector<NetworkAttachment>& network) {
  auto* nics = list_of(config, "net");
  std::size_t count = nics ? nics->size() : 0;
  if (count != network.size())
    throw unfit(dir, "has " + std::to_string(count) + " network cards, and this machine has " +
                         std::to_string(network.size()));
  for (std::size_t i = 0; i < count; ++i) {
    auto& nic = (*nics)[i];
    if (id_of(nic) != nic_id(i))
      throw unfit(dir, "has a network card '" + id_of(nic) + "', which attest has not made");
    bool by_name = machine.cloud_hypervisor.tap == "name";
    nic["tap"] = by_name ? json(network[i].interface) : json(nullptr);
    // As the monitor itself writes that the descriptors come with the request.
    nic["fds"] = by_name ? json(nullptr) : json::array({-1});
  }
}

int memory_of(const json& config) {
  std::int64_t bytes = 0;
  auto add = [&bytes](const json& part) {
    for (const char* key : {"size", "hotplugged_size"})
      if (auto found = part.find(key); found != part.end() && found->is_number_integer())
        bytes += found->get<std::int64_t>();
  };
  auto memory = config.find("memory");
  if (memory == config.end() || !memory->is_object()) return 0;
  add(*memory);
  if (auto zones = memory->find("zones"); zones != memory->end() && zones->is_array())
    for (auto& zone : *zones)
      if (zone.is_object()) add(zone);
  return static_cast<int>(bytes >> 20);
}

// What a guest boots that restarts in place; others are not given an initrd, which costs time.
void place_payload(json& config, const Launch& launch) {
  config["payload"] = {
      {"kernel", launch.kernel.string()},
      {"cmdline", launch.cmdline},
      {"initramfs", launch.initrd.empty() ? json(nullptr) : json(launch.initrd.string())}};
}

MemoryMode place_memory(json& config, const fs::path& dir, MemoryMode wanted) {
  auto memory = config.find("memory");
  json* zones = memory != config.end() && memory->is_object() ? list_of(*memory, "zones") : nullptr;
  json* zone = zones && zones->size() == 1 && (*zones)[0].is_object() ? &(*zones)[0] : nullptr;
  bool is_file = zone && zone->contains("file") && (*zone)["file"].is_string();
  auto shared = is_file ? zone->find("shared") : json::iterator();
  if (is_file && shared != zone->end() && shared->is_boolean() && shared->get<bool>()) {
    // The saved file is the memory. Each clone keeps what it writes to itself.
    (*zone)["file"] = (dir / memory_file).string();
    (*zone)["shared"] = false;
    return MemoryMode::map;
  }
  if (wanted == MemoryMode::map)
    throw Error(Error::Kind::usage,
                "the snapshot '" + dir.string() +
                    "' cannot be mapped: its machine was not booted with 'restore' \"map\", or had "
                    "been restored itself")
        .hint("make it again with a machine that was booted so, or use another value of 'restore'");
  // Saved by a clone: what it had mapped and changed is all in the snapshot.
  if (is_file) (*zone)["file"] = nullptr;
  return wanted;
}

}  // namespace

RestoredConfig restored_config(const std::string& saved, const fs::path& dir,
                               const MachineConfig& config, const Launch& launch,
                               const std::vector<NetworkAttachment>& network, MemoryMode wanted) {
  json edited = json::parse(saved, nullptr, /*allow_exceptions=*/false);
  if (!edited.is_object()) throw unfit(dir, "has a config.json that is no JSON object");
  auto vsock = edited.find("vsock");
  if (vsock == edited.end() || !vsock->is_object())
    throw unfit(dir, "has no vsock, by which attest would reach the guest");
  (*vsock)["socket"] = (launch.work_dir / vsock_socket).string();
  place_payload(edited, launch);
  edited["serial"] = serial_part(config, launch);
  place_disks(edited, dir, launch);
  place_nics(edited, dir, config, network);
  RestoredConfig restored;
  restored.mode = place_memory(edited, dir, wanted);
  restored.memory_mb = memory_of(edited);
  edited["landlock_enable"] = config.cloud_hypervisor.landlock;
  edited["landlock_rules"] =
      config.cloud_hypervisor.landlock ? landlock_part(config, launch, dir) : json(nullptr);
  restored.json = edited.dump();
  return restored;
}

}  // namespace attest::cloud_hypervisor
