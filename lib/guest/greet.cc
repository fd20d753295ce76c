// Who is in the machine: what comes first on its channels decides which Guest serves.
#include "lib/async/event.h"
#include "lib/base/text.h"
#include "lib/guest/agent_binary.h"
#include "lib/guest/agent_start.h"
#include "lib/guest/booted_guest.h"
#include "lib/guest/shell_guest.h"
#include "lib/guest/span.h"

#include <utility>

namespace attest::guest {
namespace {

using Kind = Error::Kind;

constexpr std::size_t noise_limit = 4096;  // what is kept of bytes before a greeting

// Listens until a greeting has come; later, if nobody takes the stream, reads on and forgets: a
// channel that nobody reads loses what the guest says, or stops the guest.
struct Listener {
  enum class Heard { nothing, agent, shell, end };

  Listener(asio::any_io_executor loop, std::unique_ptr<Stream> heard_on)
      : stream(std::move(heard_on)), changed(loop) {}

  static Task<void> listen(std::shared_ptr<Listener> self) {
    std::vector<char> buffer(64 << 10);
    try {
      while (auto count = co_await self->stream->read_some(buffer)) {
        self->take({buffer.data(), count});
        if (self->heard != Heard::nothing) break;
      }
    } catch (const std::exception& error) {
      self->failure = error.what();
    }
    if (self->heard == Heard::nothing) self->heard = Heard::end;
    self->changed.pulse();
  }
  static Task<void> drain(std::shared_ptr<Listener> self) {
    std::vector<char> buffer(64 << 10);
    while (co_await self->stream->read_some(buffer) != 0) {
    }
  }

  void take(std::string_view bytes) {
    if (drained) return;
    const auto from = text.size() - std::min(text.size(), noise_limit);
    text += bytes;
    auto shell = text.find(proto::shell_banner, from);
    auto agent = text.find("ATTEST-AGENT/", from);
    if (agent != text.npos && text.find('\n', agent) == text.npos) agent = text.npos;
    if (shell == text.npos && agent == text.npos) {
      if (text.size() > 2 * noise_limit) text.erase(0, text.size() - noise_limit);
      return;
    }
    heard = shell < agent ? Heard::shell : Heard::agent;
  }

  std::unique_ptr<Stream> stream;
  async::Event changed;
  Heard heard = Heard::nothing;
  std::string text, failure;
  bool drained = false;
};

// Gives what was heard already, then the rest.
class Replay final : public Stream {
 public:
  Replay(std::string heard, std::unique_ptr<Stream> rest)
      : heard_(std::move(heard)), rest_(std::move(rest)) {}
  Task<std::size_t> read_some(std::span<char> buffer) override {
    if (heard_.empty()) co_return co_await rest_->read_some(buffer);
    const auto count = std::min(buffer.size(), heard_.size());
    std::copy_n(heard_.begin(), count, buffer.begin());
    heard_.erase(0, count);
    co_return count;
  }
  Task<void> write_all(std::string_view bytes) override { return rest_->write_all(bytes); }
  void close() noexcept override { rest_->close(); }

 private:
  std::string heard_;
  std::unique_ptr<Stream> rest_;
};

// An agent on a port of its own, beside a channel that only has to be read.
class PortGuest final : public AgentGuest {
 public:
  PortGuest(std::shared_ptr<proto::Agent> agent, std::shared_ptr<Listener> beside)
      : AgentGuest(std::move(agent)), beside_(std::move(beside)) {}
  ~PortGuest() override { beside_->stream->close(); }

