#include "lib/proto/agent.h"

#include "lib/async/event.h"
#include "lib/async/within.h"
#include "lib/base/text.h"
#include "lib/proto/agent_state.h"

#include <array>
#include <utility>

namespace attest::proto {
namespace {

using namespace std::chrono_literals;
using Kind = Error::Kind;

constexpr auto silence = 200ms;  // after a greeting: proof that it is one (PROTOCOL.md)
constexpr auto ping_patience = 1s;
constexpr std::size_t tail_size = 512;  // longer than any greeting

Error restarted() {
  return Error(Kind::guest, "the guest restarted; what it ran is gone")
      .hint("a reboot, or something that killed attest-agent; see the console log");
}

Kind kind_of(std::string_view word) {
  if (word == "usage") return Kind::usage;
  if (word == "unsupported") return Kind::unsupported;
  if (word == "timeout") return Kind::timeout;
  if (word == "host") return Kind::host;
  if (word == "protocol") return Kind::protocol;
  return Kind::guest;
}

Error error_of(const AgentFrame& frame) {
  auto fields = AgentFields::decode(frame.payload);
  if (!fields || !fields->has("text"))
    return Error(Kind::protocol, "attest-agent sent an error without a text");
  return Error(kind_of(fields->get("kind")), base::printable(fields->get("text")));
}

}  // namespace

Task<void> Agent::State::read(std::shared_ptr<State> self) {
  Error failure(Kind::host, "the connection to the guest ended");
  try {
    std::vector<char> buffer(128 << 10);
    while (auto count = co_await self->stream->read_some(buffer))
      self->take({buffer.data(), count});
  } catch (const Error& error) {
    failure = error;
  } catch (const std::exception& error) {
    failure = Error(Kind::host, std::string("the connection to the guest ended: ") + error.what());
  }
  self->stop(failure);
}

Task<void> Agent::State::write(std::shared_ptr<State> self) {
  std::optional<Error> failure;
  try {
    std::string sending;
    while (!self->ended) {
      if (self->outbox.empty()) {
        co_await self->outgoing.next();
        continue;
      }
      sending.clear();
      std::swap(sending, self->outbox);
      self->drained.pulse();
      co_await self->stream->write_all(sending);
    }
  } catch (const Error& error) {
    failure = error;
  } catch (const std::exception& error) {
    failure = Error(Kind::host, std::string("the connection to the guest ended: ") + error.what());
  }
  if (failure) self->stop(*failure);
}

// Decides what bytes mean that end with a greeting, or that are no frames, once nothing has
// followed them for a while. A frame that was cut off by a reboot may have swallowed the greeting's
// begin.
Task<void> Agent::State::judge(std::shared_ptr<State> self, std::uint64_t reads) {
  asio::steady_timer timer(self->loop, silence);
  co_await timer.async_wait(asio::use_awaitable);
  if (self->ended || self->reads != reads) co_return;
  if (self->decoder.restarted()) {
    self->decoder.restart();
    co_return self->begin_anew();
  }
  const bool broken = !self->decoder.broken().empty();
  if (self->greeting_at_end()) {
    // What a command printed can look like this, too: then the agent answers a ping.
    if (!broken) {
      self->send(
          agent_frame(AgentFrameType::ping, 0, agent_window_frame(0, ++self->pings).substr(9)));
      timer.expires_after(ping_patience);
      co_await timer.async_wait(asio::use_awaitable);
      if (self->ended || self->reads != reads) co_return;
    }
    self->decoder = AgentDecoder(AgentDecoder::Expect::greeting);
    self->decoder.feed(self->tail);
    co_return self->begin_anew();
  }
  if (!broken) co_return;
  self->lost = Error(Kind::protocol, "attest-agent broke its protocol: " + self->decoder.broken());
  self->fail_all(*self->lost);
  self->decoder.start_over();
  self->welcomed = false;
  self->changed.pulse();
}

bool Agent::State::greeting_at_end() const {
  auto at = tail.rfind("ATTEST-AGENT/");
  if (at == std::string::npos || tail.find('\n', at) != tail.size() - 1) return false;
  AgentDecoder line(AgentDecoder::Expect::greeting);
  line.feed(std::string_view(tail).substr(at));
  return line.greeted();
}

void Agent::State::begin_anew() {
  fail_all(restarted());
  outbox.clear();
  welcomed = false;
  ++restarts;
  take({});
}

void Agent::State::take(std::string_view bytes) {
  ++reads;
  tail.append(bytes.substr(bytes.size() - std::min(bytes.size(), tail_size)));
  if (tail.size() > tail_size) tail.erase(0, tail.size() - tail_size);
  decoder.feed(bytes);
  if (!welcomed && decoder.greeted()) welcome();
  while (auto frame = decoder.next()) on_frame(*frame);
  if (decoder.begins_anew()) {
    decoder.restart();
    return begin_anew();
  }
  if (!welcomed || bytes.empty()) return;
  if (decoder.restarted() || !decoder.broken().empty() || greeting_at_end())
    asio::co_spawn(loop, judge(shared_from_this(), reads), [](std::exception_ptr) {});
}

void Agent::State::welcome() {
  welcomed = true;
  lost.reset();
  if (!decoder.broken().empty()) {
    lost = Error(Kind::protocol, decoder.broken());
    fail_all(*lost);
  } else {
    outbox = agent_hello(base::random_hex(8)) + outbox;
    outgoing.pulse();
  }
  changed.pulse();
}

void Agent::State::on_frame(const AgentFrame& frame) {
  using Type = AgentFrameType;
  if (frame.is(Type::ping)) {
    // A flood of them must not fill our memory; who floods gets no answers.
    if (outbox.size() < agent_window) send(agent_frame(Type::pong, frame.stream, frame.payload));
    return;
  }
  if (frame.is(Type::pong)) {
    pongs = std::max(pongs, AgentFrame(frame).credit().value_or(0));
    changed.pulse();
    return;
  }
  if (frame.stream == 0) {
    if (!frame.is(Type::error)) return;
    fail_all(error_of(frame).during("talking to attest-agent"));
    send(agent_hello(base::random_hex(8)));  // it has ended all streams and waits for this
    return;
  }
  auto found = streams.find(frame.stream);
  if (found == streams.end()) return;  // it is over; this has crossed its end
  auto one = found->second;
  const bool last = frame.is(Type::done) || frame.is(Type::error);
  if (last) streams.erase(found);
  if (one->abandoned) {
    // Its data must go on flowing, or its last frame would never come.
    if (frame.is(Type::data) && frame.payload.size() > 1)
      send(agent_window_frame(frame.stream, static_cast<std::uint32_t>(frame.payload.size() - 1)));
    return;
  }
  one->on_frame(frame);
}

void Agent::State::send(std::string_view bytes) {
  if (ended) return;
  outbox += bytes;
  outgoing.pulse();
}

void Agent::State::fail_all(const Error& failure) {
  auto all = std::exchange(streams, {});
  for (auto& [id, one] : all) one->fail(failure);
}

void Agent::State::stop(const Error& failure) {
  if (ended) return;
  ended = failure;
  fail_all(failure);
  changed.pulse();
  outgoing.pulse();
  drained.pulse();
}

void AgentStream::State::on_frame(const AgentFrame& frame) {
  using Type = AgentFrameType;
  auto broken = [&](const std::string& what) {
    agent->send(agent_frame(Type::cancel, id));
    abandoned = true;  // what still comes is swallowed
    fail(Error(Kind::protocol, "attest-agent broke its protocol: " + what));
  };
  if (frame.is(Type::window)) {
    send_window += frame.credit().value_or(0);
    can_write.pulse();
    return;
  }
  if (frame.is(Type::data)) {
    auto part = frame.channel();
    if (!part) return broken("data without a channel");
    if (part->second.size() > receive_window) return broken("more data than its window allows");
    receive_window -= part->second.size();
    news.emplace_back(AgentData{part->first, std::string(part->second)});
  } else if (frame.is(Type::end)) {
    auto part = frame.channel();
    if (!part) return broken("an end without a channel");
    news.emplace_back(AgentEnd{part->first});
  } else if (frame.is(Type::event) || frame.is(Type::done)) {
    auto fields = AgentFields::decode(frame.payload);
    if (!fields) return broken("fields that are none");
    if (frame.is(Type::event)) {
      waiting_bytes += frame.payload.size();
      news.emplace_back(AgentEvent{*std::move(fields)});
    } else {
      is_over = true;
      done = *std::move(fields);
    }
  } else if (frame.is(Type::error)) {
    refused = true;
    return fail(error_of(frame));
  }
  // Data is bounded by its window; this bounds the rest.
  if (news.size() > most_news || waiting_bytes > most_waiting) return broken("a flood of events");
  wake();
}

void AgentStream::State::fail(const Error& error) {
  if (is_over) return;
  is_over = true;
  failure = error;
  wake();
}

void AgentStream::State::wake() {
  can_read.cancel();
  can_write.pulse();
}

Task<std::optional<AgentNews>> AgentStream::next(Deadline deadline) {
  auto self = state_;
  while (self->news.empty()) {
    if (self->abandoned && !self->failure)
      throw Error(Kind::host, "the operation in the guest was given up");
    if (self->failure) throw *self->failure;
    if (self->is_over) {
      AgentNews last = AgentDone{self->done};
      co_return std::optional<AgentNews>(std::move(last));
    }
    if (deadline.passed()) co_return std::nullopt;
    self->can_read.expires_at(deadline.at());
    co_await self->can_read.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  std::optional<AgentNews> first(std::move(self->news.front()));
  self->news.pop_front();
  if (auto* data = std::get_if<AgentData>(&*first)) {
    self->taken += data->bytes.size();
    if (self->taken >= agent_window / 4 && !self->is_over) {
      self->receive_window += self->taken;
      self->agent->send(agent_window_frame(self->id, static_cast<std::uint32_t>(self->taken)));
      self->taken = 0;
    }
  } else if (auto* event = std::get_if<AgentEvent>(&*first)) {
    self->waiting_bytes -= std::min(self->waiting_bytes, event->fields.encode().size());
  }
  co_return first;
}

Task<void> AgentStream::write(std::string_view bytes) {
  auto self = state_;
  while (!bytes.empty()) {
    if (self->failure) throw *self->failure;
    if (self->abandoned) throw Error(Kind::host, "the operation in the guest was given up");
    if (self->is_over) throw Error(Kind::guest, "it has ended and takes no more input");
    if (self->send_window == 0) {
      co_await self->can_write.next();
      continue;
    }
    if (self->agent->outbox.size() >= most_outbox) {
      co_await self->agent->drained.next();
      continue;
    }
    auto count = static_cast<std::size_t>(
        std::min<std::uint64_t>({bytes.size(), agent_data_limit, self->send_window}));
    self->send_window -= count;
    self->agent->outbox += agent_data_head(self->id, agent_input, count);
    self->agent->send(bytes.substr(0, count));
    bytes.remove_prefix(count);
  }
}

void AgentStream::end() {
  if (!over()) state_->agent->send(agent_end(state_->id, agent_input));
}

void AgentStream::event(const AgentFields& fields) {
  if (!over()) state_->agent->send(agent_frame(AgentFrameType::event, state_->id, fields.encode()));
}

void AgentStream::cancel() {
  if (!over()) state_->agent->send(agent_frame(AgentFrameType::cancel, state_->id));
}

void AgentStream::abandon() noexcept {
  if (std::exchange(state_->abandoned, true)) return;
  try {
    if (!state_->is_over) {
      cancel();
      // Data that was not taken has used the window up: the agent may wait for more of it.
      std::size_t untaken = agent_window - state_->receive_window;
      if (untaken > 0)
        state_->agent->send(agent_window_frame(state_->id, static_cast<std::uint32_t>(untaken)));
    }
    state_->news.clear();
    state_->wake();
  } catch (...) {  // out of memory: the agent then ends it with the connection
  }
}

bool AgentStream::over() const noexcept { return state_->is_over; }
bool AgentStream::refused() const noexcept { return state_->refused; }

Agent::Agent(asio::any_io_executor loop, std::unique_ptr<Stream> stream)
    : state_(std::make_shared<State>(loop, std::move(stream))) {
  // Both report their failures through stop(); nothing is left to be thrown here.
  asio::co_spawn(loop, State::read(state_), [](std::exception_ptr) {});
  asio::co_spawn(loop, State::write(state_), [](std::exception_ptr) {});
}

Agent::~Agent() { close(); }

namespace {
// Returns at the next change or at the deadline. The timer's handler may run after this was
// cancelled: it holds what it touches.
template <class State>
Task<void> changed_or(Deadline deadline, std::shared_ptr<State> state) {
  asio::steady_timer timer(state->loop, deadline.at());
  timer.async_wait([state](boost::system::error_code failure) {
    if (!failure) state->changed.pulse();
  });
  co_await state->changed.next();
}
}  // namespace

Task<void> Agent::wait_greeted(Deadline deadline) {
  auto state = state_;
  while (!greeted()) {
    if (state->ended) throw *state->ended;
    if (state->lost && state->welcomed) throw *state->lost;  // another version
    if (deadline.passed()) {
      Error error(Kind::timeout, "attest-agent did not greet in time");
      if (!state->decoder.skipped().empty())
        error.attach("what came on its channel instead",
                     base::last_lines(state->decoder.skipped(), 20));
      throw error;
    }
    co_await changed_or(deadline, state);
  }
}

bool Agent::greeted() const noexcept { return state_->welcomed && !state_->ended && !state_->lost; }

const AgentGreeting& Agent::greeting() const noexcept { return state_->decoder.greeting(); }

std::unique_ptr<AgentStream> Agent::open(const AgentFields& fields) {
  if (state_->ended) throw *state_->ended;
  if (state_->lost) throw *state_->lost;
  if (!state_->welcomed) throw Error(Kind::guest, "attest-agent has not greeted yet");
  auto payload = fields.encode();
  if (payload.size() > agent_frame_limit)
    throw Error(Kind::usage, "a command of " + std::to_string(payload.size()) +
                                 " bytes is too long; at most 4 MiB are possible")
        .hint("write it into a file in the guest first");
  do {
    if (++state_->last_id == 0) ++state_->last_id;
  } while (state_->streams.contains(state_->last_id));
  auto stream = std::make_shared<AgentStream::State>(state_, state_->last_id);
  state_->streams.emplace(stream->id, stream);
  state_->send(agent_frame(AgentFrameType::open, stream->id, payload));
  return std::make_unique<AgentStream>(stream);
}

Task<bool> Agent::answers(Deadline deadline) {
  auto state = state_;
  const auto number = ++state->pings;
  // The four bytes of a window frame's payload serve as the ping's number.
  auto payload = agent_window_frame(0, number).substr(9);
  state->send(agent_frame(AgentFrameType::ping, 0, payload));
  while (state->pongs < number && !state->ended && !deadline.passed())
    co_await changed_or(deadline, state);
  co_return state->pongs >= number;
}

std::uint64_t Agent::restarts() const noexcept { return state_->restarts; }

Task<void> Agent::wait_restarted(std::uint64_t seen, Deadline deadline) {
  auto state = state_;
  while (state->restarts <= seen || !state->welcomed) {
    if (state->ended) throw *state->ended;
    if (deadline.passed()) throw Error(Kind::timeout, "the guest did not greet again in time");
    co_await changed_or(deadline, state);
  }
}

void Agent::lose(const Error& failure) {
  state_->lost = failure;
  state_->welcomed = false;
  state_->decoder = AgentDecoder(AgentDecoder::Expect::greeting);
  state_->outbox.clear();
  state_->fail_all(failure);
  state_->changed.pulse();
}

void Agent::close() noexcept {
  state_->stream->close();
  try {
    state_->stop(Error(Kind::host, "the connection to the guest was closed"));
  } catch (...) {  // out of memory: what is under way then ends at its deadline
  }
}

}  // namespace attest::proto
