// One switched-on machine: its monitor, which a guest's reboot replaces where that is allowed, what
// the guest dials, and how it ended. Shared between the backend and the coroutines that serve it;
// a second boot makes another one.
#pragma once
#include "attest/backend.h"
#include "backends/firecracker/requests.h"
#include "backends/microvm/boot_files.h"
#include "backends/microvm/monitor_process.h"
#include "backends/microvm/vsock_dial.h"
#include "lib/async/event.h"

#include <filesystem>
#include <memory>
#include <string>

namespace attest::firecracker {

/// What stays the same from one boot to the next.
struct Site {
  BackendContext context;
  microvm::Parts parts;
  Launch launch;
  bool complete = false;  ///< the initrd with its seed is written

  /// Finds the program and its version, the image, the disks. May block for some milliseconds.
  /// Throws Error{usage, unsupported, host}.
  static std::shared_ptr<Site> find(BackendContext context);
  /// Writes the initrd and makes the disks, unless they are there. Blocks; on any thread.
  void finish();
  std::filesystem::path in_work_dir(const char* name) const { return context.work_dir / name; }
};

/// All calls happen on the loop thread. The coroutines are static and hold what they need.
class Running : public std::enable_shared_from_this<Running> {
 public:
  using Self = std::shared_ptr<Running>;

  /// Makes the listener that the guest dials; nothing runs yet. Throws Error{host}.
  explicit Running(std::shared_ptr<Site> site);
  ~Running();

  /// Starts a monitor and its guest. Throws Error{host, timeout, ...}; nothing runs then.
  static Task<void> boot(Self self, Deadline deadline);
  /// Starts a monitor that goes on from what save() has left in `dir`.
  static Task<RestoreSpans> restore(Self self, std::filesystem::path dir, Deadline deadline);
  /// Saves it into `dir`; its connections end by that.
  static Task<void> save(Self self, std::filesystem::path dir, Deadline deadline);
  /// The stream on which the guest greets, and greets again if it restarts. `again`: it went on
  /// from a snapshot, so if it does not dial by itself it is dialled.
  static Task<std::unique_ptr<Stream>> channel(Self self, bool again, Deadline deadline);
  /// A further shell.
  static Task<std::unique_ptr<Stream>> shell(Self self, Deadline deadline);
  /// Presses Ctrl-Alt-Del until it is gone.
  static Task<void> press_until_gone(Self self);

  bool alive() const { return process_ && process_->alive(); }
  bool is_gone() const { return gone_.is_set(); }
  static Task<Gone> wait_gone(Self self);
  /// Never returns: throws Error{host} with the cause when it is gone. For async::unless.
  static Task<void> dies(Self self);
  /// Pulls the plug; nothing of it runs when this returns.
  void kill() noexcept;
  /// The same, and hands no more console bytes on.
  void abandon() noexcept;

 private:
  std::string uds() const { return site_->in_work_dir(vsock_socket).string(); }
  void launch();
  void unplug() noexcept;
  static Task<void> configure(Self self, Deadline deadline);
  static Task<void> load(Self self, std::filesystem::path dir, RestoreSpans* spans,
                         Deadline deadline);
  static Task<void> save_steps(Self self, std::filesystem::path dir, Deadline deadline);
  static Task<void> supervise(Self self, std::shared_ptr<microvm::MonitorProcess> process);
  static Task<void> end_when_halted(std::shared_ptr<microvm::MonitorProcess> process);
  static Task<void> replaced(Self self, int connections);
  static Task<std::unique_ptr<Stream>> dialled(Self self, Deadline deadline);
  static Task<std::unique_ptr<Stream>> greeting(Self self, bool again, Deadline deadline);

  std::shared_ptr<Site> site_;
  asio::any_io_executor loop_;
  std::unique_ptr<microvm::GuestDial> dial_;  ///< until it is switched off
  std::shared_ptr<microvm::MonitorProcess> process_;
  std::shared_ptr<microvm::Api> api_;
  base::Fd fifo_;        ///< keeps the console's FIFO from ending before the monitor has opened it
  int connections_ = 0;  ///< how often the guest was given a new channel
  bool stopping_ = false;  ///< the next end is the end, not a reboot
  async::Event changed_, gone_;
  Gone result_;
};

}  // namespace attest::firecracker
