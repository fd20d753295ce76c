#include "backends/microvm/channel.h"

#include "lib/async/event.h"
#include "lib/async/within.h"

namespace attest::microvm {
namespace {

// Shared with the coroutines under way, which may outlive the Stream by a moment.
struct State {
  State(asio::any_io_executor loop, std::unique_ptr<Stream> first, Connect connector)
      : current(std::move(first)), connect(std::move(connector)), changed(loop), closed(loop) {}

  std::shared_ptr<Stream> current;  ///< null: the next one is awaited
  Connect connect;
  async::Event changed, closed;
  bool over = false;
};
using Shared = std::shared_ptr<State>;

Task<void> ends(Shared state) {
  co_await state->closed.wait();
  throw Error(Error::Kind::host, "the connection to the guest was closed");
}

Task<bool> reconnect(Shared state) {
  try {
    std::shared_ptr<Stream> next = co_await async::unless(ends(state), state->connect());
    state->current = std::move(next);
  } catch (const Error&) {
    state->over = true;  // why is told by wait_gone()
  }
  state->changed.pulse();
  co_return !state->over;
}

Task<std::size_t> read(Shared state, std::span<char> buffer) {
  while (!state->closed.is_set() && !state->over) {
    if (!state->current) {
      bool again = co_await reconnect(state);
      if (!again) break;
    }
    auto current = state->current;
    std::size_t count = 0;
    try {
      count = co_await current->read_some(buffer);
    } catch (const Error&) {
      // An end like any other.
    }
    if (count) co_return count;
    state->current.reset();
  }
  co_return 0;
}

Task<void> write(Shared state, std::string_view bytes) {
  while (!state->current && !state->over && !state->closed.is_set()) co_await state->changed.next();
  auto current = state->current;
  if (!current || state->closed.is_set())
    throw Error(Error::Kind::host, "the connection to the guest has ended");
  try {
    co_await current->write_all(bytes);
  } catch (const Error&) {
    // The guest is restarting: its next greeting says that this was lost.
  }
}

class Channel final : public Stream {
 public:
  explicit Channel(Shared state) : state_(std::move(state)) {}
  ~Channel() override { Channel::close(); }

  Task<std::size_t> read_some(std::span<char> buffer) override { return read(state_, buffer); }
  Task<void> write_all(std::string_view bytes) override { return write(state_, bytes); }
  void close() noexcept override {
    state_->closed.set();
    state_->changed.pulse();
    if (state_->current) state_->current->close();
  }

 private:
  Shared state_;
};

}  // namespace

std::unique_ptr<Stream> make_channel(asio::any_io_executor loop, std::unique_ptr<Stream> first,
                                     Connect connect) {
  return std::make_unique<Channel>(
      std::make_shared<State>(std::move(loop), std::move(first), std::move(connect)));
}

}  // namespace attest::microvm
