#include "tests/sims/firecracker/serial.h"

#include "lib/base/sys_error.h"
#include "tests/sims/firecracker/fault.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace attest::sims::firecracker {
namespace {

using Clock = std::chrono::steady_clock;
using Descriptor = asio::posix::stream_descriptor;

// Bytes that may go out now; the rest is dropped.
class Bucket {
 public:
  explicit Bucket(const nlohmann::json& config) {
    if (config.is_null() || !config.contains("rate_limiter") || config["rate_limiter"].is_null())
      return;
    auto& bucket = config["rate_limiter"];
    size_ = bucket["size"];
    refill_ms_ = bucket["refill_time"];
    if (bucket.contains("one_time_burst") && !bucket["one_time_burst"].is_null())
      burst_ = bucket["one_time_burst"];
    limited_ = size_ > 0 && refill_ms_ > 0;
    tokens_ = size_;
  }
  std::size_t take(std::size_t wanted) {
    if (!limited_) return wanted;
    auto now = Clock::now();
    double passed = std::chrono::duration<double, std::milli>(now - last_).count();
    last_ = now;
    tokens_ = std::min(size_, tokens_ + passed * size_ / refill_ms_);
    auto granted = std::min(static_cast<double>(wanted), tokens_ + burst_);
    double from_burst = std::min(granted, burst_);
    burst_ -= from_burst;
    tokens_ -= granted - from_burst;
    return static_cast<std::size_t>(granted);
  }

 private:
  bool limited_ = false;
  double size_ = 0, refill_ms_ = 1, burst_ = 0, tokens_ = 0;
  Clock::time_point last_ = Clock::now();
};

}  // namespace

struct Serial::State {
  State(asio::any_io_executor loop, base::Fd fd, const nlohmann::json& config)
      : port(loop, fd.release()), input(loop), bucket(config) {}

  void put(const char* bytes, std::size_t count) {
    // What a full pipe does not take is lost.
    [[maybe_unused]] auto written = ::write(file ? file.get() : 1, bytes, bucket.take(count));
  }
  static Task<void> pump_out(std::shared_ptr<State> self) {
    std::array<char, 16384> bytes;
    for (;;) {
      std::size_t count =
          co_await self->port.async_read_some(asio::buffer(bytes), asio::use_awaitable);
      self->put(bytes.data(), count);
    }
  }
  static Task<void> pump_in(std::shared_ptr<State> self) {
    std::array<char, 1024> bytes;
    for (;;) {
      std::size_t count =
          co_await self->input.async_read_some(asio::buffer(bytes), asio::use_awaitable);
      co_await asio::async_write(self->port, asio::buffer(bytes.data(), count),
                                 asio::use_awaitable);
    }
  }

  Descriptor port, input;
  base::Fd file;
  Bucket bucket;
};

Serial::Serial(asio::any_io_executor loop, base::Fd port, const nlohmann::json& config)
    : state_(std::make_shared<State>(loop, std::move(port), config)) {
  state_->port.native_non_blocking(true);
  if (!config.is_null() && config.contains("serial_out_path") &&
      config["serial_out_path"].is_string()) {
    std::string path = config["serial_out_path"];
    state_->file.reset(::open(path.c_str(), O_CREAT | O_RDWR | O_NONBLOCK | O_CLOEXEC, 0644));
    if (!state_->file)
      throw Fault("Failed to open serial output file '" + path + "': " + os_error());
  } else {
    // On the description, which others may share: as it is there.
    ::fcntl(1, F_SETFL, ::fcntl(1, F_GETFL) | O_NONBLOCK);
    struct ::stat found{};
    bool fifo = ::fstat(0, &found) == 0 && S_ISFIFO(found.st_mode);
    if (fifo || ::isatty(0)) {
      int copy = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
      if (copy >= 0) {
        state_->input.assign(copy);
        asio::co_spawn(loop, State::pump_in(state_), [](std::exception_ptr) {});
      }
    }
  }
  asio::co_spawn(loop, State::pump_out(state_), [](std::exception_ptr) {});
}

Serial::~Serial() {
  drain();
  boost::system::error_code ignored;
  state_->port.close(ignored);
  state_->input.close(ignored);
}

void Serial::drain() {
  std::array<char, 16384> bytes;
  ssize_t count = 0;
  while ((count = ::recv(state_->port.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT)) >
         0)
    state_->put(bytes.data(), static_cast<std::size_t>(count));
}

}  // namespace attest::sims::firecracker
