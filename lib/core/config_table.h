// The descriptions of all config structs: the one place where a new key is added. Each sentence
// ends up in docs/config.md and docs/config.schema.json.
#pragma once
#include "attest/config.h"
#include "lib/core/config_fields.h"
#include "lib/core/config_table_microvm.h"

#include <array>

namespace attest::core::config {

using namespace std::string_view_literals;

inline constexpr Rule seconds_rule{
    .what = "a whole number of seconds", .min = 1, .max = 31'536'000};
inline constexpr Rule vlans_rule{.what = "a VLAN number", .min = 1, .max = 254, .unique = true};
inline constexpr Rule path_rule{.form = Form::path};
inline constexpr Rule needed_path_rule{.form = Form::path, .filled = true, .required = true};
inline constexpr Rule guest_path_rule{.form = Form::guest_path, .filled = true, .required = true};

inline constexpr std::array disk_formats{""sv, "raw"sv, "qcow2"sv};
inline constexpr std::array networks{""sv, "veth"sv, "host"sv, "none"sv};
inline constexpr std::array shells{"bash"sv, "sh"sv};

template <>
struct Names<Accel> {
  static constexpr std::array all{"auto"sv, "kvm"sv, "tcg"sv};
  static_assert(static_cast<int>(Accel::tcg) + 1 == all.size());
};

template <>
struct Names<Ready> {
  static constexpr std::array all{"agent"sv, "basic"sv, "multi_user"sv};
  static_assert(static_cast<int>(Ready::multi_user) + 1 == all.size());
};

template <>
struct Names<Realisation> {
  static constexpr std::array all{"auto"sv, "kernel"sv, "process"sv};
  static_assert(static_cast<int>(Realisation::process) + 1 == all.size());
};

template <>
struct Names<CaptureAll> {
  static constexpr std::array all{"never"sv, "failed"sv, "always"sv};
  static_assert(static_cast<int>(CaptureAll::always) + 1 == all.size());
};

template <>
struct Fields<NetworkConfig> {
  static constexpr auto all = std::tuple{
      field("realisation", &NetworkConfig::realisation,
            "What VLANs are made of: the kernel's bridges in the sandbox's network namespace, a "
            "switch in this process, or (auto) the kernel's for VLANs of containers only."),
      // The highest number that every reader of JSON takes exactly.
      field("seed", &NetworkConfig::seed,
            "What the random choices of network faults begin with; 0: another number in each run, "
            "which is printed.",
            {.max = (std::int64_t{1} << 53) - 1}),
      field("capture", &NetworkConfig::capture,
            "When all that passes the VLANs is kept as vlanN.pcapng, among the artifacts of the "
            "test that began them: in each run, or if a test of these machines has failed."),
  };
};

template <>
struct Fields<Timeouts> {
  static constexpr auto all = std::tuple{
      field("boot", &Timeouts::boot, "From a machine's start to its guest's greeting.",
            seconds_rule),
      field("command", &Timeouts::command, "One command.", seconds_rule),
      field("wait", &Timeouts::wait, "One wait_for_... call.", seconds_rule),
      field("shutdown", &Timeouts::shutdown, "An orderly power-off.", seconds_rule),
      field("global", &Timeouts::global, "The whole driver, from its first machine's start.",
            seconds_rule),
  };
};

template <>
struct Fields<DiskConfig> {
  static constexpr auto shorthand = "path"sv;
  static constexpr auto all = std::tuple{
      field("path", &DiskConfig::path,
            "An existing image on the host; leave it out for a blank disk of size_mb.", path_rule),
      field("format", &DiskConfig::format,
            "The image's format; empty: by the ending of its name, else raw.",
            {.choices = disk_formats}),
      field("size_mb", &DiskConfig::size_mb, "Size of a blank disk; 0 if there is a path.",
            {.what = "a whole number of MiB", .max = 16'777'216}),
      field("read_only", &DiskConfig::read_only,
            "Refuse writes; otherwise they go to an overlay that ends with the driver, or is kept "
            "with keep_machine_state."),
  };
};

template <>
struct Fields<MountConfig> {
  static constexpr auto all = std::tuple{
      field("host", &MountConfig::host, "A directory on the host.", needed_path_rule),
      field("guest", &MountConfig::guest, "Where the machine sees it.", guest_path_rule),
      field("writable", &MountConfig::writable,
            "Let the machine change it. A copy can always be changed, to no effect on the host."),
  };
};

template <>
struct Fields<FileConfig> {
  static constexpr auto all = std::tuple{
      field("from", &FileConfig::from, "A file on the host.", needed_path_rule),
      field("to", &FileConfig::to,
            "Its path in the machine; with QEMU not in /dev, /proc, /run, /sys or /tmp, which the "
            "guest covers or empties while it boots.",
            guest_path_rule),
      field("mode", &FileConfig::mode, "Its mode in the machine.",
            {.form = Form::file_mode, .filled = true}),
  };
};

template <>
struct Fields<QemuConfig> {
  static constexpr auto all = std::tuple{
      field("binary", &QemuConfig::binary, "The program: a name on PATH, or a path.",
            {.form = Form::path_or_name, .filled = true}),
      field("machine", &QemuConfig::machine, "q35, microvm, or any other value of -machine.",
            {.filled = true}),
      field("cpu", &QemuConfig::cpu, "Value of -cpu; empty: host under KVM, qemu64 under TCG."),
      field("agent", &QemuConfig::agent,
            "Give it a port for attest-agent; false: only the backdoor shell, as an unmodified "
            "nixpkgs guest has it."),
  };
};

template <>
struct Fields<LoopbackConfig> {
  static constexpr auto all = std::tuple{
      field("agent", &LoopbackConfig::agent,
            "Let attest-agent answer; false, or the shell sh: only a shell."),
      field("shell", &LoopbackConfig::shell,
            "The shell that runs commands; sh is what a guest without bash gets.",
            {.choices = shells}),
  };
};

template <>
struct Fields<NspawnConfig> {
  static constexpr auto all = std::tuple{
      field("binary", &NspawnConfig::binary, "systemd-nspawn: a name on PATH, or a path.",
            {.form = Form::path_or_name, .filled = true}),
      field("agent", &NspawnConfig::agent,
            "Let attest-agent answer; false: only a shell that enters the container."),
      field("toplevel", &NspawnConfig::toplevel, "A NixOS system to boot instead of an image.",
            path_rule),
      field("store", &NspawnConfig::store,
            "With toplevel: the host's store, which the container sees read-only.", path_rule),
  };
};

template <>
struct Fields<SshConfig> {
  static constexpr auto all = std::tuple{
      field("host", &SshConfig::host, "Name or address of the host; needed."),
      field("port", &SshConfig::port, "Where its sshd listens.",
            {.what = "a port", .min = 1, .max = 65535}),
      field("user", &SshConfig::user, "Whom to log in as; every command runs as that user.",
            {.filled = true}),
      field("key_file", &SshConfig::key_file,
            "A private key (OpenSSH format, ed25519 or ecdsa) without a passphrase.", path_rule),
      field("password_file", &SshConfig::password_file, "A file whose first line is the password.",
            path_rule),
      field("ssh_agent", &SshConfig::ssh_agent, "Offer the keys of the user's ssh-agent."),
      field("proxy_command", &SshConfig::proxy_command,
            "A command whose input and output lead to the host; %h, %p and %r stand for host, "
            "port and user."),
      field("known_hosts", &SshConfig::known_hosts,
            "The file of known host keys; empty: ~/.ssh/known_hosts.", path_rule),
      field("accept_new", &SshConfig::accept_new,
            "Take the key of a host that is not known yet, and note it in known_hosts."),
      field("fingerprint", &SshConfig::fingerprint,
            "The only host key to take, as ssh-keygen -l shows it: SHA256:..."),
      field("agent", &SshConfig::agent,
            "Upload attest-agent for the session; false: commands go through a shell, slower."),
      field("allow_power", &SshConfig::allow_power,
            "Let shutdown() and reboot() really switch the host off; else shutdown() only leaves "
            "it, and reboot() is refused."),
      field("keepalive", &SshConfig::keepalive,
            "Silence after which the host is asked for a sign of life.",
            {.what = "a whole number of seconds", .min = 2, .max = 3600}),
  };
};

template <>
struct Fields<MachineConfig> {
  using M = MachineConfig;
  static constexpr auto all = std::tuple{
      field("backend", &M::backend, "What boots the machine.", {.filled = true}),
      field("image", &M::image,
            "A directory with image.json, or a name in the image cache; empty: debian, unless "
            "kernel or start_script is given.",
            {.form = Form::path_or_name}),
      field("kernel", &M::kernel, "A kernel to boot directly, instead of an image.", path_rule),
      field("initrd", &M::initrd, "The initial RAM disk that goes with kernel.", path_rule),
      field("cmdline", &M::cmdline, "Appended to the kernel's command line."),
      field("disks", &M::disks, "Further disks, after the root disk.", {.most = 24}),
      field("start_script", &M::start_script, "A run-NAME-vm script built by nixpkgs.", path_rule),
      field("memory_mb", &M::memory_mb, "Memory.",
            {.what = "a whole number of MiB", .min = 16, .max = 1'048'576}),
      field("vcpus", &M::vcpus, "Number of processors.", {.min = 1, .max = 255}),
      field("vlans", &M::vlans, "The VLANs it is on, one network card each, in this order.",
            vlans_rule),
      field("network", &M::network, "How a container is connected (nspawn only).",
            {.choices = networks}),
      field(
          "mounts", &M::mounts,
          "Directories of the host that the machine sees. Where they cannot be shared (QEMU: other "
          "machine types than q35, start_script, memory given in extra_args, no virtiofsd) they "
          "are copied at each boot, and nothing is written back to the host."),
      field("files", &M::files, "Files of the host that are in the machine when it boots."),
      field("env", &M::env, "Environment variables of every command.", {.keys = Form::env_name}),
      field("credentials", &M::credentials, "systemd credentials, by name.",
            {.keys = Form::credential_name}),
      field("accel", &M::accel,
            "How instructions run: KVM where it works and TCG elsewhere, or only one of the two."),
      field("ready", &M::ready,
            "What the first command waits for: nothing but the agent, basic.target or "
            "multi-user.target."),
      field("firmware", &M::firmware, "A firmware image, given to QEMU as -bios.", path_rule),
      field("graphics", &M::graphics, "Give it a VGA card; no window is opened."),
      field("extra_args", &M::extra_args, "Appended to the hypervisor's command line."),
      field("allow_reboot", &M::allow_reboot, "Let the guest's reboot restart the machine."),
      field(
          "keep_machine_state", &M::keep_machine_state,
          "Keep what the machine writes to its disks for the next run, in MACHINE/state below the "
          "output directory (--attest_output), which must be given."),
      field("debug_boot", &M::debug_boot, "Let kernel and systemd log everything to the console."),
      field("internet", &M::internet, "Give it a network card with a way out through the host."),
      field("qemu", &M::qemu, "Options of the qemu backend."),
      field("loopback", &M::loopback, "Options of the loopback backend."),
      field("nspawn", &M::nspawn, "Options of the nspawn backend."),
      field("ssh", &M::ssh, "Options of the ssh backend."),
      field("firecracker", &M::firecracker, "Options of the firecracker backend."),
      field("cloud_hypervisor", &M::cloud_hypervisor, "Options of the cloud_hypervisor backend."),
  };
};

template <>
struct Fields<Config> {
  static constexpr auto all = std::tuple{
      field("name", &Config::name, "Name of the run, in reports.", {.filled = true}),
      field("vlans", &Config::vlans, "VLANs that exist even if no machine names them.", vlans_rule),
      field("network", &Config::network, "The networks between the machines."),
      field("timeouts", &Config::timeouts, "Time limits, before the timeout factor."),
      // Node numbers are the last byte of addresses; 254 is the test itself.
      field("machines", &Config::machines, "The machines, by name.",
            {.keys = Form::machine_name, .most = 253}),
  };
};

}  // namespace attest::core::config
