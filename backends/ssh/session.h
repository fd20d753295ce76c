// One SSH connection. libssh2 is used as a codec here: it reads from and writes to memory, which
// two coroutines exchange with the socket. So it never waits for the socket to take bytes, no
// half-sent packet has to be repeated, and several channels can be used at the same time.
#pragma once
#include "attest/backend.h"
#include "lib/async/event.h"

#include <libssh2.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace attest::ssh {

/// See the file comment. Loop thread only. Lives in a shared_ptr: its coroutines hold it, and end
/// with drop(), disconnect(), or when the connection is lost.
class Session : public std::enable_shared_from_this<Session> {
 public:
  /// Takes a connected socket. `peer` is who is at its other end, for messages: "root@web:22".
  /// Throws Error{host}.
  Session(asio::any_io_executor loop, Outside::Socket socket, std::string peer);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  /// Begins to exchange bytes. Call once. After `keepalive` of silence the host is asked for a
  /// sign of life; three times that without one is the end.
  void start(std::chrono::seconds keepalive);

  /// Calls `step`, which is one call of libssh2, until it does not return LIBSSH2_ERROR_EAGAIN any
  /// more; returns what it returned. `step` must live through being called again at any time until
  /// then. Throws Error{host} with the cause when the connection is lost.
  Task<int> repeat(std::function<int()> step);

  /// "sending the command to root@web:22: <what libssh2 says>" as an Error{host}.
  Error failure(const std::string& attempt);

  /// Returns once the connection is over.
  Task<void> wait_lost() { return lost_event_.wait(); }
  bool lost() const noexcept { return lost_.has_value(); }
  /// "the connection to root@web:22 was lost: closed by the host". Only after the end.
  std::string obituary() const { return lost_.value_or(""); }
  /// The host closed it in order, by what can be seen from here.
  bool closed_by_host() const noexcept { return closed_by_host_; }
  /// What the host gave as its reason to disconnect, if it gave one.
  const std::string& reason() const noexcept { return reason_; }

  /// Says goodbye and ends the connection. Throws Error{timeout} with the connection ended, too.
  Task<void> disconnect(Deadline deadline);
  /// Ends the connection at once; `cause` is what running operations fail with. Idempotent.
  void drop(const std::string& cause) noexcept;

  /// Too much waits to be sent already: whoever sends bulk data must wait.
  bool congested() const noexcept { return out_.size() > limit; }
  /// Steps of which libssh2 can have only one under way in a session: opening channels, SFTP.
  async::Mutex& one_at_a_time() noexcept { return one_at_a_time_; }

  /// Lets every step that waits look again.
  void wake() { progress_.pulse(); }

  LIBSSH2_SESSION* raw() const noexcept { return raw_; }
  const std::string& peer() const noexcept { return peer_; }
  int descriptor() { return socket_->native_handle(); }
  asio::any_io_executor loop() const { return loop_; }
  /// What came before the handshake was complete, its beginning: evidence of who is there.
  const std::string& first_bytes() const noexcept { return first_bytes_; }
  std::size_t received() const noexcept { return received_; }

  /// Whoever answers keyboard-interactive questions finds it here.
  std::string password;

 private:
  static constexpr std::size_t limit = 256 << 10;

  static Task<void> read(std::shared_ptr<Session> self);
  static Task<void> write(std::shared_ptr<Session> self);
  static Task<void> flushed(std::shared_ptr<Session> self);
  static Task<void> look_for_life(std::shared_ptr<Session> self, std::chrono::seconds interval);
  static LIBSSH2_SEND_FUNC(on_send);
  static LIBSSH2_RECV_FUNC(on_receive);
  static LIBSSH2_DISCONNECT_FUNC(on_disconnect);
  void lose(std::string cause) noexcept;

  asio::any_io_executor loop_;
  Outside::Socket socket_;
  std::string peer_;
  LIBSSH2_SESSION* raw_ = nullptr;
  std::string in_, out_;
  std::size_t taken_ = 0;  ///< of in_
  bool consumed_ = false;  ///< by the libssh2 call under way
  bool freeing_ = false;
  std::size_t received_ = 0;
  std::string first_bytes_;
  async::Event progress_;  ///< pulsed when a step that waits may go on
  async::Event outgoing_, room_, lost_event_;
  async::Mutex one_at_a_time_;
  asio::steady_timer alarm_;
  Deadline::Clock::time_point heard_ = Deadline::Clock::now();
  std::optional<std::string> lost_;
  bool closed_by_host_ = false;
  std::string reason_;
};

}  // namespace attest::ssh
