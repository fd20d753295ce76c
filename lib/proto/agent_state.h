// What Agent, its streams and its coroutines share. Included by their two sources only.
#pragma once
#include "lib/async/event.h"
#include "lib/proto/agent.h"

#include <chrono>
#include <deque>
#include <map>

namespace attest::proto {

/// Events and other frames without a window that may wait on one stream, and their bytes.
inline constexpr std::size_t most_news = 100'000, most_waiting = 32 << 20;
/// Bytes that wait to be sent before data has to wait, too.
inline constexpr std::size_t most_outbox = 256 << 10;

/// What an error frame says.
Error error_of(const AgentFrame& frame);

struct Agent::State : std::enable_shared_from_this<Agent::State> {
  State(asio::any_io_executor executor, std::unique_ptr<Stream> connected)
      : loop(executor),
        stream(std::move(connected)),
        outgoing(executor),
        drained(executor),
        changed(executor) {}

  static Task<void> read(std::shared_ptr<State> self);
  static Task<void> write(std::shared_ptr<State> self);
  static Task<void> judge(std::shared_ptr<State> self, std::uint64_t reads);
  bool greeting_at_end() const;
  void begin_anew();
  void take(std::string_view bytes);
  void welcome();
  void on_frame(const AgentFrame& frame);
  void send(std::string_view bytes);
  void fail_all(const Error& failure);
  void stop(const Error& failure);

  asio::any_io_executor loop;
  std::unique_ptr<Stream> stream;
  AgentDecoder decoder{AgentDecoder::Expect::greeting};
  bool welcomed = false;       ///< the last greeting was answered
  std::optional<Error> ended;  ///< why nothing works any more
  std::optional<Error> lost;   ///< why nothing works until the next greeting
  std::string outbox, tail;    ///< to be sent; the last bytes that came
  async::Event outgoing, drained, changed;
  std::map<std::uint32_t, std::shared_ptr<AgentStream::State>> streams;  ///< until their last frame
  std::uint32_t last_id = 0, pings = 0, pongs = 0;
  std::uint64_t reads = 0, restarts = 0;
};

struct AgentStream::State {
  State(std::shared_ptr<Agent::State> owner, std::uint32_t number)
      : agent(std::move(owner)), id(number), can_read(agent->loop), can_write(agent->loop) {}

  void on_frame(const AgentFrame& frame);
  void fail(const Error& error);
  void wake();

  std::shared_ptr<Agent::State> agent;
  std::uint32_t id;
  std::deque<AgentNews> news;
  std::size_t waiting_bytes = 0;  ///< of events in `news`
  bool is_over = false, abandoned = false, refused = false;
  std::optional<Error> failure;
  AgentFields done;
  std::size_t whole_window = agent_window, receive_window = agent_window, taken = 0;
  std::uint64_t send_window = agent_window;
  asio::steady_timer can_read;  ///< cancelled when there is news
  async::Event can_write;
};

}  // namespace attest::proto
