#include "backends/cloud_hypervisor/parts_json.h"
#include "backends/cloud_hypervisor/requests.h"

namespace attest::cloud_hypervisor {
namespace {

namespace fs = std::filesystem;

constexpr int guest_cid = 3;  // each machine has a monitor, and so a vsock, of its own
constexpr int second = 1000;  // a token bucket's time of refilling, ms
constexpr std::int64_t mib = 1 << 20;

Request put(const std::string& name, const json& body) {
  return {"PUT", "/api/v1/" + name, body.dump()};
}

// A bucket as large as what flows in a second: bursts are no longer than that.
json limiter(const RateLimit& rate) {
  json limits = json::object();
  if (rate.bandwidth_kb_s)
    limits["bandwidth"] = {{"size", std::int64_t(rate.bandwidth_kb_s) * 1024},
                           {"refill_time", second}};
  if (rate.ops_s) limits["ops"] = {{"size", rate.ops_s}, {"refill_time", second}};
  return limits;
}

json memory_part(const MachineConfig& config, const Launch& launch) {
  auto& own = config.cloud_hypervisor;
  std::int64_t size = config.memory_mb * mib;
  if (memory_is_file(config)) {
    // Shared: what the guest writes is in the file, which a snapshot copies.
    json zone = {{"id", "memory"},
                 {"size", size},
                 {"file", (launch.work_dir / memory_file).string()},
                 {"shared", true}};
    return {{"size", 0}, {"thp", own.thp}, {"zones", json::array({zone})}};
  }
  json memory = {{"size", size}, {"thp", own.thp}};
  if (own.max_memory_mb > config.memory_mb) {
    memory["hotplug_method"] = "Acpi";
    memory["hotplug_size"] = (own.max_memory_mb - config.memory_mb) * mib;
  }
  if (own.huge_pages) memory["hugepages"] = true;
  if (own.huge_page_size_kb) memory["hugepage_size"] = std::int64_t(own.huge_page_size_kb) * 1024;
  return memory;
}

json disk_part(const microvm::Drive& drive, const CloudHypervisorConfig& own) {
  // Always with its type: where the monitor has to guess "Raw", from 52 on it lets nobody write to
  // the first sector. Before that it does not know the member and passes over it.
  json disk = {{"id", drive.id},
               {"path", drive.file.string()},
               {"readonly", drive.read_only},
               {"image_type", "Raw"}};
  if (auto limits = limiter(own.drive_rate); !limits.empty()) disk["rate_limiter_config"] = limits;
  return disk;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      text += i + k <= bytes.size() ? letters[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

json platform_part(const MachineConfig& config) {
  json strings = json::array();
  for (auto& [name, value] : config.credentials)
    strings.push_back("io.systemd.credential.binary:" + name + "=" + base64(value));
  return {{"oem_strings", strings}};
}

}  // namespace

json serial_part(const MachineConfig& config, const Launch& launch) {
  if (config.cloud_hypervisor.serial == "file")
    return {{"mode", "File"}, {"file", (launch.work_dir / serial_fifo).string()}};
  return {{"mode", "Socket"}, {"socket", (launch.work_dir / serial_socket).string()}};
}

json landlock_part(const MachineConfig& config, const Launch& launch, const fs::path& restored) {
  json rules = json::array();
  auto allow = [&](const fs::path& path, const char* access) {
    rules.push_back({{"path", path.string()}, {"access", access}});
  };
  allow(launch.work_dir, "rw");
  allow(launch.kernel, "r");
  if (!launch.initrd.empty()) allow(launch.initrd, "r");
  for (auto& drive : launch.drives) allow(drive.file, drive.read_only ? "r" : "rw");
  for (auto& pmem : config.cloud_hypervisor.pmem_devices)
    allow(fs::absolute(pmem.path), pmem.read_only ? "r" : "rw");
  if (!restored.empty()) allow(restored, "r");
  return rules;
}

Request create_request(const MachineConfig& config, const Launch& launch) {
  auto& own = config.cloud_hypervisor;
  json payload = {{"kernel", launch.kernel.string()}, {"cmdline", launch.cmdline}};
  if (!launch.initrd.empty()) payload["initramfs"] = launch.initrd.string();
  json body = {
      {"cpus",
       {{"boot_vcpus", config.vcpus}, {"max_vcpus", std::max(config.vcpus, own.max_vcpus)}}},
      {"memory", memory_part(config, launch)},
      {"payload", payload}};
  json disks = json::array();
  for (auto& drive : launch.drives) disks.push_back(disk_part(drive, own));
  if (!disks.empty()) body["disks"] = disks;
  body["rng"] = {{"src", "/dev/urandom"}};
  if (own.balloon.enabled || own.balloon.amount_mb > 0)
    body["balloon"] = {{"size", own.balloon.amount_mb * mib},
                       {"deflate_on_oom", own.balloon.deflate_on_oom}};
  json pmems = json::array();
  for (std::size_t i = 0; i < own.pmem_devices.size(); ++i)
    pmems.push_back({{"id", "pmem" + std::to_string(i)},
                     {"file", fs::absolute(own.pmem_devices[i].path).string()},
                     {"discard_writes", own.pmem_devices[i].read_only}});
  if (!pmems.empty()) body["pmem"] = pmems;
  body["serial"] = serial_part(config, launch);
  body["console"] = {{"mode", "Off"}};
  body["vsock"] = {{"cid", guest_cid}, {"socket", (launch.work_dir / vsock_socket).string()}};
  body["pvpanic"] = true;
  if (!config.credentials.empty()) body["platform"] = platform_part(config);
  if (own.landlock) {
    body["landlock_enable"] = true;
    body["landlock_rules"] = landlock_part(config, launch, {});
  }
  return put("vm.create", body);
}

std::vector<Call> nic_calls(const MachineConfig& config,
                            const std::vector<NetworkAttachment>& network) {
  auto& own = config.cloud_hypervisor;
  std::vector<Call> calls;
  for (std::size_t i = 0; i < network.size(); ++i) {
    json body = {{"id", nic_id(i)}, {"mac", network[i].mac}, {"num_queues", 2}};
    if (own.tap == "name") body["tap"] = network[i].interface;
    if (auto limits = limiter(own.network_rate); !limits.empty())
      body["rate_limiter_config"] = limits;
    Call call{.request = put("vm.add-net", body)};
    if (own.tap == "fd") call.nics.push_back(i);
    calls.push_back(std::move(call));
  }
  return calls;
}

Request simple_request(const std::string& name) { return {"PUT", "/api/v1/" + name, ""}; }
Request ping_request() { return {"GET", "/api/v1/vmm.ping", ""}; }

Request save_request(const fs::path& dir) {
  return put("vm.snapshot", {{"destination_url", "file://" + dir.string()}});
}

Call restore_call(const MachineConfig& config, const Launch& launch, const fs::path& dir,
                  MemoryMode mode, const std::vector<NetworkAttachment>& network) {
  json body = {{"source_url", "file://" + dir.string()}, {"prefault", false}};
  // Without "resume": the console is joined before the guest says anything on it.
  if (launch.version >= with_on_demand)
    body["memory_restore_mode"] = mode == MemoryMode::on_demand ? "OnDemand" : "Copy";
  Call call;
  if (config.cloud_hypervisor.tap == "fd" && !network.empty()) {
    json cards = json::array();
    for (std::size_t i = 0; i < network.size(); ++i) {
      cards.push_back({{"id", nic_id(i)}, {"num_fds", 1}});
      call.nics.push_back(i);
    }
    body["net_fds"] = cards;
  }
  call.request = put("vm.restore", body);
  return call;
}

Request resize_request(std::optional<int> vcpus, std::optional<int> memory_mb) {
  json body = json::object();
  if (vcpus) body["desired_vcpus"] = *vcpus;
  if (memory_mb) body["desired_ram"] = *memory_mb * mib;
  return put("vm.resize", body);
}

}  // namespace attest::cloud_hypervisor
