#include "tests/sims/common/guest_command.h"

#include "backends/qemu/host_tsc.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"
#include "tests/sims/common/socket.h"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace attest::sims {
namespace {

using nlohmann::json;

constexpr std::uint64_t mib = 1 << 20;

std::string escaped(const std::string& value) {
  std::string result;
  for (char byte : value) result += byte == ',' ? ",," : std::string(1, byte);
  return result;
}

// Collects arguments, and descriptors with the numbers that QEMU sees.
class Command {
 public:
  explicit Command(bool mmio) : mmio_(mmio) {}
  void add(std::initializer_list<std::string> words) {
    spec.argv.insert(spec.argv.end(), words.begin(), words.end());
  }
  // No bus is named, as in backends/qemu: so the guest sees devices in our order.
  void virtio(const std::string& kind, const std::string& options) {
    add({"-device", kind + (mmio_ ? "-device" : "-pci") + (options.empty() ? "" : "," + options)});
  }
  std::string give(base::Fd fd) {
    spec.fds.emplace(next_, std::move(fd));
    return std::to_string(next_++);
  }
  std::string lend(int fd) {
    return give(base::Fd(
        base::check(::fcntl(fd, F_DUPFD_CLOEXEC, 0), "duplicating a descriptor for QEMU")));
  }
  base::Fd pair(std::string& number) {
    auto [ours, theirs] = base::stream_pair();
    number = give(std::move(theirs));
    return std::move(ours);
  }

  async::ChildSpec spec;

 private:
  bool mmio_;
  int next_ = 10;
};

// A number of its own for each device, so that order in the guest does not depend on options.
std::string kernel_arguments(const GuestDescription& description) {
  auto words = base::split(description.cmdline, ' ');
  if (!description.q35) {
    // There is no keyboard controller to reset it: the kernel would try for more than a second.
    std::replace(words.begin(), words.end(), std::string("reboot=k"), std::string("reboot=t"));
    // Under TCG the kernel's own calibration of the TSC hangs in a third of microvm's boots.
    if (unsigned khz = qemu::host_tsc_khz())
      words.insert(words.begin(), "tsc_early_khz=" + std::to_string(khz));
  }
  return base::join(words, " ");
}

void add_memory(Command& command, const GuestDescription& description, const GuestMemory& memory) {
  std::string size = std::to_string(description.memory_mb) + "M";
  std::string where = memory.shared ? "mem-path=/proc/self/fd/" + command.lend(memory.shared->get())
                                    : "mem-path=" + escaped(memory.private_file);
  command.add({"-object", "memory-backend-file,id=ram,size=" + size + "," + where +
                              ",share=" + (memory.shared ? "on" : "off")});
  std::size_t slots = description.pmem.size() + description.dimms_mb.size();
  if (description.hotplug_memory_mb > 0) slots += 8;
  std::string room;
  if (slots > 0) {
    std::uint64_t most = description.memory_mb + description.hotplug_memory_mb;
    for (auto& pmem : description.pmem) {
      struct ::stat found{};
      base::check(::stat(pmem.path.c_str(), &found), "looking at '" + pmem.path + "'");
      most += static_cast<std::uint64_t>(found.st_size) / mib + 1024;  // with its alignment
    }
    room = ",slots=" + std::to_string(slots) + ",maxmem=" + std::to_string(most) + "M";
  }
  command.add({"-m", "size=" + size + room});
  for (std::size_t i = 0; i < description.dimms_mb.size(); ++i) {
    std::string id = "dimm" + std::to_string(i);
    command.add({"-object", "memory-backend-ram,id=" + id +
                                "-ram,size=" + std::to_string(description.dimms_mb[i]) + "M"});
    command.add({"-device", "pc-dimm,id=" + id + ",memdev=" + id + "-ram"});
  }
}

void add_pmem(Command& command, const GuestPmem& pmem) {
  struct ::stat found{};
  base::check(::stat(pmem.path.c_str(), &found), "looking at '" + pmem.path + "'");
  auto size = static_cast<std::uint64_t>(found.st_size) / (2 * mib) * (2 * mib);
  // Shared, so that a saved state does not carry it.
  command.add({"-object", "memory-backend-file,id=" + pmem.id + "-file,share=on,mem-path=" +
                              escaped(pmem.path) + ",size=" + std::to_string(size) +
                              (pmem.read_only ? ",readonly=on" : "")});
  command.add({"-device", "nvdimm,id=" + pmem.id + ",memdev=" + pmem.id + "-file" +
                              (pmem.read_only ? ",unarmed=on" : "")});
}

void add_drive(Command& command, const GuestDrive& drive) {
  std::string path = drive.path;
  if (drive.fd) {
    std::string number = command.lend(drive.fd->get());
    command.add({"-add-fd", "fd=" + number + ",set=" + number});
    path = "/dev/fdset/" + number;
  }
  command.add({"-blockdev", file_node(drive, drive.id + "-file", path)});
  command.add({"-blockdev", format_node(drive, drive.id + "-file")});
  command.virtio("virtio-blk", "id=" + drive.id + "-device,drive=" + drive.id + ",share-rw=on" +
                                   (drive.serial.empty() ? "" : ",serial=" + drive.serial));
}

void add_nic(Command& command, const GuestNic& nic) {
  command.add({"-netdev", "tap,vhost=off,id=" + nic.id + ",fd=" + command.lend(nic.tap->get())});
  std::string options = "netdev=" + nic.id + ",id=" + nic.id + "-device";
  if (!nic.mac.empty()) options += ",mac=" + nic.mac;
  if (nic.mtu > 0) options += ",host_mtu=" + std::to_string(nic.mtu);
  command.virtio("virtio-net", options);
}

void add_channels(Command& command, const GuestDescription& description, GuestWiring& wiring) {
  if (description.channels.empty()) return;
  command.virtio("virtio-serial", "");
  for (auto& channel : description.channels) {
    auto listener = listen_nameless();
    std::string number = command.give(std::move(listener.fd));
    wiring.channels[channel.chardev] = listener.address;
    command.add({"-chardev", "socket,server=on,wait=off,id=" + channel.chardev + ",fd=" + number});
    command.add({"-device", channel.name.empty() ? "virtconsole,chardev=" + channel.chardev
                                                 : "virtserialport,chardev=" + channel.chardev +
                                                       ",name=" + channel.name});
  }
}

void add_smbios(Command& command, const std::string& text) {
  // By file: no escaping, and no secrets in the process list.
  base::Fd file(base::check(::memfd_create("smbios", MFD_CLOEXEC), "making a file in memory"));
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw base::sys_error("writing a file in memory");
  command.add({"-smbios", "type=11,path=/proc/self/fd/" + command.give(std::move(file))});
}

}  // namespace

