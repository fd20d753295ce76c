#include "guest/agent/connection.h"

#include <sys/epoll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "guest/agent/connection_stream.h"
#include "guest/agent/file_text.h"
#include "guest/agent/files.h"
#include "guest/agent/piece.h"

namespace attest::agent {

using proto::AgentFrame;
using proto::AgentFrameType;

namespace {

// A host that does not read gets no more requests taken: an answer to each could be as large.
constexpr std::size_t outbox_full = 1 << 20;
// What one event reads before others have their turn.
constexpr std::size_t most_read = 128 << 10, port_piece = 16 << 10;
constexpr auto restart_silence = std::chrono::milliseconds(200);

std::string greeting(std::string_view asked) {
  utsname name{};
  uname(&name);
  auto boot = read_small_file("/proc/sys/kernel/random/boot_id", 64).value_or("none");
  while (!boot.empty() && boot.back() == '\n') boot.pop_back();
  return proto::agent_greeting(name.machine, boot, asked);
}

}  // namespace

Connection::Connection(Services services, int in, int out, std::function<void(int)> closed)
    : services_(services), in_(in), out_(out), closed_callback_(std::move(closed)) {
  watched_ = EPOLLIN;
  auto callback = [this](std::uint32_t events) { on_input(events); };
  pollable_in_ = services_.loop.watch(in_, watched_, callback);
  if (!pollable_in_) {
    services_.loop.later([this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) on_input(EPOLLIN);
    });
  }
  if (out_ != in_) {
    services_.loop.watch(out_, 0, [this](std::uint32_t events) {
      if (events & (EPOLLERR | EPOLLHUP)) return close(EPIPE);
      flush();
    });
  }
  send(greeting({}));
}

Connection::~Connection() {
  services_.loop.cancel(restart_timer_);
  services_.loop.forget(in_);
  if (out_ != in_) services_.loop.forget(out_);
  end_session();
}

void Connection::on_input(std::uint32_t events) {
  if (closed_) return;
  if (in_ == out_ && (events & EPOLLOUT)) flush();
  if (!closed_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_some();
}

void Connection::read_some() {
  // A virtio port gives one page at a time, however much is waiting.
  ssize_t count = 0;
  std::size_t total = 0;
  do {
    auto room = decoder_.room(port_piece);
    count = read(in_, room.data(), room.size());
    if (count <= 0) break;
    decoder_.filled(static_cast<std::size_t>(count));
    total += static_cast<std::size_t>(count);
  } while (total < most_read && pollable_in_);
  const int failure = count < 0 ? errno : 0;
  if (total > 0) {
    services_.loop.cancel(std::exchange(restart_timer_, 0));
    take_frames();
  }
  if (count <= 0 && failure != EAGAIN && failure != EINTR) return close(failure);
  if (total == 0) return;
  // A host that died in the middle of a frame leaves a decoder that waits for its rest; the next
  // host's hello looks like that rest. It waits for our greeting, so silence tells them apart.
  if (decoder_.restarted()) {
    restart_timer_ = services_.loop.at(Clock::now() + restart_silence, [this] {
      restart_timer_ = 0;
      look_for_restart();
    });
  }
  if (!pollable_in_ && !closed_) {
    services_.loop.later([this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) on_input(EPOLLIN);
    });
  }
  update_watch();
}

void Connection::look_for_restart() {
  if (!decoder_.restarted()) return;
  decoder_.restart();
  met_ = false;
  take_frames();
}

void Connection::take_frames() {
  while (decoder_.greeted() || !decoder_.broken().empty()) {
    if (!met_ && decoder_.broken().empty()) meet();
    while (auto frame = decoder_.next()) handle(*frame);
    if (!decoder_.broken().empty()) {
      fail(0, "protocol", decoder_.broken());
      end_session();
      nonce_.clear();
      decoder_.start_over();
    } else if (decoder_.begins_anew()) {
      decoder_.restart();
    } else {
      return;
    }
    met_ = false;
  }
}

