// attest-agent: serves the operations of PROTOCOL.md to hosts, over the transports that its
// command line names.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guest/agent/loop.h"
#include "guest/agent/resident_shell.h"
#include "guest/agent/spawn.h"
#include "guest/agent/transport/transport.h"

#ifndef ATTEST_VERSION
#define ATTEST_VERSION "unknown"
#endif

namespace attest::agent {
namespace {

constexpr std::string_view usage =
    "usage: attest-agent [TRANSPORT]...\n"
    "Serves attest's requests in a guest.\n"
    "  --port NAME            the virtio-serial port of that name\n"
    "  --vsock PORT           listens on that vsock port\n"
    "  --vsock-dial CID:PORT  connects to that vsock port, and again when it closes\n"
    "  --unix PATH            listens on a unix socket\n"
    "  --unix-dial PATH       connects to a unix socket, and again when it closes\n"
    "  --stdio                descriptors 0 and 1; ends with them\n"
    "  --version, --help\n"
    "Default: --port org.attest.agent.0; where there is /dev/vsock also --vsock 1024 and\n"
    "--vsock-dial 2:1024.\n";

void print(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto count = write(fd, text.data(), text.size());
    if (count <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

int refuse(std::string_view what) {
  print(2, "attest-agent: " + std::string(what) + "; --help lists what there is\n");
  return 2;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Signals that would end the agent are read from a descriptor, so that commands end with it.
void stop_on_signals(Loop& loop) {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  sigprocmask(SIG_BLOCK, &ending, nullptr);
  const int fd = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
  loop.watch(fd, EPOLLIN, [&loop](std::uint32_t) { loop.stop(); });
}

struct Request {
  std::string_view option, value;
};

std::unique_ptr<Transport> make_transport(const Request& request, Services services) {
  const auto [option, value] = request;
  if (option == "--port") return serve_port(services, std::string(value));
  if (option == "--unix") return serve_unix(services, std::string(value));
  if (option == "--unix-dial") return dial_unix(services, std::string(value));
  if (option == "--stdio") return serve_stdio(services);
  if (option == "--vsock") {
    auto port = number(value);
    return port ? serve_vsock(services, *port) : nullptr;
  }
  const auto colon = value.find(':');
  if (option != "--vsock-dial" || colon == value.npos) return nullptr;
  auto cid = number(value.substr(0, colon)), port = number(value.substr(colon + 1));
  return cid && port ? dial_vsock(services, *cid, *port) : nullptr;
}

int run(std::vector<Request> requests) {
  // Commands' orphans come to us, and their exact ends with them.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prepare_spawning();
  Loop loop;
  stop_on_signals(loop);
  ResidentShell shell(loop);
  if (requests.empty()) {
    requests.push_back({"--port", "org.attest.agent.0"});
    // A host that waits for us learns by the dial that we are there; without one the attempts cost
    // a few system calls each second.
    if (access("/dev/vsock", F_OK) == 0) {
      requests.push_back({"--vsock", "1024"});
      requests.push_back({"--vsock-dial", "2:1024"});
    }
  }
  std::vector<std::unique_ptr<Transport>> transports;
  for (const auto& request : requests) {
    auto transport = make_transport(request, {loop, shell});
    if (!transport) {
      return refuse("'" + std::string(request.option) + "' does not take '" +
                    std::string(request.value) + "'");
    }
    transports.push_back(std::move(transport));
  }
  loop.run();
  return 0;
}

int main_with(const std::vector<std::string_view>& words) {
  std::vector<Request> requests;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto word = words[i];
    if (word == "--help") return print(1, usage), 0;
    if (word == "--version") return print(1, "attest-agent " ATTEST_VERSION "\n"), 0;
    if (word == "--stdio") {
      requests.push_back({word, ""});
    } else if (word == "--port" || word == "--unix" || word == "--unix-dial" || word == "--vsock" ||
               word == "--vsock-dial") {
      if (i + 1 == words.size()) return refuse("'" + std::string(word) + "' needs a value");
      requests.push_back({word, words[++i]});
    } else {
      return refuse("'" + std::string(word) + "' is no option");
    }
  }
  return run(std::move(requests));
}

}  // namespace
}  // namespace attest::agent

int main(int argc, char** argv) {
  // A descriptor below 3 that is not open would be given to a pipe, and then to a command.
  for (int fd; (fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0;) {
    if (fd <= 2) continue;
    close(fd);
    break;
  }
  return attest::agent::main_with({argv + 1, argv + argc});
}
