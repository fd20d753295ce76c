#include "tests/sims/cloud_hypervisor/machine.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>

namespace attest::sims::cloud_hypervisor {
namespace {

std::uint64_t number(const json& object, const char* key, std::uint64_t otherwise = 0) {
  auto found = object.find(key);
  return found == object.end() || !found->is_number() ? otherwise : found->get<std::uint64_t>();
}
bool flag(const json& object, const char* key) {
  auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}
std::string text(const json& object, const char* key) {
  auto found = object.find(key);
  return found == object.end() || !found->is_string() ? "" : found->get<std::string>();
}
const json& list(const json& config, const char* key) {
  static const json none = json::array();
  auto found = config.find(key);
  return found == config.end() || !found->is_array() ? none : *found;
}

// QEMU takes fewer letters in an id than the original.
std::string safe_id(const std::string& id) {
  std::string safe = "d";
  for (char letter : id) safe += std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
  return safe;
}

GuestRate rate_of(const json& device) {
  GuestRate rate;
  auto found = device.find("rate_limiter_config");
  if (found == device.end() || !found->is_object()) return rate;
  for (auto [key, to] : {std::pair("bandwidth", &rate.bytes_s), std::pair("ops", &rate.ops_s)})
    if (auto bucket = found->find(key); bucket != found->end() && bucket->is_object())
      if (auto refill = number(*bucket, "refill_time"))
        *to = number(*bucket, "size") * 1000 / refill;
  return rate;
}

GuestDrive drive_of(const json& disk) {
  GuestDrive drive{.id = safe_id(text(disk, "id")),
                   .path = text(disk, "path"),
                   .read_only = flag(disk, "readonly"),
                   .locked = true,
                   .rate = rate_of(disk)};
  base::Fd file(::open(drive.path.c_str(), (drive.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!file)
    throw failed(
        {"The VM could not boot", "Error manipulating disk file: " + drive.path, os_error(errno)});
  std::array<char, 4> head{};
  [[maybe_unused]] auto read = ::pread(file.get(), head.data(), head.size(), 0);
  auto type = text(disk, "image_type");
  bool qcow2 = std::memcmp(head.data(), "QFI\xfb", 4) == 0;
  drive.format = type == "Qcow2" || (type.empty() && qcow2) ? "qcow2" : "raw";
  return drive;
}

}  // namespace

std::string os_error(int code) {
  return std::string(std::strerror(code)) + " (os error " + std::to_string(code) + ")";
}

void complete(json& config) {
  auto refuse = [](const std::string& what) {
    return Refusal(400, {"Failed to deserialize the HTTP request body", what});
  };
  if (!config.is_object()) throw refuse("expected a VmConfig");
  if (!config.contains("payload") || !config["payload"].is_object())
    throw refuse("missing field `payload`");
  auto check = [&](const char* key, bool fits) {
    if (!fits) throw refuse(std::string("invalid type for `") + key + "`");
  };
  for (auto* key : {"disks", "net", "pmem"})
    check(key, !config.contains(key) || config[key].is_null() || config[key].is_array());
  if (!config.contains("cpus") || config["cpus"].is_null())
    config["cpus"] = {{"boot_vcpus", 1}, {"max_vcpus", 1}};
  check("cpus", config["cpus"].is_object() && config["cpus"].contains("boot_vcpus") &&
                    config["cpus"]["boot_vcpus"].is_number_integer());
  if (!config.contains("memory") || config["memory"].is_null())
    config["memory"] = {{"size", 512ull << 20}};
  check("memory", config["memory"].is_object() && config["memory"].contains("size") &&
                      config["memory"]["size"].is_number_integer());
  for (auto [key, prefix] :
       {std::pair("disks", "_disk"), std::pair("net", "_net"), std::pair("pmem", "_pmem")})
    if (config.contains(key) && config[key].is_array())
      for (std::size_t i = 0; i < config[key].size(); ++i)
        if (auto& device = config[key][i]; text(device, "id").empty())
          device["id"] = prefix + std::to_string(i);
}

std::shared_ptr<base::Fd> open_tap(const std::string& name) {
  std::vector<std::string> step = {"Error from device manager", "Failed to open taps", name};
  base::Fd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq request{};
  if (!fd || name.size() >= sizeof request.ifr_name) {
    step.push_back(fd ? "Invalid interface name" : os_error(errno));
    throw failed(step);
  }
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0) {
    step.push_back(os_error(errno));
    throw failed(step);
  }
  return std::make_shared<base::Fd>(std::move(fd));
}

int memory_mb(const json& config) {
  auto& memory = config["memory"];
  auto bytes = number(memory, "size");
  for (auto& zone : list(memory, "zones")) bytes += number(zone, "size");
  return static_cast<int>(bytes >> 20);
}

std::string memory_zone_file(const json& config, bool& shared) {
  auto& zones = list(config["memory"], "zones");
  if (zones.size() != 1 || number(config["memory"], "size") != 0) return {};
  shared = flag(zones[0], "shared");
  return text(zones[0], "file");
}

GuestDescription describe(const json& config, const Taps& taps) {
  GuestDescription guest;
  auto& memory = config["memory"];
  auto& cpus = config["cpus"];
  guest.name = "sim-cloud-hypervisor";
  guest.memory_mb = memory_mb(config);
  guest.vcpus = static_cast<int>(number(cpus, "boot_vcpus", 1));
  guest.max_vcpus = static_cast<int>(number(cpus, "max_vcpus", guest.vcpus));
  guest.hotplug_memory_mb = static_cast<int>(number(memory, "hotplug_size") >> 20);
  if (auto plugged = number(memory, "hotplugged_size"))
    guest.dimms_mb.push_back(static_cast<int>(plugged >> 20));
  guest.kernel = text(config["payload"], "kernel");
  guest.initrd = text(config["payload"], "initramfs");
  guest.cmdline = text(config["payload"], "cmdline");
  if (guest.kernel.empty()) throw failed({"The VM could not boot", "The kernel is missing"});
  for (auto& file : {guest.kernel, guest.initrd})
    if (!file.empty() && ::access(file.c_str(), R_OK) != 0)
      throw failed({"The VM could not boot", "Cannot open the kernel or initramfs file " + file,
                    os_error(errno)});
  for (auto& disk : list(config, "disks")) guest.drives.push_back(drive_of(disk));
  for (auto& net : list(config, "net")) {
    auto id = text(net, "id");
    auto came = taps.find(id);
    guest.nics.push_back({.id = safe_id(id),
                          .mac = text(net, "mac"),
                          .tap = came != taps.end() ? came->second : open_tap(text(net, "tap")),
                          .mtu = static_cast<int>(number(net, "mtu"))});
    int header = 12;
    ::ioctl(guest.nics.back().tap->get(), TUNSETVNETHDRSZ, &header);
  }
  for (auto& pmem : list(config, "pmem"))
    guest.pmem.push_back({.id = safe_id(text(pmem, "id")),
                          .path = text(pmem, "file"),
                          .read_only = flag(pmem, "discard_writes")});
  if (auto platform = config.find("platform"); platform != config.end() && platform->is_object())
    for (auto& one : list(*platform, "oem_strings")) guest.smbios.push_back(one.get<std::string>());
  guest.entropy = true;
  guest.balloon = config.contains("balloon") && config["balloon"].is_object();
  guest.channels = vsock_channels();
  // What microvm has not; it boots faster otherwise.
  guest.q35 = !guest.pmem.empty() || !guest.smbios.empty() || guest.max_vcpus > guest.vcpus ||
              guest.hotplug_memory_mb > 0 || !guest.dimms_mb.empty();
  guest.pvpanic = guest.q35 && flag(config, "pvpanic");

  return guest;
}

}  // namespace attest::sims::cloud_hypervisor
