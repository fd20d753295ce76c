// Forwarded ports: the joining of connections, and the ways into a machine that has no network.
#include "bed.h"
#include "lib/async/loop.h"
#include "lib/base/sys_error.h"
#include "lib/core/far_end.h"
#include "tests/fakes/direct_outside.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <thread>

namespace attest::core {
namespace {

using base::Fd;

sockaddr_in local(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void limit(const Fd& socket) {
  timeval span{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &span, sizeof span);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &span, sizeof span);
}

Fd connect_to(int port) {
  Fd socket(base::check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  limit(socket);
  auto there = local(port);
  base::check(::connect(socket.get(), reinterpret_cast<sockaddr*>(&there), sizeof there),
              "connecting to port " + std::to_string(port));
  return socket;
}

void send_all(const Fd& socket, std::string_view bytes) {
  while (!bytes.empty()) {
    auto count = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    base::check(static_cast<int>(count), "sending");
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

// To the end; "(reset)" at its end if that was one.
std::string read_all(const Fd& socket) {
  std::string all;
  char buffer[65536];
  for (;;) {
    auto count = ::recv(socket.get(), buffer, sizeof buffer, 0);
    if (count < 0 && errno == ECONNRESET) return all + "(reset)";
    base::check(static_cast<int>(count), "receiving");
    if (count == 0) return all;
    all.append(buffer, static_cast<std::size_t>(count));
  }
}

std::string ask(int port, std::string_view question) {
  auto socket = connect_to(port);
  send_all(socket, question);
  ::shutdown(socket.get(), SHUT_WR);
  return read_all(socket);
}

// A server in this process: answers each connection, once it has read all, by what it has read
// twice.
class Server {
 public:
  Server() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto here = local(0);
    base::check(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&here), sizeof here), "bind");
    base::check(::listen(listener_.get(), 100), "listen");
    socklen_t size = sizeof here;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&here), &size);
    port_ = ntohs(here.sin_port);
    thread_ = std::jthread([this] { serve(); });
  }
  ~Server() { ::shutdown(listener_.get(), SHUT_RDWR); }
  int port() const { return port_; }

 private:
  void serve() {
    for (;;) {
      Fd one(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!one) return;
      limit(one);
      auto text = read_all(one);
      send_all(one, text + text);
    }
  }
  Fd listener_;
  int port_ = 0;
  std::jthread thread_;
};

// ---- the joining itself, to a server of this process ----

class Forwarding : public testing::Test {
 protected:
  ~Forwarding() override { stop(); }

  int forward_to(int port) {
    return forward(
        [this, port] { return reach_by_network(run, "127.0.0.1", port, Deadline::after(10s)); });
  }
  int forward(Forward::Connect connect) {
    fakes::DirectOutside outside(loop.executor());
    auto [listener, port] = loop.run(outside.listen("127.0.0.1", 0, Deadline::after(10s)));
    loop.run(begin(std::move(listener), std::move(connect)));
    return port;
  }
  void stop() { loop.run(end()); }

  async::Loop loop;
  std::shared_ptr<Running> run = std::make_shared<Running>(loop.executor(), "m");
  std::unique_ptr<Forward> forwarded;
  std::mutex mutex;
  std::vector<std::string> said;

 private:
  Task<void> begin(Outside::Listener listener, Forward::Connect connect) {
    auto say = [this](const std::string& line) {
      std::lock_guard hold(mutex);
      said.push_back(line);
    };
    forwarded =
        std::make_unique<Forward>(loop.executor(), std::move(listener), std::move(connect), say);
    co_return;
  }
  Task<void> end() {
    if (forwarded) co_await forwarded->close();
    forwarded.reset();
  }
};

TEST_F(Forwarding, CarriesBothWaysAndEachEndAlone) {
  Server server;
  int port = forward_to(server.port());
  EXPECT_EQ(ask(port, "once"), "onceonce");
  EXPECT_EQ(ask(port, ""), "");
  std::string much(3 << 20, 'x');
  auto both = std::async(std::launch::async, [&] { return ask(port, much); });
  EXPECT_EQ(both.get().size(), 2 * much.size());
}

// A crashed machine's kernel sends no FIN any more.
TEST_F(Forwarding, EndsWithTheMachineThoughItsEndSaysNothing) {
  Server server;
  auto socket = connect_to(forward_to(server.port()));
  send_all(socket, "a question that does not end");
  auto crash = [](std::shared_ptr<Running> gone) -> Task<void> {
    gone->end.cause = "crash()";
    gone->doomed.set();
    co_return;
  };
  loop.run(crash(run));
  EXPECT_EQ(read_all(socket), "(reset)");
}

TEST_F(Forwarding, ServesManyAtOnce) {
  int port = 0;
  Server server;
  port = forward_to(server.port());
  std::vector<std::future<std::string>> answers;
  for (int i = 0; i < 20; ++i)
    answers.push_back(
        std::async(std::launch::async, [port, i] { return ask(port, std::to_string(i)); }));
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(answers[static_cast<std::size_t>(i)].get(), std::to_string(i) + std::to_string(i));
}

TEST_F(Forwarding, ClosesAtOnceWhatIsRefusedAndSaysItOnce) {
  int dead = Server().port();
  int port = forward_to(dead);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(read_all(connect_to(port)), "(reset)");
  stop();
  ASSERT_EQ(said.size(), 1u);
  EXPECT_THAT(said[0], HasSubstr("port " + std::to_string(dead) + ": Connection refused"));
}

Task<std::unique_ptr<FarEnd>> hang(async::Loop& loop) {
  async::Event never(loop.executor());
  co_await never.wait();
  co_return nullptr;
}

