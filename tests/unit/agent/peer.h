// A small host for tests of attest-agent: starts the built binary and speaks its protocol, one
// step at a time. Every wait ends within 20 s, with a std::runtime_error that fails the test.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/proto/agent_codec.h"

namespace attest::agent_test {

using proto::AgentFields;
using Bytes = std::string;

/// The agent's program, killed and reaped at destruction.
class AgentProcess {
 public:
  /// With these arguments; `in` and `out` become its descriptors 0 and 1 (-1: /dev/null).
  explicit AgentProcess(std::vector<std::string> arguments, int in = -1, int out = -1,
                        std::function<void()> in_child = {});
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;
  ~AgentProcess();

  pid_t pid() const { return pid_; }
  /// Blocks until it has ended; its wait status.
  int wait();
  /// Resident memory now, in KiB.
  long rss_kib() const;
  /// The most that it has ever had, in KiB.
  long peak_rss_kib() const;
  /// Open descriptors.
  std::size_t descriptors() const;

 private:
  pid_t pid_ = -1;
};

/// What has come on one stream.
struct Stream {
  std::vector<AgentFields> events;
  std::map<int, Bytes> data;         ///< by channel
  std::map<int, bool> ended;         ///< channels with an end frame
  std::map<int, std::size_t> sizes;  ///< bytes by channel, kept or not
  std::optional<AgentFields> done, error;
  std::size_t credit = proto::agent_window;  ///< bytes that the agent takes now

  bool over() const { return done || error; }
  const Bytes& out() { return data[proto::agent_output]; }
  const Bytes& err() { return data[proto::agent_error_output]; }
  /// done's field `name`; "error: ..." if it went wrong.
  std::string result(std::string_view name) const;
  /// The exit code; -signal, or -1000 for an error.
  int code() const;
};

/// A host on one connection.
class Peer {
 public:
  /// Takes a connected socket (or two ends of pipes) and reads the greeting; says hello.
  explicit Peer(base::Fd in, base::Fd out = base::Fd(), bool say_hello = true);

  const proto::AgentGreeting& greeting() const { return decoder_.greeting(); }
  void hello(std::string_view nonce);
  void ask(std::string_view nonce);
  /// Expects another greeting, as after ask().
  void expect_greeting();

  /// Sends bytes as they are.
  void raw(std::string_view bytes);
  /// Opens a stream of the next number.
  std::uint32_t open(const AgentFields& fields);
  void open_as(std::uint32_t stream, const AgentFields& fields);
  void event(std::uint32_t stream, const AgentFields& fields);
  void cancel(std::uint32_t stream);
  /// Sends all of `bytes` on channel 0 as the window allows.
  void data(std::uint32_t stream, std::string_view bytes);
  void end(std::uint32_t stream);

  /// The stream as far as it has come.
  Stream& operator[](std::uint32_t stream) { return streams_[stream]; }
  /// Reads frames until `ready` says so.
  void until(const std::function<bool()>& ready);
  /// Reads until the stream is over.
  Stream& wait(std::uint32_t stream);
  /// open() and wait().
  Stream& call(const AgentFields& fields) { return wait(open(fields)); }
  /// call() with a shell text; strict.
  Stream& shell(std::string_view text) {
    return call({{"op", "run"}, {"shell", text}, {"strict", "1"}});
  }
  /// A ping has been answered, so everything sent before has been seen.
  void settle();
  /// Reads whatever comes within `time`.
  void listen(std::chrono::milliseconds time);
  /// True once the agent has closed the connection.
  bool closed() const { return closed_; }
  /// Gives no more windows to that stream: a reader that has stopped.
  void stall(std::uint32_t stream) { stalled_[stream] = true; }
  /// What is not kept of a channel's bytes, which are only counted.
  void discard(std::uint32_t stream) { discarded_[stream] = true; }
  /// Closes the connection.
  void hang_up();

  std::size_t read_size = 64 << 10;  ///< bytes of one read

 private:
  bool read_for(std::chrono::milliseconds time);
  void take(const proto::AgentFrame& frame);

  base::Fd in_, out_;
  proto::AgentDecoder decoder_{proto::AgentDecoder::Expect::greeting};
  std::map<std::uint32_t, Stream> streams_;
  std::map<std::uint32_t, bool> stalled_, discarded_;
  std::map<std::uint32_t, std::size_t> used_;
  std::uint32_t last_ = 0;
  int pongs_ = 0;
  bool closed_ = false;
};

/// An agent that listens on a unix socket in a directory of its own, and the hosts that connect.
class Agent {
 public:
  explicit Agent(std::function<void()> in_child = {});
  /// A new connection, greeted; with its hello said.
  Peer connect(bool say_hello = true);
  base::Fd connect_raw();
  AgentProcess& process() { return process_; }

 private:
  base::TempDir directory_{"attest-agent-"};
  AgentProcess process_;
};

/// The path of the program under test.
std::string agent_path();

/// True while a process (not a zombie) of that id is there.
bool alive(pid_t pid);

/// A command that ends only when it is ended.
inline const AgentFields sleeping{{"op", "run"}, {"argv", "sleep"}, {"argv", "1000"}};
/// The id of a run's process, as its first event tells it.
pid_t pid_of(Peer& peer, std::uint32_t stream);
/// Waits up to 5 s for that process to be gone.
void until_dead(pid_t pid);

}  // namespace attest::agent_test