std::vector<GuestChannel> vsock_channels() {
  return {{.name = "", .chardev = "shell"}, {.name = "org.attest.agent.0", .chardev = "agent"}};
}

std::string file_node(const GuestDrive& drive, const std::string& node, const std::string& path) {
  json made = {{"driver", "file"},
               {"node-name", node},
               {"filename", path},
               {"read-only", drive.read_only},
               {"locking", drive.locked ? "on" : "off"}};
  return made.dump();
}

std::string format_node(const GuestDrive& drive, const std::string& file) {
  json made = {{"driver", drive.format},
               {"node-name", drive.id},
               {"file", file},
               {"read-only", drive.read_only}};
  return made.dump();
}

async::ChildSpec guest_command(const GuestDescription& description, const GuestMemory& memory,
                               bool incoming, GuestWiring& wiring) {
  Command command(!description.q35);
  command.add({description.qemu, "-name", escaped(description.name)});
  command.add({"-nodefaults", "-no-user-config", "-display", "none", "-S"});
  std::string machine =
      description.q35 ? "q35,memory-backend=ram" : "microvm,acpi=on,memory-backend=ram";
  if (!description.pmem.empty()) machine += ",nvdimm=on";
  command.add({"-machine", machine, "-accel", "tcg", "-cpu", "qemu64"});
  std::string cpus = std::to_string(description.vcpus);
  if (description.max_vcpus > description.vcpus)
    cpus += ",maxcpus=" + std::to_string(description.max_vcpus);
  command.add({"-smp", cpus});
  add_memory(command, description, memory);
  command.add({"-action", std::string("shutdown=pause,panic=pause,reboot=") +
                              (description.reboots ? "reset" : "shutdown")});
  if (!description.kernel.empty()) command.add({"-kernel", description.kernel});
  if (!description.initrd.empty()) command.add({"-initrd", description.initrd});
  if (!description.kernel.empty()) command.add({"-append", kernel_arguments(description)});

  std::string number;
  wiring.qmp = command.pair(number);
  command.add({"-chardev", "socket,id=qmp,fd=" + number, "-mon", "chardev=qmp,mode=control"});
  wiring.serial = command.pair(number);
  command.add({"-chardev", "socket,id=serial,fd=" + number, "-serial", "chardev:serial"});
  add_channels(command, description, wiring);
  if (description.entropy) command.virtio("virtio-rng", "");
  if (description.balloon)
    command.virtio("virtio-balloon",
                   std::string("deflate-on-oom=") + (description.balloon_deflates ? "on" : "off"));
  for (auto& drive : description.drives) add_drive(command, drive);
  for (auto& nic : description.nics) add_nic(command, nic);
  for (auto& pmem : description.pmem) add_pmem(command, pmem);
  for (auto& text : description.smbios) add_smbios(command, text);
  if (description.pvpanic) command.add({"-device", "pvpanic"});
  if (incoming) command.add({"-incoming", "defer"});

  auto [ours, theirs] = base::make_pipe();
  wiring.output = std::move(ours);
  for (int standard : {1, 2})
    command.spec.fds.emplace(
        standard, base::check(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 0), "duplicating a pipe"));
  return std::move(command.spec);
}

nlohmann::json throttle(const GuestDescription& description, const GuestDrive& drive) {
  // A device on PCI is a proxy of the one that has the drive.
  std::string device = drive.id + "-device";
  if (description.q35) device = "/machine/peripheral/" + device + "/virtio-backend";
  return {{"id", device}, {"bps", drive.rate.bytes_s}, {"bps_rd", 0},
          {"bps_wr", 0},  {"iops", drive.rate.ops_s},  {"iops_rd", 0},
          {"iops_wr", 0}};
}

}  // namespace attest::sims
