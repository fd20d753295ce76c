#include "tests/sims/firecracker/resources.h"

#include "tests/sims/firecracker/fault.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace attest::sims::firecracker {
namespace {

constexpr std::string_view default_cmdline =
    "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd "
    "swiotlb=noforce";
constexpr std::size_t longest_cmdline = 2048;

template <class Devices>
auto find_by(Devices& devices, const char* member, const json& id) {
  return std::find_if(devices.begin(), devices.end(),
                      [&](const Device& device) { return device.config[member] == id; });
}

std::shared_ptr<base::Fd> open_read(const std::string& path) {
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return fd ? std::make_shared<base::Fd>(std::move(fd)) : nullptr;
}

// QEMU opens it again by this: the path may lead to another file by then.
std::string path_of(const base::Fd& fd) {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd.get());
}

}  // namespace

GuestRate rate_of(const json& body, const std::string& member) {
  GuestRate rate;
  if (!body.contains(member) || body[member].is_null()) return rate;
  auto per_second = [&](const char* bucket) -> std::uint64_t {
    if (!body[member].contains(bucket) || body[member][bucket].is_null()) return 0;
    std::uint64_t refill = body[member][bucket].value("refill_time", 0);
    return refill ? body[member][bucket].value("size", std::uint64_t(0)) * 1000 / refill : 0;
  };
  return {.bytes_s = per_second("bandwidth"), .ops_s = per_second("ops")};
}

void Resources::put_machine(const json& body) {
  json merged = machine;
  for (auto& [name, value] : body.items())
    if (!value.is_null()) merged[name] = value;
  if (merged.value("cpu_template", "None") == "None") merged.erase("cpu_template");
  int vcpus = merged["vcpu_count"];
  if (vcpus == 0 || vcpus > 32 || (merged["smt"] && vcpus > 1 && vcpus % 2 == 1))
    throw Fault(
        "The number of vCPUs must be greater than 0, less than 32 and must be 1 or an even number "
        "if SMT is enabled.");
  std::uint64_t memory = merged["mem_size_mib"];
  if (memory == 0 || (merged["huge_pages"] != "None" && memory % 2 == 1))
    throw Fault(
        "The memory size (MiB) is either 0, or not a multiple of the configured page size.");
  if (!balloon.is_null() && balloon["amount_mib"].get<std::uint64_t>() > memory)
    throw Fault(
        "The memory size (MiB) is smaller than the previously set balloon device target size.");
  machine = merged;
}

void Resources::put_boot_source(const json& body) {
  auto kernel_file = open_read(body["kernel_image_path"]);
  if (!kernel_file) throw Fault("The kernel file cannot be opened: " + os_error());
  std::shared_ptr<base::Fd> initrd_file;
  if (body.contains("initrd_path") && !body["initrd_path"].is_null()) {
    initrd_file = open_read(body["initrd_path"]);
    if (!initrd_file)
      throw Fault("The initrd file cannot be opened due to invalid path or invalid permissions. " +
                  os_error());
  }
  if (body.contains("boot_args") && body["boot_args"].is_string() &&
      body["boot_args"].get<std::string>().size() >= longest_cmdline)
    throw Fault("The kernel command line is invalid: string contains too many characters");
  kernel = kernel_file;
  initrd = initrd_file;
  boot_source = body;
}

void Resources::put_drive(const json& body) {
  auto same = find_by(drives, "drive_id", body["drive_id"]);
  bool root = body["is_root_device"];
  for (auto& one : pmem)
    if (root && one.value("root_device", false))
      throw Fault(
          "Attempt to add block as a root device while the root device defined as a pmem device");
  bool has_root = !drives.empty() && drives.front().config["is_root_device"];
  if (root && has_root && same != drives.begin())
    throw Fault("A root block device already exists!");
  Device device{body, std::make_shared<base::Fd>(open_drive(body))};
  if (same == drives.end()) {
    drives.insert(root ? drives.begin() : drives.end(), std::move(device));
  } else {
    *same = std::move(device);
    if (root) std::iter_swap(drives.begin(), same);
  }
}

void Resources::put_nic(const json& body) {
  const std::string step = "Could not create the network device: ";
  for (auto& nic : nics)
    if (body.contains("guest_mac") && nic.config["iface_id"] != body["iface_id"] &&
        json(nic.config.value("guest_mac", "")) == body["guest_mac"])
      throw Fault("The MAC address is already in use: " + body["guest_mac"].get<std::string>());
  if (body.contains("mtu") && !body["mtu"].is_null() && body["mtu"].get<int>() < 68)
    throw Fault(step + "MTU " + body["mtu"].dump() + " is out of range [68, 65535]");
  // The interface of the same name is let go first.
  if (auto same = find_by(nics, "iface_id", body["iface_id"]); same != nics.end()) {
    std::iter_swap(same, nics.end() - 1);
    nics.pop_back();
  }
  try {
    nics.push_back({body, std::make_shared<base::Fd>(open_tap(body["host_dev_name"]))});
  } catch (const Fault& refused) {
    throw Fault(step + refused.what());
  }
}

