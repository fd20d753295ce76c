// The plug point for whatever boots a machine. Only authors of backends include this;
// backends/README.md walks through writing one.
#pragma once
#include "attest/config.h"
#include "attest/deadline.h"
#include "attest/stream.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attest {

/// How a kind of machine joins its VLANs.
enum class Wiring {
  none,    ///< not at all: it has no NICs of ours
  stream,  ///< by a stream socket of the switch in this process; by a TAP on a kernel VLAN
  vde,     ///< as to a vde_switch, as start scripts do
  tap,     ///< by a TAP in our network namespace
  veth     ///< by a pair of interfaces, one of them in the machine's own network namespace
};

/// One NIC of a machine, as the network plan has laid it out. Exactly one of `socket`, `vde` and
/// `interface` is set, as the backend's Wiring says.
struct NetworkAttachment {
  int vlan = 1;           ///< 0: the card that leads out of the host, the last one
  std::string mac;        ///< "52:54:00:12:01:02"
  std::string ipv4;       ///< "192.168.1.2", always /24
  std::string ipv6;       ///< "2001:db8:1::2", always /64; empty on the way out
  std::string socket;     ///< of the in-process switch: 4-byte big-endian length, then the frame
  std::string vde;        ///< directory with the socket "ctl" of a VDE switch, for start scripts
  std::string interface;  ///< what Plugs will call our end of the link
};

/// Interfaces of the kernel for the NICs of one machine. All calls happen on the loop thread and
/// take a millisecond or so. They throw Error{host} with the kernel's reason and what helps, and
/// have changed nothing then.
class Plugs {
 public:
  virtual ~Plugs() = default;
  /// For Wiring::veth: a pair of interfaces. Ours joins the VLAN; `guest_name`, in the network
  /// namespace `netns` (a descriptor, borrowed for the call), has the NIC's MAC and is down.
  virtual void plug_veth(const NetworkAttachment& nic, const std::string& guest_name,
                         int netns) = 0;
  /// For Wiring::tap and stream on a kernel VLAN: a TAP that has joined the VLAN. Returns a
  /// descriptor that is the caller's, to hand to the hypervisor. `vnet_header` says whether that
  /// reads and writes a virtio-net header before each frame (IFF_VNET_HDR): segments and checksums
  /// that its guest leaves to others are then made on the way.
  virtual int open_tap(const NetworkAttachment& nic, bool vnet_header = false) = 0;
  /// The same for hypervisors that open it by its name, nic.interface, with or without such a
  /// header. It is there until unplug(), over any number of boots; fine if it is there already.
  virtual void make_tap(const NetworkAttachment& nic) = 0;
  /// Takes the NIC's interface from the VLAN and removes it. Fine if there is none.
  virtual void unplug(const NetworkAttachment& nic) noexcept = 0;
};

/// A file that the machine must have from its first moment on.
struct SeedFile {
  std::string path;  ///< absolute, in the machine
  std::string content;
  unsigned mode = 0644;
};

/// How a guest ended.
struct Gone {
  bool orderly = false;  ///< it powered itself off (or was asked to), nothing crashed
  std::string cause;     ///< in words: "QEMU was killed by signal 9 (Killed)"
};

/// What only the process outside the sandbox can do: reach the host's network, and clear up after
/// tests that died. All calls happen on the loop thread and do not block it. They throw
/// Error{host} with what was attempted and what came, Error{timeout}.
class Outside {
 public:
  virtual ~Outside() = default;
  /// Closes itself.
  using Socket = std::unique_ptr<boost::asio::generic::stream_protocol::socket>;

