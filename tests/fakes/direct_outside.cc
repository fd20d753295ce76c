#include "fakes/direct_outside.h"

#include "lib/async/within.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <sys/socket.h>

#include <utility>

namespace attest::fakes {
namespace {

using Socket = Outside::Socket;
using Generic = asio::generic::stream_protocol;

Socket local_socket(asio::any_io_executor loop, base::Fd fd) {
  return std::make_unique<Generic::socket>(loop, Generic(AF_UNIX, 0), fd.release());
}

// Addresses only: a resolver of Asio 1.24 forgets what it is about when a child is started.
Task<Socket> dial(asio::any_io_executor loop, std::string host, int port) {
  asio::ip::tcp::socket socket(loop);
  asio::ip::tcp::endpoint there(asio::ip::make_address(host), static_cast<std::uint16_t>(port));
  auto [failure] = co_await socket.async_connect(there, asio::as_tuple(asio::use_awaitable));
  if (failure)
    throw Error(Error::Kind::host, "connecting to '" + host + "' port " + std::to_string(port) +
                                       ": " + failure.message());
  co_return std::make_unique<Generic::socket>(std::move(socket));
}

}  // namespace

Task<Socket> DirectOutside::connect(std::string host, int port, Deadline deadline) {
  ++connections;
  co_return co_await async::within(deadline, "connecting to " + host, dial(loop_, host, port));
}

Task<std::pair<Outside::Listener, int>> DirectOutside::listen(std::string address, int port,
                                                              Deadline) {
  asio::ip::tcp::endpoint here(asio::ip::make_address(address), static_cast<std::uint16_t>(port));
  base::Fd socket(base::check(
      ::socket(here.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket"));
  int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  base::check(::bind(socket.get(), here.data(), static_cast<socklen_t>(here.size())),
              "listening on " + address + " port " + std::to_string(port));
  base::check(::listen(socket.get(), SOMAXCONN), "listening");
  auto size = static_cast<socklen_t>(here.capacity());
  base::check(::getsockname(socket.get(), here.data(), &size), "getsockname");
  auto loop = co_await asio::this_coro::executor;
  auto made = std::make_unique<asio::posix::stream_descriptor>(loop, socket.release());
  co_return std::pair(std::move(made), static_cast<int>(here.port()));
}

Task<Socket> DirectOutside::ssh_agent(Deadline) {
  if (agent_socket.empty()) throw Error(Error::Kind::host, "there is no ssh-agent");
  co_return local_socket(loop_, base::connect_unix(agent_socket));
}

Task<Socket> DirectOutside::run(std::string command, Deadline) {
  auto [ours, theirs] = base::stream_pair();
  async::ChildSpec spec;
  spec.argv = {"sh", "-c", command};
  spec.fds.emplace(0, base::Fd(::dup(theirs.get())));
  spec.fds.emplace(1, std::move(theirs));
  children_.push_back(std::make_unique<async::Child>(loop_, std::move(spec)));
  co_return local_socket(loop_, std::move(ours));
}

Task<Socket> DirectOutside::sweep_cgroup(std::string, Deadline) {
  throw Error(Error::Kind::unsupported, "not in this test");
}

}  // namespace attest::fakes
