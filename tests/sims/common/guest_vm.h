// The machine behind a stand-in monitor: QEMU, driven by QMP. It lives in a child process that
// cannot outlive this one, and leaves no files: RAM is a memfd, sockets have no names.
#pragma once
#include "lib/async/net.h"
#include "tests/sims/common/guest_description.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace attest::sims {

/// What has become of the guest, or of QEMU.
enum class GuestEvent {
  off,       ///< it powered itself off; QEMU stays, its CPUs stopped
  reset,     ///< it reset itself, and does not go on unless `reboots`
  panicked,  ///< with pvpanic
  died       ///< QEMU ended unasked; see GuestVm::last_words()
};

/// The first line of a state file.
struct SavedGuest {
  /// RAM is in the memory file, to be mapped; else within the state file.
  bool memory_file = true;
  int memory_mb = 0;
  std::string kernel;      ///< its kind, which decides about option ROMs: "elf", "bzimage", ""
  nlohmann::json config;   ///< what the sim gave to save()
  std::uint64_t size = 0;  ///< of that line: where QEMU's state begins
};
/// Throws Error{host} if it cannot be read, Error{protocol} if it is no state file of ours.
SavedGuest read_saved(const std::string& state_file);

/// Copies `from` (its whole length) to the new or truncated file `to`, holes as holes. Throws
/// Error{host}.
void copy_sparse(int from, const std::string& to);

/// All calls happen on the loop thread, one at a time. They throw Error{host} with QEMU's refusal.
class GuestVm {
 public:
  using Listener = std::function<void(GuestEvent)>;

  /// Nothing runs yet. `listener` is called on the loop, never after the destructor.
  GuestVm(asio::any_io_executor loop, GuestDescription description, Listener listener);
  GuestVm(const GuestVm&) = delete;
  GuestVm& operator=(const GuestVm&) = delete;
  /// Kills QEMU.
  ~GuestVm();

  /// Starts QEMU, with all CPUs stopped: it has opened all its files when this returns.
  Task<void> start();
  /// The same, with the state of a machine that was saved with the same devices. The memory file
  /// is mapped privately and must stay as it is; where it cannot be opened for writing (QEMU 7.2
  /// asks for that) it is read instead. The description's kernel and
  /// initrd are not needed. CPUs are stopped.
  Task<void> start_from(std::string state_file, std::string memory_file);

  /// Both are fine again and again.
  Task<void> pause();
  Task<void> resume();
  bool running() const noexcept;
  /// QEMU is there.
  bool alive() const noexcept;

  /// Saves a paused machine, which can go on afterwards. Replaces both files; without RAM in it the
  /// memory file is a hole of the right size. `config` comes back from read_saved().
  Task<void> save(std::string state_file, std::string memory_file, nlohmann::json config);

  /// ACPI's power button.
  Task<void> power_button();
  /// Ctrl-Alt-Del on the keyboard; microvm has none and gets the power button.
  Task<void> ctrl_alt_del();
  /// Starts it anew from its boot loader.
  Task<void> reset();
  /// More CPUs than now, up to max_vcpus; the guest must bring them online.
  Task<void> plug_vcpus(int count);
  /// One more memory module of this size, a multiple of 128.
  Task<void> plug_memory(int megabytes);
  /// Another file behind a drive (of the same format), and other limits.
  Task<void> change_drive(std::string id, std::string path);
  Task<void> limit_drive(std::string id, GuestRate rate);
  /// Needs `balloon`. What the guest is to give back.
  Task<void> set_balloon(int megabytes);
  /// Ends QEMU in order. The listener hears nothing of it.
  Task<void> quit();

  /// The other end of the serial port (ttyS0), once, after start().
  base::Fd take_serial();
  /// A new connection to the channel `chardev`; the one before is closed by QEMU's hand when its
  /// Fd is. The guest sees the port closed while there is none. Throws Error{host}.
  base::Fd connect_channel(const std::string& chardev);

  /// With what was plugged since.
  const GuestDescription& description() const noexcept;
  /// What QEMU has printed, and how it ended.
  std::string last_words() const;
  int pid() const noexcept;

 private:
  Task<nlohmann::json> command(std::string name, nlohmann::json arguments);
  GuestDescription& mutable_description() noexcept;
  int& drive_changes() noexcept;

  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace attest::sims
