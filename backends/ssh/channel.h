// A command on the host, in a channel of the session: its streams, and how it ends.
#pragma once
#include "backends/ssh/session.h"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace attest::ssh {

/// How a command ended. libssh2 cannot tell an exit status of 0 from one that was never sent; a
/// connection that is lost before the channel's end is an Error instead.
struct Ending {
  int code = 0;
  std::string signal;  ///< "KILL"; empty: it was not killed by one
  /// "exited with code 1", "was killed by signal KILL"
  std::string words() const;
};

/// What a command printed, and its ending.
struct Output {
  std::string out, err;
  Ending ending;
};

/// See the file comment. Loop thread only. Each stream has one reader and one writer at most.
/// Who does not read stops its own channel only, when the host has sent 2 MiB.
class Channel : public std::enable_shared_from_this<Channel> {
 public:
  enum Source { standard_output = 0, standard_error = 1 };

  /// Starts `command`, which the user's login shell takes, on the host. Throws Error{host}.
  /// Not cancellable half-way: run it to its end, or drop the session.
  static Task<std::shared_ptr<Channel>> exec(std::shared_ptr<Session> session, std::string command);
  /// The same for a server that sshd_config names.
  static Task<std::shared_ptr<Channel>> subsystem(std::shared_ptr<Session> session,
                                                  std::string name);
  Channel(std::shared_ptr<Session> session, LIBSSH2_CHANNEL* raw)
      : session_(std::move(session)), raw_(raw) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() { close(); }

  /// At least one byte; 0 at the stream's end, or when this channel was closed. Throws Error{host}
  /// when the connection is lost. Both streams must be read.
  Task<std::size_t> read(Source source, std::span<char> buffer);
  /// Writes to its stdin. `bytes` must outlive the call. Throws Error{host}.
  Task<void> write(std::string_view bytes);
  /// Ends its stdin.
  Task<void> send_eof();
  /// Returns when the host has closed the channel, both streams having been read. Throws
  /// Error{host} when the connection is lost before.
  Task<Ending> wait_closed();
  /// Writes `input`, reads both streams to their ends (`limit` bytes of each are kept), and waits.
  Task<Output> finish(std::string input, std::size_t limit = 16 << 20);
  /// Gives the channel up: the host ends the command's stdin and stdout. Idempotent.
  void close() noexcept;

  const std::shared_ptr<Session>& session() const noexcept { return session_; }

 private:
  static Task<std::shared_ptr<Channel>> begin(std::shared_ptr<Session> session, std::string kind,
                                              std::string command);
  bool is_closed();

  std::shared_ptr<Session> session_;
  LIBSSH2_CHANNEL* raw_;
};

/// The channel's stdin and stdout as a Stream; `first` is what was read from it already. Reading
/// its stderr is up to the caller.
std::unique_ptr<Stream> make_stream(std::shared_ptr<Channel> channel, std::string first);

}  // namespace attest::ssh
