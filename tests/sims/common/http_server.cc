#include "tests/sims/common/http_server.h"

#include "lib/base/sys_error.h"
#include "tests/sims/common/http_parser.h"
#include "tests/sims/common/trace.h"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <cstring>
#include <set>

namespace attest::sims {
namespace {

constexpr std::size_t most_connections = 10;
constexpr std::string_view too_many =
    "HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: close\r\nContent-Length: 40\r\n\r\n"
    "{ \"error\": \"Too many open connections\" }";

using Descriptor = asio::posix::stream_descriptor;

struct Connection {
  Connection(asio::any_io_executor loop, int fd, std::size_t limit)
      : socket(loop, fd), parser(limit) {}
  Descriptor socket;
  HttpParser parser;
  std::vector<std::shared_ptr<base::Fd>> fds;
};

// What has come, with its descriptors; 0 at the end.
Task<std::size_t> receive(std::shared_ptr<Connection> connection) {
  std::array<char, 16384> bytes;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 253)> control;
  for (;;) {
    iovec part{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t count =
        ::recvmsg(connection->socket.native_handle(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      co_await connection->socket.async_wait(Descriptor::wait_read, asio::use_awaitable);
      continue;
    }
    if (count <= 0) co_return 0;
    for (cmsghdr* part_of = CMSG_FIRSTHDR(&message); part_of;
         part_of = CMSG_NXTHDR(&message, part_of)) {
      if (part_of->cmsg_level != SOL_SOCKET || part_of->cmsg_type != SCM_RIGHTS) continue;
      std::size_t number = (part_of->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < number; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(part_of) + i * sizeof(int), sizeof fd);
        connection->fds.push_back(std::make_shared<base::Fd>(fd));
      }
    }
    connection->parser.feed({bytes.data(), static_cast<std::size_t>(count)});
    co_return static_cast<std::size_t>(count);
  }
}

Task<void> send(std::shared_ptr<Connection> connection, std::string bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    ssize_t count = ::send(connection->socket.native_handle(), bytes.data() + sent,
                           bytes.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0)
      sent += static_cast<std::size_t>(count);
    else if (errno == EAGAIN)
      co_await connection->socket.async_wait(Descriptor::wait_write, asio::use_awaitable);
    else if (errno != EINTR)
      throw base::sys_error("answering a request");
  }
}

std::string head_of(const HttpSetup& setup, const HttpReply& reply) {
  // micro_http writes no reason, and the blank before it.
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " \r\nServer: " + setup.server +
                     "\r\nConnection: keep-alive\r\n";
  if (reply.deprecated) head += "Deprecation: true\r\n";
  if (reply.status != 204 && reply.status != 100)
    head +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(reply.body.size()) +
        "\r\n";
  return head + "\r\n";
}

}  // namespace

struct HttpServer::State {
  State(asio::any_io_executor executor, base::Fd fd, HttpSetup with, Handler handle)
      : loop(executor),
        listener(executor, fd.release()),
        setup(std::move(with)),
        handler(std::move(handle)) {}

  static Task<void> accept_all(std::shared_ptr<State> self);
  static Task<void> serve(std::shared_ptr<State> self, std::shared_ptr<Connection> connection);
  /// False: the connection must end.
  static Task<bool> answer(std::shared_ptr<State> self, std::shared_ptr<Connection> connection);
  static Task<bool> misbehave(std::shared_ptr<State> self, std::shared_ptr<Connection> connection,
                              Trouble::Kind kind);

  asio::any_io_executor loop;
  Descriptor listener;
  HttpSetup setup;
  Handler handler;
  std::set<std::shared_ptr<Connection>> connections;
};

Task<bool> HttpServer::State::misbehave(std::shared_ptr<State> self,
                                        std::shared_ptr<Connection> connection,
                                        Trouble::Kind kind) {
  HttpReply reply;
  if (kind == Trouble::Kind::drop) co_return false;
  if (kind == Trouble::Kind::stall) {
    for (;;)  // whatever else it asks
      if (co_await receive(connection) == 0) co_return false;
  }
  if (kind == Trouble::Kind::garbage) {
    std::string garbage = "\x16\x03\x01 this is no HTTP\r\n\r\n";
    co_await send(connection, garbage);
    co_return true;
  }
  reply.status = kind == Trouble::Kind::http500 ? 500 : 400;
  reply.body = self->setup.fault("trouble was asked for by ATTEST_SIM_TROUBLE");
  std::string bytes = head_of(self->setup, reply) + reply.body;
  co_await send(connection, bytes);
  co_return true;
}

