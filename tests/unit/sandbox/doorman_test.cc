#include "lib/sandbox/doorman.h"

#include "attest/error.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/sandbox/door_service.h"
#include "lib/sandbox/door_socket.h"
#include "tests/unit/sandbox/probe_run.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

namespace attest::sandbox {
namespace {

using base::Fd;
using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// A TCP listener on the host's loopback.
struct Listener {
  explicit Listener(int backlog = 64) {
    auto address = loopback(0);
    socklen_t size = sizeof address;
    base::check(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), "binding");
    base::check(::listen(socket.get(), backlog), "listening");
    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
  }
  void greet(const std::string& text) {
    Fd client(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
    (void)!::write(client.get(), text.data(), text.size());
  }
  Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  int port = 0;
};

Fd connect_to(int port, int flags = 0) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  auto address = loopback(port);
  ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  return socket;
}

struct PlaceCase {
  const char* name;
  std::string mode;
  std::function<void()> before_exec;
};
/// The same door from each level: full, no_pid_namespace, none.
class Door : public ::testing::TestWithParam<PlaceCase> {
 protected:
  ProbeOptions options() const { return {.before_exec = GetParam().before_exec}; }
  std::string run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), GetParam().mode);
    return run_probe(arguments, options()).output;
  }
};

TEST_P(Door, DialsTheHostsLoopback) {
  for (const char* name : {"127.0.0.1", "localhost"}) {
    Listener listener;
    Probe probe({GetParam().mode, "dial", name, std::to_string(listener.port), "5000"}, options());
    listener.greet("hello\n");
    EXPECT_EQ(probe.line(), "hello");
    EXPECT_EQ(probe.wait(), 0);
  }
}

TEST_P(Door, SaysWhyItCannotDial) {
  int port = Listener().port;  // closed again
  EXPECT_THAT(run({"dial", "127.0.0.1", std::to_string(port), "5000"}),
              AllOf(HasSubstr("error: connecting from the host to '127.0.0.1' port " +
                              std::to_string(port)),
                    HasSubstr("127.0.0.1: Connection refused")));
  EXPECT_THAT(run({"dial", "no-such-name.invalid", "22", "5000"}),
              HasSubstr("error: the host cannot resolve 'no-such-name.invalid': "));
}

