#include "backends/nspawn/channel.h"

#include "attest/error.h"
#include "lib/async/event.h"
#include "lib/async/within.h"

namespace attest::nspawn {
namespace {

// Shared with the coroutines under way, which may outlive the Stream by a moment.
struct State {
  State(asio::any_io_executor loop, std::shared_ptr<Running> container,
        std::unique_ptr<Stream> first, Connect connector)
      : running(std::move(container)),
        current(std::move(first)),
        connect(std::move(connector)),
        connected(loop),
        closed(loop) {}

  std::shared_ptr<Running> running;
  std::shared_ptr<Stream> current;
  Connect connect;
  async::Event connected, closed;
  bool heard = false;  ///< the present connection has said something
};
using Shared = std::shared_ptr<State>;

Task<void> ends(Shared state) {
  co_await state->closed.wait();
  throw Error(Error::Kind::host, "the connection to the container was closed");
}

// Throws when there will be none any more.
template <class T>
Task<T> while_open(Shared state, Task<T> op) {
  co_await asio::this_coro::throw_if_cancelled(true);
  co_return co_await async::unless(ends(state),
                                   async::unless(state->running->dies(), std::move(op)));
}

Task<bool> reconnect(Shared state) {
  try {
    std::shared_ptr<Stream> next = co_await while_open(state, state->connect());
    state->current = std::move(next);
    state->heard = false;
    state->connected.pulse();
    co_return true;
  } catch (const Error&) {
    co_return false;  // its end; why is told by wait_gone()
  }
}

Task<std::size_t> read(Shared state, std::span<char> buffer) {
  while (!state->closed.is_set()) {
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
    if (count) {
      state->heard = true;
      co_return count;
    }
    if (!state->heard) break;
    state->current.reset();
  }
  co_return 0;
}

Task<bool> connection(Shared state) {
  while (!state->current) co_await state->connected.next();
  co_return true;
}

Task<void> write(Shared state, std::string_view bytes) {
  if (!state->current) co_await while_open(state, connection(state));
  auto current = state->current;
  try {
    co_await current->write_all(bytes);
  } catch (const Error&) {
    // The other side is being restarted: its next greeting says that this was lost.
    if (state->closed.is_set() || state->running->is_gone()) throw;
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
    if (state_->current) state_->current->close();
  }

 private:
  Shared state_;
};

}  // namespace

std::unique_ptr<Stream> make_channel(asio::any_io_executor loop, std::shared_ptr<Running> running,
                                     std::unique_ptr<Stream> first, Connect connect) {
  return std::make_unique<Channel>(std::make_shared<State>(std::move(loop), std::move(running),
                                                           std::move(first), std::move(connect)));
}

}  // namespace attest::nspawn
