#include "lib/guest/shell_channel.h"

#include "lib/async/within.h"
#include "lib/base/text.h"
#include "lib/guest/span.h"

#include <boost/system/system_error.hpp>

#include <vector>

namespace attest::guest {
namespace {

using namespace std::chrono_literals;
using Kind = Error::Kind;

constexpr auto grace = 2s;       // from SIGTERM to SIGKILL
constexpr auto patience = 5s;    // for answers of the resident shell, which is never busy
constexpr auto stall = 3s;       // a reply that pauses so long has lost its end
constexpr int absent_limit = 3;  // checks without the command before its reply counts as lost

Task<void> next(async::Event& event) { co_await event.next(); }

// Returns at the event's next pulse or at the deadline.
Task<void> pulse_or(Deadline deadline, async::Event& event) {
  try {
    co_await async::within(deadline, "waiting for the guest's shell", next(event));
  } catch (const Error& error) {
    if (error.kind() != Kind::timeout) throw;
  }
}

Error restarted() {
  return Error(Kind::guest, "the guest's shell restarted; what it ran is gone")
      .hint("a reboot, or something that killed the backdoor shell; see the console log");
}

}  // namespace

ShellChannel::ShellChannel(asio::any_io_executor loop, std::unique_ptr<Stream> stream)
    : loop_(loop), stream_(std::move(stream)), outgoing_(loop), changed_(loop) {}

void ShellChannel::start() {
  // Both report their failures through stop(); nothing is left to be thrown here.
  asio::co_spawn(loop_, read(shared_from_this()), [](std::exception_ptr) {});
  asio::co_spawn(loop_, write(shared_from_this()), [](std::exception_ptr) {});
}

void ShellChannel::close() noexcept {
  stream_->close();
  try {
    stop(Error(Kind::host, "the connection to the guest was closed"));
  } catch (...) {  // out of memory: the runs then end at their deadlines
  }
}

Task<void> ShellChannel::read(std::shared_ptr<ShellChannel> self) {
  Error failure(Kind::host, "the connection to the guest ended");
  try {
    std::vector<char> buffer(64 << 10);
    while (auto count = co_await self->stream_->read_some(buffer)) {
      self->stalls_at_ = Deadline::after(stall);
      self->decoder_.feed({buffer.data(), count});
      while (auto event = self->decoder_.next()) self->handle(std::move(*event));
    }
  } catch (const Error& error) {
    failure = error;
  } catch (const std::exception& error) {
    failure = Error(Kind::host, std::string("the connection to the guest ended: ") + error.what());
  }
  self->stop(std::move(failure));
}

// Lines are sent from here only, so that a cancelled run never leaves half a line behind.
Task<void> ShellChannel::write(std::shared_ptr<ShellChannel> self) {
  std::optional<Error> failure;
  try {
    while (self->state_ != State::ended) {
      if (self->outbox_.empty()) {
        co_await self->outgoing_.next();
        continue;
      }
      std::string text = std::move(self->outbox_.front());
      self->outbox_.pop_front();
      co_await self->stream_->write_all(text);
    }
  } catch (const Error& error) {
    failure = error;
  } catch (const std::exception& error) {
    failure = Error(Kind::host, std::string("the connection to the guest ended: ") + error.what());
  }
  if (failure) self->stop(std::move(*failure));
}

void ShellChannel::send(std::string text) {
  outbox_.push_back(std::move(text));
  outgoing_.pulse();
}

Task<void> ShellChannel::wait_ready(Deadline deadline) {
  auto self = shared_from_this();
  const auto span = span_words(deadline);
  for (;;) {
    if (state_ == State::ended) throw *ended_with_;
    if (state_ == State::ready && !suspect_ && busy_.size() < slots) co_return;
    if (deadline.passed()) break;
    if (state_ == State::ready && suspect_) {
      suspect_ = !co_await pong(deadline);
      continue;
    }
    co_await pulse_or(deadline, changed_);
  }
  if (state_ == State::ready && suspect_)
    throw Error(Kind::timeout, "the guest's shell does not answer")
        .hint("the machine may hang or be starved of CPU; see its console log");
  if (state_ == State::ready)
    throw Error(Kind::timeout, "all " + std::to_string(slots) +
                                   " commands that can run at the same "
                                   "time in one machine were under way for " +
                                   span);
  Error error(Kind::timeout, state_ == State::silent
                                 ? "the guest did not greet within " + span
                                 : "the guest's shell greeted but did not answer within " + span);
  if (decoder_.skipped().empty())
    error.during("waiting for its shell; not a byte came on its channel");
  else
    error.attach("what came on its channel instead", base::last_lines(decoder_.skipped(), 20));
  throw error;
}

Task<bool> ShellChannel::pong(Deadline deadline) {
  const auto id = next_id_++;
  while (!pongs_.contains(id) && state_ == State::ready && !deadline.passed()) {
    send(proto::shell_ping(id));
    auto again = Deadline::after(2s).earlier(deadline);
    while (!pongs_.contains(id) && state_ == State::ready && !again.passed())
      co_await pulse_or(again, changed_);
  }
  co_return pongs_.erase(id) > 0;
}

std::shared_ptr<ShellRun> ShellChannel::begin(std::string_view text) {
  unsigned slot = 0;
  while (busy_.contains(slot)) ++slot;
  auto line = proto::shell_command(slot, next_id_, text);
  auto run = std::make_shared<ShellRun>(loop_, next_id_++, slot);
  busy_.insert(slot);
  runs_.emplace(run->id, run);
  if (kind_ == proto::ShellKind::bash && started_.insert(slot).second)
    send(proto::shell_start(slot));
  send(std::move(line));
  return run;
}

std::shared_ptr<ShellRun> ShellChannel::begin_input(std::string_view file, std::string_view bytes) {
  // No executor runs it: the slot is one that there is not.
  auto run = std::make_shared<ShellRun>(loop_, next_id_++, slots);
  runs_.emplace(run->id, run);
  send(proto::shell_input(run->id, file, bytes));
  return run;
}

Task<void> ShellChannel::wait_banner(std::uint64_t seen, Deadline deadline) {
  auto self = shared_from_this();
  while (banners_ <= seen) {
    if (state_ == State::ended) throw *ended_with_;
    if (deadline.passed()) throw Error(Kind::timeout, "the guest did not greet again in time");
    co_await pulse_or(deadline, changed_);
  }
  co_await wait_ready(deadline);
}

Task<void> ShellChannel::wait_ended(std::shared_ptr<ShellRun> run, Deadline deadline) {
  while (!run->ended() && !deadline.passed()) co_await pulse_or(deadline, run->changed);
}

void ShellChannel::end(std::shared_ptr<ShellRun> run) {
  if (std::exchange(run->ending, true) || run->ended()) return;
  asio::co_spawn(loop_, end_in_guest(shared_from_this(), std::move(run)),
                 [](std::exception_ptr) {});
}

Task<void> ShellChannel::end_in_guest(std::shared_ptr<ShellChannel> self,
                                      std::shared_ptr<ShellRun> run) {
  // Until this returns the slot stays taken, so that no signal hits the command after it.
  const auto term = Deadline::after(grace);
  self->send(proto::shell_kill(run->slot, run->id, "TERM"));
  co_await wait_ended(run, term);
  // The leader may be gone and others of its group not: the rest of the grace is theirs.
  asio::steady_timer timer(self->loop_, term.at());
  co_await timer.async_wait(asio::use_awaitable);
  self->send(proto::shell_kill(run->slot, run->id, "KILL"));
  const auto give_up = Deadline::after(patience);
  while (!run->ended() && !give_up.passed() && self->runs_.contains(run->id)) {
    co_await wait_ended(run, Deadline::after(1s).earlier(give_up));
    if (run->ended()) break;
    self->check(*run);
    self->send(proto::shell_kill(run->slot, run->id, "KILL"));
  }
  run->ending = false;
  if (run->ended()) {
    self->forget(run->id);
    co_return;
  }
  bool alive = co_await self->pong(Deadline::after(patience));
  if (run->ended()) co_return;
  self->suspect_ = !alive;
  run->failure = alive
                     ? Error(Kind::timeout, "the command cannot be killed, or its reply was lost")
                     : Error(Kind::timeout, "the guest's shell does not answer")
                           .hint("the machine may hang or be starved of CPU; see its console log");
  run->changed.pulse();
}

void ShellChannel::check(const ShellRun& run) {
  if (state_ != State::ready) return;
  if (decoder_.unfinished() && stalls_at_.passed()) {
    if (auto event = decoder_.give_up_unfinished()) handle(std::move(*event));
    while (auto event = decoder_.next()) handle(std::move(*event));
  }
  if (!run.ended()) send(proto::shell_check(run.slot, run.id));
}

void ShellChannel::handle(proto::ShellEvent event) {
  if (std::holds_alternative<proto::ShellBanner>(event)) on_banner();
  if (auto* hello = std::get_if<proto::ShellHello>(&event)) on_hello(*hello);
  if (auto* frame = std::get_if<proto::ShellFrame>(&event)) on_frame(std::move(*frame));
  if (auto* damage = std::get_if<proto::ShellDamage>(&event)) on_damage(*damage);
}

void ShellChannel::on_banner() {
  ++banners_;
  fail_all(restarted());
  outbox_.clear();
  suspect_ = false;
  nonce_ = base::random_hex(8);
  decoder_.set_nonce(nonce_);
  state_ = State::greeted;
  send(proto::shell_probe(nonce_));
  changed_.pulse();
}

void ShellChannel::on_hello(const proto::ShellHello& hello) {
  if (state_ != State::greeted) return;
  kind_ = hello.bash_version.empty() ? proto::ShellKind::posix : proto::ShellKind::bash;
  state_ = State::probed;
  send(proto::shell_bootstrap(kind_, nonce_));
}

void ShellChannel::on_frame(proto::ShellFrame frame) {
  using Frame = proto::ShellFrame::Kind;
  if (frame.kind == Frame::booted) {
    if (frame.code != 0) {
      stop(Error(Kind::guest, "the guest has no directory that its root shell can write to")
               .hint("one of /run, /dev/shm and /tmp must be writable"));
      return;
    }
    if (state_ != State::probed) return;
    state_ = State::ready;
    // The first executor mounts its tmpfs while the host is still on its way to a command.
    if (kind_ == proto::ShellKind::bash && started_.insert(0).second) send(proto::shell_start(0));
    changed_.pulse();
    return;
  }
  if (frame.kind == Frame::pong) {
    pongs_.insert(frame.id);
    changed_.pulse();
    return;
  }
  if (frame.kind == Frame::status) return on_status(frame);
  auto found = runs_.find(frame.id);
  if (found == runs_.end()) return;  // the reply to a run that has been given up
  auto run = found->second;
  if (frame.kind == Frame::full)
    for (auto& [id, other] : runs_) other->spoiled = true;
  if (frame.kind == Frame::refused)
    run->failure =
        Error(Kind::protocol, "the command was damaged on its way to the guest; it did not run");
  else if (!run->failure)
    run->frame = std::move(frame);
  run->changed.pulse();
  forget(run->id);
}

void ShellChannel::on_status(const proto::ShellFrame& frame) {
  auto found = runs_.find(frame.id);
  if (found == runs_.end()) return;
  auto run = found->second;
  if (frame.code == 0) {
    run->absent = 0;
    return;
  }
  if (frame.code == 2) {
    started_.erase(run->slot);
    run->failure = Error(Kind::guest, "the shell that waited for the command was killed");
  } else if (++run->absent >= absent_limit) {
    run->failure =
        Error(Kind::protocol, "the reply to the command was lost on its way from the guest");
  } else {
    return;
  }
  run->changed.pulse();
  forget(run->id);
}

void ShellChannel::on_damage(const proto::ShellDamage& damage) {
  if (!damage.id) return;  // whose it was shows at the next check
  auto found = runs_.find(*damage.id);
  if (found == runs_.end()) return;
  auto run = found->second;
  run->failure = Error(Kind::protocol, "the reply to the command was damaged: " + damage.what)
                     .hint("the command has run; its output is lost");
  run->changed.pulse();
  forget(run->id);
}

// The guest is through with it: its slot is free, unless end_in_guest() still has signals to send.
void ShellChannel::forget(std::uint64_t id) {
  auto found = runs_.find(id);
  if (found == runs_.end() || found->second->ending) return;
  busy_.erase(found->second->slot);
  runs_.erase(found);
  changed_.pulse();
}

void ShellChannel::fail_all(const Error& failure) {
  auto runs = std::exchange(runs_, {});
  busy_.clear();
  started_.clear();
  for (auto& [id, run] : runs) {
    if (!run->ended()) run->failure = failure;
    run->changed.pulse();
  }
}

void ShellChannel::stop(Error failure) {
  if (state_ == State::ended) return;
  state_ = State::ended;
  ended_with_ = failure;
  fail_all(failure);
  changed_.pulse();
  outgoing_.pulse();
}

}  // namespace attest::guest
