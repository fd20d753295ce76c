// Ways between host and guest over a monitor's vsock: we dial the guest, or it dials us.
#pragma once
#include "lib/async/event.h"
#include "lib/base/fd.h"

#include <memory>
#include <string>

namespace attest::microvm {

inline constexpr unsigned agent_port = 1024;  ///< attest-agent: it listens, and dials 2:1024
inline constexpr unsigned shell_port = 1234;  ///< the backdoor shell

/// Dials `port` of the guest by the monitor's socket `uds` until somebody answers there: a refusal
/// is tried again after 10 ms, a silence after 2.5 s. Throws Error{timeout} with the last refusal;
/// race it against MonitorProcess::dies().
Task<std::unique_ptr<Stream>> dial_guest(asio::any_io_executor loop, std::string uds, unsigned port,
                                         Deadline deadline);
/// The same, once.
Task<std::unique_ptr<Stream>> dial_guest_once(asio::any_io_executor loop, std::string uds,
                                              unsigned port, Deadline deadline);

/// Listens where a monitor delivers what the guest dials: on the socket `<uds>_<port>`. It always
/// accepts, as a full backlog would stall the monitor: of connections that nobody has taken the
/// newest is kept. Make it before the guest runs. Removes its socket file. Loop thread only.
class GuestDial {
 public:
  /// Throws Error{host}.
  GuestDial(asio::any_io_executor loop, const std::string& uds, unsigned port = agent_port);
  GuestDial(const GuestDial&) = delete;
  GuestDial& operator=(const GuestDial&) = delete;
  ~GuestDial();

  /// The guest's newest connection, waiting for one. Throws Error{timeout}.
  Task<std::unique_ptr<Stream>> next(Deadline deadline);
  /// Forgets a connection that nobody has taken: what dialled before is not meant.
  void forget() noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the coroutine that accepts
};

}  // namespace attest::microvm
