#include "lib/core/forward.h"

#include "lib/async/event.h"
#include "lib/async/within.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>

namespace attest::core {
namespace {

using namespace std::chrono_literals;
using Tcp = asio::ip::tcp;

constexpr std::size_t piece = 64 << 10;
constexpr auto pause_without_descriptors = 100ms;

// One connection of the host and where it leads; shared by its two directions.
struct Joined {
  Joined(Tcp::socket near_, std::unique_ptr<FarEnd> far_)
      : near(std::move(near_)), far(std::move(far_)) {}
  Tcp::socket near;
  std::unique_ptr<FarEnd> far;
};

[[noreturn]] void fail(boost::system::error_code why) { throw boost::system::system_error(why); }

Task<void> outward(std::shared_ptr<Joined> joined) {
  std::string buffer(piece, '\0');
  for (;;) {
    auto [failed, count] = co_await joined->near.async_read_some(
        asio::buffer(buffer), asio::as_tuple(asio::use_awaitable));
    if (failed == asio::error::eof) co_return co_await joined->far->end_writing();
    if (failed) fail(failed);
    std::string bytes = buffer.substr(0, count);
    co_await joined->far->write(std::move(bytes));
  }
}

Task<void> homeward(std::shared_ptr<Joined> joined) {
  for (;;) {
    auto bytes = co_await joined->far->read();
    if (bytes.empty()) break;
    auto [failed, count] = co_await asio::async_write(joined->near, asio::buffer(bytes),
                                                      asio::as_tuple(asio::use_awaitable));
    if (failed) fail(failed);
  }
  boost::system::error_code ignored;
  joined->near.shutdown(Tcp::socket::shutdown_send, ignored);
}

// Both directions, to the end of the second; the failure of one ends the other.
Task<void> join(std::shared_ptr<Joined> joined) {
  auto loop = co_await asio::this_coro::executor;
  auto done = co_await asio::experimental::make_parallel_group(
                  asio::co_spawn(loop, outward(joined), asio::deferred),
                  asio::co_spawn(loop, homeward(joined), asio::deferred))
                  .async_wait(asio::experimental::wait_for_one_error(), asio::use_awaitable);
  auto first = std::get<0>(done)[0] == 0 ? std::get<1>(done) : std::get<2>(done);
  auto second = std::get<0>(done)[0] == 0 ? std::get<2>(done) : std::get<1>(done);
  if (first) std::rethrow_exception(first);
  if (second) std::rethrow_exception(second);
}

// The peer is told by a reset that its bytes have led nowhere.
void reset(Tcp::socket& socket) {
  boost::system::error_code ignored;
  socket.set_option(asio::socket_base::linger(true, 0), ignored);
  socket.close(ignored);
}

bool out_of_something(int code) {
  return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}

}  // namespace

struct Forward::State {
  State(asio::any_io_executor loop_, Outside::Listener listener_, Connect connect_,
        std::function<void(const std::string&)> say_)
      : loop(loop_),
        listener(std::move(listener_)),
        connect(std::move(connect_)),
        say(std::move(say_)),
        stop(loop),
        fewer(loop) {}

  asio::any_io_executor loop;
  Outside::Listener listener;
  Connect connect;
  std::function<void(const std::string&)> say;
  async::Event stop;   // set by close()
  async::Event fewer;  // pulsed when a coroutine has ended
  int running = 0;
  bool said = false;
};

namespace {

using Shared = std::shared_ptr<Forward::State>;

Task<void> stopped(Shared state) {
  co_await state->stop.wait();
  throw Error(Error::Kind::usage, "the forwarding of the port has ended");
}

void start(const Shared& state, Task<void> task) {
  ++state->running;
  asio::co_spawn(state->loop, async::unless(stopped(state), std::move(task)),
                 [state](std::exception_ptr) {
                   --state->running;
                   state->fewer.pulse();
                 });
}

Task<void> serve(Shared state, Tcp::socket near) {
  auto joined = std::make_shared<Joined>(std::move(near), nullptr);
  try {
    joined->far = co_await state->connect();
    co_await join(joined);
    co_return;
  } catch (const Error& e) {
    if (!state->stop.is_set() && !std::exchange(state->said, true)) state->say(e.what());
  } catch (const boost::system::system_error&) {  // one side hung up in the middle
  }
  reset(joined->near);
}

// The local end's family: the doorman listens where it was told to.
Tcp family_of(int socket) {
  int family = AF_INET;
  socklen_t size = sizeof family;
  ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size);
  return family == AF_INET6 ? Tcp::v6() : Tcp::v4();
}

Task<void> accept_all(Shared state) {
  asio::steady_timer pause(state->loop);
  for (;;) {
    int accepted =
        ::accept4(state->listener->native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted >= 0) {
      Tcp::socket near(state->loop, family_of(accepted), accepted);
      start(state, serve(state, std::move(near)));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      co_await state->listener->async_wait(asio::posix::descriptor_base::wait_read,
                                           asio::use_awaitable);
    } else if (out_of_something(errno)) {  // others may give some back
      pause.expires_after(pause_without_descriptors);
      co_await pause.async_wait(asio::use_awaitable);
    } else if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK) {
      throw base::sys_error("accepting connections");
    }  // else: this one went before it came
  }
}

}  // namespace

Forward::Forward(asio::any_io_executor loop, Outside::Listener listener, Connect connect,
                 std::function<void(const std::string&)> say)
    : state_(
          std::make_shared<State>(loop, std::move(listener), std::move(connect), std::move(say))) {
  start(state_, accept_all(state_));
}

Task<void> Forward::close() {
  auto state = state_;
  state->stop.set();
  while (state->running > 0) co_await state->fewer.next();
  state->listener.reset();
}

}  // namespace attest::core
