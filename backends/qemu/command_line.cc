#include "backends/qemu/command_line.h"

#include "attest/error.h"
#include "lib/base/text.h"

namespace attest::qemu {
namespace {

// Collects arguments; knows which kind of bus the devices sit on.
class Arguments {
 public:
  Arguments(std::string program, bool mmio) : mmio_(mmio) { words_.push_back(std::move(program)); }

  void add(std::initializer_list<std::string> words) { words_.insert(words_.end(), words); }
  /// A virtio device: "virtio-blk" becomes virtio-blk-pci or virtio-blk-device.
  void virtio(const std::string& kind, const std::string& options = "") {
    std::string device = kind + (mmio_ ? "-device" : "-pci");
    if (!options.empty()) device += "," + options;
    // No bus is named: QEMU fills microvm's slots from the last, which is also how its ACPI tables
    // list them, so the guest sees disks and network cards in our order. Slot 0 must stay free:
    // the interrupt of its device never arrives (QEMU 7.2, TCG).
    add({"-device", device});
  }
  std::vector<std::string> take() { return std::move(words_); }

 private:
  bool mmio_;
  std::vector<std::string> words_;
};

std::string machine_type(const MachineConfig& config, const Launch& launch) {
  // Without ACPI Debian's kernel finds no virtio-mmio device (it has no MP tables, and takes none
  // from the command line), and cannot be asked to power off.
  if (config.qemu.machine == "microvm") return "microvm,acpi=on";
  return config.qemu.machine + (launch.share_slots ? ",memory-backend=memory" : "");
}

// virtiofsd reads and writes the guest's memory, so both must map it. An empty port costs the guest
// some milliseconds of its boot; q35's root bus itself takes no device while it runs.
void add_share_slots(Arguments& arguments, const MachineConfig& config, const Launch& launch) {
  if (!launch.share_slots) return;
  arguments.add({"-object", "memory-backend-memfd,id=memory,share=on,size=" +
                                std::to_string(config.memory_mb) + "M"});
  for (int i = 0; i < launch.share_slots; ++i) {
    std::string number = std::to_string(i + 1);
    arguments.add({"-device", "pcie-root-port,id=" + share_slot(i) + ",chassis=" + number +
                                  ",slot=" + number});
  }
}

std::string kernel_arguments(const MachineConfig& config, const Launch& launch) {
  std::vector<std::string> words;
  if (config.graphics) words.push_back("console=tty0");  // the last console is /dev/console
  words.insert(words.end(), {"console=ttyS0", "net.ifnames=0", "panic=-1"});
  if (is_microvm(config)) {
    words.push_back("reboot=t");
    // Under TCG the kernel's own calibration of the TSC hung in a third of the boots.
    if (!launch.kvm && launch.tsc_khz)
      words.push_back("tsc_early_khz=" + std::to_string(launch.tsc_khz));
  }
  if (!launch.cmdline.empty()) words.push_back(launch.cmdline);
  if (config.debug_boot)
    words.insert(words.end(), {"ignore_loglevel", "systemd.log_level=debug",
                               "systemd.log_target=console", "systemd.show_status=1"});
  if (!config.cmdline.empty()) words.push_back(config.cmdline);
  return base::join(words, " ");
}

void add_boot(Arguments& arguments, const MachineConfig& config, const Launch& launch) {
  if (!config.firmware.empty()) arguments.add({"-bios", config.firmware});
  if (launch.kernel.empty()) return;
  arguments.add({"-kernel", launch.kernel.string()});
  if (!launch.initrd.empty()) arguments.add({"-initrd", launch.initrd.string()});
  arguments.add({"-append", kernel_arguments(config, launch)});
}

void add_disks(Arguments& arguments, const Launch& launch) {
  for (int fd : launch.fd_sets) {
    std::string number = std::to_string(fd);
    arguments.add({"-add-fd", "fd=" + number + ",set=" + number});
  }
  for (std::size_t i = 0; i < launch.disks.size(); ++i) {
    auto& disk = launch.disks[i];
    std::string id = "disk" + std::to_string(i);
    // Else QEMU would open it for reading first, for which our descriptor is none.
    std::string access = disk.read_only ? "readonly=on" : "auto-read-only=off";
    arguments.add({"-drive", "id=" + id + ",if=none,file=" + escaped(disk.file) +
                                 ",format=" + disk.format + "," + access});
    arguments.virtio("virtio-blk", "drive=" + id);
  }
}

std::string netdev(const NetworkAttachment& nic, const std::string& id, int tap_fd) {
  if (!nic.vde.empty()) return "vde,id=" + id + ",sock=" + escaped(nic.vde);
  if (!nic.interface.empty())
    return "tap,id=" + id + ",fd=" + std::to_string(tap_fd) + ",vhost=off";
  return "stream,id=" + id + ",server=off,addr.type=unix,addr.path=" + escaped(nic.socket);
}

void add_network(Arguments& arguments, const Launch& launch,
                 const std::vector<NetworkAttachment>& network) {
  for (std::size_t i = 0; i < network.size(); ++i) {
    auto& nic = network[i];
    auto id = nic_id(i);
    arguments.add({"-netdev", netdev(nic, id, launch.first_tap_fd + static_cast<int>(i))});
    arguments.virtio("virtio-net", "netdev=" + id + ",mac=" + nic.mac);
  }
}

void add_credentials(Arguments& arguments, const MachineConfig& config, const Launch& launch) {
  for (auto& [name, file] : launch.credentials) {
    // By file: no escaping, and no secrets in the process list.
    if (is_microvm(config))
      arguments.add({"-fw_cfg", "name=opt/io.systemd.credentials/" + escaped(name) +
                                    ",file=" + escaped(file.string())});
    else
      arguments.add({"-smbios", "type=11,path=" + escaped(file.string())});
  }
}

}  // namespace

std::string nic_id(std::size_t index) { return "vlan" + std::to_string(index + 1); }

bool is_microvm(const MachineConfig& config) {
  return base::split(config.qemu.machine, ',').front() == "microvm" &&
         config.qemu.machine.find("pcie=on") == std::string::npos;
}

bool can_share(const MachineConfig& config) {
  if (!config.qemu.machine.starts_with("q35") && !config.qemu.machine.starts_with("pc-q35"))
    return false;
  if (config.qemu.machine.find("memory-backend") != std::string::npos) return false;
  // These would define the memory a second time.
  for (auto& word : config.extra_args)
    for (const char* own : {"-m", "-M", "-machine", "-numa", "-mem-path"})
      if (word == own) return false;
  return true;
}

std::string share_slot(int index) { return "share" + std::to_string(index); }

std::string escaped(const std::string& value) {
  std::string result;
  for (char byte : value) result += byte == ',' ? ",," : std::string(1, byte);
  return result;
}

std::vector<std::string> command_line(const MachineConfig& config, const Launch& launch,
                                      const std::vector<NetworkAttachment>& network) {
  Arguments arguments(config.qemu.binary, is_microvm(config));
  arguments.add({"-name", escaped(launch.machine)});
  arguments.add({"-nodefaults", "-no-user-config", "-display", "none"});
  arguments.add({"-machine", machine_type(config, launch)});
  arguments.add({"-accel", launch.kvm ? "kvm" : "tcg"});
  // Not "max": under TCG it has hung guests without a word.
  std::string cpu = launch.kvm ? "host" : "qemu64";
  arguments.add({"-cpu", config.qemu.cpu.empty() ? cpu : config.qemu.cpu});
  arguments.add({"-m", std::to_string(config.memory_mb) + "M"});
  arguments.add({"-smp", std::to_string(config.vcpus)});
  if (!config.allow_reboot) arguments.add({"-no-reboot"});
  if (config.graphics) arguments.add({"-vga", "std"});
  add_boot(arguments, config, launch);

  auto socket = [&](const std::string& id, int fd) {
    arguments.add({"-chardev", "socket,id=" + id + ",fd=" + std::to_string(fd)});
  };
  socket("qmp", launch.qmp_fd);
  arguments.add({"-mon", "chardev=qmp,mode=control"});
  socket("serial", launch.serial_fd);
  arguments.add({"-serial", "chardev:serial"});
  arguments.virtio("virtio-serial");
  if (launch.shell) {
    socket("shell", launch.shell_fd);
    arguments.add({"-device", "virtconsole,chardev=shell"});
  }
  if (launch.agent) {
    socket("agent", launch.agent_fd);
    arguments.add({"-device", std::string("virtserialport,chardev=agent,name=") + agent_port_name});
  }
  arguments.virtio("virtio-rng");

  add_disks(arguments, launch);
  add_network(arguments, launch, network);
  add_share_slots(arguments, config, launch);  // behind the others: it moves none of their slots
  add_credentials(arguments, config, launch);
  auto words = arguments.take();
  words.insert(words.end(), config.extra_args.begin(), config.extra_args.end());
  return words;
}

}  // namespace attest::qemu