TEST_F(Forwarding, EndsConnectionsAtItsEnd) {
  Server server;
  int port = forward_to(server.port());
  EXPECT_EQ(ask(port, "there"), "therethere");
  auto idle = connect_to(port);
  send_all(idle, "and then nothing");
  stop();
  EXPECT_EQ(read_all(idle), "(reset)");
}

TEST_F(Forwarding, EndsThoseThatAreStillOnTheirWay) {
  int port = forward([this] { return hang(loop); });
  auto waiting = connect_to(port);
  stop();
  EXPECT_EQ(read_all(waiting), "(reset)");
  auto refused = error_of(Error::Kind::host, [&] { connect_to(port); });
  EXPECT_THAT(refused, HasSubstr("Connection refused"));
}

// ---- a machine ----

class ForwardedPort : public Bed {
 protected:
  void SetUp() override { outside = std::make_shared<fakes::DirectOutside>(own.executor()); }

  // In the machine: answers each connection with what it read, in capitals.
  Process serve(Machine& one, int port) {
    auto server = one.spawn({.argv = {"perl", "-MIO::Socket::INET", "-e", R"(
        my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => shift, Listen => 9,
                                      ReuseAddr => 1) or die $!;
        $| = 1; print "up\n";
        while (my $c = $l->accept) { local $/; my $all = <$c>; print $c uc $all; close $c })",
                                      std::to_string(port)}});
    EXPECT_EQ(server.read_line({.timeout = 20s}), "up");
    return server;
  }

  async::Loop own;
};

// Nobody else is likely to have it.
constexpr int guest_port = 47113;

TEST_F(ForwardedPort, LeadsThroughTheGuestWhereThereIsNoOtherWay) {
  make({"web"});
  auto server = serve(machine("web"), guest_port);
  int port = machine("web").forward_port(0, guest_port);
  EXPECT_GT(port, 0);
  EXPECT_EQ(ask(port, "hello"), "HELLO");
  std::string much(1 << 20, 'x');
  EXPECT_EQ(ask(port, much), std::string(1 << 20, 'X'));
}

TEST_F(ForwardedPort, WorksByBashAlone) {
  make({"web"});
  machine("web").succeed(
      "mkdir -p /tmp/bin; for one in sh bash cat kill; do "
      "ln -sf $(command -v $one || echo /bin/true) /tmp/bin/; done");
  auto server = machine("web").spawn({.argv = {"perl", "-MIO::Socket::INET", "-e", R"(
      my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => shift, Listen => 9,
                                    ReuseAddr => 1) or die $!;
      $| = 1; print "up\n";
      while (my $c = $l->accept) { my $line = <$c>; print $c uc $line; close $c })",
                                               std::to_string(guest_port)}});
  ASSERT_EQ(server.read_line({.timeout = 20s}), "up");
  auto client = machine("web").run(
      {.argv = {"env", "PATH=/tmp/bin", "/tmp/bin/sh", "-c",
                "printf 'one line\\n' | bash -c \"$0\" bash " + std::to_string(guest_port),
                std::string(by_bash)}});
  EXPECT_EQ(client.output, "ONE LINE\n") << client.error_output;
}

TEST_F(ForwardedPort, RefusesWhileTheMachineIsDownAndWorksAgainAfterwards) {
  make({"web"});
  int port = machine("web").forward_port(0, guest_port);
  EXPECT_EQ(read_all(connect_to(port)), "(reset)") << "nothing listens there";
  ASSERT_EQ(said("was refused").size(), 1u);
  EXPECT_THAT(said("was refused")[0],
              AllOf(HasSubstr("web: port " + std::to_string(port)),
                    HasSubstr("port " + std::to_string(guest_port)), HasSubstr("refused")));
  machine("web").crash();
  EXPECT_EQ(read_all(connect_to(port)), "(reset)");
  EXPECT_EQ(said("was refused").size(), 1u);
  auto server = serve(machine("web"), guest_port);
  EXPECT_EQ(ask(port, "again"), "AGAIN");
}

TEST_F(ForwardedPort, ConnectionsEndWithTheMachine) {
  make({"web"});
  auto server = serve(machine("web"), guest_port);
  int port = machine("web").forward_port(0, guest_port);
  auto open = connect_to(port);
  send_all(open, "no end");
  machine("web").crash();
  EXPECT_EQ(read_all(open), "(reset)");
}

TEST_F(ForwardedPort, EndsWithTheDriver) {
  make({"web"});
  auto server = std::make_unique<Process>(serve(machine("web"), guest_port));
  int port = machine("web").forward_port(0, guest_port);
  auto open = connect_to(port);
  send_all(open, "no end");
  driver.reset();
  EXPECT_EQ(read_all(open), "(reset)");
  error_of(Error::Kind::host, [&] { connect_to(port); });
}

TEST_F(ForwardedPort, SaysWhenItIsTakenOrNone) {
  make({"web"});
  int port = machine("web").forward_port(0, 80);
  auto text = error_of(Error::Kind::host, [&] { machine("web").forward_port(port, 80); });
  EXPECT_THAT(text, AllOf(HasSubstr("Address already in use"), HasSubstr("0 picks a port")));
  for (auto [host, guest] : {std::pair(-1, 80), {65536, 80}, {0, 0}, {0, 65536}})
    error_of(Error::Kind::usage, [&] { machine("web").forward_port(host, guest); });
}

TEST_F(ForwardedPort, NeedsAWayToTheHost) {
  outside = nullptr;
  make({"web"});
  auto text = error_of(Error::Kind::unsupported, [&] { machine("web").forward_port(0, 80); });
  EXPECT_THAT(text, HasSubstr("no way to the host's network"));
}

}  // namespace
}  // namespace attest::core