 private:
  std::shared_ptr<Listener> beside_;
};

// Ends what reads the channels when greet() unwinds without having given them to a guest.
struct Channels {
  std::shared_ptr<Listener> listener;
  std::shared_ptr<proto::Agent> port;
  bool given = false;
  Channels() = default;
  Channels(const Channels&) = delete;
  Channels& operator=(const Channels&) = delete;
  ~Channels() {
    if (given) return;
    if (listener && listener->stream) listener->stream->close();
    if (port) port->close();
  }
};

Task<void> tell(std::shared_ptr<proto::Agent> port, std::shared_ptr<Listener> listener,
                Deadline deadline) {
  co_await port->wait_greeted(deadline);
  listener->changed.pulse();
}

// Returns at a greeting on one of the two, at the stream's end, or at the deadline.
Task<void> first_words(std::shared_ptr<proto::Agent> port, std::shared_ptr<Listener> listener,
                       Deadline deadline) {
  auto loop = co_await asio::this_coro::executor;
  asio::co_spawn(loop, Listener::listen(listener), [](std::exception_ptr) {});
  // An agent that never greets there is no failure: the other channel decides then.
  if (port) asio::co_spawn(loop, tell(port, listener, deadline), [](std::exception_ptr) {});
  asio::steady_timer timer(loop, deadline.at());
  timer.async_wait([listener](boost::system::error_code failure) {
    if (!failure) listener->changed.pulse();
  });
  while (listener->heard == Listener::Heard::nothing && !(port && port->greeted()) &&
         !deadline.passed())
    co_await listener->changed.next();
}

Error silence(const Listener& listener, const std::string& span) {
  Error error(Kind::timeout, "the guest did not greet within " + span);
  if (listener.text.empty())
    error.during("waiting for its shell; not a byte came on its channel");
  else
    error.attach("what came on its channel instead", base::last_lines(listener.text, 20));
  return error.during("waiting for the greeting of the guest's shell");
}

}  // namespace

Task<std::unique_ptr<Guest>> greet(std::unique_ptr<Stream> stream, Bootstrap bootstrap,
                                   Deadline deadline) {
  const auto loop = co_await asio::this_coro::executor;
  const auto span = span_words(deadline);
  Channels channels;
  auto listener = channels.listener = std::make_shared<Listener>(loop, std::move(stream));
  if (bootstrap.port)
    channels.port = std::make_shared<proto::Agent>(loop, std::move(bootstrap.port));
  auto port = channels.port;
  co_await first_words(port, listener, deadline);

  using Heard = Listener::Heard;
  if (port && port->greeted()) {
    listener->drained = true;
    if (listener->heard != Heard::nothing && listener->heard != Heard::end)
      asio::co_spawn(loop, Listener::drain(listener), [](std::exception_ptr) {});
    channels.given = true;
    co_return std::make_unique<PortGuest>(port, listener);
  }
  if (listener->heard == Heard::nothing) throw silence(*listener, span);
  if (listener->heard == Heard::end)
    throw Error(Kind::guest, "before the guest greeted, the connection to the guest ended" +
                                 (listener->failure.empty() ? "" : ": " + listener->failure));
  auto replay = std::make_unique<Replay>(std::move(listener->text), std::move(listener->stream));
  if (listener->heard == Heard::agent) {
    auto agent = std::make_shared<proto::Agent>(loop, std::move(replay));
    auto guest = std::make_unique<AgentGuest>(agent);
    co_await agent->wait_greeted(deadline);
    co_return guest;
  }
  auto channel = std::make_shared<ShellChannel>(loop, std::move(replay));
  channel->start();
  auto shell = std::make_unique<ShellGuest>(channel, bootstrap.files);
  try {
    co_await channel->wait_ready(deadline);
  } catch (Error& error) {
    if (error.kind() == Kind::host)
      throw Error(Kind::guest, std::string("before the guest greeted, ") + error.what());
    error.during("waiting for the greeting of the guest's shell");
    throw;
  }
  if (!port) co_return shell;
  AgentStart start;
  start.binary = agent_binary();
  start.shared_dir = bootstrap.shared_dir;
  auto reason = co_await start_agent(*shell, *port, start, deadline);
  if (!reason.empty()) {
    shell->add_notice("attest-agent could not be started in the guest (" + reason +
                      "): commands go over the shell, slower");
    co_return shell;
  }
  channels.given = true;
  co_return std::make_unique<BootedGuest>(port, std::move(shell), start);
}

}  // namespace attest::guest