TEST_P(Door, GivesUpInTime) {
  Listener full(0);
  std::vector<Fd> crowd;
  for (int i = 0; i < 4; ++i) crowd.push_back(connect_to(full.port, SOCK_NONBLOCK));
  auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(run({"dial", "127.0.0.1", std::to_string(full.port), "300"}),
              HasSubstr("Connection timed out"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

TEST_P(Door, ListensOnTheHostsLoopback) {
  Probe probe({GetParam().mode, "listen", "127.0.0.1"}, options());
  std::string line = probe.line();
  ASSERT_TRUE(line.starts_with("port=")) << line;
  Fd client = connect_to(std::stoi(line.substr(5)));
  ASSERT_EQ(::write(client.get(), "from outside\n", 13), 13) << line;
  EXPECT_EQ(probe.line(), "from outside");
}

TEST_P(Door, SaysWhyItCannotListen) {
  EXPECT_THAT(run({"listen", "192.0.2.1"}),
              AllOf(HasSubstr("error: listening on the host's '192.0.2.1' port 0"),
                    HasSubstr("Cannot assign requested address")));
}

TEST_P(Door, ServesManyThreadsBesideASlowOne) {
  Listener listener, full(0);
  std::vector<Fd> crowd;
  for (int i = 0; i < 4; ++i) crowd.push_back(connect_to(full.port, SOCK_NONBLOCK));
  Probe probe(
      {GetParam().mode, "dial_many", std::to_string(listener.port), std::to_string(full.port)},
      options());
  for (int i = 0; i < 20; ++i) listener.greet("hello\n");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(probe.line(), "hello");
  EXPECT_EQ(probe.line(), "quick done");
  EXPECT_THAT(probe.line(), HasSubstr("slow error: "));
}

TEST_P(Door, BringsTheSshAgent) {
  base::TempDir dir;
  std::string path = dir.path() / "agent";
  std::filesystem::permissions(dir.path(), std::filesystem::perms(0755));
  Fd agent = base::listen_unix(path);
  std::filesystem::permissions(path, std::filesystem::perms(0777));
  auto with_agent = options();
  with_agent.env["SSH_AUTH_SOCK"] = path;
  Probe probe({GetParam().mode, "agent"}, with_agent);
  Fd client(::accept4(agent.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_EQ(::write(client.get(), "I am the agent\n", 15), 15);
  EXPECT_EQ(probe.line(), "I am the agent");
}

TEST_P(Door, SaysThatThereIsNoSshAgent) {
  auto without = options();
  without.env["SSH_AUTH_SOCK"] = "";
  EXPECT_THAT(run_probe({GetParam().mode, "agent"}, without).output,
              HasSubstr("error: no ssh-agent: SSH_AUTH_SOCK is not set"));
}

INSTANTIATE_TEST_SUITE_P(, Door,
                         ::testing::Values(PlaceCase{"full", "auto", {}},
                                           PlaceCase{"full_as_a_user", "auto", become_nobody},
                                           PlaceCase{"no_pid_namespace", "auto",
                                                     refuse_namespaces(CLONE_NEWPID)},
                                           PlaceCase{"none", "off", {}}),
                         [](const auto& row) { return row.param.name; });

TEST(Inside, TheLoopbackIsNotTheHosts) {
  if (run_probe({"require", "exit", "0"}).status != 0) GTEST_SKIP() << "no full sandbox here";
  Listener listener;
  EXPECT_EQ(run_probe({"require", "direct", std::to_string(listener.port)}).output,
            "Connection refused\n");
  EXPECT_EQ(run_probe({"off", "direct", std::to_string(listener.port)}).output, "connected\n");
}

// A name server that never answers, in a network of its own: a socket that nobody reads.
void have_a_silent_name_server(const std::string& resolv_conf) {
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount(resolv_conf.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) != 0)
    ::_exit(126);
  int server = ::socket(AF_INET, SOCK_DGRAM, 0);  // inherited by the probe
  ifreq lo{};
  std::strcpy(lo.ifr_name, "lo");
  lo.ifr_flags = IFF_UP;
  ::ioctl(server, SIOCSIFFLAGS, &lo);
  auto address = loopback(53);
  if (::bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) ::_exit(126);
}

TEST(Dial, IsCutWhileANameServerIsSilent) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can replace the name server for a test";
  base::TempDir dir;
  std::string resolv_conf = dir.path() / "resolv.conf";
  base::write_file(resolv_conf, "nameserver 127.0.0.1\noptions timeout:30\n");
  Probe probe({"require", "dial", "slow.example", "22", "300"},
              {.before_exec = [&] { have_a_silent_name_server(resolv_conf); }});
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(probe.line(),
            "error: connecting from the host to 'slow.example' port 22: no answer within 300 ms");
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

TEST(DoorService, DropsWhatIsMalformed) {
  auto [ours, door] = packet_pair();
  auto [answer, theirs] = packet_pair();
  ASSERT_TRUE(send_packet(ours.get(), "Qgarbage", theirs.get()));
  ASSERT_TRUE(send_packet(ours.get(), std::string(5000, 'Q'), theirs.get()));
  ASSERT_TRUE(send_packet(ours.get(), encode(DoorRequest{DoorCall::listen, 0, 1000, "127.0.0.1"})));
  theirs.reset();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(serve_one(door.get()));
  EXPECT_EQ(receive_packet(answer.get()).bytes, "");  // nobody answers, nobody holds the socket
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);     // and no worker was made
  ours.reset();
  EXPECT_FALSE(serve_one(door.get()));
}

TEST(DoormanClient, SaysThatTheOutsideIsGone) {
  auto [ours, theirs] = packet_pair();
  theirs.reset();
  Doorman doorman(std::move(ours));
  try {
    doorman.ssh_agent();
    FAIL() << "an agent from nowhere";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("the process outside the sandbox is gone"));
  }
}

TEST(DoormanClient, RefusesWhatIsNoPortOrName) {
  Doorman doorman;
  EXPECT_THROW(doorman.dial("localhost", 65536, 1s), Error);
  EXPECT_THROW(doorman.dial("localhost", -1, 1s), Error);
  EXPECT_THROW(doorman.dial(std::string("a\0b", 3), 22, 1s), Error);
  EXPECT_THROW(doorman.dial(std::string(5000, 'x'), 22, 1s), Error);
}

}  // namespace
}  // namespace attest::sandbox
