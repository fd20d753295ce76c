#include "backends/firecracker/requests.h"

#include <nlohmann/json.hpp>

namespace attest::firecracker {
namespace {

using json = nlohmann::ordered_json;

constexpr int guest_cid = 3;  // each machine has a monitor, and so a vsock, of its own
constexpr int second = 1000;  // a token bucket's time of refilling, ms
constexpr Version overrides_network{1, 12, 0};
constexpr Version overrides_vsock{1, 16, 0};

Request put(const std::string& path, const json& body) { return {"PUT", path, body.dump()}; }

// A bucket as large as what flows in a second: bursts are no longer than that.
json limiter(const RateLimit& rate) {
  json limits = json::object();
  if (rate.bandwidth_kb_s)
    limits["bandwidth"] = {{"size", std::int64_t(rate.bandwidth_kb_s) * 1024},
                           {"refill_time", second}};
  if (rate.ops_s) limits["ops"] = {{"size", rate.ops_s}, {"refill_time", second}};
  return limits;
}

Request machine_request(const MachineConfig& config) {
  auto& own = config.firecracker;
  json body = {{"vcpu_count", config.vcpus}, {"mem_size_mib", config.memory_mb}};
  // What is as the monitor has it by itself is left out: older ones refuse members they don't know.
  if (own.smt) body["smt"] = true;
  if (own.track_dirty_pages) body["track_dirty_pages"] = true;
  if (!own.cpu_template.empty()) body["cpu_template"] = own.cpu_template;
  if (!own.huge_pages.empty() && own.huge_pages != "None") body["huge_pages"] = own.huge_pages;
  return put("/machine-config", body);
}

Request boot_source_request(const Launch& launch) {
  json body = {{"kernel_image_path", launch.kernel.string()}};
  if (!launch.initrd.empty()) body["initrd_path"] = launch.initrd.string();
  // Never the monitor's own arguments: they forbid modules.
  body["boot_args"] = launch.cmdline;
  return put("/boot-source", body);
}

Request drive_request(const microvm::Drive& drive, const FirecrackerConfig& own) {
  json body = {{"drive_id", drive.id},
               {"path_on_host", drive.file.string()},
               {"is_root_device", drive.root},
               {"is_read_only", drive.read_only}};
  if (!own.io_engine.empty()) body["io_engine"] = own.io_engine;
  if (!own.cache_type.empty()) body["cache_type"] = own.cache_type;
  if (auto limits = limiter(own.drive_rate); !limits.empty()) body["rate_limiter"] = limits;
  return put("/drives/" + drive.id, body);
}

std::string nic_id(std::size_t index) { return "vlan" + std::to_string(index + 1); }

Request nic_request(const NetworkAttachment& nic, std::size_t index, const RateLimit& rate) {
  json body = {
      {"iface_id", nic_id(index)}, {"host_dev_name", nic.interface}, {"guest_mac", nic.mac}};
  if (auto limits = limiter(rate); !limits.empty()) {
    body["rx_rate_limiter"] = limits;
    body["tx_rate_limiter"] = limits;
  }
  return put("/network-interfaces/" + nic_id(index), body);
}

Request serial_request() { return put("/serial", {{"serial_out_path", console_fifo}}); }

Request state_request(const char* state) { return {"PATCH", "/vm", json{{"state", state}}.dump()}; }

Request action(const char* type) { return put("/actions", {{"action_type", type}}); }

}  // namespace

std::vector<Request> boot_requests(const MachineConfig& config, const Launch& launch,
                                   const std::vector<NetworkAttachment>& network) {
  auto& own = config.firecracker;
  std::vector<Request> list;
  if (has_serial(launch.version)) list.push_back(serial_request());
  list.push_back(machine_request(config));
  list.push_back(boot_source_request(launch));
  for (auto& drive : launch.drives) list.push_back(drive_request(drive, own));
  for (std::size_t i = 0; i < own.pmem_devices.size(); ++i) {
    std::string id = "pmem" + std::to_string(i);
    auto path = std::filesystem::absolute(own.pmem_devices[i].path);
    list.push_back(put("/pmem/" + id, {{"id", id},
                                       {"path_on_host", path.string()},
                                       {"root_device", false},
                                       {"read_only", own.pmem_devices[i].read_only}}));
  }
  for (std::size_t i = 0; i < network.size(); ++i)
    list.push_back(nic_request(network[i], i, own.network_rate));
  list.push_back(put("/vsock", {{"guest_cid", guest_cid}, {"uds_path", vsock_socket}}));
  if (own.entropy) list.push_back(put("/entropy", json::object()));
  if (own.balloon.enabled || own.balloon.amount_mb > 0)
    list.push_back(put("/balloon", {{"amount_mib", own.balloon.amount_mb},
                                    {"deflate_on_oom", own.balloon.deflate_on_oom}}));
  list.push_back(action("InstanceStart"));
  return list;
}

std::vector<Request> load_requests(const Launch& launch, const std::filesystem::path& dir,
                                   const std::vector<NetworkAttachment>& network) {
  std::vector<Request> list;
  if (has_serial(launch.version)) list.push_back(serial_request());  // no snapshot has it
  json body = {
      {"snapshot_path", (dir / state_file).string()},
      {"mem_backend", {{"backend_type", "File"}, {"backend_path", (dir / memory_file).string()}}},
      {"resume_vm", false}};
  if (launch.version >= overrides_network && !network.empty()) {
    json cards = json::array();
    for (std::size_t i = 0; i < network.size(); ++i)
      cards.push_back({{"iface_id", nic_id(i)}, {"host_dev_name", network[i].interface}});
    body["network_overrides"] = cards;
  }
  if (launch.version >= overrides_vsock) body["vsock_override"] = {{"uds_path", vsock_socket}};
  list.push_back(put("/snapshot/load", body));
  return list;
}

Request save_request(const std::filesystem::path& dir) {
  return put("/snapshot/create", {{"snapshot_type", "Full"},
                                  {"snapshot_path", (dir / state_file).string()},
                                  {"mem_file_path", (dir / memory_file).string()}});
}

Request pause_request() { return state_request("Paused"); }
Request resume_request() { return state_request("Resumed"); }
Request ctrl_alt_del_request() { return action("SendCtrlAltDel"); }

std::string probe_config(const std::filesystem::path& kernel) {
  json config = {
      {"boot-source", {{"kernel_image_path", kernel.string()}, {"boot_args", "console=ttyS0"}}},
      {"drives", json::array()},
      {"machine-config", {{"vcpu_count", 1}, {"mem_size_mib", 128}}}};
  return config.dump();
}

}  // namespace attest::firecracker