Task<bool> HttpServer::State::answer(std::shared_ptr<State> self,
                                     std::shared_ptr<Connection> connection) {
  HttpRequest request;
  request.method = connection->parser.method();
  request.target = connection->parser.target();
  request.body = connection->parser.body();
  request.fds = std::exchange(connection->fds, {});
  std::string what = request.method + " " + request.target;
  trace(Passing::in, what);
  if (self->setup.trouble) {
    auto kind = self->setup.trouble->suffer(what);
    if (kind != Trouble::Kind::none) {
      bool stays = co_await misbehave(self, connection, kind);
      co_return stays;
    }
  }
  HttpReply reply;
  try {
    reply = co_await self->handler(std::move(request));
  } catch (const std::exception& failure) {
    reply.status = 500;
    reply.body = self->setup.fault(failure.what());
  }
  std::string bytes = head_of(self->setup, reply);
  if (reply.status != 204) bytes += reply.body;
  co_await send(connection, bytes);
  trace(Passing::out, what);
  if (reply.after) reply.after();
  co_return true;
}

Task<void> HttpServer::State::serve(std::shared_ptr<State> self,
                                    std::shared_ptr<Connection> connection) {
  for (;;) {
    switch (connection->parser.next()) {
      case HttpParser::Step::more:
        if (co_await receive(connection) == 0) co_return;
        break;
      case HttpParser::Step::continue_first: {
        HttpReply reply;
        reply.status = 100;
        std::string bytes = head_of(self->setup, reply);
        co_await send(connection, bytes);
        break;
      }
      case HttpParser::Step::error: {
        HttpReply reply;
        reply.status = 400;
        // The line end within the text is how micro_http has it.
        reply.body = "{ \"error\": \"" + connection->parser.error() +
                     "\nAll previous unanswered requests will be dropped.\" }";
        std::string bytes = head_of(self->setup, reply) + reply.body;
        connection->fds.clear();
        co_await send(connection, bytes);
        break;
      }
      case HttpParser::Step::request:
        if (!co_await answer(self, connection)) co_return;
        break;
    }
  }
}

Task<void> HttpServer::State::accept_all(std::shared_ptr<State> self) {
  while (self->listener.is_open()) {
    int fd =
        ::accept4(self->listener.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        throw base::sys_error("accepting a connection");
      co_await self->listener.async_wait(Descriptor::wait_read, asio::use_awaitable);
      continue;
    }
    if (self->connections.size() >= most_connections) {
      base::Fd surplus(fd);
      // Lost if it does not fit: so it is with micro_http.
      [[maybe_unused]] auto sent = ::send(fd, too_many.data(), too_many.size(), MSG_NOSIGNAL);
      continue;
    }
    auto connection = std::make_shared<Connection>(self->loop, fd, self->setup.payload_limit);
    self->connections.insert(connection);
    asio::co_spawn(self->loop, serve(self, connection),
                   [self, connection](std::exception_ptr) { self->connections.erase(connection); });
  }
}

HttpServer::HttpServer(asio::any_io_executor loop, base::Fd listener, HttpSetup setup,
                       Handler handler) {
  base::check(::fcntl(listener.get(), F_SETFL, O_NONBLOCK), "preparing a listener");
  state_ = std::make_shared<State>(loop, std::move(listener), std::move(setup), std::move(handler));
  asio::co_spawn(loop, State::accept_all(state_), [](std::exception_ptr) {});
  trace(Passing::out, "listening");
}

HttpServer::~HttpServer() {
  boost::system::error_code ignored;
  state_->listener.close(ignored);
  for (auto& connection : state_->connections) connection->socket.close(ignored);
}

}  // namespace attest::sims