  /// A TCP connection of the host to `host`, a name or an address.
  virtual Task<Socket> connect(std::string host, int port, Deadline deadline) = 0;
  /// Closes itself. accept4(2) on its descriptor, which does not block, once it is readable.
  using Listener = std::unique_ptr<boost::asio::posix::stream_descriptor>;
  /// A TCP socket that listens on `address` of the host, and its port; port 0 picks one.
  virtual Task<std::pair<Listener, int>> listen(std::string address, int port,
                                                Deadline deadline) = 0;
  /// A connection to the user's ssh-agent.
  virtual Task<Socket> ssh_agent(Deadline deadline) = 0;
  /// stdin and stdout of `command`, which sh runs in the host's network; its stderr is the test's.
  /// It is ended when the socket is closed.
  virtual Task<Socket> run(std::string command, Deadline deadline) = 0;
  /// Makes the cgroup `directory` (a path of the host, its name "attest-...") unless it exists. As
  /// soon as the returned socket is closed, by whatever ends us, what is left in it and below is
  /// killed, and it is removed.
  virtual Task<Socket> sweep_cgroup(std::string directory, Deadline deadline) = 0;
};

/// Everything a backend is given; it asks nothing back.
struct BackendContext {
  std::string machine;   ///< its name
  MachineConfig config;  ///< validated
  std::vector<NetworkAttachment> network;
  std::vector<SeedFile> seed;  ///< hostname, hosts, addresses, the config's files
  /// attest-agent's program, for machines that get it from outside; empty: there is none. Outlives
  /// the backend.
  std::string_view agent = {};
  std::filesystem::path work_dir;  ///< exists, short, private to the machine
  /// Where disks and whatever else the guest writes belong: work_dir, or with keep_machine_state a
  /// directory that the next run finds again (<output>/<machine>/state).
  std::filesystem::path state_dir;
  boost::asio::any_io_executor loop;  ///< every call below happens on it
  /// Takes console bytes as they come; whole lines are made of them elsewhere. Never blocks.
  std::function<void(std::string_view)> console;
  /// Takes whole lines for people, about this machine. Never blocks.
  std::function<void(std::string_view)> say = [](std::string_view) {};
  std::shared_ptr<Outside> outside = {};  ///< null in a driver that was given none
  std::shared_ptr<Plugs> plugs = {};      ///< null if no NIC has an `interface`
};

