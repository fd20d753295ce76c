// The asynchronous side of the doorman, without a sandbox.
#include "lib/entry/outside.h"

#include "attest/error.h"
#include "lib/async/within.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/sandbox/door_socket.h"
#include "lib/sandbox/doorman.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace attest::entry {
namespace {

using base::Fd;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

/// A TCP listener on loopback.
struct Listener {
  Listener() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    base::check(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), "binding");
    base::check(::listen(socket.get(), 8), "listening");
    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
  }
  Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  int port = 0;
};

class OutsideTest : public ::testing::Test {
 protected:
  // Runs the call to its end; what it threw is in `error`.
  Outside::Socket finish(Task<Outside::Socket> call) {
    Outside::Socket got;
    asio::co_spawn(loop, std::move(call), [&](std::exception_ptr failure, Outside::Socket socket) {
      got = std::move(socket);
      try {
        if (failure) std::rethrow_exception(failure);
      } catch (const Error& e) {
        error = e;
      }
    });
    loop.run();
    loop.restart();
    return got;
  }
  static std::string read_some(Outside::Socket& socket) {
    char buffer[64];
    socket->non_blocking(false);
    return {buffer, socket->read_some(asio::buffer(buffer))};
  }

  asio::io_context loop;
  std::shared_ptr<Outside> outside = make_outside(std::make_shared<sandbox::Doorman>());
  std::optional<Error> error;
};

TEST_F(OutsideTest, ConnectsToAListener) {
  Listener listener;
  auto socket = finish(outside->connect("127.0.0.1", listener.port, Deadline::after(10s)));
  ASSERT_TRUE(socket) << error->what();
  EXPECT_TRUE(socket->non_blocking());
  Fd client(::accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_EQ(::write(client.get(), "hello", 5), 5);
  EXPECT_EQ(read_some(socket), "hello");
}

Task<std::string> listen_and_accept(Outside& outside, bool& blocks) {
  auto [listener, port] = co_await outside.listen("127.0.0.1", 0, Deadline::after(10s));
  blocks =
      ::accept4(listener->native_handle(), nullptr, nullptr, SOCK_CLOEXEC) >= 0 || errno != EAGAIN;
  auto client = co_await outside.connect("127.0.0.1", port, Deadline::after(10s));
  co_await listener->async_wait(asio::posix::descriptor_base::wait_read, asio::use_awaitable);
  Fd accepted(::accept4(listener->native_handle(), nullptr, nullptr, SOCK_CLOEXEC));
  if (::write(accepted.get(), "hello", 5) != 5) throw base::sys_error("writing");
  client->non_blocking(false);
  char buffer[64];
  co_return std::string(buffer, client->read_some(asio::buffer(buffer)));
}

Task<void> listen_twice(Outside& outside) {
  auto [listener, port] = co_await outside.listen("127.0.0.1", 0, Deadline::after(10s));
  co_await outside.listen("127.0.0.1", port, Deadline::after(10s));
}

TEST_F(OutsideTest, ListensWithoutBlocking) {
  bool blocks = true;
  std::string got;
  asio::co_spawn(loop, listen_and_accept(*outside, blocks),
                 [&](std::exception_ptr failure, std::string text) {
                   EXPECT_FALSE(failure);
                   got = std::move(text);
                 });
  loop.run();
  EXPECT_EQ(got, "hello");
  EXPECT_FALSE(blocks);
}

TEST_F(OutsideTest, SaysThatAPortIsTaken) {
  std::string text;
  asio::co_spawn(loop, listen_twice(*outside), [&](std::exception_ptr failure) {
    try {
      if (failure) std::rethrow_exception(failure);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), Error::Kind::host);
      text = e.what();
    }
  });
  loop.run();
  EXPECT_THAT(text, HasSubstr("Address already in use"));
}

TEST_F(OutsideTest, RunsACommand) {
  auto socket = finish(outside->run("echo hello", Deadline::after(10s)));
  ASSERT_TRUE(socket) << error->what();
  EXPECT_EQ(read_some(socket), "hello\n");
}

TEST_F(OutsideTest, SaysWhatTheDoormanSays) {
  int port = Listener().port;  // closed again
  finish(outside->connect("127.0.0.1", port, Deadline::after(10s)));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Error::Kind::host);
  EXPECT_THAT(error->what(), HasSubstr("127.0.0.1: Connection refused"));
  finish(outside->sweep_cgroup("/tmp", Deadline::after(10s)));
  EXPECT_THAT(error->what(), HasSubstr("only one whose name begins with 'attest-'"));
}

TEST_F(OutsideTest, APassedDeadlineIsATimeout) {
  Listener listener;
  finish(outside->connect("127.0.0.1", listener.port, Deadline::after(0s)));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Error::Kind::timeout);
  EXPECT_THAT(error->what(), HasSubstr("while connecting from the host to '127.0.0.1' port"));
}

// A door behind which somebody takes the request and answers when the test says so.
class SlowDoor : public OutsideTest {
 protected:
  SlowDoor() {
    auto [ours, theirs] = sandbox::packet_pair();
    door = std::move(theirs);
    outside = make_outside(std::make_shared<sandbox::Doorman>(std::move(ours)));
  }
  void TearDown() override {
    door.reset();  // nobody answers any more: the threads end
    outside.reset();
  }

  Fd door;
};

TEST_F(SlowDoor, ADeadlineEndsTheCallAndTheLateSocketIsClosed) {
  finish(outside->ssh_agent(Deadline::after(50ms)));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Error::Kind::timeout);
  auto request = sandbox::receive_packet(door.get());
  auto [ours, theirs] = base::stream_pair();
  ASSERT_TRUE(
      sandbox::send_packet(request.fd.get(), sandbox::encode(sandbox::DoorReply{}), theirs.get()));
  theirs.reset();
  pollfd end{ours.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&end, 1, 10000), 1);
  EXPECT_TRUE(end.revents & POLLHUP);
}

TEST_F(SlowDoor, ALoopMayGoBeforeTheAnswer) {
  {
    asio::io_context other;
    auto call = outside->ssh_agent(Deadline::never());
    asio::co_spawn(other, std::move(call), [](std::exception_ptr, Outside::Socket) {});
    other.poll();
  }
  auto request = sandbox::receive_packet(door.get());
  auto [ours, theirs] = base::stream_pair();
  ASSERT_TRUE(
      sandbox::send_packet(request.fd.get(), sandbox::encode(sandbox::DoorReply{}), theirs.get()));
  theirs.reset();
  outside.reset();  // waits for the thread
  char c;
  EXPECT_EQ(::read(ours.get(), &c, 1), 0);
}

}  // namespace
}  // namespace attest::entry
