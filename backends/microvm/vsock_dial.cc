#include "backends/microvm/vsock_dial.h"

#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/proto/vsock.h"

#include <boost/asio/bind_cancellation_slot.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <utility>

namespace attest::microvm {
namespace {

using namespace std::chrono_literals;

constexpr auto between_attempts = 10ms;
// A monitor gives a guest that does not answer up after 2 s; one that is paused never does.
constexpr auto longest_silence = 2500ms;

Task<void> pause() {
  asio::steady_timer timer(co_await asio::this_coro::executor, between_attempts);
  co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace

Task<std::unique_ptr<Stream>> dial_guest_once(asio::any_io_executor loop, std::string uds,
                                              unsigned port, Deadline deadline) {
  auto stream = async::make_stream(loop, base::connect_unix(uds));
  co_return co_await proto::vsock_connect(std::move(stream), port, deadline);
}

Task<std::unique_ptr<Stream>> dial_guest(asio::any_io_executor loop, std::string uds, unsigned port,
                                         Deadline deadline) {
  while (true) {
    std::optional<Error> refusal;
    try {
      auto limit = deadline.earlier(Deadline::after(longest_silence));
      co_return co_await dial_guest_once(loop, uds, port, limit);
    } catch (const Error& error) {
      refusal = error;
    }
    if (deadline.passed())
      throw Error(Error::Kind::timeout, "nothing has answered on vsock port " +
                                            std::to_string(port) + " of the guest in time")
          .attach("the last attempt", refusal->what());
    co_await pause();
  }
}

struct GuestDial::State {
  State(asio::any_io_executor on, const std::string& socket)
      : loop(on), path(socket), listener(base::listen_unix(socket)), came(on) {
    ::fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  }

  // True if the guest has hung up already.
  static bool dead(const base::Fd& fd) {
    char byte;
    return ::recv(fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
  }

  static Task<void> accept_all(std::shared_ptr<State> self) {
    while (!self->ended) {
      base::Fd one = co_await async::accept_one(self->listener);
      self->newest = std::move(one);
      self->came.pulse();
    }
  }
  static Task<std::unique_ptr<Stream>> next(std::shared_ptr<State> self) {
    while (true) {
      if (self->newest && dead(self->newest)) self->newest.reset();
      if (self->newest) co_return async::make_stream(self->loop, std::move(self->newest));
      if (self->ended) throw Error(Error::Kind::host, "nobody listens for the guest any more");
      co_await self->came.next();
    }
  }

  asio::any_io_executor loop;
  std::string path;
  base::Fd listener;
  async::Event came;
  base::Fd newest;
  bool ended = false;
  asio::cancellation_signal stop;
};

GuestDial::GuestDial(asio::any_io_executor loop, const std::string& uds, unsigned port)
    : state_(std::make_shared<State>(loop, uds + "_" + std::to_string(port))) {
  // Nothing is swallowed: without a listener, next() waits until its deadline, and the monitor's
  // end is told by others.
  asio::co_spawn(loop, State::accept_all(state_),
                 asio::bind_cancellation_slot(state_->stop.slot(), [](std::exception_ptr) {}));
}

GuestDial::~GuestDial() {
  state_->ended = true;
  ::unlink(state_->path.c_str());
  state_->stop.emit(asio::cancellation_type::terminal);
  state_->came.pulse();
}

Task<std::unique_ptr<Stream>> GuestDial::next(Deadline deadline) {
  return async::within(deadline, "waiting for the guest to connect", State::next(state_));
}

void GuestDial::forget() noexcept { state_->newest.reset(); }

}  // namespace attest::microvm
