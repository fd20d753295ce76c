// One operation of Agent: what has come, what may be sent.
#include "lib/base/text.h"
#include "lib/proto/agent_state.h"

#include <algorithm>
#include <utility>

namespace attest::proto {
namespace {

using Kind = Error::Kind;

Kind kind_of(std::string_view word) {
  if (word == "usage") return Kind::usage;
  if (word == "unsupported") return Kind::unsupported;
  if (word == "timeout") return Kind::timeout;
  if (word == "host") return Kind::host;
  if (word == "protocol") return Kind::protocol;
  return Kind::guest;
}

}  // namespace

Error error_of(const AgentFrame& frame) {
  auto fields = AgentFields::decode(frame.payload);
  if (!fields || !fields->has("text"))
    return Error(Kind::protocol, "attest-agent sent an error without a text");
  return Error(kind_of(fields->get("kind")), base::printable(fields->get("text")));
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
    if (self->taken >= self->whole_window / 4 && !self->is_over) {
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

void AgentStream::widen(std::size_t bytes) {
  state_->whole_window += bytes;
  state_->receive_window += bytes;
  state_->agent->send(agent_window_frame(state_->id, static_cast<std::uint32_t>(bytes)));
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
      std::size_t untaken = state_->whole_window - state_->receive_window;
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

}  // namespace attest::proto
