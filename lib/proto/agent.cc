#include "lib/proto/agent.h"

#include "lib/async/event.h"
#include "lib/async/within.h"
#include "lib/base/text.h"
#include "lib/proto/agent_state.h"

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
    self->decoder.feed(std::string_view(self->tail).substr(self->tail.rfind("ATTEST-AGENT/")));
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
  tail.clear();  // this greeting is taken
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
