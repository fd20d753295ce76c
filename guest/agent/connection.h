// One host at the other end of a pair of descriptors: frames, windows, and whose turn it is. It
// makes an Operation for each stream and destroys it when the stream is over, or when the host is
// gone. Nothing that a host sends ends more than its own stream, or grows without bound.
#pragma once
#include "guest/agent/loop.h"
#include "guest/agent/operation.h"
#include "lib/proto/agent_codec.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace attest::agent {

/// Greets when it is made, then serves what the host asks for. Destroying it ends all of that.
class Connection {
 public:
  /// Bytes that may wait for the host before streams are stopped.
  static constexpr std::size_t outbox_limit = 256 << 10;
  /// Streams at once.
  static constexpr std::size_t stream_limit = 4096;

  /// `in` and `out` may be the same; they stay the caller's and must be non-blocking. `closed` is
  /// called once, outside of any callback, when the host is gone or cannot be reached: `error` is
  /// an errno, 0 at the end of the stream. The connection has let go of the descriptors then.
  Connection(Services services, int in, int out, std::function<void(int error)> closed);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

 private:
  class Stream;

  void on_input(std::uint32_t events);
  void read_some();
  void take_frames();
  void meet();
  void handle(const proto::AgentFrame& frame);
  void open(std::uint32_t stream, std::string_view payload);
  void handle_data(Stream& stream, const proto::AgentFrame& frame);
  void end_input(Stream& stream, const proto::AgentFrame& frame);
  void handle_event(Stream& stream, const proto::AgentFrame& frame);
  void add_credit(Stream& stream, const proto::AgentFrame& frame);
  void look_for_restart();
  void end_session();

  void send(std::string_view frame);
  void send_data(std::string_view head, std::string_view bytes);
  std::size_t write_now(std::string_view bytes);
  void fail(std::uint32_t stream, std::string_view kind, std::string_view text);
  void flush_soon();
  void flush();
  void update_watch();
  void give_turns();
  void bury_ended();
  void close(int error);

  Services services_;
  int in_, out_;
  std::function<void(int)> closed_callback_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for what runs later
  proto::AgentDecoder decoder_{proto::AgentDecoder::Expect::hello};
  std::string nonce_;  // of the session under way; "" while none is
  std::string asked_;  // of the question that was answered last
  bool met_ = false;   // the first line that the decoder has found has been dealt with
  Loop::Timer restart_timer_ = 0;
  std::string outbox_;
  std::size_t sent_ = 0;  // bytes of outbox_ that are gone
  bool flush_planned_ = false, pollable_in_ = true, closed_ = false;
  bool blocked_ = false;  // the last write left something
  std::uint32_t watched_ = 0;
  std::unordered_map<std::uint32_t, std::unique_ptr<Stream>> streams_;
  std::vector<std::uint32_t> ended_;  // streams whose operations are to be destroyed
  std::deque<std::uint32_t> hungry_;  // streams that wait for room, in order
  std::uint32_t turn_ = 0;            // the stream whose on_room() runs
};

}  // namespace attest::agent
