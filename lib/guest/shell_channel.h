// The host's end of a resident shell: a reader that never stops (hvc0 drops what nobody reads),
// a queue of lines to send, and the handshake, which happens again after each banner. Commands
// and their fates are ShellGuest's business.
#pragma once
#include "lib/async/event.h"
#include "lib/async/net.h"
#include "lib/proto/shell.h"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace attest::guest {

/// One command under way. Shared by the coroutine that waits for it and by the channel.
struct ShellRun {
  ShellRun(asio::any_io_executor loop, std::uint64_t number, unsigned executor)
      : id(number), slot(executor), changed(loop) {}

  bool ended() const noexcept { return frame || failure; }

  std::uint64_t id;
  unsigned slot;
  bool spoiled = false;  ///< another command filled the guest's output space meanwhile
  bool ending = false;   ///< end() was called
  int absent = 0;        ///< checks in a row that did not find it running
  std::optional<proto::ShellFrame> frame;
  std::optional<Error> failure;
  async::Event changed;  ///< pulsed when one of the two is set
};

/// See the file comment. Loop thread only. Lives in a shared_ptr: its reader and writer hold it,
/// and end when the stream does.
class ShellChannel : public std::enable_shared_from_this<ShellChannel> {
 public:
  /// How many commands run at the same time; further ones wait.
  static constexpr unsigned slots = 32;

  ShellChannel(asio::any_io_executor loop, std::unique_ptr<Stream> stream);

  /// Starts reading. Call once.
  void start();
  /// Ends the stream; every run fails with Error{host}.
  void close() noexcept;

  /// Returns when the shell takes a command: after the banner and the handshake, also those of a
  /// later restart, and when one of the slots is free. Throws Error{timeout} with what came
  /// instead, Error{host} after the end.
  Task<void> wait_ready(Deadline deadline);
  /// Begins a command in the lowest free slot. Call right after wait_ready(). Throws Error{usage}.
  std::shared_ptr<ShellRun> begin(std::string_view text);
  /// Begins to append `bytes` to `file` in the guest, see proto::shell_input(); only for bash. Call
  /// right after wait_ready(). The run's code is 0 if all went well; it cannot be ended.
  std::shared_ptr<ShellRun> begin_input(std::string_view file, std::string_view bytes);
  /// Ends `run` in the guest: SIGTERM, after `grace` SIGKILL; the run ends soon, with whatever was
  /// printed or with a failure if the shell does not answer any more. Returns at once.
  void end(std::shared_ptr<ShellRun> run);
  /// Asks whether `run` still exists; a run whose reply was lost fails after two such checks.
  void check(const ShellRun& run);

  /// Returns once `run` has ended or `deadline` has passed.
  static Task<void> wait_ended(std::shared_ptr<ShellRun> run, Deadline deadline);

  /// How often the shell has greeted, the first time included.
  std::uint64_t banners() const noexcept { return banners_; }
  /// Returns as soon as banners() is more than `seen` and the shell takes commands. Throws
  /// Error{timeout}, Error{host}.
  Task<void> wait_banner(std::uint64_t seen, Deadline deadline);

  proto::ShellKind kind() const noexcept { return kind_; }
  asio::any_io_executor loop() const { return loop_; }

 private:
  static Task<void> read(std::shared_ptr<ShellChannel> self);
  static Task<void> write(std::shared_ptr<ShellChannel> self);
  static Task<void> end_in_guest(std::shared_ptr<ShellChannel> self, std::shared_ptr<ShellRun> run);
  void send(std::string text);
  void handle(proto::ShellEvent event);
  void on_banner();
  void on_hello(const proto::ShellHello& hello);
  void on_frame(proto::ShellFrame frame);
  void on_status(const proto::ShellFrame& frame);
  void on_damage(const proto::ShellDamage& damage);
  void forget(std::uint64_t id);
  void fail_all(const Error& failure);
  void stop(Error failure);
  Task<bool> pong(Deadline deadline);

  enum class State { silent, greeted, probed, ready, ended };

  asio::any_io_executor loop_;
  std::unique_ptr<Stream> stream_;
  proto::ShellDecoder decoder_;
  State state_ = State::silent;
  proto::ShellKind kind_ = proto::ShellKind::bash;
  std::string nonce_;
  std::optional<Error> ended_with_;  ///< why nothing works any more
  std::deque<std::string> outbox_;
  async::Event outgoing_, changed_;
  std::map<std::uint64_t, std::shared_ptr<ShellRun>>
      runs_;                    ///< until the guest is through with them
  std::set<unsigned> busy_;     ///< their slots
  std::set<unsigned> started_;  ///< slots whose executor exists
  std::set<std::uint64_t> pongs_;
  std::uint64_t next_id_ = 1, banners_ = 0;
  Deadline stalls_at_ = Deadline::never();  ///< a reply that is unfinished then is given up
  bool suspect_ = false;                    ///< it has not answered; ping before the next command
};

}  // namespace attest::guest
