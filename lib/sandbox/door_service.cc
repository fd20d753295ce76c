#include "lib/sandbox/door_service.h"

#include "lib/base/sys_error.h"
#include "lib/base/text.h"
#include "lib/sandbox/cgroup_sweep.h"
#include "lib/sandbox/descriptors.h"
#include "lib/sandbox/door_socket.h"
#include "lib/sandbox/outer_command.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace attest::sandbox {
namespace {

using base::Fd;
using Clock = std::chrono::steady_clock;
using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

std::string words(const DoorRequest& request) {
  std::string peer = "'" + request.text + "' port " + std::to_string(request.port);
  switch (request.call) {
    case DoorCall::dial:
      return "connecting from the host to " + peer;
    case DoorCall::listen:
      return "listening on the host's " + peer;
    case DoorCall::ssh_agent:
      return "connecting to the ssh-agent";
    case DoorCall::run:
      return "running a command on the host";
    case DoorCall::sweep_cgroup:
      return "having the cgroup '" + request.text + "' swept";
  }
  return "an unknown duty";
}

Addresses resolve(const DoorRequest& request, int flags) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  int result = ::getaddrinfo(request.text.empty() ? nullptr : request.text.c_str(),
                             std::to_string(request.port).c_str(), &wanted, &found);
  if (result != 0)
    throw Error(Error::Kind::host,
                "the host cannot resolve '" + request.text +
                    "': " + (result == EAI_SYSTEM ? ::strerror(errno) : ::gai_strerror(result)));
  return {found, ::freeaddrinfo};
}

std::string text_of(const addrinfo& address) {
  char text[NI_MAXHOST] = "?";
  ::getnameinfo(address.ai_addr, address.ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return text;
}

// 0, or the errno of the attempt.
int connect_within(const Fd& socket, const addrinfo& address, Clock::duration limit) {
  if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd ready{socket.get(), POLLOUT, 0};
  auto until = Clock::now() + limit;
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    int count = ::poll(&ready, 1, static_cast<int>(std::clamp<long>(left, 0, 1 << 30)));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
  }
}

std::pair<Fd, DoorReply> dial(const DoorRequest& request) {
  auto until = Clock::now() + std::chrono::milliseconds(request.timeout_ms);
  Addresses addresses = resolve(request, 0);
  std::ptrdiff_t left = 0;
  for (addrinfo* a = addresses.get(); a; a = a->ai_next) ++left;
  std::vector<std::string> failures;
  for (addrinfo* a = addresses.get(); a; a = a->ai_next, --left) {
    Fd socket(::socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    // Each address gets its share: one that swallows packets must not cost the others their turn.
    int error = socket ? connect_within(socket, *a, (until - Clock::now()) / left) : errno;
    if (error == 0) {
      ::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) & ~O_NONBLOCK);
      return {std::move(socket), DoorReply{{}, request.port}};
    }
    failures.push_back(text_of(*a) + ": " + ::strerror(error));
  }
  throw Error(Error::Kind::host, words(request) + " failed: " + base::join(failures, ", "));
}

std::pair<Fd, DoorReply> listen_on(const DoorRequest& request) {
  Addresses addresses = resolve(request, AI_PASSIVE);
  std::string attempt = words(request);
  const addrinfo& address = *addresses;
  Fd socket(base::check(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), attempt));
  int yes = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  base::check(::bind(socket.get(), address.ai_addr, address.ai_addrlen), attempt);
  base::check(::listen(socket.get(), SOMAXCONN), attempt);
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  base::check(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size), attempt);
  auto port = bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                          : reinterpret_cast<sockaddr_in&>(bound).sin_port;
  return {std::move(socket), DoorReply{{}, ntohs(port)}};
}

std::pair<Fd, DoorReply> connect_agent() {
  const char* path = std::getenv("SSH_AUTH_SOCK");
  if (!path || !*path)
    throw Error(Error::Kind::host, "no ssh-agent: SSH_AUTH_SOCK is not set")
        .hint("start one with: eval $(ssh-agent)");
  return {base::connect_unix(path), DoorReply{}};
}

// What the alarm's handler sends. Only ever set in a worker process.
std::string late_reply;
int late_socket = -1;

void answer_late(int) {
  send_packet(late_socket, late_reply);
  ::_exit(0);
}

// getaddrinfo cannot be told a deadline, so the worker's alarm answers in its place.
void arm_alarm(const DoorRequest& request, int answer) {
  late_socket = answer;
  late_reply = encode(DoorReply{words(request) + ": no answer within " +
                                    base::human(std::chrono::milliseconds(request.timeout_ms)),
                                0});
  struct sigaction action{};
  action.sa_handler = answer_late;
  ::sigaction(SIGALRM, &action, nullptr);
  sigset_t alarm;
  ::sigemptyset(&alarm);
  ::sigaddset(&alarm, SIGALRM);
  ::sigprocmask(SIG_UNBLOCK, &alarm, nullptr);
  // Half a second later than the connect's own limit, whose message says more.
  auto limit = std::min<std::uint64_t>(request.timeout_ms, 1u << 30) + 500;
  itimerval timer{
      {0, 0}, {static_cast<time_t>(limit / 1000), static_cast<suseconds_t>(limit % 1000 * 1000)}};
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

[[noreturn]] void work(const DoorRequest& request, int answer, pid_t doorman) {
  keep_only({answer});
  arm_alarm(request, answer);
  try {
    auto [socket, reply] = perform(request, doorman);
    send_packet(answer, encode(reply), socket.get());
  } catch (const std::exception& e) {
    send_packet(answer, encode(DoorReply{e.what(), 0}));
  }
  ::_exit(0);
}

}  // namespace

std::pair<Fd, DoorReply> perform(const DoorRequest& request, pid_t owner) {
  switch (request.call) {
    case DoorCall::dial:
      return dial(request);
    case DoorCall::listen:
      return listen_on(request);
    case DoorCall::ssh_agent:
      return connect_agent();
    case DoorCall::run:
      return {run_command(request.text, owner), DoorReply{}};
    case DoorCall::sweep_cgroup:
      return {sweep_cgroup_later(request.text, owner), DoorReply{}};
  }
  throw Error(Error::Kind::host, "the doorman has no such duty");
}

bool serve_one(int door) {
  Packet packet = receive_packet(door);
  if (packet.bytes.empty()) return false;
  auto request = decode_request(packet.bytes);
  if (!request || !packet.fd) return true;
  pid_t doorman = ::getpid();
  pid_t worker = ::fork();
  if (worker == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != doorman) ::_exit(0);
    work(*request, packet.fd.get(), doorman);
  }
  if (worker < 0) {
    std::string error = base::sys_error("forking the doorman's worker").what();
    send_packet(packet.fd.get(), encode(DoorReply{error, 0}));
  }
  return true;
}

}  // namespace attest::sandbox
