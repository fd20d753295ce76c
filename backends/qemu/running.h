// One running QEMU: its process, its console, its output, its QMP session, and how it ended.
// Shared between the backend and the coroutines that serve it; a second boot makes another one.
#pragma once
#include "attest/backend.h"
#include "backends/qemu/ending.h"
#include "lib/async/child.h"
#include "lib/async/event.h"
#include "lib/proto/qmp.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace attest::qemu {

/// All calls happen on the loop thread.
class Running : public std::enable_shared_from_this<Running> {
 public:
  using Console = std::function<void(std::string_view)>;

  /// Starts the process. `serial` and `output` are our ends of its serial port and of its stdout
  /// and stderr. Throws Error{host}.
  static std::shared_ptr<Running> start(asio::any_io_executor loop, async::ChildSpec spec,
                                        base::Fd serial, base::Fd output, Console console);
  Running(asio::any_io_executor loop, async::ChildSpec spec, base::Fd serial, base::Fd output,
          Console console);

  /// Enters QMP's command mode on the connected socket `fd`. Throws as Qmp::negotiate does.
  Task<void> attach_qmp(base::Fd fd, Deadline deadline);
  /// Null before attach_qmp.
  proto::Qmp* qmp() { return qmp_.get(); }

  bool alive() const { return child_.running(); }
  /// SIGKILL, and reaped when it returns.
  void kill() noexcept { child_.kill(); }
  /// Kills it, and hands no more console bytes on: their receiver goes away.
  void abandon() noexcept;

  /// Returns when the process is reaped and everything it has said is read.
  Task<Gone> wait_gone();
  bool is_gone() const { return gone_.is_set(); }
  /// Never returns: throws Error{host} with the cause when it is gone. For async::unless.
  Task<void> dies();

  /// Writes to the serial port, one caller after the other.
  Task<void> type(std::string bytes);

 private:
  static Task<void> pump_serial(std::shared_ptr<Running> self);
  static Task<void> pump_output(std::shared_ptr<Running> self);
  static Task<void> pump_events(std::shared_ptr<Running> self);
  static Task<void> supervise(std::shared_ptr<Running> self);
  void spawn_pump(Task<void> pump);

  asio::any_io_executor loop_;
  Console console_;
  std::unique_ptr<Stream> serial_, output_;
  async::Mutex typing_;
  async::Event drained_, gone_;
  int pumps_ = 0;
  Ending ending_;
  FatalLine fatal_;
  Gone result_;
  std::unique_ptr<proto::Qmp> qmp_;
  async::Child child_;  // last: dies first
};

}  // namespace attest::qemu
