#include "lib/async/fd_stream.h"

#include "lib/base/sys_error.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace attest::async {
namespace {

class FdStream final : public Stream {
 public:
  FdStream(asio::any_io_executor loop, base::Fd fd) : descriptor_(loop, fd.release()) {}

  Task<std::size_t> read_some(std::span<char> buffer) override {
    auto [failure, count] = co_await descriptor_.async_read_some(
        asio::buffer(buffer.data(), buffer.size()), asio::as_tuple(asio::use_awaitable));
    // A pty whose other side is closed answers EIO, a reset socket ECONNRESET: both are the end.
    if (failure == asio::error::eof || failure == asio::error::connection_reset ||
        failure.value() == EIO || failure == asio::error::bad_descriptor)
      co_return 0;
    if (failure == asio::error::operation_aborted) throw boost::system::system_error(failure);
    if (failure) throw base::sys_error("reading from the machine", failure.value());
    co_return count;
  }

  Task<void> write_all(std::string_view bytes) override {
    auto [failure, count] = co_await asio::async_write(
        descriptor_, asio::buffer(bytes.data(), bytes.size()), asio::as_tuple(asio::use_awaitable));
    if (failure == asio::error::operation_aborted) throw boost::system::system_error(failure);
    if (failure) throw base::sys_error("writing to the machine", failure.value());
  }

  void close() noexcept override {
    boost::system::error_code ignored;
    descriptor_.close(ignored);
  }

 private:
  asio::posix::stream_descriptor descriptor_;
};

}  // namespace

std::unique_ptr<Stream> make_stream(asio::any_io_executor loop, base::Fd fd) {
  return std::make_unique<FdStream>(std::move(loop), std::move(fd));
}

Task<base::Fd> accept_one(const base::Fd& listener) {
  // A dup, because the descriptor object closes what it holds and the listener is the caller's.
  base::Fd copy(base::check(::fcntl(listener.get(), F_DUPFD_CLOEXEC, 0), "duplicating a listener"));
  asio::posix::stream_descriptor ready(co_await asio::this_coro::executor, copy.release());
  for (;;) {
    int accepted = ::accept4(ready.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted >= 0) co_return base::Fd(accepted);
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED)
      throw base::sys_error("accepting a connection");
    co_await ready.async_wait(asio::posix::descriptor_base::wait_read, asio::use_awaitable);
  }
}

}  // namespace attest::async
