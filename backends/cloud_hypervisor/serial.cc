#include "backends/cloud_hypervisor/serial.h"

#include "backends/microvm/channel.h"
#include "lib/async/fd_stream.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

namespace attest::cloud_hypervisor {
namespace {

using namespace std::chrono_literals;
constexpr auto between_attempts = 10ms;

struct Place {
  asio::any_io_executor loop;
  std::weak_ptr<microvm::MonitorProcess> process;  // which holds the console, and so us
  std::shared_ptr<base::Fd> fifo;
  std::string socket;
};

// Null: not yet.
std::unique_ptr<Stream> try_open(const Place& place) {
  if (place.fifo) {
    pollfd state{place.fifo->get(), POLLIN, 0};
    ::poll(&state, 1, 0);
    return state.revents & POLLHUP ? nullptr : open_fifo(place.loop, *place.fifo);
  }
  try {
    return async::make_stream(place.loop, base::connect_unix(place.socket));
  } catch (const Error&) {
    return nullptr;
  }
}

Task<std::unique_ptr<Stream>> open_again(Place place) {
  while (true) {
    auto process = place.process.lock();
    if (!process || !process->alive()) throw Error(Error::Kind::host, "the monitor has ended");
    process.reset();
    if (auto stream = try_open(place)) co_return stream;
    asio::steady_timer timer(place.loop, between_attempts);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace

base::Fd make_fifo(const std::filesystem::path& path) {
  base::check(::mkfifo(path.c_str(), 0600), "making the FIFO '" + path.string() + "'");
  base::Fd fifo(base::check(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC),
                            "opening '" + path.string() + "'"));
  ::fcntl(fifo.get(), F_SETPIPE_SZ, 1 << 20);  // a guest waits while it is full
  return fifo;
}

std::unique_ptr<Stream> open_fifo(asio::any_io_executor loop, const base::Fd& fifo) {
  return async::make_stream(loop, base::Fd(base::check(::fcntl(fifo.get(), F_DUPFD_CLOEXEC, 0),
                                                       "duplicating the console's FIFO")));
}

std::shared_ptr<Stream> restarting_console(asio::any_io_executor loop,
                                           std::unique_ptr<Stream> first,
                                           std::shared_ptr<microvm::MonitorProcess> process,
                                           base::Fd fifo, std::string socket) {
  Place place{.loop = loop,
              .process = process,
              .fifo = fifo ? std::make_shared<base::Fd>(std::move(fifo)) : nullptr,
              .socket = std::move(socket)};
  microvm::Connect connect = [place] { return open_again(place); };
  return microvm::make_channel(loop, std::move(first), std::move(connect));
}

void make_memory_file(const std::filesystem::path& path, int size_mb) {
  std::string step = "making the memory's file '" + path.string() + "'";
  base::Fd file(
      base::check(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), step));
  base::check(::ftruncate(file.get(), off_t(size_mb) << 20), step);
}

}  // namespace attest::cloud_hypervisor
