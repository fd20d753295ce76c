#include "lib/sandbox/doorman.h"

#include "attest/error.h"
#include "lib/sandbox/door_service.h"
#include "lib/sandbox/door_socket.h"

#include <algorithm>

namespace attest::sandbox {
namespace {

using base::Fd;
using std::chrono::milliseconds;

// Listening and the agent answer at once; only a name server can take its time.
constexpr milliseconds short_call{10000};

DoorRequest request_for(DoorCall call, std::string text, int port, milliseconds timeout) {
  if (port < 0 || port > 65535)
    throw Error(Error::Kind::usage, "a port is 0 to 65535, not " + std::to_string(port));
  const char* what = call == DoorCall::run            ? "a command"
                     : call == DoorCall::sweep_cgroup ? "a cgroup's directory"
                                                      : "a host name";
  if (text.size() > max_text)
    throw Error(Error::Kind::usage, std::string(what) + " has at most " + std::to_string(max_text) +
                                        " bytes here, not " + std::to_string(text.size()));
  if (text.find('\0') != std::string::npos)
    throw Error(Error::Kind::usage, std::string(what) + " has no NUL byte in it");
  auto limit = std::clamp<milliseconds::rep>(timeout.count(), 1, 1 << 30);
  return {call, static_cast<std::uint16_t>(port), static_cast<std::uint32_t>(limit),
          std::move(text)};
}

}  // namespace

Fd Doorman::dial(std::string host, int port, milliseconds timeout) {
  return ask(request_for(DoorCall::dial, std::move(host), port, timeout)).first;
}

std::pair<Fd, int> Doorman::listen(std::string address, int port) {
  auto [socket, reply] = ask(request_for(DoorCall::listen, std::move(address), port, short_call));
  return {std::move(socket), reply.port};
}

Fd Doorman::ssh_agent() { return ask(request_for(DoorCall::ssh_agent, "", 0, short_call)).first; }

Fd Doorman::run(std::string command) {
  return ask(request_for(DoorCall::run, std::move(command), 0, short_call)).first;
}

Fd Doorman::sweep_cgroup(std::string directory) {
  return ask(request_for(DoorCall::sweep_cgroup, std::move(directory), 0, short_call)).first;
}

std::pair<Fd, DoorReply> Doorman::ask(const DoorRequest& request) {
  if (!door_) return perform(request);
  auto [ours, theirs] = packet_pair();
  bool sent = send_packet(door_.get(), encode(request), theirs.get());
  theirs.reset();  // so that its end shows when nobody will answer
  Packet packet = sent ? receive_packet(ours.get()) : Packet{};
  if (packet.bytes.empty())
    throw Error(Error::Kind::host, "the process outside the sandbox is gone");
  auto reply = decode_reply(packet.bytes);
  if (!reply || (reply->error.empty() && !packet.fd))
    throw Error(Error::Kind::protocol, "the process outside the sandbox sent no valid answer");
  if (!reply->error.empty()) throw Error(Error::Kind::host, reply->error);
  return {std::move(packet.fd), std::move(*reply)};
}

}  // namespace attest::sandbox
