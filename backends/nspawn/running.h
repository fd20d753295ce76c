// One running container: its launcher, what it prints and notifies, and how it ended. Shared
// between the backend and the coroutines that serve it; a second boot makes another one, but a
// container that reboots in place (allow_reboot) stays the same one.
#pragma once
#include "attest/backend.h"
#include "backends/nspawn/ending.h"
#include "lib/async/child.h"
#include "lib/async/event.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace attest::nspawn {

/// All calls happen on the loop thread.
class Running : public std::enable_shared_from_this<Running> {
 public:
  /// What is started, and again for each reboot; its stdout and stderr are added here.
  using MakeSpec = std::function<async::ChildSpec()>;
  using Console = std::function<void(std::string_view)>;

  /// Starts the launcher. `notify` is a bound datagram socket, the container's NOTIFY_SOCKET.
  /// Throws Error{host}.
  static std::shared_ptr<Running> start(asio::any_io_executor loop, MakeSpec make_spec,
                                        base::Fd notify, bool reboots, Console console);
  Running(asio::any_io_executor loop, MakeSpec make_spec, base::Fd notify, bool reboots,
          Console console);

  /// How often it was launched: once, and once more for each reboot.
  int launches() const { return launches_; }
  /// Returns when launches() is more than `count`.
  Task<void> launched_after(int count);
  /// Returns when the container's systemd has said READY=1 (again after a reboot).
  Task<void> ready();
  /// Returns when the launcher is reaped and everything it has said is read.
  Task<Gone> wait_gone();
  bool is_gone() const { return gone_.is_set(); }
  /// Never returns: throws Error{host} with the cause when it is gone. For async::unless.
  Task<void> dies();

  /// SIGKILL, and the launcher is reaped when it returns; what it had started ends with it.
  void kill() noexcept;
  /// Kills it, and hands no more console bytes on: their receiver goes away.
  void abandon() noexcept;
  /// No reboot from now on: the next end is the end.
  void expect_end() noexcept { reboots_ = false; }
  /// The end of what it has said, for messages.
  const std::string& output() const { return output_; }

 private:
  void launch();
  static Task<void> pump_output(std::shared_ptr<Running> self, std::unique_ptr<Stream> output,
                                std::shared_ptr<async::Event> drained);
  static Task<void> pump_notify(std::shared_ptr<Running> self);
  static Task<void> supervise(std::shared_ptr<Running> self);

  asio::any_io_executor loop_;
  MakeSpec make_spec_;
  bool reboots_;
  Console console_;
  asio::posix::stream_descriptor notify_;
  async::Event launched_, ready_, gone_;
  int launches_ = 0;
  std::shared_ptr<async::Event> drained_;  ///< of the present launcher
  std::string output_;
  Gone result_;
  std::optional<async::Child> child_;  // last: dies first
};

/// fs.inotify.max_user_instances, 0 if it cannot be read.
int inotify_limit();

}  // namespace attest::nspawn
