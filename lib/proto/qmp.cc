#include "lib/proto/qmp.h"

#include "lib/async/event.h"
#include "lib/async/within.h"
#include "lib/proto/qmp_codec.h"

#include <array>
#include <deque>
#include <map>

namespace attest::proto {
namespace {

constexpr std::size_t most_events = 1024;

Error gone(const std::string& what) {
  return Error(Error::Kind::host,
               "the QMP connection has ended" + (what.empty() ? "" : ": " + what));
}

}  // namespace

struct Qmp::State {
  State(asio::any_io_executor loop, std::unique_ptr<Stream> connected)
      : stream(std::move(connected)), writing(loop), changed(loop), event_came(loop) {}

  void take(QmpMessage message) {
    using Kind = QmpMessage::Kind;
    if (message.kind == Kind::greeting) {
      version = message.name;
    } else if (message.kind == Kind::event) {
      if (events.size() == most_events) {
        events.pop_front();
        ++dropped;
      }
      events.push_back({std::move(message.name), std::move(message.text)});
      event_came.pulse();
      return;
    } else if (message.id) {
      // Replies to nobody (their caller has timed out) are dropped here.
      auto caller = waiting.find(*message.id);
      if (caller != waiting.end()) caller->second = std::move(message);
    } else if (message.kind == Kind::error) {
      // An error without an id answers something that QEMU could not even parse.
      fail("QEMU could not read a command: " + message.text);
      return;
    }
    changed.pulse();
  }

  void fail(const std::string& what) {
    if (ended) return;
    ended = true;
    why = what;
    stream->close();
    changed.pulse();
    event_came.pulse();
  }

  std::unique_ptr<Stream> stream;
  async::Mutex writing;
  async::Event changed, event_came;
  std::string version;
  std::uint64_t last_id = 0;
  std::map<std::uint64_t, std::optional<QmpMessage>> waiting;  // by id; filled when answered
  std::deque<QmpEvent> events;
  std::uint64_t dropped = 0;
  bool ended = false;
  std::string why;

  static Task<void> read(std::shared_ptr<State> self);
  static Task<void> greet(std::shared_ptr<State> self);
  static Task<QmpMessage> ask(std::shared_ptr<State> self, std::string command,
                              std::string arguments);
  static Task<std::optional<QmpEvent>> event(std::shared_ptr<State> self);
};

Task<void> Qmp::State::read(std::shared_ptr<State> self) {
  JsonSplitter splitter;
  std::array<char, 16384> buffer;
  try {
    while (!self->ended) {
      std::size_t count = co_await self->stream->read_some(buffer);
      if (count == 0) break;
      splitter.feed({buffer.data(), count});
      while (auto object = splitter.next()) self->take(parse_qmp(*object));
    }
    self->fail("");
  } catch (const std::exception& broken) {
    self->fail(broken.what());
  }
}

Task<void> Qmp::State::greet(std::shared_ptr<State> self) {
  while (self->version.empty()) {
    if (self->ended) throw gone(self->why);
    co_await self->changed.next();
  }
}

Task<QmpMessage> Qmp::State::ask(std::shared_ptr<State> self, std::string command,
                                 std::string arguments) {
  std::uint64_t id = ++self->last_id;
  std::string bytes = qmp_command(command, arguments, id);
  if (self->ended) throw gone(self->why);

  // Unregisters also when the deadline destroys this coroutine.
  struct Entry {
    State& state;
    std::uint64_t id;
    ~Entry() { state.waiting.erase(id); }
  } entry{*self, id};
  self->waiting[id];
  {
    auto lock = co_await self->writing.lock();
    // A command that was cut off by its deadline leaves half an object: nothing after it can work.
    struct Whole {
      State& state;
      bool done = false;
      ~Whole() {
        if (!done) state.fail("a command was only sent in part");
      }
    } whole{*self};
    co_await self->stream->write_all(bytes);
    whole.done = true;
  }
  while (!self->waiting[id]) {
    if (self->ended) throw gone(self->why);
    co_await self->changed.next();
  }
  co_return std::move(*self->waiting[id]);
}

Task<std::optional<QmpEvent>> Qmp::State::event(std::shared_ptr<State> self) {
  while (self->events.empty()) {
    if (self->ended) co_return std::nullopt;
    co_await self->event_came.next();
  }
  std::optional<QmpEvent> first(std::move(self->events.front()));
  self->events.pop_front();
  co_return first;
}

Qmp::Qmp(asio::any_io_executor loop, std::unique_ptr<Stream> stream)
    : state_(std::make_shared<State>(loop, std::move(stream))) {
  // Nothing is swallowed: read() turns every failure into State::fail.
  asio::co_spawn(loop, State::read(state_), [](std::exception_ptr) {});
}

Qmp::~Qmp() { close(); }

Task<void> Qmp::negotiate(Deadline deadline) {
  auto state = state_;
  co_await async::within(deadline, "waiting for QEMU's QMP greeting", State::greet(state));
  co_await execute("qmp_capabilities", "", deadline);
}

const std::string& Qmp::version() const { return state_->version; }

Task<std::string> Qmp::execute(std::string command, std::string arguments, Deadline deadline) {
  std::string step = "asking QMP for '" + command + "'";
  QmpMessage answer =
      co_await async::within(deadline, step, State::ask(state_, command, arguments));
  if (answer.kind == QmpMessage::Kind::error)
    throw Error(Error::Kind::host,
                "QEMU refused '" + command + "': " + answer.text + " (" + answer.name + ")");
  co_return answer.text;
}

Task<std::optional<QmpEvent>> Qmp::next_event(Deadline deadline) {
  co_return co_await async::within(deadline, "waiting for a QMP event", State::event(state_));
}

std::uint64_t Qmp::dropped_events() const { return state_->dropped; }

void Qmp::close() noexcept { state_->fail("closed"); }

}  // namespace attest::proto