void Resources::put_pmem(const json& body) {
  bool root = body.value("root_device", false);
  if (root && !drives.empty() && drives.front().config["is_root_device"])
    throw Fault(
        "Attempt to add pmem as a root device while the root device defined as a block device");
  auto same = std::find_if(pmem.begin(), pmem.end(),
                           [&](const json& one) { return one["id"] == body["id"]; });
  for (auto one = pmem.begin(); one != pmem.end(); ++one)
    if (root && one != same && one->value("root_device", false))
      throw Fault("A root pmem device already exist");
  struct ::stat found{};
  if (::stat(body["path_on_host"].get<std::string>().c_str(), &found) != 0)
    throw Fault("Error accessing underlying file: " + os_error());
  if (found.st_size == 0)
    throw Fault("Unable to create the virtio-pmem device: Error backing file size is 0");
  if (same == pmem.end())
    pmem.push_back(body);
  else
    *same = body;
}

void Resources::put_vsock(const json& body) {
  if (!vsock.is_null()) ::unlink(vsock["uds_path"].get<std::string>().c_str());
  vsock_listener = bind_vsock(body["uds_path"]);
  vsock = body;
}

void Resources::put_balloon(const json& body) {
  if (body["amount_mib"].get<std::uint64_t>() > machine["mem_size_mib"].get<std::uint64_t>())
    throw Fault("Amount of pages requested is too large.");
  balloon = body;
}

json Resources::full_config() const {
  json all = {{"machine-config", machine},  {"boot-source", boot_source},
              {"balloon", balloon},         {"vsock", vsock},
              {"entropy", entropy},         {"cpu-config", cpu_config},
              {"mmds-config", mmds_config}, {"pmem", pmem},
              {"drives", json::array()},    {"network-interfaces", json::array()}};
  for (auto& drive : drives) all["drives"].push_back(drive.config);
  for (auto& nic : nics) all["network-interfaces"].push_back(nic.config);
  return all;
}

json Resources::saved() const {
  json all = full_config();
  all["pci"] = pci;
  return all;
}

void Resources::restore(const json& saved) {
  machine = saved["machine-config"];
  balloon = saved["balloon"];
  entropy = saved["entropy"];
  pci = saved["pci"];
  pmem = saved["pmem"].get<std::vector<json>>();
  vsock = saved["vsock"];
  for (auto& drive : saved["drives"])
    drives.push_back({drive, std::make_shared<base::Fd>(open_drive(drive))});
  for (auto& nic : saved["network-interfaces"])
    nics.push_back({nic, std::make_shared<base::Fd>(open_tap(nic["host_dev_name"]))});
  if (!vsock.is_null()) vsock_listener = bind_vsock(vsock["uds_path"]);
}

void Resources::check_kernel(const Version& version) const {
  if (!kernel) throw Fault("Cannot start microvm without kernel configuration.");
  std::string head(0x206, '\0');
  [[maybe_unused]] auto count = ::pread(kernel->get(), head.data(), head.size(), 0);
  bool elf = head.starts_with(
      "\x7f"
      "ELF");
  bool bzimage = head.compare(0x202, 4, "HdrS") == 0;
  if (elf || (bzimage && version >= Version{1, 17, 0})) return;
  throw Fault(
      "System configuration error: Cannot load kernel due to invalid memory configuration or "
      "invalid kernel image: Kernel Loader: failed to load ELF kernel image: Invalid Elf magic "
      "number");
}

GuestDescription Resources::describe(bool boot) const {
  GuestDescription guest;
  guest.name = "sim-firecracker";
  guest.q35 = pci || !pmem.empty();
  guest.memory_mb = machine["mem_size_mib"];
  guest.vcpus = machine["vcpu_count"];
  guest.balloon = !balloon.is_null();
  guest.balloon_deflates = guest.balloon && balloon["deflate_on_oom"].get<bool>();
  guest.entropy = !entropy.is_null();
  if (!vsock.is_null()) guest.channels = vsock_channels();
  for (auto& drive : drives)
    guest.drives.push_back({.id = drive.config["drive_id"],
                            .fd = drive.file,
                            .read_only = drive.config.value("is_read_only", false),
                            .rate = rate_of(drive.config)});
  for (auto& nic : nics)
    guest.nics.push_back({.id = nic.config["iface_id"],
                          .mac = nic.config.value("guest_mac", ""),
                          .tap = nic.file,
                          .mtu = nic.config.value("mtu", 0)});
  std::string pmem_root;
  for (auto& one : pmem) {
    bool read_only = one.value("read_only", false);
    if (one.value("root_device", false))
      pmem_root =
          " root=/dev/pmem" + std::to_string(guest.pmem.size()) + (read_only ? " ro" : " rw");
    guest.pmem.push_back({.id = one["id"], .path = one["path_on_host"], .read_only = read_only});
  }
  if (!boot) return guest;
  guest.kernel = path_of(*kernel);
  if (initrd) guest.initrd = path_of(*initrd);
  bool own = boot_source.contains("boot_args") && boot_source["boot_args"].is_string();
  guest.cmdline = own ? boot_source["boot_args"].get<std::string>() : std::string(default_cmdline);
  if (!guest.q35) guest.cmdline += " pci=off";
  if (!drives.empty() && drives.front().config["is_root_device"]) {
    auto& root = drives.front().config;
    std::string uuid = root.value("partuuid", "");
    guest.cmdline += uuid.empty() ? " root=/dev/vda" : " root=PARTUUID=" + uuid;
    guest.cmdline += root.value("is_read_only", false) ? " ro" : " rw";
  }
  guest.cmdline += pmem_root;
  return guest;
}

}  // namespace attest::sims::firecracker
