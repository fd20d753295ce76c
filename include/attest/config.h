// What a test run consists of: machines, how each is booted, time limits. Plain values with
// defaults; every field has a JSON key of the same name (docs/config.schema.json).
#pragma once
#include "attest/config_microvm.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace attest {

/// Time limits, in seconds in JSON. All are multiplied by the timeout factor and cut by the
/// limit that encloses them (a command's by the run's).
struct Timeouts {
  std::chrono::seconds boot{300};      ///< from start() to the guest's greeting
  std::chrono::seconds command{900};   ///< one command
  std::chrono::seconds wait{900};      ///< one wait_for_... call
  std::chrono::seconds shutdown{120};  ///< an orderly power-off
  std::chrono::seconds global{3600};   ///< the whole driver, from its first machine's start
  bool operator==(const Timeouts&) const = default;
};

/// How a hypervisor runs the guest's instructions.
enum class Accel {
  automatic,  ///< KVM where a guest really runs on it, else TCG (JSON "auto")
  kvm,        ///< KVM only; a host without it skips the test
  tcg         ///< QEMU's emulation, everywhere
};

/// What the first command or wait waits for, after the guest's greeting.
enum class Ready {
  agent,      ///< nothing more: the shell or agent answers
  basic,      ///< systemd has reached basic.target
  multi_user  ///< systemd has reached multi-user.target
};

/// A further disk of a machine; in JSON an object, or just the path.
struct DiskConfig {
  std::string path;        ///< an existing image on the host; empty makes a blank one of size_mb
  std::string format;      ///< "raw" or "qcow2"; empty: by the name's ending, else raw
  int size_mb = 0;         ///< size of a blank disk, MiB
  bool read_only = false;  ///< otherwise writes go to an overlay that ends with the driver
  bool operator==(const DiskConfig&) const = default;
};

/// A directory of the host that the machine sees from its first operation on. It is shared: both
/// sides see what the other writes (loopback; QEMU by virtiofs, for q35 with virtiofsd on the
/// host). Where that cannot be (QEMU: other machine types, start_script, memory given in
/// extra_args, no virtiofsd) it is copied at each boot: the host's changes after that do not reach
/// the machine, and what the machine writes is not written back, with `writable` or without; use
/// copy_from_machine() there.
struct MountConfig {
  std::string host, guest;
  bool writable = false;  ///< a copy can always be written, to no effect on the host
  bool operator==(const MountConfig&) const = default;
};

/// A file of the host that is in the machine when it boots.
struct FileConfig {
  std::string from;          ///< path on the host
  std::string to;            ///< absolute path in the machine; QEMU: not in /tmp or /run
  std::string mode{"0644"};  ///< octal
  bool operator==(const FileConfig&) const = default;
};

/// Options of the QEMU backend.
struct QemuConfig {
  std::string binary{"qemu-system-x86_64"};  ///< name on PATH, or a path
  std::string machine{"q35"};                ///< q35, microvm, or any other -machine value
  std::string cpu;                           ///< -cpu; empty: host under KVM, qemu64 under TCG
  bool agent = true;  ///< a port for attest-agent; false: only the backdoor shell, as in nixpkgs
  bool operator==(const QemuConfig&) const = default;
};

/// Options of the loopback backend: attest-agent on the host in namespaces of its own.
struct LoopbackConfig {
  bool agent = true;          ///< false: only a shell answers; so it does when `shell` is sh
  std::string shell{"bash"};  ///< bash, or sh to try what a guest without bash gets
  bool operator==(const LoopbackConfig&) const = default;
};

/// Options of the systemd-nspawn backend.
struct NspawnConfig {
  std::string binary{"systemd-nspawn"};  ///< name on PATH, or a path
  bool agent = true;                ///< false: only a shell that enters the container's namespaces
  std::string toplevel;             ///< path of a NixOS system; boots that instead of an image
  std::string store{"/nix/store"};  ///< with `toplevel`: directory of the host, bound read-only
  bool operator==(const NspawnConfig&) const = default;
};

/// Options of the SSH backend: a host that is up already. attest does not own it: start() connects,
/// crash() drops the connection, and so does shutdown() unless `allow_power` is set.
struct SshConfig {
  std::string host;  ///< name or address; required
  int port = 22;
  std::string user{"root"};   ///< whom every command runs as
  std::string key_file;       ///< private key (OpenSSH format, ed25519 or ecdsa) without passphrase
  std::string password_file;  ///< file whose first line is the password
  bool ssh_agent = false;     ///< offer the keys of the user's ssh-agent
  std::string proxy_command;  ///< run by sh on the host; %h, %p and %r as in ssh_config(5)
  std::string known_hosts;    ///< file of host keys; empty: ~/.ssh/known_hosts
  bool accept_new = false;    ///< take an unknown host's key, and note it in known_hosts
  std::string fingerprint;    ///< "SHA256:...", the only host key that is taken
  bool agent = true;          ///< upload attest-agent to a private directory for the session
  bool allow_power = false;   ///< shutdown() and reboot() really do that to the host
  std::chrono::seconds keepalive{15};  ///< silence after which the host is asked for a sign of life
  bool operator==(const SshConfig&) const = default;
};

