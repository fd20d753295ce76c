// Bytes between a command's pipes and its stream.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "guest/agent/fd.h"
#include "guest/agent/loop.h"
#include "guest/agent/operation.h"

namespace attest::agent {

/// Reads `fd` until its end and throws everything away: who still writes must not get a SIGPIPE. Of
/// very many the oldest are closed.
void drain(Loop& loop, Fd fd);

/// From a pipe or a terminal to a channel, as fast as the host takes it.
class OutputPump {
 public:
  OutputPump(Loop& loop, Output& out, std::uint8_t channel, std::function<void()> over)
      : loop_(loop), out_(out), channel_(channel), over_(std::move(over)) {}
  OutputPump(const OutputPump&) = delete;
  OutputPump& operator=(const OutputPump&) = delete;
  /// What is still open is drained.
  ~OutputPump();

  /// A terminal's other ends may close and open, and it forwards a little late.
  void open(Fd fd, bool terminal);
  /// There is room again.
  void resume();
  /// The command has ended: what is there now is the rest. The end of the channel follows, and
  /// over() is called, maybe at once.
  void finish();
  /// Like finish(), but nothing more is sent.
  void abandon();
  bool is_over() const { return ended_; }

 private:
  void pump();
  void finish_more();
  void end();

  Loop& loop_;
  Output& out_;
  const std::uint8_t channel_;
  std::function<void()> over_;
  Fd fd_;
  bool terminal_ = false, finishing_ = false, ended_ = false;
  std::size_t left_ = 0;  // of a pipe, when finishing
  std::uint32_t watched_ = 0;
  Loop::Timer quiet_ = 0;
};

/// From the host to a pipe or a terminal.
class InputPump {
 public:
  InputPump(Loop& loop, Output& out) : loop_(loop), out_(out) {}
  InputPump(const InputPump&) = delete;
  InputPump& operator=(const InputPump&) = delete;
  ~InputPump() { loop_.forget(fd_.get()); }

  /// Bytes before this wait; without it, or after close(), they are thrown away by close().
  void open(Fd fd, bool terminal);
  void add(std::string_view bytes);
  void end();
  void close();

 private:
  void pump();

  Loop& loop_;
  Output& out_;
  Fd fd_;
  std::string pending_;
  std::size_t written_ = 0;
  bool terminal_ = false, ending_ = false, closed_ = false, watched_ = false;
};

}  // namespace attest::agent