void Connection::meet() {
  met_ = true;
  const auto& line = decoder_.greeting();
  // Sent again because we are slow.
  const auto& last = line.asks ? asked_ : nonce_;
  if (!line.nonce.empty() && line.nonce == last) return;
  end_session();
  nonce_ = line.asks ? "" : line.nonce;
  if (!line.asks) return;
  asked_ = line.nonce;
  send(greeting(asked_));
}

void Connection::handle(const AgentFrame& frame) {
  auto found = streams_.find(frame.stream);
  const bool live = found != streams_.end() && !found->second->over();
  switch (static_cast<AgentFrameType>(frame.type)) {
    case AgentFrameType::open:
      if (live) return fail(frame.stream, "protocol", "this stream is in use");
      return open(frame.stream, frame.payload);
    case AgentFrameType::ping:
      return send(proto::agent_frame(AgentFrameType::pong, frame.stream, frame.payload));
    case AgentFrameType::pong:
      return;
    case AgentFrameType::data:
      return live ? handle_data(*found->second, frame) : void();
    case AgentFrameType::end:
      return live ? end_input(*found->second, frame) : void();
    case AgentFrameType::window:
      return live ? add_credit(*found->second, frame) : void();
    case AgentFrameType::event:
      return live ? handle_event(*found->second, frame) : void();
    case AgentFrameType::cancel:
      return live ? found->second->operation->on_cancel() : void();
    case AgentFrameType::done:
    case AgentFrameType::error:
      break;
  }
  fail(frame.stream, "protocol",
       "a frame of type " + std::to_string(frame.type) + " is none that a host may send");
}

void Connection::open(std::uint32_t id, std::string_view payload) {
  if (id == 0) return fail(0, "protocol", "stream 0 cannot be opened");
  streams_.erase(id);  // over, and not yet buried
  auto fields = AgentFields::decode(payload);
  if (!fields) return fail(id, "protocol", "the fields of an open frame are cut off");
  if (streams_.size() >= stream_limit)
    return fail(id, "usage", "more than " + std::to_string(stream_limit) + " streams at once");
  auto stream = std::make_unique<Stream>(*this, id);
  auto operation = make_operation(*fields, *stream, services_);
  if (!operation) {
    return fail(id, "unsupported",
                "this agent knows no operation '" + std::string(fields->get("op")) + "'");
  }
  auto& started = *operation;
  stream->operation = std::move(operation);
  streams_[id] = std::move(stream);
  started.start();
}

void Connection::handle_data(Stream& stream, const AgentFrame& frame) {
  auto content = frame.channel();
  if (!content) return fail(frame.stream, "protocol", "a data frame without a channel");
  auto [channel, bytes] = *content;
  if (bytes.size() > proto::agent_data_limit)
    return fail(frame.stream, "protocol", "a data frame of more than 64 KiB");
  if (bytes.size() > stream.allowance)
    return fail(frame.stream, "protocol", "data overruns the stream's window");
  if (channel != proto::agent_input || stream.input_ended)
    return fail(frame.stream, "protocol", "data on a channel that takes none");
  stream.allowance -= bytes.size();
  stream.operation->on_data(channel, bytes);
}

void Connection::end_input(Stream& stream, const AgentFrame& frame) {
  auto content = frame.channel();
  if (!content || content->first != proto::agent_input)
    return fail(frame.stream, "protocol", "the end of a channel that takes no data");
  if (!std::exchange(stream.input_ended, true)) stream.operation->on_end(content->first);
}

void Connection::handle_event(Stream& stream, const AgentFrame& frame) {
  auto fields = AgentFields::decode(frame.payload);
  if (!fields) return fail(frame.stream, "protocol", "the fields of an event frame are cut off");
  stream.operation->on_event(*fields);
}

void Connection::add_credit(Stream& stream, const AgentFrame& frame) {
  auto credit = frame.credit();
  if (!credit) return fail(frame.stream, "protocol", "a window frame is not four bytes long");
  const bool starved = !stream.has_credit();
  stream.add_credit(*credit);
  if (starved) stream.wait_for_room();
}