/// Showing directories of the host to the running machine.
class FileSharing {
 public:
  virtual ~FileSharing() = default;
  /// What the guest must mount to see the host's directory. A device may have been plugged in for
  /// it, which the guest notices a moment later: try to mount until it works.
  struct Mount {
    std::string type, source, options;  ///< mount -t type -o options source; all empty: it is done
  };
  /// Offers the host's directory `host`, which the guest will see at `guest`. Throws
  /// Error{unsupported} where it cannot be shared (the caller may copy it then), Error{host}.
  virtual Task<Mount> share(std::filesystem::path host, std::string guest, bool writable,
                            Deadline deadline) = 0;
};
/// Single files in and out of the running machine by a way of its own, where that is faster than
/// its shell.
class FileTransfer {
 public:
  virtual ~FileTransfer() = default;
  /// Creates or replaces the file at `path`, which is absolute, and the directories that it needs;
  /// it has `mode` then. A new file appears when it is whole, an existing one is written into.
  /// Throws Error{guest} where the machine refuses, Error{host}, Error{timeout}.
  virtual Task<void> put(std::string path, std::string bytes, unsigned mode, Deadline deadline) = 0;
  /// The whole file. Throws as put() does; Error{guest} for more than 64 MiB.
  virtual Task<std::string> get(std::string path, Deadline deadline) = 0;
};
/// A keyboard and a screen: images, keys. Becomes usable with the QEMU backend's screens.
class Display;
/// What a saved machine can be restored by: whatever differs at the restore is a reason to refuse.
/// Text for people; files are named by paths and compared by their content.
struct SnapshotFacts {
  std::string monitor;           ///< "Firecracker 1.16.1"
  std::string format;            ///< of its snapshots, where it has a version of its own
  std::filesystem::path binary;  ///< the program that was run
  std::filesystem::path kernel;  ///< empty: none that we gave
  std::string cpu;               ///< the CPU that the guest sees; empty: the host's
  std::vector<std::filesystem::path> disks;  ///< read-only images that stay where they are
};
/// How long the steps of a restore took.
struct RestoreSpans {
  std::chrono::nanoseconds start{0};   ///< until the monitor took requests
  std::chrono::nanoseconds load{0};    ///< until it had the snapshot
  std::chrono::nanoseconds resume{0};  ///< until the guest ran
  std::string how;                     ///< what was chosen on the way: "memory on demand"; or empty
};
/// Saving the running machine, and starting it from what was saved.
class Snapshotter {
 public:
  virtual ~Snapshotter() = default;
  /// About the machine as it would run now. Throws Error{host, unsupported, usage}.
  virtual SnapshotFacts facts() = 0;
  /// Saves memory, devices and the disks that it writes to, at one moment, into `dir`, which exists
  /// and is empty; the machine stands still meanwhile and then goes on. Its connections may end by
  /// this: returns the stream on which it greets next, or null if the old one goes on. Throws
  /// Error{host, timeout, unsupported}; the machine goes on then if it can (wait_gone() tells).
  virtual Task<std::unique_ptr<Stream>> save(std::filesystem::path dir, Deadline deadline) = 0;
  /// As boot(), but the machine goes on from what save() has left in `dir`, which stays as it is
  /// and may be restored from by others at the same time. It must be off.
  virtual Task<std::unique_ptr<Stream>> restore(std::filesystem::path dir, Deadline deadline) = 0;
  /// Of the last restore().
  virtual RestoreSpans restore_spans() const = 0;
};
/// Giving the running machine more or less of what it runs on.
class Resizer {
 public:
  virtual ~Resizer() = default;
  /// Returns when the monitor has taken the wish; the guest follows a moment later. Throws
  /// Error{usage} beyond what the config allows, Error{host, timeout}.
  virtual Task<void> resize(std::optional<int> vcpus, std::optional<int> memory_mb,
                            Deadline deadline) = 0;
};
/// Unplugging and replugging network links, as the guest sees them.
class LinkControl {
 public:
  virtual ~LinkControl() = default;
  /// Lets the guest see its card on `vlan` with a cable, or without one. Throws Error{host},
  /// Error{timeout}.
  virtual Task<void> set_link(int vlan, bool plugged, Deadline deadline) = 0;
};
/// Typing into the console.
class ConsoleInput {
 public:
  virtual ~ConsoleInput() = default;
  /// Sends bytes to the machine's serial console as if typed there.
  virtual Task<void> send(std::string bytes) = 0;
};

/// Another way into the running machine than the stream of its boot.
class StreamOpener {
 public:
  virtual ~StreamOpener() = default;
  /// A root shell independent of all others: its first line is "Spawning backdoor root shell...".
  /// It ends when the stream is closed. Throws Error{host, unsupported, timeout}.
  virtual Task<std::unique_ptr<Stream>> open_shell(Deadline deadline) = 0;
};

/// Who switches a guest off and on.
enum class PowerControl {
  guest,    ///< the guest is asked first, the backend where that fails
  backend,  ///< processes of this host: shutdown() and boot() are all that there is
  nobody    ///< not ours to switch off: shutdown() only leaves it, a reboot is refused
};

/// What a Machine needs from whatever boots it: five duties. Override a power only if the
/// guest really has it; the caller turns a null one into a sentence. All calls happen on the
/// loop thread. After shutdown() or kill() boot() may be called again.
class Backend {
 public:
  virtual ~Backend() = default;

  /// As in the config: "qemu".
  virtual std::string_view name() const = 0;
  /// Boots the guest and returns the stream on which it will greet (the agent's greeting, or the
  /// line "Spawning backdoor root shell..."); does not wait for that greeting. Throws
  /// Error{host, unsupported, timeout}; nothing is left running then.
  virtual Task<std::unique_ptr<Stream>> boot(Deadline deadline) = 0;
  /// Asks the guest to power off and waits until its process is reaped. Throws Error{timeout}
  /// with the guest still there; the caller decides about kill().
  virtual Task<void> shutdown(Deadline deadline) = 0;
  /// Pulls the plug: when it returns nothing of the machine runs. Idempotent; nothing to do
  /// when it is off.
  virtual void kill() noexcept = 0;
  /// Returns how the guest ended as soon as it is gone, so that waits can stop early. Throws
  /// Error{timeout}. May be called by several coroutines, also after the end.
  virtual Task<Gone> wait_gone(Deadline deadline) = 0;

