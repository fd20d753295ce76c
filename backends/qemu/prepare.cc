#include "backends/qemu/prepare.h"

#include "attest/error.h"
#include "backends/image/seed.h"
#include "backends/qemu/command_line.h"
#include "backends/qemu/host_tsc.h"
#include "backends/qemu/kernel_file.h"
#include "backends/qemu/start_script.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <unistd.h>

namespace attest::qemu {
namespace {

namespace fs = std::filesystem;

bool boots_image(const MachineConfig& config) {
  // Firmware and disks without a kernel or an image: the guest's own boot loader.
  bool from_disk = !config.firmware.empty() && !config.disks.empty() && config.image.empty();
  return config.start_script.empty() && config.kernel.empty() && !from_disk;
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

// One file a credential. fw_cfg takes the value as it is; an SMBIOS string carries the name too,
// and as base64 any bytes.
std::vector<std::pair<std::string, fs::path>> write_credentials(const BackendContext& context) {
  std::vector<std::pair<std::string, fs::path>> files;
  bool smbios = !context.config.start_script.empty() || !is_microvm(context.config);
  for (auto& [name, value] : context.config.credentials) {
    fs::path file = context.work_dir / ("credential-" + std::to_string(files.size()));
    base::write_file(file,
                     smbios ? "io.systemd.credential.binary:" + name + "=" + base64(value) : value);
    fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
    files.emplace_back(name, file);
  }
  return files;
}

fs::path initrd_with_seed(const BackendContext& context, const fs::path& initrd, bool with_agent) {
  auto bytes = base::try_read_file(initrd);
  if (!bytes)
    throw Error(Error::Kind::usage, "the initrd '" + initrd.string() + "' cannot be read")
        .hint("correct 'initrd' in the config, or build the image again: sh guest/debian/build.sh");
  auto seed = context.seed;
  if (with_agent) seed.push_back(image::agent_seed(context.agent));
  if (seed.empty()) return initrd;
  fs::path combined = context.work_dir / "initrd";
  base::write_file(combined, image::append_seed(std::move(*bytes), seed));
  return combined;
}

base::Fd give(Start& start, int number) {
  auto [ours, theirs] = base::stream_pair();
  start.child.fds.emplace(number, std::move(theirs));
  return std::move(ours);
}

void give_output(Start& start, std::initializer_list<int> numbers) {
  auto [ours, theirs] = base::make_pipe();
  for (int number : numbers)
    start.child.fds.emplace(
        number, base::check(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 0), "duplicating a pipe"));
  start.output = std::move(ours);
}

Start prepare_script(const BackendContext& context, bool kvm) {
  auto& config = context.config;
  ScriptLaunch launch;
  launch.socket_dir = context.work_dir;
  launch.state_dir = config.keep_machine_state ? context.state_dir : context.work_dir;
  launch.shared_dir = script_shared_dir(context);
  launch.kvm = kvm;
  launch.credentials = write_credentials(context);
  fs::create_directories(launch.shared_dir);

  Start start;
  start.listening = true;
  start.qmp = base::listen_unix(qmp_socket(launch).string());
  start.shell = base::listen_unix(shell_socket(launch).string());
  if (config.qemu.agent) start.agent = base::listen_unix(agent_socket(launch).string());
  for (auto* listener : {&start.qmp, &start.shell, &start.agent})
    if (*listener)
      base::check(::fcntl(listener->get(), F_SETFL, O_NONBLOCK), "preparing a listener");
  start.child.argv = script_command(config, launch);
  start.child.argv[0] = fs::absolute(config.start_script).string();
  start.child.env = script_environment(context.machine, launch, context.network);
  start.child.cwd = launch.state_dir;
  start.serial = give(start, 0);
  start.child.fds.emplace(1, base::check(::fcntl(start.child.fds.at(0).get(), F_DUPFD_CLOEXEC, 0),
                                         "duplicating the serial port"));
  give_output(start, {2});
  return start;
}

}  // namespace

Parts find_parts(const BackendContext& context) {
  auto& config = context.config;
  check_config(context.machine, config);
  Parts parts;
  if (!config.start_script.empty()) return parts;
  if (config.keep_machine_state) parts.disks = Disks(context.state_dir);
  if (boots_image(config)) {
    parts.image = image::find_image(config.image, "qemu");
    check_kernel(parts.image->kernel);
    if (!parts.image->root.empty())
      parts.disks.add_root(parts.image->root, parts.image->root_format);
    if (!parts.image->store.empty()) parts.disks.add_store(parts.image->store);
  } else if (!config.kernel.empty()) {
    check_kernel(config.kernel);
  }
  bool takes_seed = parts.image ? parts.image->seed == "initrd" : !config.initrd.empty();
  if (!config.files.empty() && !takes_seed)
    throw Error(Error::Kind::unsupported,
                "machine '" + context.machine +
                    "' (qemu): 'files' needs an image, or an initrd of yours that "
                    "copies /attest/seed into the root")
        .hint("use an image, or write it with a command after the boot");
  for (auto& disk : config.disks) parts.disks.add(disk);
  if (config.keep_machine_state && parts.disks.fd_sets().empty())
    throw Error(Error::Kind::unsupported,
                "machine '" + context.machine +
                    "' (qemu): 'keep_machine_state' has nothing to keep: its root is shared "
                    "read-only, with a layer in memory over it, and it has no disk to write to")
        .hint(
            "give it one in 'disks', such as {\"size_mb\": 1024}, or use an image whose root is "
            "ext4 or qcow2");
  return parts;
}

fs::path script_shared_dir(const BackendContext& context) {
  return context.work_dir.parent_path() / "shared-xchg";
}

bool agent_greets(const BackendContext& context, const Parts& parts) {
  return parts.image && parts.image->channel == "agent" && parts.image->seed == "initrd" &&
         context.config.qemu.agent && !context.agent.empty();
}

Start prepare(const BackendContext& context, const Parts& parts, bool kvm, int share_slots) {
  auto& config = context.config;
  if (!config.start_script.empty()) return prepare_script(context, kvm);
  Launch launch;
  launch.machine = context.machine;
  launch.kvm = kvm;
  fs::path initrd;
  if (parts.image) {
    launch.kernel = parts.image->kernel;
    launch.cmdline = parts.image->cmdline;
    initrd = parts.image->initrd;
  } else if (!config.kernel.empty()) {
    launch.kernel = fs::absolute(config.kernel);
    if (!config.initrd.empty()) initrd = fs::absolute(config.initrd);
  }
  launch.agent = config.qemu.agent;
  launch.shell = !agent_greets(context, parts);
  launch.share_slots = share_slots;
  if (!initrd.empty()) launch.initrd = initrd_with_seed(context, initrd, !launch.shell);
  launch.disks = parts.disks.list();
  launch.fd_sets = parts.disks.fd_sets();
  launch.credentials = write_credentials(context);
  if (is_microvm(config) && !kvm) launch.tsc_khz = host_tsc_khz();

  Start start;
  start.child.fds = parts.disks.duplicates();
  if (auto& fds = start.child.fds; !fds.empty())
    launch.first_tap_fd = std::max(launch.first_tap_fd, fds.rbegin()->first + 1);
  start.child.argv = command_line(config, launch, context.network);
  start.child.cwd = context.work_dir;
  start.qmp = give(start, launch.qmp_fd);
  if (launch.shell) start.shell = give(start, launch.shell_fd);
  if (launch.agent) start.agent = give(start, launch.agent_fd);
  start.serial = give(start, launch.serial_fd);
  give_output(start, {1, 2});
  for (std::size_t i = 0; i < context.network.size(); ++i)
    if (auto& nic = context.network[i]; !nic.interface.empty())
      start.child.fds.emplace(launch.first_tap_fd + static_cast<int>(i),
                              base::Fd(context.plugs->open_tap(nic)));
  return start;
}

}  // namespace attest::qemu
