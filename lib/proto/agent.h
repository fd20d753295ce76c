// The host's end of attest-agent's protocol (guest/agent/PROTOCOL.md): many operations at once over
// one Stream, each a stream of its own with flow control both ways. Loop thread only.
#pragma once
#include "lib/async/net.h"
#include "lib/proto/agent_codec.h"

#include <memory>
#include <optional>
#include <string>
#include <variant>

namespace attest::proto {

/// Bytes of one channel.
struct AgentData {
  std::uint8_t channel = 0;
  std::string bytes;
};
/// No more bytes on that channel.
struct AgentEnd {
  std::uint8_t channel = 0;
};
/// News of an operation that goes on.
struct AgentEvent {
  AgentFields fields;
};
/// The operation went well; nothing follows.
struct AgentDone {
  AgentFields fields;
};
using AgentNews = std::variant<AgentData, AgentEnd, AgentEvent, AgentDone>;

/// One operation under way. One reader and one writer at a time. Destroying it while it is not over
/// cancels it in the guest; what still comes is swallowed.
class AgentStream {
 public:
  struct State;
  explicit AgentStream(std::shared_ptr<State> state) : state_(std::move(state)) {}
  AgentStream(const AgentStream&) = delete;
  AgentStream& operator=(const AgentStream&) = delete;
  ~AgentStream() { abandon(); }

  /// What came next, in order; nullopt if `deadline` passes first (it may still come). The agent's
  /// `error` is thrown as an Error of its kind, with `during` left to the caller; Error{host} when
  /// the connection has ended, Error{guest} when the guest restarted, Error{protocol} for what the
  /// agent must not send. After the last one it says the same again. Who does not call it stops
  /// this stream only, once agent_window bytes wait.
  Task<std::optional<AgentNews>> next(Deadline deadline = Deadline::never());
  /// Sends `bytes`, which must outlive the call, on channel agent_input; returns when they are on
  /// their way, which takes as long as the agent leaves them unread. Throws Error{guest} if the
  /// operation is over, and what next() throws.
  Task<void> write(std::string_view bytes);
  /// Lets `bytes` more than agent_window be under way to us, for operations whose bytes are taken
  /// as they come: the agent then seldom has to wait for our word.
  void widen(std::size_t bytes);
  /// Nothing more will be written.
  void end();
  /// Sends an event.
  void event(const AgentFields& fields);
  /// Asks the agent to end the operation; done or an error still comes.
  void cancel();
  /// As the destructor; calls under way then throw Error{host}.
  void abandon() noexcept;
  /// True once its last frame has come or the connection has failed; next() may still have news.
  bool over() const noexcept;
  /// True if the agent itself has ended it with an error.
  bool refused() const noexcept;

 private:
  std::shared_ptr<State> state_;
};

/// One connection to an agent. Destroying it closes the stream; operations under way then fail.
class Agent {
 public:
  /// Starts to read; greets back when the agent's greeting comes, also again after a restart.
  Agent(asio::any_io_executor loop, std::unique_ptr<Stream> stream);
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;
  ~Agent();

  /// Returns once the agent has greeted. Throws Error{timeout} with what came instead, Error{host}
  /// when the stream ends, Error{protocol} for another version.
  Task<void> wait_greeted(Deadline deadline);
  bool greeted() const noexcept;
  /// What the last greeting said.
  const AgentGreeting& greeting() const noexcept;

  /// Begins an operation; `fields` hold "op". Throws Error{usage} if they are larger than a frame,
  /// and why the connection is of no use if it is not.
  std::unique_ptr<AgentStream> open(const AgentFields& fields);
  /// True if the agent answers a ping before `deadline`: it is busy, or waits; it does not hang.
  Task<bool> answers(Deadline deadline);
  /// How often it has greeted again since the first time.
  std::uint64_t restarts() const noexcept;
  /// Returns as soon as restarts() is more than `seen`. Throws Error{timeout}, Error{host}.
  Task<void> wait_restarted(std::uint64_t seen, Deadline deadline);
  /// Fails everything under way with `failure`, and everything that is begun from now on until it
  /// greets again: it is known from elsewhere that the agent is gone.
  void lose(const Error& failure);
  /// Ends the connection. Idempotent.
  void close() noexcept;

 private:
  struct State;
  friend struct AgentStream::State;
  std::shared_ptr<State> state_;  // shared with the coroutines that read and write
};

}  // namespace attest::proto