  /// A channel of the booted machine on which attest-agent may greet, beside boot()'s stream; asked
  /// for once after each boot(). Null: there is none, or boot() has returned it.
  virtual std::unique_ptr<Stream> take_agent_port() { return nullptr; }
  /// The host's directory that the machine sees as /tmp/shared from its boot on; empty: none.
  virtual std::filesystem::path shared_dir() { return {}; }

  virtual PowerControl power_control() const { return PowerControl::guest; }
  /// False where nobody sees the machine's console: waiting for text on it would be in vain.
  virtual bool has_console() const { return true; }

  virtual FileSharing* file_sharing() { return nullptr; }
  virtual FileTransfer* file_transfer() { return nullptr; }
  virtual Display* display() { return nullptr; }
  virtual Snapshotter* snapshotter() { return nullptr; }
  virtual Resizer* resizer() { return nullptr; }
  virtual LinkControl* link_control() { return nullptr; }
  virtual ConsoleInput* console_input() { return nullptr; }
  virtual StreamOpener* stream_opener() { return nullptr; }
};

/// Makes a backend for one machine.
using BackendFactory = std::function<std::unique_ptr<Backend>(BackendContext)>;

/// Something that this host lacks.
struct Missing {
  std::string capability;  ///< as in ATTEST_REQUIRE: "kvm", "tun", "qemu"
  std::string text;        ///< the reason and the remedy
};

/// One kind of backend: how to make one, and what the host must have for it.
struct BackendEntry {
  BackendFactory make;
  /// What this host lacks for such a machine; nullopt if it can run. Probed before anything
  /// boots; may take seconds once per boot of the host, then it is cached.
  std::function<std::optional<Missing>(const MachineConfig&)> missing = {};
  /// How such a machine joins its VLANs; not given: stream, or vde with a start script.
  std::function<Wiring(const MachineConfig&)> wiring = {};
  /// How such a machine would run, for the header line: "qemu/tcg".
  std::function<std::string(const MachineConfig&)> describe = {};
};

/// Backends by the name that a config uses. Built by hand in one place (lib/entry/builtin.cc);
/// add your own to a copy.
using Backends = std::map<std::string, BackendEntry, std::less<>>;

/// What a Driver takes from its surroundings; make_driver() fills it with the standard parts.
struct DriverSetup {
  Backends backends;
  std::filesystem::path work_dir;  ///< short, private to this driver, exists
  /// This process has a network namespace of its own, in which interfaces may be made.
  bool own_network = false;
  /// Its mounts are its own, too: machine names may be put into what it sees as /etc/hosts.
  bool own_mounts = false;
  std::shared_ptr<Outside> outside = {};  ///< for backends that reach the host's network
  /// Takes whole lines for people: who ("web", or "" for attest itself) and what. Any thread.
  std::function<void(std::string_view who, std::string_view text)> say = [](auto, auto) {};
  double timeout_factor = 1;  ///< scales every timeout
  /// Console logs go to <output>/<machine>/console.log, kept state to <output>/<machine>/state;
  /// empty: nowhere.
  std::filesystem::path output;
  /// Where copy_from_machine() puts things now; throws Error. Any thread.
  std::function<std::filesystem::path()> artifacts = [] {
    return std::filesystem::path("attest-results");
  };
  /// Whether a test of these machines has failed, at the driver's end: what is kept for failures
  /// only is kept then. Must not throw.
  std::function<bool()> failed = [] { return false; };
};

}  // namespace attest
