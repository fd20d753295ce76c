// One switched-on machine: its monitor, its events, its console, what the guest dials. A guest that
// restarts in place (allow_reboot) stays the same one; a second boot makes another. Shared between
// the backend and the coroutines that serve it.
#pragma once
#include "attest/backend.h"
#include "backends/cloud_hypervisor/site.h"
#include "backends/microvm/api.h"
#include "backends/microvm/monitor_process.h"
#include "backends/microvm/vsock_dial.h"
#include "lib/async/event.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace attest::cloud_hypervisor {

struct MonitorEvent;

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
  /// Saves it into `dir`; its channel ends by that.
  static Task<void> save(Self self, std::filesystem::path dir, Deadline deadline);
  static Task<void> resize(Self self, std::optional<int> vcpus, std::optional<int> memory_mb,
                           Deadline deadline);
  /// The stream on which the guest greets, and greets again if it restarts. `again`: it is the same
  /// guest as before, so if it does not dial by itself it is dialled.
  static Task<std::unique_ptr<Stream>> channel(Self self, bool again, Deadline deadline);
  /// A further shell.
  static Task<std::unique_ptr<Stream>> shell(Self self, Deadline deadline);
  /// Types into the console.
  static Task<void> type(Self self, std::string bytes);
  /// Presses the power button until it is gone.
  static Task<void> press_until_gone(Self self);

  bool alive() const { return process_ && process_->alive(); }
  bool is_gone() const { return !process_ || process_->is_gone(); }
  static Task<Gone> wait_gone(Self self);
  /// Pulls the plug; nothing of it runs when this returns.
  void kill() noexcept;
  /// The same, and hands no more console bytes on.
  void abandon() noexcept;

 private:
  using Process = std::shared_ptr<microvm::MonitorProcess>;

  std::string uds() const { return site_->in_work_dir(vsock_socket).string(); }
  microvm::MonitorProcess::Console console_sink(
      std::shared_ptr<std::weak_ptr<microvm::MonitorProcess>> to);
  void launch();
  void make_taps();
  void unplug() noexcept;
  std::vector<int> tap_fds(const Call& call) const;
  void join_console();
  static Task<void> configure(Self self, Deadline deadline);
  static Task<void> load(Self self, std::filesystem::path dir, RestoreSpans* spans,
                         Deadline deadline);
  static Task<void> save_steps(Self self, std::filesystem::path dir, Deadline deadline);
  static Task<void> save_files(Self self, std::filesystem::path dir, Deadline deadline);
  /// How memory is to come back; `why` gets the reason if that is by copying where it need not be.
  MemoryMode wanted_mode(std::string* why) const;

  static Task<void> read_events(std::weak_ptr<Running> owner, Process process,
                                std::shared_ptr<Stream> events, bool reboots);
  static void on_event(asio::any_io_executor loop, const Process& process,
                       const MonitorEvent& event, bool reboots);
  static Task<void> end_when_halted(Process process, std::shared_ptr<microvm::Api> api);
  static Task<void> end_after(Process process, std::string cause);
  static Task<std::unique_ptr<Stream>> dialled(Self self, Deadline deadline);
  static Task<std::unique_ptr<Stream>> greeting(Self self, bool again, Deadline deadline);

  std::shared_ptr<Site> site_;
  asio::any_io_executor loop_;
  std::unique_ptr<microvm::GuestDial> dial_;  ///< until it is switched off
  Process process_;
  std::shared_ptr<microvm::Api> api_;
  std::shared_ptr<Stream> console_, channel_;
  std::vector<base::Fd> taps_;  ///< by the network's order; empty if they go by name
  base::Fd fifo_;               ///< the reading end, until the console is joined
  int memory_mb_;               ///< what it has now
  int connections_ = 0;         ///< how often the guest was given a new channel
  async::Event changed_;
};

}  // namespace attest::cloud_hypervisor
