#include "tests/sims/cloud_hypervisor/serial.h"

#include "tests/sims/common/socket.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <system_error>

namespace attest::sims::cloud_hypervisor {
namespace {

using Descriptor = asio::posix::stream_descriptor;
constexpr std::size_t most_kept = 1 << 20;

}  // namespace

struct SerialEnd::State {
  explicit State(asio::any_io_executor executor) : loop(executor) {}

  void put(std::string_view bytes) {
    if (client) {
      // A client that does not read loses what does not fit.
      [[maybe_unused]] auto sent =
          ::send(client->native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    } else if (listener) {
      if (replays && kept.size() < most_kept) kept += bytes;
    } else if (file) {
      [[maybe_unused]] auto written = ::write(file.get(), bytes.data(), bytes.size());
    }
  }
  static Task<void> pump_out(std::shared_ptr<State> self, std::shared_ptr<Descriptor> from) {
    std::array<char, 16384> bytes;
    for (;;) {
      auto count = co_await from->async_read_some(asio::buffer(bytes), asio::use_awaitable);
      self->put({bytes.data(), count});
    }
  }
  static Task<void> pump_in(std::shared_ptr<State> self, std::shared_ptr<Descriptor> from) {
    std::array<char, 4096> bytes;
    for (;;) {
      auto count = co_await from->async_read_some(asio::buffer(bytes), asio::use_awaitable);
      auto to = self->port;
      if (to)
        co_await asio::async_write(*to, asio::buffer(bytes.data(), count), asio::use_awaitable);
    }
  }
  static Task<void> accept(std::shared_ptr<State> self) {
    while (self->listener->is_open()) {
      co_await self->listener->async_wait(Descriptor::wait_read, asio::use_awaitable);
      int fd = ::accept4(self->listener->native_handle(), nullptr, nullptr,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) continue;
      self->client = std::make_shared<Descriptor>(self->loop, fd);  // the one before is kicked
      self->put(std::exchange(self->kept, {}));
      self->replays = false;
      asio::co_spawn(self->loop, pump_in(self, self->client), [](std::exception_ptr) {});
    }
  }

  asio::any_io_executor loop;
  std::string mode, path;
  bool replays = false;
  base::Fd file;
  std::shared_ptr<Descriptor> port, client;
  std::unique_ptr<Descriptor> listener;
  std::string kept;
};

SerialEnd::SerialEnd(asio::any_io_executor loop, const json& config, bool replays)
    : state_(std::make_shared<State>(loop)) {
  auto& state = *state_;
  state.mode = config.is_object() ? config.value("mode", "Null") : "Null";
  state.replays = replays;
  if (state.mode == "File") {
    state.path = config.value("file", "");
    state.file.reset(
        ::open(state.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0644));
    if (!state.file)
      throw failed(
          {"Error creating console devices", "Failed to open serial file", os_error(errno)});
  } else if (state.mode == "Socket") {
    state.path = config.value("socket", "");
    try {
      state.listener = std::make_unique<Descriptor>(loop, listen_new(state.path).release());
    } catch (const std::system_error& refused) {
      throw failed({"Error creating console devices", "Failed to bind serial socket",
                    os_error(refused.code().value())});
    }
    asio::co_spawn(loop, State::accept(state_), [](std::exception_ptr) {});
  } else if (state.mode == "Tty") {
    state.file.reset(::fcntl(1, F_DUPFD_CLOEXEC, 0));
  } else if (state.mode != "Null" && state.mode != "Off" && state.mode != "Pty") {
    throw failed({"Error creating console devices", "unknown serial mode " + state.mode});
  }
}

SerialEnd::~SerialEnd() {
  detach();
  boost::system::error_code ignored;
  if (!state_->listener) return;
  state_->listener->close(ignored);
  if (state_->client) state_->client->close(ignored);
  ::unlink(state_->path.c_str());
}

void SerialEnd::attach(base::Fd port) {
  // A FIFO, which may stand in a file's place, cannot be cut.
  if (state_->mode == "File") [[maybe_unused]]
    auto ignored = ::ftruncate(state_->file.get(), 0);
  state_->port = std::make_shared<Descriptor>(state_->loop, port.release());
  state_->port->native_non_blocking(true);
  asio::co_spawn(state_->loop, State::pump_out(state_, state_->port), [](std::exception_ptr) {});
}

void SerialEnd::detach() {
  if (!state_->port) return;
  std::array<char, 16384> bytes;
  ssize_t count = 0;
  while ((count = ::recv(state_->port->native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT)) >
         0)
    state_->put({bytes.data(), static_cast<std::size_t>(count)});
  boost::system::error_code ignored;
  state_->port->close(ignored);
  state_->port.reset();
}

}  // namespace attest::sims::cloud_hypervisor
