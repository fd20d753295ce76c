// What changes a guest while it is there: buttons, drives, CPUs and memory plugged in.
#include "tests/sims/common/guest_command.h"
#include "tests/sims/common/guest_vm.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <tuple>

namespace attest::sims {
namespace {

using nlohmann::json;

GuestDrive& drive_of(GuestDescription& description, const std::string& id) {
  for (auto& drive : description.drives)
    if (drive.id == id) return drive;
  throw Error(Error::Kind::usage, "there is no drive '" + id + "'");
}

}  // namespace

Task<void> GuestVm::power_button() { co_await command("system_powerdown", json()); }

Task<void> GuestVm::ctrl_alt_del() {
  if (!description().q35) {
    co_await power_button();
    co_return;
  }
  json keys = json::array();
  for (const char* key : {"ctrl", "alt", "delete"})
    keys.push_back({{"type", "qcode"}, {"data", key}});
  json arguments = {{"keys", keys}};
  co_await command("send-key", arguments);
}

Task<void> GuestVm::reset() {
  json action = {{"reboot", "reset"}};
  co_await command("set-action", action);
  co_await command("system_reset", json());
  if (description().reboots) co_return;
  action["reboot"] = "shutdown";
  co_await command("set-action", action);
}

Task<void> GuestVm::plug_vcpus(int count) {
  json slots = co_await command("query-hotpluggable-cpus", json());
  std::vector<json> free;
  for (auto& slot : slots)
    if (!slot.contains("qom-path")) free.push_back(slot);
  std::sort(free.begin(), free.end(), [](const json& one, const json& other) {
    auto place = [](const json& slot) {
      auto& props = slot.at("props");
      return std::tuple(props.value("socket-id", 0), props.value("core-id", 0),
                        props.value("thread-id", 0));
    };
    return place(one) < place(other);
  });
  int missing = count - description().vcpus;
  if (missing < 0 || missing > static_cast<int>(free.size()))
    throw Error(Error::Kind::usage, "there is no room for " + std::to_string(count) + " CPUs");
  for (int i = 0; i < missing; ++i) {
    json arguments = free[static_cast<std::size_t>(i)].at("props");
    arguments["driver"] = free[static_cast<std::size_t>(i)].at("type");
    co_await command("device_add", arguments);
    ++mutable_description().vcpus;
  }
}

Task<void> GuestVm::plug_memory(int megabytes) {
  std::string id = "dimm" + std::to_string(description().dimms_mb.size());
  json object = {{"qom-type", "memory-backend-ram"},
                 {"id", id + "-ram"},
                 {"size", static_cast<std::uint64_t>(megabytes) << 20}};
  co_await command("object-add", object);
  json device = {{"driver", "pc-dimm"}, {"id", id}, {"memdev", id + "-ram"}};
  co_await command("device_add", device);
  mutable_description().dimms_mb.push_back(megabytes);
}

Task<void> GuestVm::change_drive(std::string id, std::string path) {
  auto& drive = drive_of(mutable_description(), id);
  std::string node = id + "-file" + std::to_string(++drive_changes());
  co_await command("blockdev-add", json::parse(file_node(drive, node, path)));
  json nodes = json::array({json::parse(format_node(drive, node))});
  json arguments = {{"options", nodes}};
  co_await command("blockdev-reopen", arguments);
  drive.path = path;
  drive.fd.reset();
  struct ::stat found{};
  if (drive.read_only || drive.format != "raw" || ::stat(path.c_str(), &found) != 0) co_return;
  json size = {{"node-name", id}, {"size", found.st_size / 512 * 512}};
  co_await command("block_resize", size);  // tells the guest
}

Task<void> GuestVm::limit_drive(std::string id, GuestRate rate) {
  auto& drive = drive_of(mutable_description(), id);
  drive.rate = rate;
  json limits = throttle(description(), drive);
  co_await command("block_set_io_throttle", limits);
}

Task<void> GuestVm::set_balloon(int megabytes) {
  json arguments = {
      {"value", static_cast<std::uint64_t>(description().memory_mb - megabytes) << 20}};
  co_await command("balloon", arguments);
}

}  // namespace attest::sims
