#include "tests/sims/common/vsock_bridge.h"

#include "lib/async/within.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"
#include "tests/sims/common/socket.h"
#include "tests/sims/common/vsock_port.h"

#include <boost/asio/write.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace attest::sims {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t first_host_port = 1u << 30;
constexpr std::size_t shortest_line = 10;  // "CONNECT 0\n"
constexpr std::size_t longest_line = 32;
constexpr auto guest_patience = 2000ms;  ///< for the guest to take a connection

// The port of "connect 1024\n"; nullopt for anything else.
std::optional<std::uint32_t> port_of(std::string line) {
  for (char& byte : line) byte = static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
  std::string_view rest = base::trim(line);
  if (!rest.starts_with("connect ")) return std::nullopt;
  rest = base::trim(rest.substr(8));
  std::uint32_t port = 0;
  auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), port);
  if (code != std::errc() || end != rest.data() + rest.size()) return std::nullopt;
  return port;
}

}  // namespace

struct VsockBridge::State {
  State(asio::any_io_executor executor, base::Fd fd, VsockSetup with)
      : loop(executor),
        setup(std::move(with)),
        listener(executor, fd.release()),
        gate(std::make_shared<VsockGate>(executor)) {}

  static Task<void> accept_all(std::shared_ptr<State> self);
  static Task<void> greet(std::shared_ptr<State> self, int fd);
  static Task<std::string> read_line(std::shared_ptr<State> self,
                                     std::shared_ptr<Descriptor> socket);

  bool guest_is_up() const {
    return std::any_of(ports.begin(), ports.end(), [](auto& one) { return one->heard(); });
  }

  asio::any_io_executor loop;
  VsockSetup setup;
  Descriptor listener;
  std::shared_ptr<VsockGate> gate;
  std::vector<std::shared_ptr<VsockPort>> ports;
  std::uint32_t next_host_port = first_host_port;
  std::uint64_t age = 0;  ///< counts guests: who waits for one that is gone gives up
  bool was_paused = false, saved = false, deaf = false;
};

// One read must bring the least that a line can be, then it is read byte by byte: so nothing behind
// it is taken. "" for what is no line.
Task<std::string> VsockBridge::State::read_line(std::shared_ptr<State> self,
                                                std::shared_ptr<Descriptor> socket) {
  std::string line;
  while (!line.ends_with('\n') && line.size() < longest_line) {
    std::array<char, shortest_line> bytes;
    bool first = line.empty();
    ssize_t count = ::recv(socket->native_handle(), bytes.data(),
                           first && !self->setup.partial_lines ? bytes.size() : 1, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) {
      co_await socket->async_wait(Descriptor::wait_read, asio::use_awaitable);
      continue;
    }
    if (count <= 0) co_return "";
    if (first && !self->setup.partial_lines && count < static_cast<ssize_t>(shortest_line))
      co_return "";
    line.append(bytes.data(), static_cast<std::size_t>(count));
  }
  co_return line.ends_with('\n') ? line : "";
}

Task<void> VsockBridge::State::greet(std::shared_ptr<State> self, int fd) {
  auto socket = std::make_shared<Descriptor>(self->loop, fd);
  co_await socket->async_wait(Descriptor::wait_read, asio::use_awaitable);
  co_await self->gate->open();
  std::string line = co_await read_line(self, socket);
  auto number = port_of(line);
  if (!number) co_return;
  Trouble::Kind trouble = Trouble::Kind::none;
  if (self->setup.trouble)
    trouble = self->setup.trouble->suffer("CONNECT " + std::to_string(*number));
  if (trouble == Trouble::Kind::stall || self->deaf) {
    std::array<char, 256> bytes;  // until the host has enough
    for (;;) co_await socket->async_read_some(asio::buffer(bytes), asio::use_awaitable);
  }
  if (trouble == Trouble::Kind::garbage) {
    std::string garbage = "KO\n\x16\x03";
    co_await asio::async_write(*socket, asio::buffer(garbage), asio::use_awaitable);
  }
  if (trouble != Trouble::Kind::none) co_return;
  auto age = self->age;
  auto until = Deadline::after(guest_patience);
  std::shared_ptr<VsockPort> port;
  for (auto& one : self->ports)
    if (one->number() == *number) port = one;
  if (!port) {
    // Nobody listens there; a guest that is not up says nothing, not even that.
    if (!self->guest_is_up()) {
      asio::steady_timer timer(self->loop, until.at());
      co_await timer.async_wait(asio::use_awaitable);
    }
    co_return;
  }
  bool ready = co_await port->wait_free(until);
  if (!ready || age != self->age) co_return;
  std::string answer = "OK " + std::to_string(self->next_host_port++) + "\n";
  port->take(socket, answer);
}

Task<void> VsockBridge::State::accept_all(std::shared_ptr<State> self) {
  while (self->listener.is_open()) {
    co_await self->gate->open();
    int fd =
        ::accept4(self->listener.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        throw base::sys_error("accepting a vsock connection");
      co_await self->listener.async_wait(Descriptor::wait_read, asio::use_awaitable);
      continue;
    }
    asio::co_spawn(self->loop, greet(self, fd), [](std::exception_ptr) {});
  }
}

VsockBridge::VsockBridge(asio::any_io_executor loop, base::Fd listener, VsockSetup setup)
    : state_(std::make_shared<State>(loop, std::move(listener), std::move(setup))) {
  asio::co_spawn(loop, State::accept_all(state_), [](std::exception_ptr) {});
}

VsockBridge::~VsockBridge() {
  detach();
  boost::system::error_code ignored;
  state_->listener.close(ignored);
}

void VsockBridge::attach(GuestVm& vm, bool restored) {
  detach();
  VsockPort::Place place{.gate = state_->gate,
                         .vm = &vm,
                         .restored = restored,
                         .path = state_->setup.path,
                         .trouble = state_->setup.trouble};
  for (auto& rule : vsock_port_rules()) {
    state_->ports.push_back(std::make_shared<VsockPort>(state_->loop, rule, place));
    state_->ports.back()->start();
  }
}

void VsockBridge::detach() {
  ++state_->age;
  for (auto& port : state_->ports) port->stop();
  state_->ports.clear();
}

void VsockBridge::pause() {
  state_->gate->close();
  state_->was_paused = true;
}

void VsockBridge::reset() { state_->saved = true; }

void VsockBridge::resume() {
  if (state_->saved)
    for (auto& port : state_->ports) port->reset();
  else if (state_->was_paused && state_->setup.deaf_after_pause)
    state_->deaf = true;
  if (state_->saved) state_->deaf = false;
  state_->saved = state_->was_paused = false;
  state_->gate->set_open();
}

}  // namespace attest::sims