void Connection::fail(std::uint32_t stream, std::string_view kind, std::string_view text) {
  auto found = streams_.find(stream);
  if (found != streams_.end() && !found->second->over()) return found->second->error(kind, text);
  send(proto::agent_frame(AgentFrameType::error, stream,
                          AgentFields{{"kind", kind}, {"text", text}}.encode()));
}

// Their operations were the callers when they ended. What they leave behind is cleared away before
// the host hears of their end.
void Connection::bury_ended() {
  for (auto id : std::exchange(ended_, {})) {
    auto found = streams_.find(id);
    if (found != streams_.end() && found->second->over()) streams_.erase(found);
  }
}

void Connection::end_session() {
  hungry_.clear();
  turn_ = 0;
  auto gone = std::exchange(streams_, {});  // their ends may look at streams_
  gone.clear();
}

void Connection::send(std::string_view frame) {
  outbox_ += frame;
  flush_soon();
}

// Without a copy if the host takes it at once; what it does not take waits its turn.
void Connection::send_data(std::string_view head, std::string_view bytes) {
  const char* frame = framed_in_place(head, bytes);
  if (!frame || blocked_ || closed_ || sent_ < outbox_.size()) {
    send(head);
    return send(bytes);
  }
  std::string_view whole(frame, head.size() + bytes.size());
  const auto taken = write_now(whole);
  if (!closed_ && taken < whole.size()) send(whole.substr(taken));
}

// How many of the bytes the host takes at once.
std::size_t Connection::write_now(std::string_view bytes) {
  const auto taken = write_all(out_, bytes);
  if (taken < bytes.size() && errno != EAGAIN) close(errno);
  return taken;
}

void Connection::flush_soon() {
  if (std::exchange(flush_planned_, true)) return;
  services_.loop.later([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    flush_planned_ = false;
    flush();
  });
}

void Connection::flush() {
  // Streams take their turns as soon as there is room, so that a fast reader never waits for us.
  for (int rounds = 0; rounds < 16 && !closed_; ++rounds) {
    bury_ended();
    sent_ += write_now(std::string_view(outbox_).substr(sent_));
    if (closed_) return;
    blocked_ = sent_ < outbox_.size();
    if (sent_ == outbox_.size() || sent_ > outbox_limit / 2)
      outbox_.erase(0, std::exchange(sent_, 0));
    if (outbox_.empty() && outbox_.capacity() > 2 * outbox_limit) outbox_ = std::string();
    if (hungry_.empty() || outbox_.size() - sent_ > outbox_limit / 2) break;
    give_turns();
  }
  if (!closed_ && !blocked_ && (sent_ < outbox_.size() || !hungry_.empty())) flush_soon();
  update_watch();
}

void Connection::give_turns() {
  for (auto count = hungry_.size(); count > 0 && !hungry_.empty(); --count) {
    if (outbox_.size() - sent_ >= outbox_limit) return;
    const auto id = hungry_.front();
    hungry_.pop_front();
    auto found = streams_.find(id);
    if (found == streams_.end() || found->second->over()) continue;
    turn_ = id;
    found->second->take_turn();
    turn_ = 0;
  }
}

void Connection::update_watch() {
  if (closed_) return;
  const bool full = outbox_.size() - sent_ > outbox_full;
  const std::uint32_t out = blocked_ ? EPOLLOUT : 0u;
  const std::uint32_t wanted = (full ? 0u : EPOLLIN) | (in_ == out_ ? out : 0u);
  if (wanted != watched_) services_.loop.change(in_, watched_ = wanted);
  if (in_ != out_) services_.loop.change(out_, out);
}

void Connection::close(int error) {
  if (std::exchange(closed_, true)) return;
  services_.loop.forget(in_);
  if (out_ != in_) services_.loop.forget(out_);
  services_.loop.later([this, error, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    end_session();
    auto callback = std::move(closed_callback_);
    callback(error);  // destroys this
  });
}

}  // namespace attest::agent