/// One machine. `image` describes a bootable guest (guest/debian builds the default one);
/// `kernel` and friends describe one by hand; `start_script` runs a nixpkgs-built
/// run-<name>-vm. At most one of image, kernel, start_script is given.
struct MachineConfig {
  std::string backend{"qemu"};
  std::string image;  ///< directory with image.json, or a name in the cache; default "debian"
  std::string kernel, initrd;     ///< paths, for direct kernel boot
  std::string cmdline;            ///< appended to the kernel command line
  std::vector<DiskConfig> disks;  ///< after the root disk, in order
  std::string start_script;       ///< path of a nixpkgs-built run-<name>-vm
  int memory_mb = 512;
  int vcpus = 1;
  std::vector<int> vlans{1};  ///< VLAN numbers (1..254), one NIC each, in order
  std::string network;        ///< nspawn: veth, host or none
  std::vector<MountConfig> mounts;
  std::vector<FileConfig> files;
  std::map<std::string, std::string> env;          ///< for every command in the machine
  std::map<std::string, std::string> credentials;  ///< systemd credentials
  Accel accel = Accel::automatic;
  Ready ready = Ready::basic;
  std::string firmware;                 ///< path given to QEMU as -bios
  bool graphics = false;                ///< a VGA card (no window is opened)
  std::vector<std::string> extra_args;  ///< appended to the hypervisor's command line
  bool allow_reboot = false;            ///< a guest's reboot restarts it instead of ending it
  bool keep_machine_state = false;      ///< what it writes to `disks` is there in the next run
  bool debug_boot = false;              ///< kernel and systemd log everything to the console
  bool internet = false;                ///< a NIC with a way out through the host
  QemuConfig qemu;
  LoopbackConfig loopback;
  NspawnConfig nspawn;
  SshConfig ssh;
  FirecrackerConfig firecracker;
  CloudHypervisorConfig cloud_hypervisor;
  bool operator==(const MachineConfig&) const = default;
};

/// What VLANs are made of.
enum class Realisation {
  automatic,  ///< the kernel for VLANs of containers, else a switch in this process (JSON "auto")
  kernel,     ///< bridges, TAPs and veth pairs in the sandbox's network namespace
  process     ///< a switch in this process, for containers too
};

/// When all that passes the VLANs, from their beginning to the driver's end, is kept as
/// vlan<v>.pcapng among the artifacts of the test that began them (the suite's first, mostly). The
/// files grow there for as long as the driver lives, and stay if the test's process dies.
enum class CaptureAll {
  never,
  failed,  ///< if any test of the suite has failed, or an exception ends the driver's scope
  always
};

/// The networks of a driver.
struct NetworkConfig {
  Realisation realisation = Realisation::automatic;
  std::uint64_t seed = 0;  ///< of the random choices of faults, below 2^53; 0: another one each
                           ///< time, which the first such fault prints
  CaptureAll capture = CaptureAll::never;
  bool operator==(const NetworkConfig&) const = default;
};

/// Everything that a Driver needs to know.
struct Config {
  std::string name{"attest"};  ///< in reports
  std::vector<int> vlans;      ///< VLANs that exist even if no machine names them
  NetworkConfig network;
  Timeouts timeouts;
  std::map<std::string, MachineConfig> machines;  ///< by name; node numbers follow the alphabet
  bool operator==(const Config&) const = default;

  /// Reads JSON text. Throws Error{usage} naming the JSON path, what was expected, what came,
  /// and the nearest valid key for an unknown one. Comments are not JSON and are refused.
  static Config from_json(std::string_view text);
  /// Reads a JSON file; relative paths in it are relative to that file. Throws Error{usage},
  /// Error{host}.
  static Config from_file(const std::string& path);
  /// The whole config as indented JSON, defaults included; from_json(to_json()) is the same value.
  std::string to_json() const;
  /// Applies one "path=value" on top, as --attest_set does: machines.web.memory_mb=512. The value
  /// is JSON, or a plain string where that is what the key holds; a list or an object replaces what
  /// was there. Machines must exist already. Throws Error{usage}, and has then changed nothing.
  void set(std::string_view assignment);
  /// Throws Error{usage} for what cannot be run. from_json() has checked single values already
  /// (names, ranges); this does so again for those set in C++, and checks what spans several keys:
  /// image and kernel both given, no machines.
  void validate() const;
};

/// The JSON schema (draft 2020-12) of Config, made from the same table as the parser.
std::string config_schema();

}  // namespace attest
